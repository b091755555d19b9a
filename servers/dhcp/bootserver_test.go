package dhcp

import (
	"bytes"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// uefiROM is what EDK2 sends, as far as it matters.
var uefiROM = opts(opt(55, 1, 3, 6, 43, 60, 66, 67), opt(57, 5, 0xc0), opt(93, 0, 7), opt(94, 1, 3, 16),
	opt(97, append([]byte{0}, bytes.Repeat([]byte{8}, 16)...)...), text(60, "PXEClient:Arch:00007:UNDI:003016"))

func proxyFleet() *spec.Fleet {
	f := testFleet()
	f.Subnets[0].DHCP, f.Subnets[0].Pools = "proxy", nil
	return f
}

// TestProxy answers beside another DHCP server: on port 67 with an offer that everybody hears, on port 4011 with an ACK
// to whom asked. It touches no lease and refuses nobody.
func TestProxy(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, func(c *Config) { c.Current = current(t, proxyFleet()) }, seg.server)
	s.waitLog(t, `msg="dhcp: serving boot requests" interface=`+seg.server+" port=4011")
	if st := s.State().Interfaces[0]; !st.BootServer || st.Problem != "" {
		t.Errorf("state: %+v", st)
	}
	c := seg.raw(t)

	offer := c.ask(wirePacket{xid: 1, mac: n1, options: message(fact.Discover, biosROM)})
	if c.String() != "from 10.77.0.1 to 255.255.255.255 at ff:ff:ff:ff:ff:ff" || c.port != 67 || c.length < 300 {
		t.Errorf("%s, port %d, %d bytes", c, c.port, c.length)
	}
	for code, want := range map[uint8][]byte{
		43: {6, 1, 8, 255}, 53: {2}, 54: as4("10.77.0.1"), 60: []byte("PXEClient"), 66: []byte("10.77.0.1"), 67: []byte("undionly.kpxe"),
		97: append([]byte{0}, bytes.Repeat([]byte{7}, 16)...),
	} {
		if got := offer.Options[code]; !bytes.Equal(got, want) {
			t.Errorf("option %d is % x, want % x", code, got, want)
		}
		delete(offer.Options, code)
	}
	if len(offer.Options) > 0 || addrOf(offer.YourIPAddr).IsValid() || addrOf(offer.ServerIPAddr) != addr("10.77.0.1") || offer.BootFileName != "undionly.kpxe" {
		t.Error(offer.Summary())
	}
	if p := c.ask(wirePacket{xid: 2, mac: n1, options: message(fact.Discover, uefiROM)}); p.Options[43] != nil || p.MessageType() != dhcpv4.MessageTypeOffer {
		t.Error(p.Summary())
	}

	seg.ip("addr", "add", "10.77.0.50/24", "dev", seg.client) // by the site's own server
	for _, port := range []uint16{68, 4011} {
		xid := 100 + uint32(port)
		p := wirePacket{xid: xid, mac: n1, ciaddr: "10.77.0.50", options: message(fact.Request, uefiROM)}
		c.sendFrom(netip.AddrPortFrom(addr("10.77.0.50"), port), netip.MustParseAddrPort("10.77.0.1:4011"), p.bytes())
		ack := c.receive(xid, port)
		if ack.MessageType() != dhcpv4.MessageTypeAck || bootFile(ack) != "ipxe.efi" || addrOf(ack.ServerIPAddr) != addr("10.77.0.1") ||
			addrOf(ack.YourIPAddr).IsValid() || ack.Options[optUUID] == nil || ack.Options[43] != nil || c.port != 4011 || c.to != addr("10.77.0.50") {
			t.Errorf("%s, port %d: %s", c, c.port, ack.Summary())
		}
	}
	if l, ok := s.Met(addr("10.77.0.50")); !ok || l.MAC != n1 || l.Node != "n1" {
		t.Errorf("who has 10.77.0.50: %+v", l)
	}
	if got := s.leases.List(); len(got) != 0 {
		t.Errorf("leases: %v", got)
	}
}

// TestProxyLeaves what is the other server's to it, and does not count it as refused.
func TestProxyLeaves(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, func(c *Config) { c.Current = current(t, proxyFleet()) }, seg.server)
	c := seg.raw(t)
	for _, x := range []struct {
		xid    uint32
		p      wirePacket
		detail string
	}{
		{1, wirePacket{options: message(fact.Request, biosROM, opt(50, as4("10.77.0.60")...), opt(54, as4("10.77.0.9")...))}, "for the site's own DHCP server at 10.77.0.9"},
		{2, wirePacket{options: message(fact.Request, linux, opt(50, as4("10.77.0.61")...))}, "not a machine that boots: the site's own DHCP server answers it"},
		{3, wirePacket{options: message(fact.Discover, linux)}, "not a machine that boots: the site's own DHCP server answers it"},
		{4, wirePacket{ciaddr: "10.77.0.61", options: message(fact.Inform, biosROM)}, "for the site's own DHCP server"},
	} {
		x.p.xid, x.p.mac = x.xid, n1
		c.send(x.p.bytes())
		e := s.waitEvent(t, x.xid, "DHCP "+fact.Message(x.p.options[2]).String())
		if e.Result != fact.OK || e.Detail != x.detail {
			t.Errorf("%d: %s", x.xid, describe(e))
		}
	}
	c.ask(wirePacket{xid: 9, mac: n1, options: message(fact.Discover, biosROM)}) // and nothing before it
	s.waitEvent(t, 9, "DHCP Offer")
	if st := s.State(); st.Refused != 0 || st.Replied != 1 {
		t.Errorf("state: %+v", st)
	}
	for _, a := range []string{"10.77.0.60", "10.77.0.61"} {
		if l, ok := s.Met(addr(a)); !ok || l.MAC != n1 {
			t.Errorf("%s: %+v", a, l)
		}
	}
	c.send(wirePacket{xid: 10, mac: stranger, options: message(fact.Request, opt(50, as4("10.99.0.1")...))}.bytes())
	s.waitEvent(t, 10, "DHCP Request")
	if l, ok := s.Met(addr("10.99.0.1")); ok {
		t.Errorf("an address of another subnet was learned: %+v", l)
	}
}

