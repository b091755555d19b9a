package dhcp

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// relayFleet is testFleet with a second relay agent for "open", which also serves "annex".
func relayFleet() *spec.Fleet {
	f := testFleet()
	f.Subnets[1].Relays = append(f.Subnets[1].Relays, addr("10.79.0.3"))
	f.Subnets = append(f.Subnets, spec.Subnet{Name: "annex", CIDR: netip.MustParsePrefix("10.80.0.0/24"), DHCP: "full", Authoritative: true,
		Unknown: 1, Default: 1, Relays: []netip.Addr{addr("10.79.0.3")},
		Pools: []spec.Pool{{Name: "any", Ranges: []fact.Range{span("10.80.0.10", "10.80.0.19")}, Serves: spec.ServesAny}}})
	return f
}

// TestRelayAgents plays agents that speak RFC 3046, 3527, 5107 and 8357, and one that nobody declared.
func TestRelayAgents(t *testing.T) {
	seg := newSegment(t, "10.79.0.1/24")
	s := serve(t, func(c *Config) { c.Current = current(t, relayFleet()) }, seg.server)
	for _, a := range []string{"10.79.0.2/24", "10.79.0.3/24"} {
		seg.ip("addr", "add", a, "dev", seg.client)
	}
	c := seg.raw(t)
	xid := uint32(0)
	relay := func(agent string, port uint16, options []byte) *dhcpv4.DHCPv4 {
		t.Helper()
		xid++
		p := wirePacket{xid: xid, mac: stranger, giaddr: agent, options: options}
		c.sendFrom(netip.AddrPortFrom(addr(agent), port), netip.MustParseAddrPort("10.79.0.1:67"), p.bytes())
		r := c.receive(xid, port)
		if c.server != addr("10.79.0.1") || c.to != addr(agent) {
			t.Errorf("reply %s", c)
		}
		if n := len(c.codes); n == 0 || c.codes[n-1] != 82 { // RFC 3046 section 2.2: the last option
			t.Errorf("options in the order %d", c.codes)
		}
		return r
	}
	wantAddr := func(what string, p *dhcpv4.DHCPv4, want string) {
		t.Helper()
		if addrOf(p.YourIPAddr) != addr(want) {
			t.Errorf("%s: %s, want %s", what, p.YourIPAddr, want)
		}
	}
	circuit := opt(82, 1, 1, 'x')
	wantAddr("by the first agent", relay("10.79.0.2", 67, message(fact.Discover, circuit)), "10.78.1.0")
	wantAddr("by an agent of two subnets", relay("10.79.0.3", 67, message(fact.Discover, circuit)), "10.78.1.0")
	wantAddr("with an address in one of them", relay("10.79.0.3", 67, message(fact.Discover, opt(50, 10, 80, 0, 12), circuit)), "10.80.0.12")
	wantAddr("link selection", relay("10.79.0.3", 67, message(fact.Discover, opt(82, 1, 1, 'x', 5, 4, 10, 80, 0, 0))), "10.80.0.12")
	wantAddr("link selection", relay("10.79.0.3", 67, message(fact.Discover, opt(82, 1, 1, 'x', 5, 4, 10, 78, 0, 0))), "10.78.1.0")
	wantAddr("from a port of its own", relay("10.79.0.2", 5067, message(fact.Discover, opt(82, 1, 1, 'x', 19, 0))), "10.78.1.0")

	override := opt(82, 11, 4, 10, 78, 0, 1)
	offer := relay("10.79.0.2", 67, message(fact.Discover, override))
	ack := relay("10.79.0.2", 67, message(fact.Request, opt(50, offer.YourIPAddr...), opt(54, 10, 78, 0, 1), override))
	nak := relay("10.79.0.2", 67, message(fact.Request, opt(50, 10, 78, 9, 9), override))
	for i, p := range []*dhcpv4.DHCPv4{offer, ack, nak} {
		if want := []dhcpv4.MessageType{dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak}[i]; p.MessageType() != want || addrOf(p.Options[optServerID]) != addr("10.78.0.1") {
			t.Errorf("the agent wants to be called the server: %s", p.Summary())
		}
	}
	if !nak.IsBroadcast() || offer.IsBroadcast() { // RFC 2131 table 3; without it the relayed NAK is lost (Kea #4424)
		t.Errorf("broadcast flags: %s %s", offer.FlagsToString(), nak.FlagsToString())
	}
	release := wirePacket{xid: 90, mac: stranger, giaddr: "10.79.0.2", ciaddr: addrOf(ack.YourIPAddr).String(), options: message(fact.Release, opt(54, 10, 78, 0, 1), override)}
	c.send(release.bytes()) // to the server that the agent plays
	if e := s.waitEvent(t, 90, "DHCP Release"); e.Result != fact.OK {
		t.Error(describe(e))
	}
	c.send(wirePacket{xid: 91, mac: stranger, giaddr: "10.79.0.9", options: message(fact.Discover, opt(82, 5, 4, 10, 78, 0, 0))}.bytes())
	if got, want := s.noticed(t, render.UnknownRelay, "10.79.0.9"), stranger.String()+" , 1 times: no subnet: nothing is declared for relay 10.79.0.9"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestLocalLink has a stranger on the server's own wire try what only relay agents may: it stays on its wire.
func TestLocalLink(t *testing.T) {
	seg := newSegment(t, "10.78.0.1/16")
	serve(t, func(c *Config) { c.Current = current(t, relayFleet()) }, seg.server)
	c := seg.raw(t)
	for i, options := range [][]byte{opt(118, 10, 80, 0, 0), opt(82, 5, 4, 10, 80, 0, 0, 11, 4, 10, 80, 0, 1)} {
		p := c.ask(wirePacket{xid: uint32(i + 1), mac: stranger, options: message(fact.Discover, options)})
		if addrOf(p.YourIPAddr) != addr("10.78.1.0") || addrOf(p.Options[optServerID]) != addr("10.78.0.1") || p.Options[118] != nil {
			t.Error(p.Summary())
		}
	}
}

// TestBehindRelay puts udhcpc behind dnsmasq's relay agent and a router: it takes a lease through the agent, renews and releases it by
// unicast, which is merely routed.
func TestBehindRelay(t *testing.T) {
	seg := newSegment(t, "10.79.0.1/24")
	run("ip", "route", "add", "10.78.0.0/16", "via", "10.79.0.2", "dev", seg.server)
	s := serve(t, func(c *Config) {
		f := testFleet()
		f.Subnets[1].Gateway = addr("10.78.0.1")
		f.Subnets[1].Relays = nil // the agent is known by its address in the subnet
		c.Current = current(t, f)
	}, seg.server)
	seg.ip("addr", "add", "10.79.0.2/24", "dev", seg.client)
	host := &segment{client: "h0", pid: newNamespace(t)}
	seg.ip("link", "add", "r0", "type", "veth", "peer", "name", "h0", "netns", fmt.Sprint(host.pid))
	seg.ip("addr", "add", "10.78.0.1/16", "dev", "r0")
	seg.ip("link", "set", "r0", "up")
	host.ip("link", "set", "h0", "address", stranger.String(), "up")
	if out, err := seg.command(t, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	agent := seg.command(t, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--pid-file",
		"--dhcp-relay=10.78.0.1,10.79.0.1", "--log-facility=-")
	agent.Stdout, agent.Stderr = t.Output(), t.Output()
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.Process.Kill(); _ = agent.Wait() })

	hook := script(t, "hook", `#!/bin/sh
case "$1" in
bound|renew) ip addr replace "$ip/$mask" dev "$interface"; ip route replace default via "$router"; echo "$1 $ip $serverid" ;;
esac
`)
	client := host.command(t, "udhcpc", "-f", "-t", "10", "-T", "1", "-i", "h0", "-s", hook)
	out, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Process.Kill(); _ = client.Wait() })
	lines := bufio.NewScanner(out)
	wantLine(t, lines, "bound 10.78.1.0 10.79.0.1")
	_ = client.Process.Signal(syscall.SIGUSR1)
	wantLine(t, lines, "renew 10.78.1.0 10.79.0.1")
	_ = client.Process.Signal(syscall.SIGUSR2)
	go func() { _, _ = io.Copy(io.Discard, out) }()
	s.wait(t, "the release", func() bool {
		return strings.Contains(describe(s.events...), "DHCP Release none os "+stranger.String()+" ok")
	})
	s.wait(t, "a renewal that was routed", func() bool {
		return slices.ContainsFunc(s.events, func(e fact.Event) bool { return e.What == "DHCP Request" && e.Peer == addr("10.78.1.0") })
	})
}

