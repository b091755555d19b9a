package dhcp

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render/fact"
)

var (
	n1       = fact.MAC{0x52, 0x54, 0, 0x77, 0, 1} // declared address
	n2       = fact.MAC{0x52, 0x54, 0, 0x77, 0, 2} // address from the pool
	stranger = fact.MAC{0x52, 0x54, 0, 0x77, 0, 9}
	biosROM  = opts(opt(55, 1, 3, 6, 43, 60, 66, 67), opt(57, 5, 0xc0), opt(93, 0, 0), opt(94, 1, 2, 1),
		opt(97, append([]byte{0}, bytes.Repeat([]byte{7}, 16)...)...), text(60, "PXEClient:Arch:00000:UNDI:002001"))
	ipxe  = opts(opt(55, 1, 3, 6, 12, 67), text(77, "iPXE"), opt(61, 1, 2, 3), opt(93, 0, 0))
	linux = opts(opt(55, 1, 3, 6, 12, 15), opt(61, 0xff, 1, 2, 3, 4, 5))
)

func message(m fact.Message, more ...[]byte) []byte {
	return append(opt(53, byte(m)), opts(more...)...)
}

func as4(s string) []byte { return addr(s).AsSlice() }

// selecting are the options that take up an offer.
func selecting(offer *dhcpv4.DHCPv4, more ...[]byte) []byte {
	return message(fact.Request, opt(50, offer.YourIPAddr.To4()...), opt(54, offer.Options[54]...), opts(more...))
}

// TestOneAddress plays ROM, iPXE and operating system of one machine, with three client identifiers: they get one address.
func TestOneAddress(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, nil, seg.server)
	c := seg.raw(t)
	xid := uint32(1)
	for _, client := range []struct {
		name, file string
		options    []byte
	}{
		{"rom", "undionly.kpxe", biosROM},
		{"ipxe", "http://10.77.0.1:8080/boot/v1/bootscript?mac=52:54:00:77:00:02", ipxe},
		{"os", "", linux},
	} {
		t.Run(client.name, func(t *testing.T) {
			offer := c.ask(wirePacket{xid: xid, mac: n2, options: message(fact.Discover, client.options)})
			ack := c.ask(wirePacket{xid: xid, mac: n2, options: selecting(offer, client.options)})
			for _, p := range []*dhcpv4.DHCPv4{offer, ack} {
				if got := addrOf(p.YourIPAddr); got != addr("10.77.0.100") {
					t.Errorf("%s of %s, want 10.77.0.100", p.MessageType(), got)
				}
				if bootFile(p) != client.file {
					t.Errorf("%s with file %q, want %q", p.MessageType(), bootFile(p), client.file)
				}
			}
			if ack.MessageType() != dhcpv4.MessageTypeAck || addrOf(ack.Options[54]) != addr("10.77.0.1") {
				t.Errorf("reply: %s", ack.Summary())
			}
			if c.String() != "from 10.77.0.1 to 10.77.0.100 at "+n2.String() || c.length < 300 {
				t.Errorf("%d bytes %s", c.length, c)
			}
			xid++
		})
	}
	s.waitEvent(t, 3, "DHCP ACK")
	want := `DHCP Discover discover rom 52:54:00:77:00:02 ok | n2 | main@sha1:0123456789ab
DHCP Offer offer rom 52:54:00:77:00:02 ok | n2 | main@sha1:0123456789ab | undionly.kpxe
DHCP Request request rom 52:54:00:77:00:02 ok | n2 | main@sha1:0123456789ab
DHCP ACK ack rom 52:54:00:77:00:02 ok | n2 | main@sha1:0123456789ab | undionly.kpxe
DHCP Discover discover ipxe 52:54:00:77:00:02 ok | n2 | main@sha1:0123456789ab
DHCP Offer offer ipxe 52:54:00:77:00:02 ok | n2 | main@sha1:0123456789ab | http://10.77.0.1:8080/boot/v1/bootscript?mac=52:54:00:77:00:02
DHCP Request request ipxe 52:54:00:77:00:02 ok | n2 | main@sha1:0123456789ab
DHCP ACK ack ipxe 52:54:00:77:00:02 ok | n2 | main@sha1:0123456789ab | http://10.77.0.1:8080/boot/v1/bootscript?mac=52:54:00:77:00:02
DHCP Discover discover os 52:54:00:77:00:02 ok | n2 | main@sha1:0123456789ab
DHCP Offer offer os 52:54:00:77:00:02 ok | n2 | main@sha1:0123456789ab
DHCP Request request os 52:54:00:77:00:02 ok | n2 | main@sha1:0123456789ab
DHCP ACK ack os 52:54:00:77:00:02 ok | n2 | main@sha1:0123456789ab
`
	if d := cmp.Diff(want, s.said()); d != "" {
		t.Error(d)
	}
	if l, ok := s.leases.Holder(addr("10.77.0.100")); !ok || l.State != fact.Bound || l.Expires.Sub(l.Start).Minutes() < 10 {
		t.Errorf("lease: %+v", l)
	}
}

