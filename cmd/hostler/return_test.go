package main

import (
	"strings"
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
