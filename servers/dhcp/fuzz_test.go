package dhcp

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/rogpeppe/go-internal/txtar"

	"hostler/render/fact"
)

// seeds are packets that lead into each branch, and what real clients sent.
func seeds(f *testing.F) (all [][]byte) {
	for _, p := range []wirePacket{
		{mac: n1, options: message(fact.Discover, biosROM)},
		{mac: n2, options: message(fact.Discover, ipxe)},
		{mac: stranger, options: message(fact.Discover)},
		{mac: stranger, giaddr: "10.79.0.2", options: message(fact.Discover, opt(82, 5, 4, 10, 78, 0, 0, 11, 4, 10, 78, 0, 1, 19, 0))},
		{mac: stranger, giaddr: "10.79.0.2", options: message(fact.Request, opt(50, 10, 78, 1, 0), opt(54, 10, 77, 0, 1), opt(51, 255, 255, 255, 255))},
		{mac: n1, options: message(fact.Request, opt(50, 10, 77, 0, 11), opt(54, 10, 77, 0, 1))},
		{mac: n1, options: message(fact.Request, opt(50, 10, 77, 0, 99))},
		{mac: n2, ciaddr: "10.77.0.100", options: message(fact.Request)},
		{mac: n2, options: message(fact.Decline, opt(50, 10, 77, 0, 100), opt(54, 10, 77, 0, 1))},
		{mac: n2, ciaddr: "10.77.0.100", options: message(fact.Release, opt(54, 10, 77, 0, 1))},
		{mac: n1, ciaddr: "10.77.0.11", options: message(fact.Inform, opt(57, 2, 64))},
		{mac: n1}, // BOOTP
	} {
		all = append(all, p.bytes())
	}
	a, err := txtar.ParseFile(captures)
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range a.Files {
		if strings.HasSuffix(file.Name, ".hex") {
			all = append(all, unhex(f, file.Data))
		}
	}
	return append(all, wirePacket{mac: n1}.bytes()[:236], []byte("not DHCP at all"))
}

// fuzzed is a server without sockets, and an interface that there is not.
func fuzzed(t testing.TB) (*Server, *attachment) {
	leases := newLeases(t)
	cfg := (&served{recorder: newRecorder(), leases: leases}).config(t, "nosuch0")
	cfg.Event, cfg.Log = nil, nil
	s, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	link := &attachment{ifi: net.Interface{Name: "nosuch0", MTU: 1500}, port: 67}
	link.ingress.Store(&fact.Ingress{Interface: "nosuch0", Owned: []netip.Addr{addr("10.77.0.1"), addr("10.78.0.1")},
		Prefixes: []netip.Prefix{netip.MustParsePrefix("10.77.0.1/24"), netip.MustParsePrefix("10.78.0.1/16")}})
	return s, link
}

// FuzzExchange answers any two datagrams, one after the other, by the whole server but for its sockets. Whatever they say, a reply is to
// the machine that asked and of a length that it can take, and no address is anybody else's.
func FuzzExchange(f *testing.F) {
	for _, a := range seeds(f) {
		for _, b := range seeds(f) {
			f.Add(a, b, false)
		}
		f.Add(a, a, true)
	}
	for pair := range slices.Chunk(firmwarePackets(f), 2) { // a DISCOVER and its REQUEST
		f.Add(pair[0].data, pair[len(pair)-1].data, false)
	}
	s, link := fuzzed(f)
	f.Fuzz(func(t *testing.T, first, second []byte, routed bool) {
		for _, b := range [][]byte{first, second} {
			answerAny(t, s, link, b, routed)
		}
	})
}

func answerAny(t *testing.T, s *Server, link *attachment, b []byte, routed bool) {
	buf := make([]byte, 2048)
	req := new(dhcpv4.DHCPv4)
	err := decode(req, buf, min(copy(buf, b), len(buf)-1))
	if err != nil {
		return
	}
	x := &exchange{start: s.cfg.Now(), req: req, link: link, result: fact.OK, peer: netip.MustParseAddrPort("0.0.0.0:68")}
	if x.facts, err = factsOf(req, *link.ingress.Load()); err != nil {
		return
	}
	if routed {
		x.peer = netip.AddrPortFrom(addrOf(req.ClientIPAddr), 68)
		x.addressed(addr("10.77.0.1"))
	}
	resp := s.traverse(x)
	if resp == nil {
		return
	}
	yours, mac := addrOf(resp.YourIPAddr), x.facts.MAC
	if l, held := s.cfg.Leases.Holder(yours); held && l.MAC != mac {
		t.Errorf("%s is told %s, which is leased to %s", mac, yours, l.MAC)
	}
	if yours == addr("10.77.0.11") && mac != n1 {
		t.Errorf("%s is told the declared address of %s", mac, n1)
	}
	if x.commit != nil {
		if x.commit.Addr != yours || x.commit.MAC != mac {
			t.Errorf("%s is told %s, and %+v is written", mac, yours, x.commit)
		}
		done := make(chan error, 1)
		s.cfg.Leases.Bind(*x.commit, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	size := limit(&x.facts, link.ifi.MTU)
	out, _ := new(paper).encode(resp, &x.facts, size)
	echoed := len(req.Options[optRelay]) + len(req.Options[optClientID]) + len(req.Options[optUUID])
	if len(out) < bootpLen || len(out) > size+echoed+20 { // what must be echoed is
		t.Errorf("%d bytes in room for %d", len(out), size)
	}
	back, err := parsed(out)
	if err != nil {
		t.Fatal(err)
	}
	if back.TransactionID != req.TransactionID || string(back.ClientHWAddr) != string(mac[:]) || back.OpCode != 2 {
		t.Errorf("the reply is to somebody else: %s", back.Summary())
	}
	if r := routeOf(x, resp, 68); r.to.Port() == 0 && x.peer.Port() != 0 || !r.to.Addr().Is4() {
		t.Errorf("to %s", r.to)
	}
	s.report.reply(x, resp, len(out), nil)
}
