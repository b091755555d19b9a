package main

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"
)

var (
	soakCommits   = flag.Int("soak-commits", 400, "how many commits TestSoakCommits makes")
	soakExchanges = flag.Int("soak-exchanges", 20_000, "how many ACKs TestSoakExchanges waits for")
)

// TestSoakCommits makes commits in a row, faster than they can be served. The server is never wedged, ends with the last one, and takes no
// more of its host than after the first ones.
func TestSoakCommits(t *testing.T) {
	released(t)
	l, c, repo := crowdLab(t, 200)
	s := l.serve("-var", "files="+l.files(), repo)
	const parts = 8
	round := 0
	all := []usage{s.usage()}
	for range parts {
		for range max(*soakCommits/parts/5, 1) {
			round = l.commits(repo, round, 5)
			c.runFor(20 * time.Millisecond)
		}
		s.eventually(fmt.Sprint("round ", round), func() bool { return strings.Contains(l.stranger(), fmt.Sprintf("round=%d ", round)) })
		all = append(all, s.usage())
	}
	if out, code := s.hostler("status"); code != exitOK {
		t.Errorf("exit %d:\n%s", code, out)
	}
	t.Logf("%d commits, of which %d were served in passing", round, strings.Count(s.log.String(), "revision applied"))
	c.settle()
	c.check(s.leases())
	flat(t, all)
}

// TestSoakExchanges has a crowd take, renew and give back addresses over real sockets, with scripts and loaders fetched meanwhile.
func TestSoakExchanges(t *testing.T) {
	released(t)
	l, c, repo := crowdLab(t, 1500)
	s := l.serve("-var", "files="+l.files(), repo)
	const parts = 8
	all := []usage{s.usage()}
	begun := time.Now()
	for part := range parts {
		for want := (part + 1) * *soakExchanges / parts; c.count() < want; {
			if n := c.runFor(500 * time.Millisecond); n == 0 {
				t.Fatalf("nothing is acknowledged any more after %d", c.count())
			}
			if script := l.stranger(); !strings.Contains(script, "round=0") {
				t.Fatalf("the script:\n%s", script)
			}
			if out, err := l.inMachine("busybox", "tftp", "-g", "-l", "/dev/null", "-r", "undionly.kpxe", "10.77.0.1"); err != nil {
				t.Fatalf("TFTP: %s", out)
			}
		}
		all = append(all, s.usage())
	}
	t.Logf("%d ACKs and %d releases in %s", c.count(), c.releases, time.Since(begun).Round(time.Second))
	c.settle()
	c.check(s.leases())
	flat(t, all)
}
