package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"

	"hostler/reconcile"
	"hostler/render"
	"hostler/servers/admin"
	"hostler/spec"
)

func explainCommand() command {
	return command{
		name: "explain", args: "[DIR] NODE[.SETTING]", synopsis: "Say why a machine has a setting, layer by layer",
		long: "Prints a node's settings, or the one that is named (kernel_args, kernel_args.console, loader, address, ...): the value, and every\n" +
			"layer that set, replaced or removed it, weakest first, with file and line. When a server runs here, boot also says what was ordered for\n" +
			"the machine there, and what it has installed.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			load := loadOptions(fs)
			socket := socketFlag(fs)
			asJSON := fs.Bool("json", false, "Print as JSON.")
			return func(ctx context.Context, env *environment, args []string) int {
				dir, what, ok := env.oneMachine("explain", args)
				if !ok {
					return exitError
				}
				loaded, code := env.load(ctx, dir, "", load, false)
				if loaded == nil {
					return code
				}
				borrow(ctx, socketPath(*socket), loaded)
				snapshot := loaded.Snapshot
				var as render.Assignments
				if err := admin.NewClient(socketPath(*socket)).Get(ctx, "/v1/assignments", &as); err == nil {
					snapshot = snapshot.Assign(as)
				} else if *socket != "" {
					return env.serverError(err)
				}
				node, path, ok := splitNodePath(snapshot, what)
				if !ok {
					env.findNode(snapshot, what)
					return exitError
				}
				rows := snapshot.Explain(node.Name, path)
				if *asJSON {
					return env.json(rows)
				}
				if len(rows) == 0 {
					return env.fail("%s: no layer sets %q", node.Address, path)
				}
				env.printExplanation(node, rows)
				return exitOK
			}
		},
	}
}

// borrow asks a server that runs here, if there is one, what it saw of objects in S3: it has the keys to look at them.
func borrow(ctx context.Context, socket string, loaded *reconcile.Loaded) {
	if !slices.ContainsFunc(loaded.Fleet.Stores, func(s spec.Store) bool { return s.S3 != nil }) {
		return
	}
	served, err := fetchServed(ctx, admin.NewClient(socket))
	if err != nil {
		return
	}
	if snapshot, ds := served.snapshot(); snapshot != nil && !ds.HasErrors() {
		(&planBaseline{snapshot: snapshot, artifacts: served.Artifacts}).lend(loaded)
	}
}

// splitNodePath takes "NODE.path.of.setting" apart. A node's name may hold dots itself, so the longest name that exists wins.
func splitNodePath(s *render.Snapshot, what string) (node render.NodeInfo, path string, ok bool) {
	for name := what; ; {
		if node, ok := s.Node(name); ok {
			return node, strings.TrimPrefix(what[len(name):], "."), true
		}
		i := strings.LastIndexByte(name, '.')
		if i < 0 {
			return node, "", false
		}
		name = name[:i]
	}
}

func (env *environment) printExplanation(node render.NodeInfo, rows []render.Explanation) {
	fmt.Fprintf(env.stdout, "%s, declared in %s\n\n", node.Address, node.Place)
	width := 0
	for _, r := range rows {
		width = max(width, len(r.Path))
	}
	for _, r := range rows {
		value := r.Value
		if value == "" {
			value = "(removed)"
		}
		fmt.Fprintf(env.stdout, "%-*s  %s\n", width, r.Path, value)
		for _, s := range r.Steps {
			fmt.Fprintf(env.stdout, "%*s  %s\n", width, "", stepText(s))
		}
	}
}

func stepText(s spec.Step) string {
	text := string(s.Action) + " by " + s.Layer
	if s.Value != "" {
		text += ": " + s.Value
	}
	if s.Place.Line > 0 || s.Place.Row > 0 {
		text += "  (" + s.Place.String() + ")"
	}
	return text
}