// TestEcho wants back what clients and relay agents want back.
func TestEcho(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	serve(t, nil, seg.server)
	p := seg.raw(t).ask(wirePacket{xid: 1, mac: n1, options: message(fact.Discover, biosROM, opt(61, 1, 9, 9), opt(82, 1, 2, 'e', '0'))})
	for code, want := range map[uint8][]byte{
		61: {1, 9, 9}, 82: {1, 2, 'e', '0'}, 97: append([]byte{0}, bytes.Repeat([]byte{7}, 16)...),
		54: as4("10.77.0.1"), 51: {0, 0, 2, 0x58}, 1: {255, 255, 255, 0},
	} {
		if !bytes.Equal(p.Options[code], want) {
			t.Errorf("option %d is % x, want % x", code, p.Options[code], want)
		}
	}
	if addrOf(p.ServerIPAddr) != addr("10.77.0.1") {
		t.Errorf("siaddr %s", p.ServerIPAddr)
	}
}

// TestRequestStates plays the four states of RFC 2131 section 4.3.2 and what may go wrong in them.
func TestRequestStates(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	run("ip", "addr", "add", "10.78.0.1/16", "dev", seg.server)
	s := serve(t, nil, seg.server)
	c := seg.raw(t)
	xid := uint32(100)
	ask := func(ciaddr string, options ...[]byte) *dhcpv4.DHCPv4 {
		t.Helper()
		xid++
		return c.ask(wirePacket{xid: xid, mac: n1, ciaddr: ciaddr, options: message(fact.Request, options...)})
	}
	want := func(p *dhcpv4.DHCPv4, m dhcpv4.MessageType, how string) {
		t.Helper()
		if p.MessageType() != m || c.String() != how {
			t.Errorf("%s %s, want %s %s", p.MessageType(), c, m, how)
		}
	}
	everybody := "from 10.77.0.1 to 255.255.255.255 at ff:ff:ff:ff:ff:ff"

	want(ask("", opt(50, as4("10.77.0.11")...)), dhcpv4.MessageTypeAck, "from 10.77.0.1 to 10.77.0.11 at "+n1.String()) // init-reboot
	nak := ask("", opt(50, as4("10.77.0.99")...), biosROM)
	want(nak, dhcpv4.MessageTypeNak, everybody)
	if got := nak.Options[optReason]; string(got) == "" {
		t.Error("a NAK without a reason")
	}
	for code := range nak.Options {
		if code != optMessage && code != optServerID && code != optReason {
			t.Errorf("a NAK with option %d", code)
		}
	}

	seg.ip("addr", "add", "10.77.0.11/24", "dev", seg.client)
	seg.ip("link", "set", seg.client, "address", n1.String())
	renewed := ask("10.77.0.11") // renewing and rebinding: by the kernel's route, to the address that it has
	want(renewed, dhcpv4.MessageTypeAck, "from 10.77.0.1 to 10.77.0.11 at "+n1.String())
	if addrOf(renewed.ClientIPAddr) != addr("10.77.0.11") {
		t.Errorf("ciaddr %s", renewed.ClientIPAddr)
	}

	xid++
	c.send(wirePacket{xid: xid, mac: n1, options: message(fact.Request, opt(50, as4("10.77.0.11")...), opt(54, 10, 77, 0, 2))}.bytes())
	if e := s.waitEvent(t, xid, "DHCP Request"); e.Result != fact.Refused || e.Detail != "request: selects server 10.77.0.2" {
		t.Errorf("another server's: %s", describe(e))
	}
	xid++ // the broadcast flag of a client that cannot take unicast yet
	p := c.ask(wirePacket{xid: xid, mac: n1, flags: 0x8000, options: message(fact.Discover)})
	want(p, dhcpv4.MessageTypeOffer, everybody)
}

