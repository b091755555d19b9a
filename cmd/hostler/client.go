package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"hostler/render"
	"hostler/servers/admin"
	"hostler/spec"
)

const defaultSocket = "/run/hostler/admin.sock"

func socketFlag(fs *flag.FlagSet) *string {
	return fs.String("socket", "", "The running server's admin `socket`: HOSTLER_SOCKET, else "+defaultSocket+".")
}

// socketPath resolves the flag, the environment and the default, in this order.
func socketPath(flagged string) string {
	switch {
	case flagged != "":
		return flagged
	case os.Getenv("HOSTLER_SOCKET") != "":
		return os.Getenv("HOSTLER_SOCKET")
	default:
		return defaultSocket
	}
}

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// serverError prints why a question to the server had no answer, with what to do about it.
func (env *environment) serverError(err error) int {
	if errors.Is(err, admin.ErrRefused) {
		fmt.Fprintf(env.stderr, "hostler: %v\n", err) // which begins with the word
		return exitNo
	}
	if noServer(err) {
		return env.fail("%v\nIs a server running here? -socket=PATH or HOSTLER_SOCKET says where else it listens.", err)
	}
	if errors.Is(err, os.ErrPermission) {
		return env.fail("%v\nThe socket is for root and the group hostler.", err)
	}
	return env.fail("%v", err)
}

func fetchServed(ctx context.Context, c *admin.Client) (*servedState, error) {
	s := &servedState{}
	if err := c.Get(ctx, "/v1/served", s); err != nil {
		return nil, err
	}
	return s, nil
}

// snapshot renders again what the server serves. It is nil when the server serves nothing yet.
func (s *servedState) snapshot() (*render.Snapshot, spec.Diagnostics) {
	if s.Revision == "" {
		return nil, nil
	}
	return render.Render(s.Fleet, s.Artifacts, s.Assignments)
}

func stateBackupCommand() command {
	return command{
		name: "state backup", args: "FILE", synopsis: "Copy the server's state to a file while it serves",
		long: "Writes a consistent copy of the running server's state (leases, assignments, history of revisions) to FILE. A server\n" +
			"started with the file as state.db in its state directory continues from there. FILE must not exist.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			socket := socketFlag(fs)
			return func(ctx context.Context, env *environment, args []string) int {
				if len(args) != 1 {
					return env.fail("state backup: name one file to write")
				}
				if err := backup(ctx, admin.NewClient(socketPath(*socket)), args[0]); err != nil {
					return env.serverError(err)
				}
				info, err := os.Stat(args[0])
				if err != nil {
					return env.fail("%v", err)
				}
				fmt.Fprintf(env.stdout, "Wrote %s, %s.\n", args[0], size(info.Size()))
				return exitOK
			}
		},
	}
}

// backup writes beside the file and links it into place, so that a backup cut short never looks like one.
func backup(ctx context.Context, c *admin.Client, path string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".backup-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	err = c.Backup(ctx, tmp)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		return fmt.Errorf("writing the backup: %v", err)
	}
	return nil
}
