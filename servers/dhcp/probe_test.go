package dhcp

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"hostler/render/fact"
)

// checked serves the test fleet with conflict checks in every subnet.
func checked(t *testing.T, kind string, interfaces ...string) *served {
	return serve(t, func(c *Config) {
		f := testFleet()
		for i := range f.Subnets {
			f.Subnets[i].ConflictCheck = kind
		}
		c.Current = current(t, f)
	}, interfaces...)
}

// TestConflict has an intruder sit on the first addresses of a pool: the machine is offered the first that is free, and those that
// are not rest.
func TestConflict(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := checked(t, "arp", seg.server)
	seg.ip("addr", "add", "10.77.0.100/24", "dev", seg.client)
	seg.ip("addr", "add", "10.77.0.101/24", "dev", seg.client)
	seg.ip("addr", "add", "10.77.0.11/24", "dev", seg.client)
	c := seg.raw(t)
	offer := c.ask(wirePacket{xid: 1, mac: n2, options: message(fact.Discover)})
	if got := addrOf(offer.YourIPAddr); got != addr("10.77.0.102") {
		t.Errorf("offered %s", got)
	}
	var conflicts []string
	s.wait(t, "the offer", func() bool {
		conflicts = nil
		for _, e := range s.events {
			if e.What == "Conflict check" {
				conflicts = append(conflicts, describe(e))
			}
		}
		return strings.Contains(describe(s.events...), "DHCP Offer")
	})
	want := "Conflict check none os 52:54:00:77:00:02 failed | n2 | main@sha1:0123456789ab | 10.77.0.100 is in use: " + testMAC.String() + " has it; it is not offered for 10m0s\n"
	if len(conflicts) != 2 || conflicts[0] != want {
		t.Errorf("%q\nwant two, the first %q", conflicts, want)
	}
	for _, l := range s.leases.List() {
		if l.Addr != addr("10.77.0.102") && l.State != "declined" {
			t.Errorf("%+v", l)
		}
	}
	ack := c.ask(wirePacket{xid: 2, mac: n2, options: selecting(offer)})
	if ack.MessageType() != dhcpv4.MessageTypeAck || addrOf(ack.YourIPAddr) != addr("10.77.0.102") {
		t.Error(ack.Summary())
	}
	// A declared address is its machine's, whoever else has it, and is offered without looking.
	if p := c.ask(wirePacket{xid: 3, mac: n1, options: message(fact.Discover)}); addrOf(p.YourIPAddr) != addr("10.77.0.11") {
		t.Error(p.Summary())
	}
	if n := strings.Count(s.said(), "Conflict check"); n != 2 {
		t.Errorf("%d conflicts", n)
	}
}

// TestConflictEverywhere has the intruder on all of a pool: there is nothing to offer, and it is said once.
func TestConflictEverywhere(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := checked(t, "arp", seg.server)
	for _, a := range []string{"10.77.0.100/24", "10.77.0.101/24", "10.77.0.102/24"} {
		seg.ip("addr", "add", a, "dev", seg.client)
	}
	seg.raw(t).send(wirePacket{xid: 1, mac: n2, options: message(fact.Discover)}.bytes())
	s.wait(t, "the end of the pool", func() bool {
		return strings.Contains(describe(s.events...), "pool boot: exhausted")
	})
	if strings.Contains(s.said(), "DHCP Offer") {
		t.Error("something was offered")
	}
}

// TestNoConflict offers a machine the address that it has itself, once it is known that nobody else has it, and the next time at
// once. Others do not wait for that.
func TestNoConflict(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := checked(t, "arp", seg.server)
	seg.ip("link", "set", seg.client, "address", n2.String())
	seg.ip("addr", "add", "10.77.0.100/24", "dev", seg.client)
	c := seg.raw(t)
	discover := wirePacket{xid: 1, mac: n2, flags: 0x8000, options: message(fact.Discover)}
	c.send(discover.bytes())
	c.send(discover.bytes()) // it repeats itself
	c.ask(wirePacket{xid: 2, mac: n1, flags: 0x8000, options: message(fact.Discover)})
	if p := c.receive(1, 68); addrOf(p.YourIPAddr) != addr("10.77.0.100") {
		t.Error(p.Summary())
	}
	s.waitEvent(t, 1, "DHCP Offer")
	offers := func() (xids []uint32) {
		s.recorder.mu.Lock()
		defer s.recorder.mu.Unlock()
		for _, e := range s.events {
			if e.What == "DHCP Offer" {
				xids = append(xids, e.Xid)
			}
		}
		return xids
	}
	if got := offers(); len(got) != 2 || got[0] != 2 {
		t.Errorf("offers in this order: %v", got)
	}
	s.prober.mu.Lock()
	_, known := s.prober.free[addr("10.77.0.100")]
	s.prober.mu.Unlock()
	if !known {
		t.Error("that nobody has it is not remembered")
	}
	discover.xid = 3
	c.ask(discover)
}