// TestSilence keeps silent towards strangers, and says so.
func TestSilence(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, nil, seg.server)
	c := seg.raw(t)
	for xid, options := range map[uint32][]byte{1: message(fact.Discover), 2: message(fact.Request, opt(50, as4("10.77.0.5")...))} {
		c.send(wirePacket{xid: xid, mac: stranger, options: options}.bytes())
		what := "DHCP " + fact.Message(options[2]).String()
		e := s.waitEvent(t, xid, what)
		if e.Result != fact.Refused || e.Detail != "unknown machine: subnet lab has no unknown group" {
			t.Errorf("got %s", describe(e))
		}
	}
	if p := c.ask(wirePacket{xid: 3, mac: n1, options: message(fact.Discover)}); p.MessageType() != dhcpv4.MessageTypeOffer {
		t.Error(p)
	}
	s.waitEvent(t, 3, "DHCP Offer")
	if st := s.State(); st.Refused != 2 || st.Replied != 1 || st.Received != 3 {
		t.Errorf("state: %+v", st)
	}
}

// TestExhausted makes a full pool an event.
func TestExhausted(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, nil, seg.server)
	for i := range 3 {
		a := netip.AddrFrom4([4]byte{10, 77, 0, byte(100 + i)})
		_, _ = s.leases.Offer(fact.Claim{MAC: fact.MAC{2, 0, 0, 0, 0, byte(i)}, Subnet: "lab", Pool: "boot", Ranges: []fact.Range{{First: a, Last: a}}})
	}
	seg.raw(t).send(wirePacket{xid: 7, mac: n2, options: message(fact.Discover)}.bytes())
	e := s.waitEvent(t, 7, "DHCP Discover")
	if got, want := describe(e), "DHCP Discover discover os 52:54:00:77:00:02 refused | n2 | main@sha1:0123456789ab | pool boot: exhausted: no address is free: pool boot of subnet lab\n"; got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

// TestOtherServerChosen frees what was offered to a machine that then chose another server.
func TestOtherServerChosen(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, nil, seg.server)
	c := seg.raw(t)
	offered := addrOf(c.ask(wirePacket{xid: 1, mac: n2, options: message(fact.Discover)}).YourIPAddr)
	other := fact.Claim{MAC: fact.MAC{2, 0, 0, 0, 0, 9}, Subnet: "lab", Pool: "boot", Ranges: []fact.Range{{First: offered, Last: offered}}}
	if l, err := s.leases.Offer(other); err == nil {
		t.Fatalf("%s is offered twice", l.Addr)
	}
	c.send(wirePacket{xid: 2, mac: n2, options: message(fact.Request, opt(50, offered.AsSlice()...), opt(54, 10, 77, 0, 66))}.bytes())
	s.waitEvent(t, 2, "DHCP Request")
	if _, err := s.leases.Offer(other); err != nil {
		t.Error(err)
	}
}

// TestReleaseAndDecline gives addresses back: neither has a reply.
func TestReleaseAndDecline(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, func(c *Config) {
		f := testFleet()
		f.Subnets[0].Quarantine = 3 * time.Minute
		c.Current = current(t, f)
	}, seg.server)
	c := seg.raw(t)
	lease := func(xid uint32) netip.Addr {
		t.Helper()
		return addrOf(c.ask(wirePacket{xid: xid, mac: n2, options: selecting(c.ask(wirePacket{xid: xid, mac: n2, options: message(fact.Discover)}))}).YourIPAddr)
	}
	xid := uint32(10)
	tell := func(mac fact.MAC, m fact.Message, ciaddr string, options ...[]byte) string {
		t.Helper()
		xid++
		c.send(wirePacket{xid: xid, mac: mac, ciaddr: ciaddr, options: message(m, options...)}.bytes())
		e := s.waitEvent(t, xid, "DHCP "+m.String())
		return string(e.Result) + ": " + e.Detail
	}
	want := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	us := opt(54, as4("10.77.0.1")...)
	first := lease(1)
	want(tell(n1, fact.Release, first.String(), us), "refused: releasing 10.77.0.100: not this machine's")
	want(tell(n2, fact.Release, first.String(), opt(54, 10, 77, 0, 2)), "refused: for another server: 10.77.0.2")
	want(tell(n2, fact.Release, "", us), "refused: releasing no address: not this machine's")
	want(tell(n2, fact.Release, first.String(), us), "ok: released 10.77.0.100")
	want(tell(n2, fact.Release, first.String(), us), "refused: releasing 10.77.0.100: not this machine's")

	second := lease(2)
	want(tell(n1, fact.Decline, "", us, opt(50, second.AsSlice()...)), "refused: declining 10.77.0.100: not this machine's")
	want(tell(n2, fact.Decline, "", opt(54, 10, 77, 0, 2), opt(50, second.AsSlice()...)), "refused: for another server: 10.77.0.2")
	want(tell(n2, fact.Decline, "", us, opt(50, second.AsSlice()...)), "failed: 10.77.0.100 is used by another machine too; it is not offered for 3m0s")
	if l := s.leases.List()[0]; l.Addr != second || l.State != fact.Declined || l.MAC != n2 || l.Node != "n2" || l.Expires.Sub(l.Start) != 3*time.Minute {
		t.Errorf("listed: %+v", l)
	}
	if third := lease(3); third == second {
		t.Errorf("the declined address %s was offered again", third)
	}
	lease1 := c.ask(wirePacket{xid: 4, mac: n1, options: message(fact.Request, opt(50, as4("10.77.0.11")...))})
	want(tell(n1, fact.Decline, "", us, opt(50, lease1.YourIPAddr...)), "failed: 10.77.0.11 is used by another machine too; it is declared, so it stays in use")
	want(tell(n1, fact.Decline, "", us, opt(50, 10, 77, 0, 50)), "refused: declining 10.77.0.50: not this machine's")
	want(tell(n1, 13, ""), "refused: message 13 is not served")
}

