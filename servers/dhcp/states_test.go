package dhcp

import (
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render/fact"
	"hostler/spec"
)

// TestRenewAfterExpiry lets a lease end: its machine keeps the address while it is free, and is refused it by NAK when somebody
// else has it, however it asks.
func TestRenewAfterExpiry(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	other := fact.MAC{0x52, 0x54, 0, 0x77, 0, 3}
	s := serve(t, func(c *Config) {
		f := testFleet()
		f.Subnets[0].Pools[0].Ranges = []fact.Range{span("10.77.0.100", "10.77.0.100")}
		f.Profiles[0].Settings.Lease = spec.Lease{Default: time.Second}
		f.Nodes = append(f.Nodes, spec.Node{Name: "n3", Address: "node.n3", Interfaces: []spec.Interface{{Name: "boot", MAC: other, Subnet: "lab", Boot: true}}})
		c.Current = current(t, f)
	}, seg.server)
	c := seg.raw(t)
	xid := uint32(0)
	request := func(mac fact.MAC, ciaddr string, options ...[]byte) dhcpv4.MessageType {
		t.Helper()
		xid++
		return c.ask(wirePacket{xid: xid, mac: mac, ciaddr: ciaddr, options: message(fact.Request, options...)}).MessageType()
	}
	want := func(what string, got, want dhcpv4.MessageType) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	expired := func() {
		t.Helper()
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if _, held := s.leases.Holder(addr("10.77.0.100")); !held {
				return
			}
		}
		t.Fatal("the lease does not end")
	}
	seg.ip("addr", "add", "10.77.0.100/24", "dev", seg.client) // where a renewal is answered
	seg.ip("link", "set", seg.client, "address", n2.String())
	requested := opt(50, 10, 77, 0, 100)
	want("init-reboot of an address that is free", request(n2, "", requested), dhcpv4.MessageTypeAck)
	expired()
	want("renewing after the lease has ended", request(n2, "10.77.0.100"), dhcpv4.MessageTypeAck)
	expired()
	want("another machine takes it", request(other, "", requested, opt(51, 0, 0, 2, 88)), dhcpv4.MessageTypeAck)
	want("renewing another machine's", request(n2, "10.77.0.100"), dhcpv4.MessageTypeNak)
	want("init-reboot with another machine's", request(n2, "", requested), dhcpv4.MessageTypeNak)
	want("selecting another machine's", request(n2, "", requested, opt(54, 10, 77, 0, 1)), dhcpv4.MessageTypeNak)
	if l, ok := s.leases.Holder(addr("10.77.0.100")); !ok || l.MAC != other {
		t.Errorf("lease: %+v", l)
	}
}

// TestUdhcpcDeclines has busybox' client find its address in use: it declines it and gets another one, and leases shows why.
func TestUdhcpcDeclines(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, nil, seg.server)
	run("ip", "addr", "add", "10.77.0.100/24", "dev", seg.server) // whoever answers ARP for it
	seg.ip("link", "set", seg.client, "address", n2.String())
	hook := script(t, "hook", "#!/bin/sh\n[ \"$1\" = bound ] && echo \"bound $ip\"\nexit 0\n")
	out, err := seg.command(t, "udhcpc", "-f", "-q", "-a", "-A", "1", "-t", "5", "-T", "1", "-i", seg.client, "-s", hook).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "bound 10.77.0.101\n") {
		t.Errorf("%v: %s", err, out)
	}
	want := "DHCP Decline none os 52:54:00:77:00:02 failed | n2 | 10.77.0.100 is used by another machine too; it is not offered for 10m0s\n"
	s.wait(t, "the DECLINE", func() bool { return strings.Contains(describe(s.events...), want) })
	if l := s.leases.List()[0]; l.Addr != addr("10.77.0.100") || l.State != fact.Declined || l.MAC != n2 || l.Pool != "boot" || l.Expires.Sub(l.Start) != 10*time.Minute {
		t.Errorf("listed: %+v", l)
	}
}

