package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestApply is manual promotion: a revision is observed, shown, and served only when somebody says so.
func TestApply(t *testing.T) {
	l := newLab(t)
	repo, files := l.repository(), l.files()
	s := l.serve("-var", "files="+files, "-sync=manual", repo)

	s.eventually("the first commit to be observed", func() bool {
		out, _ := s.hostler("status")
		return strings.Contains(out, "Waiting     main@sha1:")
	})
	if out, _ := s.hostler("status"); !strings.Contains(out, "none is served yet") {
		t.Fatalf("a revision is served that nobody promoted:\n%s", out)
	}
	if out, code := s.hostler("apply"); code != exitError || !strings.Contains(out, "there is no terminal to ask on: use -auto-approve") {
		t.Fatalf("exit %d:\n%s", code, out)
	}
	out, code := s.hostler("apply", "-auto-approve")
	if code != exitOK || !strings.Contains(out, "Plan: 2 to add, 0 to change, 0 to remove") || !strings.Contains(out, "is served.") {
		t.Fatalf("exit %d:\n%s", code, out)
	}
	l.lease()
	if script := l.script(machineMAC); !strings.Contains(script, " hugepages=64 ") {
		t.Fatalf("what was applied is not served:\n%s", script)
	}

	edit(t, filepath.Join(repo, "lab.boot.hcl"), "hugepages = 64", "hugepages = 128")
	l.commit(repo, "more huge pages")
	s.eventually("the second commit to be observed", func() bool {
		out, _ := s.hostler("status")
		return strings.Contains(out, "Waiting")
	})
	t.Run("another plan than the reviewed one is refused", func(t *testing.T) {
		out, code := s.hostler("apply", "-auto-approve", "-expect=deadbeef")
		if code != exitNo || !strings.Contains(out, "refused: the plan's digest is ") {
			t.Fatalf("exit %d:\n%s", code, out)
		}
		if script := l.script(machineMAC); !strings.Contains(script, " hugepages=64 ") {
			t.Fatalf("it was applied all the same:\n%s", script)
		}
	})
	t.Run("the reviewed one is served", func(t *testing.T) {
		out, _ := s.hostler("apply")
		digest := regexp.MustCompile(`Plan digest ([0-9a-f]+)`).FindStringSubmatch(out)
		if digest == nil {
			t.Fatalf("no digest in:\n%s", out)
		}
		if out, code := s.hostler("apply", "-auto-approve", "-expect="+digest[1]); code != exitOK {
			t.Fatalf("exit %d:\n%s", code, out)
		}
		if script := l.script(machineMAC); !strings.Contains(script, " hugepages=128 ") {
			t.Fatalf("what was applied is not served:\n%s", script)
		}
	})
	t.Run("a revision that nobody observed is refused", func(t *testing.T) {
		if out, code := s.hostler("apply", "-auto-approve", "-revision=main@sha1:"+strings.Repeat("0", 40)); code == exitOK {
			t.Fatalf("it was applied:\n%s", out)
		}
	})
	t.Run("a plan is asked for on a terminal", func(t *testing.T) {
		edit(t, filepath.Join(repo, "lab.boot.hcl"), "hugepages = 128", "hugepages = 256")
		l.commit(repo, "even more")
		s.eventually("the third commit to be observed", func() bool {
			out, _ := s.hostler("status")
			return strings.Contains(out, "Waiting")
		})
		// script(1) gives the command a terminal, and the answer.
		cmd := exec.Command("script", "-qec", "hostler apply -socket="+s.socket, "/dev/null")
		cmd.Stdin = strings.NewReader("no\n")
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "Serve it? Only yes goes on:") || !strings.Contains(string(out), "Not applied.") {
			t.Fatalf("%v:\n%s", err, out)
		}
	})
}

// TestBackup holds a copy of the state, made while the server runs, against the running one: it is a state that a server starts from.
func TestBackup(t *testing.T) {
	l := newLab(t)
	repo, files := l.repository(), l.files()
	s := l.serve("-var", "files="+files, repo)
	addr := l.lease()
	backup := filepath.Join(l.dir, "backup", "state.db")
	must(t, "mkdir", filepath.Dir(backup))
	if out, code := s.hostler("state", "backup", backup); code != exitOK {
		t.Fatalf("exit %d:\n%s", code, out)
	}
	if out, code := s.hostler("state", "backup", backup); code != exitError || !strings.Contains(out, "exists") {
		t.Fatalf("a backup is overwritten: exit %d:\n%s", code, out)
	}
	s.kill(9)
	t.Run("restored over the state that is there, as the operator's guide says", func(t *testing.T) {
		must(t, "cp", backup, filepath.Join(l.dir, "state", "state.db"))
		s := l.serve("-var", "files="+files, repo)
		defer s.kill(9)
		if out, _ := s.hostler("leases"); !strings.Contains(out, addr+" ") || !strings.Contains(out, "bound") {
			t.Errorf("the lease of %s is gone:\n%s", addr, out)
		}
	})
	must(t, "rm", "-r", filepath.Join(l.dir, "state"))
	must(t, "mv", filepath.Dir(backup), filepath.Join(l.dir, "state"))
	s = l.serve("-var", "files="+files, repo)
	if out, _ := s.hostler("leases"); !strings.Contains(out, addr+" ") || !strings.Contains(out, "bound") {
		t.Fatalf("the lease of %s is not in the backup:\n%s", addr, out)
	}
}