// TestNakOfHolder refuses by NAK, on a subnet that is not ours alone, only machines that hold a lease of ours.
func TestNakOfHolder(t *testing.T) {
	seg := newSegment(t, "10.78.0.1/16")
	s := serve(t, func(c *Config) {
		f := testFleet()
		f.Subnets[1].Authoritative = false
		c.Current = current(t, f)
	}, seg.server)
	c := seg.raw(t)
	elsewhere := message(fact.Request, opt(50, as4("10.99.0.1")...))
	c.send(wirePacket{xid: 1, mac: stranger, options: elsewhere}.bytes())
	if e := s.waitEvent(t, 1, "DHCP Request"); e.Result != fact.Refused || e.Detail != "address 10.99.0.1: "+stranger.String()+" has no lease of it here, and others may give addresses too" {
		t.Error(describe(e))
	}
	c.ask(wirePacket{xid: 2, mac: stranger, options: selecting(c.ask(wirePacket{xid: 2, mac: stranger, options: message(fact.Discover)}))})
	if p := c.ask(wirePacket{xid: 3, mac: stranger, options: elsewhere}); p.MessageType() != dhcpv4.MessageTypeNak {
		t.Error(p.Summary())
	}
}

// TestBOOTP answers clients that are older than DHCP (RFC 951, RFC 1534), when they are declared with an address: in 300 bytes, with
// nothing of what BOOTP does not know. A lease from a pool would end without their knowledge.
func TestBOOTP(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, nil, seg.server)
	c := seg.raw(t)
	p := c.ask(wirePacket{xid: 1, mac: n1})
	if addrOf(p.YourIPAddr) != addr("10.77.0.11") || addrOf(p.ServerIPAddr) != addr("10.77.0.1") || p.BootFileName != "undionly.kpxe" {
		t.Error(p.Summary())
	}
	if got := c.String(); got != "from 10.77.0.1 to 10.77.0.11 at "+n1.String() || c.length != 300 {
		t.Errorf("%d bytes %s", c.length, got)
	}
	for code := range p.Options {
		switch code {
		case optMessage, optServerID, optLeaseTime, optRenewal, optRebinding:
			t.Errorf("option %d", code)
		}
	}
	if p.Options[optMask] == nil || p.Options[optRouter] == nil {
		t.Error(p.Summary())
	}
	s.waitEvent(t, 1, "BOOTP Reply")
	if l, ok := s.leases.Holder(addr("10.77.0.11")); !ok || l.MAC != n1 { // servers of files know the machine by it
		t.Errorf("lease: %+v", l)
	}
	want := "BOOTP Request discover rom 52:54:00:77:00:01 ok | n1 | main@sha1:0123456789ab\n" +
		"BOOTP Reply ack rom 52:54:00:77:00:01 ok | n1 | main@sha1:0123456789ab | undionly.kpxe\n"
	if d := cmp.Diff(want, s.said()); d != "" {
		t.Error(d)
	}
	old := append(wirePacket{xid: 9, mac: n1}.bytes()[:236], make([]byte, 64)...) // without RFC 1497's magic cookie
	c.send(old)
	if p := c.receive(9, 68); addrOf(p.YourIPAddr) != addr("10.77.0.11") || p.BootFileName != "undionly.kpxe" {
		t.Error(p.Summary())
	}
	c.send(wirePacket{xid: 2, mac: n2}.bytes())
	e := s.waitEvent(t, 2, "BOOTP Request")
	if e.Result != fact.Refused || e.Detail != "bootp: no declared address, and a lease from a pool ends, which BOOTP cannot say" {
		t.Error(describe(e))
	}
	c.send(wirePacket{xid: 3, mac: stranger}.bytes())
	if e := s.waitEvent(t, 3, "BOOTP Request"); e.Result != fact.Refused || e.Detail != "unknown machine: subnet lab has no unknown group" {
		t.Error(describe(e))
	}
}

