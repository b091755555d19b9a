package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/spec/kind"
)

// TestDebconf gives texts to the real debconf-set-selections, beside which our own check of preseed must not be milder.
func TestDebconf(t *testing.T) {
	path, err := exec.LookPath("debconf-set-selections")
	if err != nil {
		t.Fatal(err)
	}
	p := programs()[1]
	for text, want := range map[string][]kind.Problem{
		"# a comment\nd-i debian-installer/locale string en_US\nd-i x/y string\nd-i partman/recipe string \\\n  a :: \\\n b\nd-i a/b seen true\n": nil,
		"d-i a/b string x\nd-i c\n": {{Line: 2, Text: "debconf-set-selections: 'd-i c'"}},
		"d-i a/b strin x\n":         {{Line: 1, Text: "debconf-set-selections: warning: Unknown type strin, skipping line 1"}},
	} {
		got, err := p.check(t.Context(), path, text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		var c kind.Checker
		if own := c.Check("preseed", "", text); (len(own) == 0) != (len(want) == 0) {
			t.Errorf("%q: our own check says %v", text, own)
		}
	}
}

// TestProgramsAreBounded runs programs that never end, say too much, or look at their environment.
func TestProgramsAreBounded(t *testing.T) {
	t.Setenv("HOSTLER_TEST_SECRET", "not for programs")
	dir := t.TempDir()
	p := programs()[0]
	run := func(script string) ([]kind.Problem, error) {
		path := filepath.Join(dir, "program")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		return p.check(ctx, path, "text\n")
	}
	if _, err := run("sleep 1000 & sleep 1000\n"); err == nil || !strings.Contains(err.Error(), "did not end") {
		t.Errorf("one that never ends: %v", err)
	}
	if got, err := run("head -c 10000000 /dev/zero | tr '\\0' a\nexit 1\n"); err != nil || len(got) != 1 || len(got[0].Text) > 300 {
		t.Errorf("one that says much: %d problems, %v", len(got), err)
	}
	if got, err := run("env | grep -c HOSTLER && exit 1\nexit 0\n"); err != nil || got != nil {
		t.Errorf("our environment reaches it: %v, %v", got, err)
	}
	if got, err := run("exit 1\n"); err != nil || len(got) != 1 {
		t.Errorf("one that says nothing: %v, %v", got, err)
	}
}
