package main

import (
	"context"
	"flag"
	"fmt"

	"hostler/reconcile"
)

func validateCommand() command {
	return command{
		name: "validate", args: "[DIR]", synopsis: "Check a spec, and show every mistake",
		long: "Reads and checks the spec in DIR (default: the current directory) without any server. Every mistake is shown in one run,\n" +
			"each with its file, its line and what to do. Files of stores that are not on this machine are not checked.\n\n" +
			"Kickstart and preseed texts are also given to ksvalidator and debconf-set-selections, where these are installed. Serving never does that.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			load := loadOptions(fs)
			asJSON := fs.Bool("json", false, "Print as JSON, in the shape of terraform validate -json.")
			return func(ctx context.Context, env *environment, args []string) int {
				dir, ok := env.oneDir("validate", args)
				if !ok {
					return exitError
				}
				loaded, diags, err := reconcile.Load(ctx, dir, "", load.vars)
				if err != nil {
					return env.fail("%v", err)
				}
				if !diags.HasErrors() {
					diags = append(diags, checkByPrograms(ctx, loaded.Snapshot)...)
				}
				if *asJSON {
					printDiagnosticsJSON(env.stdout, diags)
				} else {
					printDiagnostics(env.stderr, diags, env.color, env.width)
				}
				if diags.HasErrors() {
					return exitError
				}
				if !*asJSON {
					f := loaded.Snapshot.Fleet()
					fmt.Fprintf(env.stdout, "The spec is valid: %s, %s, %s.\n", plural(len(f.Nodes), "node"), plural(len(f.Subnets), "subnet"), plural(len(f.Images), "image"))
				}
				return exitOK
			}
		},
	}
}
