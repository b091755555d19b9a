package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"hostler/reconcile"
)

var update = flag.Bool("update", false, "rewrite the expected output of the scripts")

// TestMain lets the test binary be the real program: scripts and tests run it as "hostler", in processes of its own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == reconcile.WorkerArg { // of a test that evaluates in this process
		os.Exit(reconcile.WorkerMain(os.Stdin, os.Stdout))
	}
	testscript.Main(m, map[string]func(){"hostler": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, stop)
		os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}})
}

// TestScripts runs testdata/*.txt: what a user types, and what they see.
func TestScripts(t *testing.T) {
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("EXAMPLES", examples)
			e.Setenv("BSS", filepath.Join(filepath.Dir(examples), "spec", "bss", "testdata"))
			e.Setenv("HOSTLER_SOCKET", filepath.Join(e.WorkDir, "no-such.sock"))
			e.Setenv("GIT_CONFIG_NOSYSTEM", "1")
			e.Setenv("GIT_AUTHOR_NAME", "A. Meier")
			e.Setenv("GIT_AUTHOR_EMAIL", "a.meier@example.net")
			e.Setenv("GIT_COMMITTER_NAME", "A. Meier")
			e.Setenv("GIT_COMMITTER_EMAIL", "a.meier@example.net")
			e.Setenv("GIT_AUTHOR_DATE", "2026-11-01T12:00:00Z")
			e.Setenv("GIT_COMMITTER_DATE", "2026-11-01T12:00:00Z")
			return nil
		},
	})
}