// TestConflictBehindRelay looks for addresses by ICMP where ARP does not reach.
func TestConflictBehindRelay(t *testing.T) {
	for _, x := range []struct{ kind, want string }{{"ping", "10.78.1.1"}, {"arp", "10.78.1.0"}} {
		t.Run(x.kind, func(t *testing.T) {
			seg := newSegment(t, "10.79.0.1/24")
			s := checked(t, x.kind, seg.server)
			seg.ip("addr", "add", "10.79.0.2/24", "dev", seg.client)
			seg.ip("addr", "add", "10.78.1.0/32", "dev", "lo")
			run("ip", "route", "add", "10.78.0.0/16", "via", "10.79.0.2")
			c := seg.raw(t)
			p := wirePacket{xid: 1, mac: stranger, giaddr: "10.79.0.2", options: message(fact.Discover)}
			c.sendFrom(netip.MustParseAddrPort("10.79.0.2:67"), netip.MustParseAddrPort("10.79.0.1:67"), p.bytes())
			if got := addrOf(c.receive(1, 67).YourIPAddr); got != addr(x.want) {
				t.Errorf("offered %s, want %s", got, x.want)
			}
			if got := strings.Contains(s.said(), "10.78.1.0 is in use: a host that answers ping has it"); got != (x.kind == "ping") {
				t.Errorf("a conflict: %t", got)
			}
		})
	}
}

// TestConflictCheckImpossible offers addresses all the same, and says so.
func TestConflictCheckImpossible(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := &served{recorder: newRecorder(), leases: newLeases(t)}
	var err error
	f := testFleet()
	f.Subnets[0].ConflictCheck = "arp"
	cfg := s.config(t, seg.server)
	cfg.Current = current(t, f)
	if s.Server, err = Listen(cfg); err != nil {
		t.Fatal(err)
	}
	s.attached(seg.server).ifi.HardwareAddr = nil // as a tunnel's
	serveOn(t, s)
	p := wirePacket{xid: 1, mac: n2, flags: 0x8000, options: message(fact.Discover)}
	if got := addrOf(seg.raw(t).ask(p).YourIPAddr); got != addr("10.77.0.100") {
		t.Errorf("offered %s", got)
	}
	s.waitLog(t, "offering addresses without looking for them on the network")
}

// TestProbes stay bounded.
func TestProbes(t *testing.T) {
	p, now := newProber(), time.Unix(1000, 0)
	a := addr("10.0.0.1")
	for i := range mostProbes + 10 {
		state, err := p.start(&probe{addr: a, wait: time.Hour, ask: func() error { return nil }}, now)
		if want := i < mostProbes; err != nil || (state == looking) != want {
			t.Fatalf("probe %d: %v, %v", i, state, err)
		}
		a = a.Next()
	}
	for i := range 2 * mostProbed {
		p.silent(&probe{addr: a, asked: 1}, now) // one that ended long ago
		x := &probe{addr: a, asked: 1, done: func(string) {}}
		p.running[a] = x
		p.silent(x, now)
		if len(p.free) > mostProbed {
			t.Fatalf("after %d, %d addresses are remembered", i, len(p.free))
		}
		a = a.Next()
	}
	for _, x := range p.running {
		x.timer.Stop()
	}
}

// TestProbeOfAnotherSegment holds that who answers on one segment cannot take the addresses of another out of use.
func TestProbeOfAnotherSegment(t *testing.T) {
	p, here, there := newProber(), &attachment{}, &attachment{}
	a, intruder := addr("10.0.0.1"), net.HardwareAddr{2, 0, 0, 0, 0, 9}
	var owner string
	x := &probe{addr: a, link: here, wait: time.Hour, ask: func() error { return nil }, done: func(o string) { owner = o }}
	if state, err := p.start(x, time.Unix(1000, 0)); err != nil || state != looking {
		t.Fatal(state, err)
	}
	p.found(there, a, "somebody there", intruder, nil)
	if owner != "" {
		t.Errorf("%s has it", owner)
	}
	if p.found(here, a, "somebody here", intruder, nil); owner != "somebody here" {
		t.Errorf("%q has it", owner)
	}
}

// TestProbeAnsweredUnasked holds that a probe ends once, although somebody has the address whom the question did not reach.
func TestProbeAnsweredUnasked(t *testing.T) {
	p, here, a := newProber(), &attachment{}, addr("10.0.0.1")
	ended := 0
	x := &probe{addr: a, link: here, done: func(string) { ended++ }, ask: func() error {
		p.found(here, a, "somebody", net.HardwareAddr{2, 0, 0, 0, 0, 9}, nil)
		return unix.ENOBUFS
	}}
	if state, err := p.start(x, time.Unix(1000, 0)); err != nil || state != looking || ended != 1 {
		t.Errorf("state %v, %v, ended %d times", state, err, ended)
	}
}

// TestProbeOfClosedInterface holds that a request that was still waiting opens no socket that nobody closes.
func TestProbeOfClosedInterface(t *testing.T) {
	a := &attachment{ifi: net.Interface{Index: 1, HardwareAddr: make(net.HardwareAddr, 6)}, closed: true}
	if _, err := newProber().arpConn(a); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func FuzzProbeAnswers(f *testing.F) {
	f.Add(append([]byte{0, 1, 8, 0, 6, 4, 0, 2}, bytes.Repeat([]byte{10}, 20)...))
	f.Add(arpQuestion(net.HardwareAddr{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("10.0.0.1")))
	f.Add(echoQuestion([8]byte{1, 2, 3}))
	f.Add(make([]byte, 16))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, mac, ok := arpAnswer(b); ok && (!a.Is4() || a.IsUnspecified() || len(mac) != 6) {
			t.Errorf("%s %s", a, mac)
		}
		if nonce, ok := echoAnswer(b); ok && len(nonce) != 8 {
			t.Errorf("% x", nonce)
		}
	})
}
