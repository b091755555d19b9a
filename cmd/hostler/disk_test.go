package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// crowdLab is a repository with room for a crowd, the crowd, and the arguments that serve it.
func crowdLab(t *testing.T, machines int) (l *lab, c *crowd, repo string) {
	t.Helper()
	l = newLab(t)
	must(t, "ip", "-n", l.server, "addr", "flush", "dev", "eth0")
	must(t, "ip", "-n", l.server, "addr", "add", "10.77.0.1/16", "dev", "eth0")
	must(t, "ip", "-n", l.machine, "addr", "add", "10.77.0.2/16", "dev", "eth0")
	repo = filepath.Join(l.dir, "room")
	must(t, "git", "init", "-q", "-b", "main", repo)
	if err := os.WriteFile(filepath.Join(repo, "room.boot.hcl"), []byte(killSpec), 0o644); err != nil {
		t.Fatal(err)
	}
	l.commit(repo, "round 0")
	return l, newCrowd(t, l, machines), repo
}

// round commits the next round.
func (l *lab) round(repo string, n int) {
	l.t.Helper()
	edit(l.t, filepath.Join(repo, "room.boot.hcl"), fmt.Sprintf("round = %d }", n-1), fmt.Sprintf("round = %d }", n))
	l.commit(repo, fmt.Sprint("round ", n))
}

// runFor lets machines ask for a while, and gives how many were acknowledged.
func (c *crowd) runFor(d time.Duration) int {
	before := c.count()
	ctx, cancel := context.WithTimeout(c.t.Context(), d)
	defer cancel()
	c.run(ctx)
	return c.count() - before
}

// stranger gives the script of a machine that nobody declared.
func (l *lab) stranger() string { return l.script("02:00:00:00:00:00") }

// TestStateMends takes the room on the disk away, and then the right to write, while a crowd asks and a commit comes in. What was promised
// is kept, the last good revision is served, the status says why; and when the disk is well again, so is everything, without
// a restart.
func TestStateMends(t *testing.T) {
	released(t)
	for _, fault := range []struct {
		name, says string
		hurt, mend func(t *testing.T, s *running, state string)
		noLease    bool   // none can be written
		health     string // of the leases, or of the state
	}{
		{name: "full", says: "no space left on device", noLease: true,
			health: "leases failed: cannot be written, so no address is acknowledged: ",
			hurt: func(t *testing.T, _ *running, state string) {
				exec.Command("dd", "if=/dev/zero", "of="+filepath.Join(state, "ballast"), "bs=4k").Run() // until it is
			},
			mend: func(t *testing.T, _ *running, state string) {
				if err := os.Remove(filepath.Join(state, "ballast")); err != nil {
					t.Fatal(err)
				}
			}},
		// What is open already is the journal, and can be written on: leases may be acknowledged. Nothing new can be made.
		{name: "read-only", says: "read-only file system", health: "is read-only: no new address and no new revision can be written",
			hurt: func(t *testing.T, s *running, state string) {
				s.inMounts("mount", "--bind", state, state)
				s.inMounts("mount", "-o", "remount,bind,ro", state)
			},
			mend: func(t *testing.T, s *running, state string) { s.inMounts("umount", state) }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			l, c, repo := crowdLab(t, 1500)
			state := filepath.Join(l.dir, "state")
			must(t, "mkdir", state)
			must(t, "mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", state)
			t.Cleanup(func() { exec.Command("umount", "-l", state).Run() })
			s := l.serve("-var", "files="+l.files(), repo)
			if n := c.runFor(300 * time.Millisecond); n == 0 {
				t.Fatal("nothing was acknowledged on a good disk")
			}
			first := l.stranger()

			fault.hurt(t, s, state)
			l.round(repo, 1)
			s.eventually("status to say why", func() bool {
				n := c.runFor(200 * time.Millisecond)
				out, code := s.hostler("status")
				return code == exitNo && strings.Contains(out, fault.says) && strings.Contains(out, fault.health) && (n == 0 || !fault.noLease)
			})
			if diff := cmp.Diff(anonymous(first), anonymous(l.stranger())); diff != "" {
				t.Errorf("the script changed, -before +now:\n%s", diff)
			}

			fault.mend(t, s, state)
			s.eventually("leases", func() bool { return c.runFor(200*time.Millisecond) > 0 })
			s.eventually("the commit to be served", func() bool { return strings.Contains(l.stranger(), "round=1") })
			s.eventually("all to be well", func() bool {
				out, code := s.hostler("status")
				return code == exitOK && !strings.Contains(out, fault.says) && !strings.Contains(out, "failed:")
			})
			c.runFor(200 * time.Millisecond)
			s.kill(syscall.SIGKILL)
			s = l.serve("-var", "files="+l.files(), repo)
			c.check(s.leases())
			if script := l.stranger(); !strings.Contains(script, "round=1") {
				t.Errorf("after a crash:\n%s", script)
			}
		})
	}
}

// anonymous is a script without what is another one at each request.
func anonymous(script string) string { return ownTexts.ReplaceAllString(script, "") }

// inMounts runs a command that sees the server's mounts; "ip netns exec" has given it some of its own.
func (r *running) inMounts(name string, args ...string) {
	r.t.Helper()
	must(r.t, "nsenter", append([]string{"-t", fmt.Sprint(r.cmd.Process.Pid), "-m", name}, args...)...)
}
