package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"hostler/reconcile"
	"hostler/render"
	"hostler/spec/lang"
)

// loadFlags are the flags of every command that reads a spec.
type loadFlags struct{ vars map[string]string }

func loadOptions(fs *flag.FlagSet) *loadFlags {
	o := &loadFlags{vars: map[string]string{}}
	fs.Func("var", "Set a variable of the spec: `name=value`. May be repeated.", o.set)
	return o
}

func (o *loadFlags) set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return fmt.Errorf("write it as name=value")
	}
	o.vars[name] = value
	return nil
}

// oneDir takes the optional DIR argument.
func (env *environment) oneDir(name string, args []string) (string, bool) {
	switch len(args) {
	case 0:
		return ".", true
	case 1:
		return args[0], true
	default:
		env.fail("%s: one directory at most, not %q", name, args)
		return "", false
	}
}

// load reads, checks and renders the spec in a directory, or a revision of the repository there, without any server. On an
// error it prints every mistake and gives the exit code; warnings are printed and do not stop.
func (env *environment) load(ctx context.Context, dir, revision string, o *loadFlags, asJSON bool) (*reconcile.Loaded, int) {
	loaded, diags, err := reconcile.Load(ctx, dir, revision, o.vars)
	if err != nil {
		return nil, env.fail("%v", err)
	}
	if asJSON {
		for _, d := range diags {
			env.diagnosticMessage(d)
		}
	} else {
		printDiagnostics(env.stderr, diags, env.color, env.width)
	}
	if diags.HasErrors() {
		return nil, exitError
	}
	return loaded, exitOK
}

// oneMachine takes [DIR] MACHINE.
func (env *environment) oneMachine(name string, args []string) (dir, machine string, ok bool) {
	switch len(args) {
	case 1:
		return ".", args[0], true
	case 2:
		return args[0], args[1], true
	default:
		env.fail("%s: write [DIR] and a machine: its name, its address in the spec, or a MAC", name)
		return "", "", false
	}
}

// findNode finds a machine, or says which names are near.
func (env *environment) findNode(s *render.Snapshot, name string) (render.NodeInfo, bool) {
	n, ok := s.Node(name)
	if ok {
		return n, true
	}
	var names []string
	for _, n := range s.Nodes() {
		names = append(names, string(n.Name))
	}
	hint := ""
	if near := lang.Suggest(name, names); near != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	env.fail("no node %q in the spec%s", name, hint)
	return n, false
}