func wantLine(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	for lines.Scan() {
		if lines.Text() == want {
			return
		}
	}
	t.Fatalf("the client ended before it said %s", want)
}

// TestSharedWire serves two subnets on one interface with two addresses: each reply leaves from the address of its own subnet and
// from the interface's hardware address, and no reply opens a socket.
func TestSharedWire(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	run("ip", "addr", "add", "10.78.0.1/16", "dev", seg.server)
	s := serve(t, nil, seg.server)
	c := seg.raw(t)
	hw := s.attached(seg.server).ifi.HardwareAddr
	var before string
	for i := range uint32(40) {
		for _, x := range []struct {
			mac          fact.MAC
			server, addr string
		}{{n1, "10.77.0.1", "10.77.0.11"}, {stranger, "10.78.0.1", "10.78.1.0"}} {
			p := c.ask(wirePacket{xid: 2*i + uint32(x.mac[5]&1), mac: x.mac, options: message(fact.Discover)})
			if c.String() != "from "+x.server+" to "+x.addr+" at "+x.mac.String() || addrOf(p.YourIPAddr) != addr(x.addr) {
				t.Errorf("%s: %s", c, p.Summary())
			}
			if c.fromHW.String() != hw.String() {
				t.Errorf("from %s, want %s", c.fromHW, hw)
			}
		}
		if i == 0 {
			before = sockets(t)
		}
	}
	if after := sockets(t); after != before {
		t.Errorf("sockets before\n%safter\n%s", before, after)
	}
}

// sockets lists those of this process. A socket that was closed and opened again has another number.
func sockets(t *testing.T) string {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, fd := range fds {
		if l, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(l, "socket:") {
			fmt.Fprintln(&b, fd.Name(), l)
		}
	}
	return b.String()
}