// TestInform answers a machine that has an address by other means: options, but no address and no lease.
func TestInform(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, nil, seg.server)
	seg.ip("addr", "add", "10.77.0.11/24", "dev", seg.client)
	p := seg.raw(t).ask(wirePacket{xid: 1, mac: n1, ciaddr: "10.77.0.11", options: message(fact.Inform)})
	if p.MessageType() != dhcpv4.MessageTypeAck || addrOf(p.YourIPAddr).IsValid() || p.Options[optLeaseTime] != nil || p.Options[optMask] == nil {
		t.Error(p.Summary())
	}
	if got := s.leases.List(); len(got) != 0 {
		t.Errorf("leases: %v", got)
	}
}

// TestRelay answers to the relay agent, from the server's address, and forces the broadcast flag of a NAK.
func TestRelay(t *testing.T) {
	seg := newSegment(t, "10.79.0.1/24")
	serve(t, nil, seg.server)
	seg.ip("addr", "add", "10.79.0.2/24", "dev", seg.client)
	c := seg.raw(t)
	relay := func(xid uint32, options []byte) *dhcpv4.DHCPv4 {
		t.Helper()
		p := wirePacket{xid: xid, mac: stranger, giaddr: "10.79.0.2", options: append(options, opt(82, 1, 1, 'x')...)}
		c.sendFrom(netip.MustParseAddrPort("10.79.0.2:67"), netip.MustParseAddrPort("10.79.0.1:67"), p.bytes())
		r := c.receive(xid, 67)
		if c.server != addr("10.79.0.1") || c.to != addr("10.79.0.2") || addrOf(r.GatewayIPAddr) != addr("10.79.0.2") || string(r.Options[82]) != "\x01\x01x" {
			t.Errorf("%s: %s", c, r.Summary())
		}
		return r
	}
	offer := relay(1, message(fact.Discover))
	if offer.MessageType() != dhcpv4.MessageTypeOffer || addrOf(offer.YourIPAddr) != addr("10.78.1.0") || offer.IsBroadcast() {
		t.Error(offer.Summary())
	}
	if ack := relay(2, selecting(offer)); ack.MessageType() != dhcpv4.MessageTypeAck {
		t.Error(ack.Summary())
	}
	if nak := relay(3, message(fact.Request, opt(50, as4("10.78.9.9")...))); nak.MessageType() != dhcpv4.MessageTypeNak || !nak.IsBroadcast() {
		t.Error(nak.Summary())
	}
}

// TestSourceAddress sends every reply from the server's declared address, although the interface has another one first.
func TestSourceAddress(t *testing.T) {
	seg := newSegment(t, "10.77.0.200/24")
	run("ip", "addr", "add", "10.77.0.1/24", "dev", seg.server)
	seg.ip("addr", "add", "10.77.0.11/24", "dev", seg.client)
	serve(t, func(c *Config) {
		f := testFleet()
		f.Subnets[0].BootServers = []netip.Addr{addr("10.77.0.1")}
		c.Current = current(t, f)
	}, seg.server)
	c := seg.raw(t)
	for i, p := range []wirePacket{
		{options: message(fact.Discover)},
		{flags: 0x8000, options: message(fact.Discover)},
		{ciaddr: "10.77.0.11", options: message(fact.Request)},
	} {
		p.xid, p.mac = uint32(i), n1
		if r := c.ask(p); c.server != addr("10.77.0.1") || addrOf(r.Options[optServerID]) != addr("10.77.0.1") {
			t.Errorf("%d: %s", i, c)
		}
	}
}

// TestGarbage survives whatever comes, and names it.
func TestGarbage(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, nil, seg.server)
	c := seg.raw(t)
	reply := wirePacket{op: 2, options: message(fact.Offer)}
	cut := wirePacket{options: message(fact.Discover)}.bytes()
	for _, b := range [][]byte{nil, {1}, []byte("GET / HTTP/1.0\r\n\r\n"), bytes.Repeat([]byte{0xff}, 1400), reply.bytes(), cut[:len(cut)-2], cut[:100]} {
		c.send(b)
	}
	if p := c.ask(wirePacket{xid: 1, mac: n1, options: message(fact.Discover)}); p.MessageType() != dhcpv4.MessageTypeOffer {
		t.Error(p)
	}
	s.wait(t, "seven refusals", func() bool {
		n := 0
		for _, e := range s.events {
			if e.What == "DHCP" && e.Result == fact.Refused {
				n++
			}
		}
		return n == 7
	})
}
