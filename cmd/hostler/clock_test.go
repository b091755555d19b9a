package main

import (
	"strings"
	"testing"
	"time"
)

// TestClockSet sets the clock of a host back and forward, with the server running and with it down, while a crowd holds leases of an hour. No
// lease ends by that, none is forgotten and no address is given twice. It is a virtual machine's clock, which is the only one that may be set.
func TestClockSet(t *testing.T) {
	l := newLab(t)
	box := newBox(t, l, "clock")
	c := newCrowd(t, l, 1500)
	c.pace = 4 * time.Millisecond // its processor is emulated
	_, off := box.on(t)
	defer off()
	c.runUntil(100)
	c.settle()
	for _, set := range []string{
		"+7200 running", "-14400 running", "+8640000 running", "-17280000 running", // hours and days
		"+7200 down", "-14400 down", "+8640000 down", "-17280000 down",
		"1546300800 running", "+7200 down", // 2019, before there was a hostler, and as a host starts without a battery
		"1795000000 running", "1546300800 down", "1795000000 down",
	} {
		if said := box.ask(t, 9997, set); !strings.Contains(said, "UTC") {
			t.Fatalf("%s: %s", set, said)
		}
		c.check(box.leases(t))
		c.runUntil(c.count() + 20)
		c.settle()
		c.check(box.leases(t))
		if script := l.stranger(); !strings.Contains(script, "round=0") {
			t.Errorf("%s: the script is\n%s", set, script)
		}
		if t.Failed() {
			t.Fatalf("after %s", set)
		}
	}
}