// TestProxyRelayed has the relay agent broadcast: the machine has no address.
func TestProxyRelayed(t *testing.T) {
	seg := newSegment(t, "10.79.0.1/24")
	serve(t, func(c *Config) {
		f := proxyFleet()
		f.Subnets[0].Relays = []netip.Addr{addr("10.79.0.2")}
		f.Subnets = f.Subnets[:1]
		f.Profiles = f.Profiles[:1]
		c.Current = current(t, f)
	}, seg.server)
	seg.ip("addr", "add", "10.79.0.2/24", "dev", seg.client)
	c := seg.raw(t)
	p := wirePacket{xid: 1, mac: n1, giaddr: "10.79.0.2", options: message(fact.Discover, biosROM)}
	c.sendFrom(netip.MustParseAddrPort("10.79.0.2:67"), netip.MustParseAddrPort("10.79.0.1:67"), p.bytes())
	if r := c.receive(1, 67); !r.IsBroadcast() || r.MessageType() != dhcpv4.MessageTypeOffer || c.to != addr("10.79.0.2") {
		t.Errorf("%s: %s", c, r.Summary())
	}
}

// TestBootPort opens the boot server's port while a revision needs it, refuses to share it, and takes it once it can be had.
func TestBootPort(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	other, err := net.ListenPacket("udp4", ":4011")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	full, _ := current(t, testFleet())()
	proxy, _ := current(t, proxyFleet())()
	var now atomic.Pointer[render.Snapshot]
	now.Store(full)
	s := serve(t, func(c *Config) {
		c.Current = func() (*render.Snapshot, fact.Revision) { return now.Load(), testRevision }
	}, seg.server)
	c := seg.raw(t)
	c.ask(wirePacket{xid: 1, mac: n1, options: message(fact.Discover, biosROM)})
	if st := s.State().Interfaces[0]; st.Problem != "" || st.BootServer {
		t.Errorf("nobody needs port 4011: %+v", st)
	}

	now.Store(proxy)
	s.waitLog(t, "not serving boot requests")
	taken := "listening on " + seg.server + ": udp port 4011 is in use: another DHCP server or another hostler is running"
	if got, want := s.State().Interfaces[0].Problem, "UEFI machines find no boot file: "+taken; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	c.ask(wirePacket{xid: 2, mac: n1, options: message(fact.Discover, biosROM)}) // a BIOS boots all the same
	other.Close()
	run("ip", "addr", "add", "10.77.0.2/24", "dev", seg.server) // have it look at once
	s.waitLog(t, "\"dhcp: serving boot requests\" interface="+seg.server)
	if st := s.State().Interfaces[0]; st.Problem != "" || !st.BootServer {
		t.Errorf("state: %+v", st)
	}
	if _, err := net.ListenPacket("udp4", ":4011"); err == nil {
		t.Error("a second server gets port 4011")
	}

	now.Store(full)
	s.waitLog(t, "no subnet needs boot requests any more")
	if conn, err := net.ListenPacket("udp4", ":4011"); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
	if st := s.State().Interfaces[0]; st.BootServer {
		t.Errorf("state: %+v", st)
	}
}

// TestAcquaintances stay bounded, and the last ones are known.
func TestAcquaintances(t *testing.T) {
	snap, _ := current(t, func() *spec.Fleet {
		f := proxyFleet()
		f.Subnets[0].CIDR = netip.MustParsePrefix("10.0.0.0/8")
		return f
	}())()
	s := &Server{responder: newResponder(Config{})}
	f := fact.Facts{Message: fact.Request, MAC: n1, Requested: addr("10.0.0.1")}
	for range 3 * mostMet {
		f.Requested = f.Requested.Next()
		s.met.learn(&f, &render.Choice{Subnet: "lab"}, snap)
	}
	if n := len(s.met.byAddr) + len(s.met.older); n > 2*mostMet {
		t.Errorf("%d addresses are remembered", n)
	}
	if _, ok := s.Met(f.Requested); !ok {
		t.Error("the last one is not known")
	}
	if _, ok := s.Met(addr("10.0.0.2")); ok {
		t.Error("the first one is still known")
	}
}
