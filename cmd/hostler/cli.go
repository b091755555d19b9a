package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/cli"
	"golang.org/x/term"

	"hostler/reconcile"
	"hostler/spec/lang"
)

// The exit codes, as Terraform's; 3 is ours: it ran, and the answer is no.
const (
	exitOK      = 0
	exitError   = 1
	exitChanges = 2 // with -detailed-exitcode
	exitNo      = 3
)

// workerCommand is the hidden first argument of the child process that evaluates a spec.
const workerCommand = "spec-worker"

// environment is what every command has: its streams, and how to print.
type environment struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	color          bool
	width          int
	terminal       bool // stdin and stdout are one: questions may be asked
	now            func() time.Time
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == workerCommand {
		return reconcile.WorkerMain(stdin, stdout)
	}
	env := newEnvironment(stdin, stdout, stderr)
	c := &cli.CLI{
		Name: "hostler", Args: subcommandFirst(args), Commands: map[string]cli.CommandFactory{},
		HelpFunc: help, HelpWriter: stdout, ErrorWriter: stderr,
	}
	for _, cmd := range commands() {
		c.Commands[cmd.name] = func() (cli.Command, error) { return &bound{command: cmd, ctx: ctx, env: env}, nil }
	}
	if len(args) == 1 && slices.Contains([]string{"-version", "--version", "-v"}, args[0]) {
		c.Args = []string{"version"}
	}
	if name := unknownCommand(c.Args); name != "" {
		hint := ""
		if near := lang.Suggest(name, commandWords()); near != "" {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		return env.fail("no command %q%s\nSee: hostler -help", name, hint)
	}
	code, err := c.Run()
	if err != nil {
		fmt.Fprintf(stderr, "hostler: %v\n", err)
		return exitError
	}
	if code == 127 || code == cli.RunResultHelp { // the library's codes for an unknown command and for wrong usage
		return exitError
	}
	return code
}

// commandWords are the first words of the commands.
func commandWords() []string {
	var words []string
	for _, c := range commands() {
		word, _, _ := strings.Cut(c.name, " ")
		words = append(words, word)
	}
	return words
}

// unknownCommand is the first word when it is no command's.
func unknownCommand(args []string) string {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") || slices.Contains(commandWords(), args[0]) {
		return ""
	}
	return args[0]
}

// subcommandFirst moves flags written before the subcommand behind it: both places are right.
func subcommandFirst(args []string) []string {
	n := 0
	for n < len(args) && strings.HasPrefix(args[n], "-") && !isHelp(args[n]) {
		n++
	}
	if n == 0 || n == len(args) || isHelp(args[n]) {
		return args
	}
	moved := []string{args[n]}
	moved = append(moved, args[n+1:]...)
	// A command of two words keeps them together: the flags go to the very end, where flags may stand too.
	return append(moved, args[:n]...)
}

func isHelp(arg string) bool { return slices.Contains([]string{"-h", "-help", "--help"}, arg) }

func newEnvironment(stdin io.Reader, stdout, stderr io.Writer) *environment {
	env := &environment{stdin: stdin, stdout: stdout, stderr: stderr, width: 100, now: time.Now}
	if out, ok := stdout.(*os.File); ok && term.IsTerminal(int(out.Fd())) {
		env.color = os.Getenv("TERM") != "dumb"
		if w, _, err := term.GetSize(int(out.Fd())); err == nil && w >= 40 {
			env.width = w
		}
		in, ok := stdin.(*os.File)
		env.terminal = ok && term.IsTerminal(int(in.Fd()))
	}
	if force := os.Getenv("CLICOLOR_FORCE"); force != "" && force != "0" {
		env.color = true
	}
	if os.Getenv("NO_COLOR") != "" {
		env.color = false
	}
	return env
}

// command is one subcommand. setup registers its flags and gives the function to run once they are parsed.
type command struct {
	name     string
	args     string // after the name in the usage line
	synopsis string
	long     string
	setup    func(*flag.FlagSet) func(context.Context, *environment, []string) int
}

// bound is a command with what it runs in, as the cli library wants it.
type bound struct {
	command
	ctx context.Context
	env *environment
}

func (b *bound) Synopsis() string { return b.synopsis }

func (b *bound) Help() string {
	var s strings.Builder
	fmt.Fprintf(&s, "Usage: hostler %s [options] %s\n\n%s\n", b.name, b.args, indent(strings.TrimSpace(b.long), "  "))
	fs, _ := b.flags()
	options := &strings.Builder{}
	fs.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		name := "-" + f.Name
		if value != "" {
			name += "=" + value
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" {
			usage += " Default " + f.DefValue + "."
		}
		fmt.Fprintf(options, "  %-22s %s\n", name, strings.ReplaceAll(usage, "\n", "\n"+strings.Repeat(" ", 25)))
	})
	if options.Len() > 0 {
		s.WriteString("\nOptions:\n\n" + options.String())
	}
	return strings.TrimRight(s.String(), "\n") + "\n"
}

// flags gives the command's flag set with the flags that every command has.
func (b *bound) flags() (*flag.FlagSet, func(context.Context, *environment, []string) int) {
	fs := flag.NewFlagSet(b.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f := b.setup(fs)
	fs.BoolFunc("no-color", "Print without colour, as with NO_COLOR set.", func(string) error { b.env.color = false; return nil })
	return fs, f
}

func (b *bound) Run(args []string) int {
	fs, f := b.flags()
	positional, err := parseAnywhere(fs, args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(b.env.stdout, b.Help())
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(b.env.stderr, "hostler %s: %v\nSee: hostler %s -help\n", b.name, err, b.name)
		return exitError
	}
	return f(b.ctx, b.env, positional)
}

// parseAnywhere parses flags before, between and after the positional arguments; "--" ends them.
func parseAnywhere(fs *flag.FlagSet, args []string) (positional []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		rest := fs.Args()
		if len(rest) == 0 {
			return positional, nil
		}
		if used := len(args) - len(rest); used > 0 && args[used-1] == "--" {
			return append(positional, rest...), nil
		}
		positional, args = append(positional, rest[0]), rest[1:]
	}
}

func help(map[string]cli.CommandFactory) string {
	synopsis := map[string]string{}
	for _, c := range commands() {
		synopsis[c.name] = c.synopsis
	}
	var s strings.Builder
	s.WriteString("Usage: hostler <command> [options] [args]\n\n" +
		"hostler boots machines from the network as a spec in a git repository describes them.\n")
	group := func(title string, names ...string) {
		fmt.Fprintf(&s, "\n%s:\n", title)
		for _, n := range names {
			fmt.Fprintf(&s, "  %-13s %s\n", n, synopsis[n])
		}
	}
	group("Write a spec", "init", "adopt", "import bss", "fmt", "validate")
	group("See what it does", "plan", "boot", "bootscript", "explain", "render")
	group("Serve it", "serve", "apply")
	group("Watch", "status", "nodes", "leases", "inbox", "boots", "doctor")
	group("Order single machines", "hold", "release", "override", "rearm")
	group("Others", "storm", "state backup", "completion", "version")
	s.WriteString("\n`hostler <command> -help` tells more. Flags take one or two dashes and stand anywhere.\n")
	return s.String()
}

func indent(text, by string) string { return by + strings.ReplaceAll(text, "\n", "\n"+by) }

// fail prints an operator's error and gives the exit code for it.
func (env *environment) fail(format string, args ...any) int {
	fmt.Fprintf(env.stderr, "hostler: "+format+"\n", args...)
	return exitError
}