// TestPoolsOfOneUse gives addresses of two pools for the same machines, each with its own name and lease time.
func TestPoolsOfOneUse(t *testing.T) {
	seg := newSegment(t, "10.78.0.1/16")
	s := serve(t, func(c *Config) {
		f := testFleet()
		f.Subnets[1].Pools = []spec.Pool{
			{Name: "long", Ranges: []fact.Range{span("10.78.9.0", "10.78.9.0")}, Serves: spec.ServesUnknown, Lease: spec.Lease{Default: time.Hour}},
			{Name: "short", Ranges: []fact.Range{span("10.78.1.0", "10.78.1.0")}, Serves: spec.ServesAny, Lease: spec.Lease{Default: time.Minute}},
		}
		c.Current = current(t, f)
	}, seg.server)
	c := seg.raw(t)
	for i, x := range []struct {
		addr, pool string
		seconds    string
	}{
		{"10.78.9.0", "long", "\x00\x00\x0e\x10"}, // the pool for unknown machines before the one for any
		{"10.78.1.0", "short", "\x00\x00\x00\x3c"},
	} {
		mac, xid := fact.MAC{2, 0, 0, 0, 0, byte(i)}, uint32(i+1)
		offer := c.ask(wirePacket{xid: xid, mac: mac, options: message(fact.Discover)})
		if l := s.leases.List(); addrOf(offer.YourIPAddr) != addr(x.addr) || string(offer.Options[optLeaseTime]) != x.seconds || l[0].State == fact.Offered && l[0].Pool != x.pool {
			t.Errorf("%s, leases %+v", offer.Summary(), l)
		}
		c.ask(wirePacket{xid: xid, mac: mac, options: selecting(offer)})
		l, ok := s.leases.Holder(addr(x.addr))
		if got := l.Expires.Sub(l.Start); !ok || l.Pool != x.pool || got.Truncate(time.Minute) != map[string]time.Duration{"long": time.Hour, "short": time.Minute}[x.pool] {
			t.Errorf("lease of %s: %+v", got, l)
		}
	}
	c.send(wirePacket{xid: 3, mac: stranger, options: message(fact.Discover)}.bytes())
	if e := s.waitEvent(t, 3, "DHCP Discover"); e.Detail != "pool long, short: exhausted: no address is free: pool long, short of subnet open" {
		t.Error(describe(e))
	}
}

// TestDeclaredStays has a pool around a declared address, whose lease ends in every way that leases end: nobody else gets it.
func TestDeclaredStays(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, func(c *Config) {
		f := testFleet()
		f.Subnets[0].Pools[0].Ranges = []fact.Range{span("10.77.0.11", "10.77.0.12")}
		f.Profiles[0].Settings.Lease = spec.Lease{Default: time.Second}
		c.Current = current(t, f)
	}, seg.server)
	c := seg.raw(t)
	us, declared := opt(54, 10, 77, 0, 1), opt(50, 10, 77, 0, 11)
	for i, end := range []func(xid uint32){
		func(xid uint32) {
			c.send(wirePacket{xid: xid, mac: n1, ciaddr: "10.77.0.11", options: message(fact.Release, us)}.bytes())
			s.waitEvent(t, xid, "DHCP Release")
		},
		func(xid uint32) {
			c.send(wirePacket{xid: xid, mac: n1, options: message(fact.Decline, us, declared)}.bytes())
			s.waitEvent(t, xid, "DHCP Decline")
		},
		func(uint32) {
			for _, held := s.leases.Holder(addr("10.77.0.11")); held; _, held = s.leases.Holder(addr("10.77.0.11")) {
				time.Sleep(10 * time.Millisecond) // the lease is one second long
			}
		},
	} {
		xid := uint32(10 * (i + 1))
		if p := c.ask(wirePacket{xid: xid, mac: n1, options: message(fact.Request, declared)}); p.MessageType() != dhcpv4.MessageTypeAck {
			t.Fatal(p.Summary())
		}
		end(xid + 1)
		if p := c.ask(wirePacket{xid: xid + 2, mac: n2, options: message(fact.Discover, declared)}); addrOf(p.YourIPAddr) != addr("10.77.0.12") {
			t.Errorf("end %d: another machine is offered %s", i, p.YourIPAddr)
		}
		if p := c.ask(wirePacket{xid: xid + 3, mac: n1, options: message(fact.Discover)}); addrOf(p.YourIPAddr) != addr("10.77.0.11") {
			t.Errorf("end %d: its machine is offered %s", i, p.YourIPAddr)
		}
	}
}
