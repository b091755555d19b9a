package main

import (
	"context"
	"flag"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

var flaps = flag.Int("flaps", 100, "how often TestInterfaceFlaps takes the interface away")

// TestInterfaceFlaps takes the interface down, its address and the interface itself away, and gives them back in quick succession, while a
// crowd asks. The server is there again each time that it is looked at, and nothing is left of the times before.
func TestInterfaceFlaps(t *testing.T) {
	released(t)
	l, c, repo := crowdLab(t, 1500)
	s := l.serve("-var", "files="+l.files(), repo)
	var load sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	load.Go(func() { c.run(ctx) })
	t.Cleanup(func() { cancel(); load.Wait() })

	server := func(args ...string) { t.Helper(); must(t, "ip", append([]string{"-n", l.server}, args...)...) }
	flap := []func(){
		func() { server("link", "set", "eth0", "down"); server("link", "set", "eth0", "up") },
		func() {
			server("addr", "flush", "dev", "eth0")
			server("addr", "add", "10.77.0.1/16", "dev", "eth0")
		},
		func() { server("link", "del", "eth0"); l.plugCrowd() },
		func() { server("link", "set", "eth0", "down"); server("link", "del", "eth0"); l.plugCrowd() },
	}
	serves := func() {
		t.Helper()
		before := c.count()
		s.eventually("leases and the script", func() bool { return c.count() > before && strings.Contains(l.stranger(), "round=0") })
		if out, err := l.inMachine("busybox", "tftp", "-g", "-l", "/dev/null", "-r", "undionly.kpxe", "10.77.0.1"); err != nil {
			t.Errorf("TFTP: %s", out)
		}
	}
	serves()
	var all []usage
	const parts = 8
	all = append(all, s.usage())
	for range parts {
		for i := range max(*flaps/parts, len(flap)) {
			flap[i%len(flap)]()
			time.Sleep(time.Duration(i%3) * 10 * time.Millisecond) // not always enough to be noticed
		}
		serves()
		all = append(all, s.usage())
	}
	cancel()
	load.Wait()
	c.settle()
	c.check(s.leases())
	flat(t, all)
	if out, code := s.hostler("status"); code != exitOK {
		t.Errorf("exit %d:\n%s", code, out)
	}
}

// plugCrowd joins the namespaces again, with the addresses of a crowd.
func (l *lab) plugCrowd() {
	l.t.Helper()
	exec.Command("ip", "-n", l.machine, "link", "del", "eth0").Run() // its end may outlive the other by a moment
	l.plug()
	must(l.t, "ip", "-n", l.server, "addr", "flush", "dev", "eth0")
	must(l.t, "ip", "-n", l.server, "addr", "add", "10.77.0.1/16", "dev", "eth0")
	must(l.t, "ip", "-n", l.machine, "addr", "add", "10.77.0.2/16", "dev", "eth0")
}
