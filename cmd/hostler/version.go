package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the build: -ldflags "-X main.version=v0.1.0".
var version = ""

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "development"
}

func versionCommand() command {
	return command{
		name: "version", synopsis: "Print the version",
		long: "Prints the version of hostler, the platform that it was built for, and the version of the spec language.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			asJSON := fs.Bool("json", false, "Print as JSON.")
			return func(_ context.Context, env *environment, _ []string) int {
				v := struct {
					FormatVersion string `json:"format_version"`
					Version       string `json:"hostler_version"`
					Platform      string `json:"platform"`
					Go            string `json:"go_version"`
					Language      int    `json:"language"`
				}{"1.0", versionText(), runtime.GOOS + "_" + runtime.GOARCH, runtime.Version(), 1}
				if *asJSON {
					return env.json(v)
				}
				fmt.Fprintf(env.stdout, "hostler %s\non %s, %s, spec language %d\n", v.Version, v.Platform, v.Go, v.Language)
				return exitOK
			}
		},
	}
}

// json prints a value, indented.
func (env *environment) json(v any) int {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return env.fail("writing JSON: %v", err)
	}
	fmt.Fprintf(env.stdout, "%s\n", text)
	return exitOK
}
