package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestInterfaceReturns takes the interface's address away and gives it back, and then replaces the interface itself, as
// restarting the host's network does. Every server must answer on the new one: sockets that are bound to an interface stay
// bound to the one that is gone.
func TestInterfaceReturns(t *testing.T) {
	l := newLab(t)
	repo, files := l.repository(), l.files()
	s := l.serve("-var", "files="+files, repo)
	boots := func() {
		t.Helper()
		if addr := l.lease(); addr != "10.77.0.11" {
			t.Fatalf("the machine gets %q", addr)
		}
		s.eventually("the script", func() bool { return strings.Contains(l.script(machineMAC), "hugepages=64") })
		if out, err := l.inMachine("busybox", "tftp", "-g", "-l", "/dev/null", "-r", "undionly.kpxe", "10.77.0.1"); err != nil {
			t.Errorf("TFTP: %s", out)
		}
	}
	boots()

	must(t, "ip", "-n", l.server, "addr", "del", "10.77.0.1/24", "dev", "eth0")
	s.eventually("status to tell of the address", func() bool {
		out, _ := s.hostler("status")
		return strings.Contains(out, "no IPv4 address")
	})
	must(t, "ip", "-n", l.server, "addr", "add", "10.77.0.1/24", "dev", "eth0")
	s.eventually("the interface to be served", func() bool {
		out, _ := s.hostler("status")
		return !strings.Contains(out, "no IPv4 address")
	})
	boots()

	must(t, "ip", "-n", l.server, "link", "del", "eth0")
	s.eventually("status to tell of the interface", func() bool {
		out, _ := s.hostler("status")
		return strings.Contains(out, "no such interface")
	})
	l.plug()
	s.eventually("the interface to be served", func() bool {
		out, _ := s.hostler("status")
		return !strings.Contains(out, "no such interface")
	})
	boots()
}

// TestSourceReturns holds that a repository that is gone when the server starts is a repository still when it is back: what
// is not committed is not served.
func TestSourceReturns(t *testing.T) {
	l := newLab(t)
	repo, files := l.repository(), l.files()
	s := l.serve("-var", "files="+files, repo)
	l.lease()
	s.kill(syscall.SIGKILL)
	if err := os.Rename(repo, repo+".away"); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(repo+".away", "lab.boot.hcl"), "hugepages = 64", "hugepages = 128")
	s = l.start("-var", "files="+files, repo)
	s.eventually("the script", func() bool { return strings.Contains(l.script(machineMAC), "hugepages=64") })
	s.eventually("status to tell of the source", func() bool {
		out, code := s.hostler("status")
		return code == exitNo && strings.Contains(out, repo+": no such file or directory")
	})
	if err := os.Rename(repo+".away", repo); err != nil {
		t.Fatal(err)
	}
	s.eventually("the source to be read", func() bool {
		_, code := s.hostler("status")
		return code == exitOK
	})
	if script := l.script(machineMAC); !strings.Contains(script, "hugepages=64") {
		t.Errorf("what nobody committed is served:\n%s", script)
	}
	l.commit(repo, "more huge pages")
	s.eventually("the commit to be served", func() bool { return strings.Contains(l.script(machineMAC), "hugepages=128") })

	// The other way round: only the repository goes.
	if err := os.RemoveAll(filepath.Join(repo, ".git")); err != nil {
		t.Fatal(err)
	}
	s.kill(syscall.SIGKILL)
	edit(t, filepath.Join(repo, "lab.boot.hcl"), "hugepages = 128", "hugepages = 256")
	s = l.start("-var", "files="+files, repo)
	s.eventually("status to tell of it", func() bool {
		out, code := s.hostler("status")
		return code == exitNo && strings.Contains(out, "its repository is gone")
	})
	if script := l.script(machineMAC); !strings.Contains(script, "hugepages=128") {
		t.Errorf("what nobody committed is served:\n%s", script)
	}
}
