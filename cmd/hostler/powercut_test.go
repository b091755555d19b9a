package main

import (
	"context"
	"flag"
	"math/rand/v2"
	"regexp"
	"testing"
	"time"
)

var powerCuts = flag.Int("power-cuts", 4, "how often TestPowerCut cuts the power")

// TestPowerCut runs the server in a virtual machine with its state on a disk, and kills the machine while a crowd asks for addresses:
// what the kernel had not written to the disk is gone. Every ACK that a client saw must be there afterwards. At last the disk
// itself goes away: from then on nothing may be acknowledged.
func TestPowerCut(t *testing.T) {
	l := newLab(t)
	box := newBox(t, l, "powercut")
	c := newCrowd(t, l, 1500)
	c.pace = 4 * time.Millisecond // its processor is emulated
	for cut := range *powerCuts {
		_, off := box.on(t)
		c.check(box.leases(t))
		c.runUntil(c.count() + 50 + rand.N(100))
		if cut == *powerCuts-1 {
			box.loseDisk(t)
			c.withoutDisk(box)
		}
		off()
	}
	_, off := box.on(t)
	c.check(box.leases(t))
	off()
	t.Logf("%d power cuts, %d ACKs, %d releases", *powerCuts, c.count(), c.releases)
}

// runUntil lets machines ask until so many ACKs were seen.
func (c *crowd) runUntil(acks int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	for c.count() < acks {
		moment, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		c.run(moment)
		cancel()
		if ctx.Err() != nil {
			c.t.Fatalf("%d of %d ACKs in two minutes", c.count(), acks)
		}
	}
}

// settle waits until no answers come any more, and gives how many ACKs there were.
func (c *crowd) settle() int {
	seen := -1
	for seen != c.count() {
		seen = c.count()
		time.Sleep(500 * time.Millisecond)
	}
	return seen
}

// withoutDisk holds that nothing is acknowledged once the disk has failed, and that the server says so.
func (c *crowd) withoutDisk(b *box) {
	c.t.Helper()
	ask := func(d time.Duration) {
		ctx, cancel := context.WithTimeout(c.t.Context(), d)
		defer cancel()
		c.run(ctx)
	}
	failed := regexp.MustCompile(`Health +leases failed: cannot be written, so no address is acknowledged: .*(input/output error|read-only file system)`)
	status := ""
	for range 20 { // until a lease was to be written
		ask(100 * time.Millisecond)
		if status = b.ask(c.t, 9998); failed.MatchString(status) {
			break
		}
	}
	if !failed.MatchString(status) {
		c.t.Fatalf("the status tells nothing of the disk:\n%s", status)
	}
	seen := c.settle() // what was written before is on its way
	ask(time.Second)
	if more := c.count() - seen; more > 0 {
		c.t.Errorf("%d leases were acknowledged without a disk", more)
	}
}
