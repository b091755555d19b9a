package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"hostler/reconcile"
)

//go:embed starter/fleet.boot.hcl
var starterSpec []byte

//go:embed starter/machines.csv
var starterTable []byte

func initCommand() command {
	return command{
		name: "init", args: "[DIR]", synopsis: "Write a starter spec",
		long: "Writes a small, commented spec and a table of machines into DIR (default: the current directory), and then shows what it would\n" +
			"do, as `hostler plan` does. Nothing that exists is overwritten.",
		setup: func(*flag.FlagSet) func(context.Context, *environment, []string) int {
			return func(ctx context.Context, env *environment, args []string) int {
				dir, ok := env.oneDir("init", args)
				if !ok {
					return exitError
				}
				if err := writeStarter(dir); err != nil {
					return env.fail("%v", err)
				}
				fmt.Fprintf(env.stdout, "Wrote %s and %s.\n\n", filepath.Join(dir, "fleet.boot.hcl"), filepath.Join(dir, "machines.csv"))
				loaded, code := env.load(ctx, dir, "", &loadFlags{}, false)
				if loaded == nil {
					return code
				}
				env.printFirstPlan(loaded)
				fmt.Fprintf(env.stdout, "\nNext: put your machines into %s, and run: hostler plan %s\n", filepath.Join(dir, "machines.csv"), dir)
				return exitOK
			}
		},
	}
}

func writeStarter(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files := []struct {
		name string
		text []byte
	}{{"fleet.boot.hcl", starterSpec}, {"machines.csv", starterTable}}
	if found, _ := filepath.Glob(filepath.Join(dir, "*.boot.hcl")); len(found) > 0 {
		return fmt.Errorf("writing a starter spec: %s: there is a spec already", found[0])
	}
	for _, f := range files {
		if _, err := os.Lstat(filepath.Join(dir, f.name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("writing a starter spec: %s: exists already", filepath.Join(dir, f.name))
		}
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.name), f.text, 0o644); err != nil {
			return fmt.Errorf("writing a starter spec: %v", err)
		}
	}
	return nil
}

// printFirstPlan shows what a spec does that was served nowhere yet.
func (env *environment) printFirstPlan(l *reconcile.Loaded) {
	plan := reconcile.NewPlan(nil, l.Snapshot, nil)
	plan.Revision = l.Revision
	p := planPrinter{env: env, plan: plan, new: l.Snapshot}
	p.print(l.Revision.Short(), "nothing: this is the first")
}
