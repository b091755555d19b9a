package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hostler/spec/serverconf"
)

const defaultConfig = "/etc/hostler/server.hcl"

type serveOptions struct {
	load                                *loadFlags
	interfaces                          []string
	config, state, socket, sync, branch string
	poll                                time.Duration
	log                                 logOptions
}

func serveCommand() command {
	return command{
		name: "serve", args: "SOURCE", synopsis: "Serve machines from a spec, and follow its changes",
		long: "Serves DHCP, TFTP and boot HTTP on the named interfaces, from the spec in SOURCE: a directory, a git repository on this machine, or the\n" +
			"URL of one (ssh, https). Every commit on the branch, or every saved file of a directory, is checked, rendered, and served when it is good.\n" +
			"When it is not, the last good revision stays in force. Flags win over the server configuration.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			o := &serveOptions{load: loadOptions(fs)}
			fs.Func("interface", "Serve on this network `interface`. May be repeated.", func(name string) error {
				o.interfaces = append(o.interfaces, name)
				return nil
			})
			fs.StringVar(&o.config, "config", "", "The server configuration `file`. Default "+defaultConfig+", when it exists.")
			fs.StringVar(&o.state, "state", "", "The state `directory`. Default "+serverconf.Default().StateDir+".")
			fs.StringVar(&o.socket, "socket", "", "The admin `socket`. Default "+defaultSocket+", or admin.sock in the directory that -state names.")
			fs.DurationVar(&o.poll, "poll", 0, "How often to look at the source even when nothing hints at a change, as a `duration` such as 30s. Default "+strings.TrimSuffix(serverconf.Default().Source.Poll.String(), "0s")+".")
			fs.StringVar(&o.sync, "sync", "", "The `mode`: auto serves new revisions, manual only observes them until `hostler apply`. Default auto.")
			fs.StringVar(&o.branch, "branch", "", "The `branch` to follow. Default: the one that HEAD names.")
			o.log.flags(fs)
			return func(ctx context.Context, env *environment, args []string) int {
				c, ok := o.configuration(env, args)
				if !ok {
					return exitError
				}
				log, err := o.log.logger(env.stderr)
				if err != nil {
					return env.fail("serve: %v", err)
				}
				return env.serve(ctx, c, log)
			}
		},
	}
}

// configuration reads the file, if there is one, and lays the flags over it.
func (o *serveOptions) configuration(env *environment, args []string) (serverconf.Config, bool) {
	c := serverconf.Default()
	path := o.config
	if path == "" {
		path = defaultConfig
	}
	text, err := os.ReadFile(path)
	if err != nil && (o.config != "" || !errors.Is(err, fs.ErrNotExist)) {
		env.fail("reading the server configuration: %v", err)
		return c, false
	}
	if err == nil {
		parsed, diags := serverconf.Parse(path, text)
		printDiagnostics(env.stderr, diags, env.color, env.width)
		if diags.HasErrors() {
			return c, false
		}
		c = *parsed
	}
	return c, o.override(env, &c, args)
}

func (o *serveOptions) override(env *environment, c *serverconf.Config, args []string) bool {
	switch len(args) {
	case 0:
	case 1:
		c.Source.URL = args[0]
	default:
		env.fail("serve: one source, not %q", args)
		return false
	}
	if c.Source.URL == "" {
		env.fail("serve: name the source of the spec: a directory, a repository, or its URL")
		return false
	}
	set := func(field *string, value string) {
		if value != "" {
			*field = value
		}
	}
	if o.state != "" && o.socket == "" && c.Socket == serverconf.Default().Socket {
		o.socket = filepath.Join(o.state, "admin.sock")
	}
	set(&c.StateDir, o.state)
	set(&c.Socket, o.socket)
	set(&c.Source.Branch, o.branch)
	set((*string)(&c.Source.Sync), o.sync)
	if o.poll != 0 {
		c.Source.Poll = o.poll
	}
	for _, name := range o.interfaces { // whoever types a name means one that is there
		if err := missingInterface(name); err != nil {
			env.fail("serving: interface %q: %v", name, err)
			return false
		}
	}
	if len(o.interfaces) > 0 {
		c.Interfaces = o.interfaces
	}
	for name, value := range o.load.vars {
		if c.Vars == nil {
			c.Vars = map[string]string{}
		}
		c.Vars[name] = value
	}
	return o.absolute(env, c)
}

// absolute makes relative paths mean what they mean to the shell that they were typed in.
func (o *serveOptions) absolute(env *environment, c *serverconf.Config) bool {
	for _, p := range []*string{&c.StateDir, &c.Socket} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			env.fail("serve: %v", err)
			return false
		}
		*p = abs
	}
	if o.poll != 0 && (o.poll < time.Second || o.poll > 24*time.Hour) { // as in the server configuration
		env.fail("serve: -poll=%s: it is between 1s and 24h", o.poll)
		return false
	}
	if c.Source.Sync != "auto" && c.Source.Sync != "manual" {
		env.fail("serve: -sync=%s: it is auto or manual", c.Source.Sync)
		return false
	}
	return true
}

func (env *environment) serve(ctx context.Context, c serverconf.Config, log *slog.Logger) int {
	s, err := newServer(c, log)
	if err != nil {
		return env.fail("%v", err)
	}
	log.Info("serving", "version", versionText(), "source", c.Source.URL, "interfaces", strings.Join(localAddresses(c.Interfaces), " "), "socket", c.Socket, "state", c.StateDir)
	if err := s.run(ctx); err != nil {
		return env.fail("%v", fmt.Errorf("serving: %w", err))
	}
	log.Info("stopped")
	return exitOK
}
