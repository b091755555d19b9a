package dhcp

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/coredhcp/coredhcp/config"
	"github.com/coredhcp/coredhcp/handler"
	"github.com/coredhcp/coredhcp/plugins"
	"github.com/coredhcp/coredhcp/server"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"hostler/render"
	"hostler/render/fact"
)

// TestDurable holds an ACK back until the lease is written, while the same worker answers other requests.
func TestDurable(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	var mu sync.Mutex
	var waiting []func(error)
	written := make(chan struct{}, 8)
	s := serve(t, func(c *Config) {
		c.Leases.(*testLeases).disk = func(done func(error)) {
			mu.Lock()
			waiting = append(waiting, done)
			mu.Unlock()
			written <- struct{}{}
		}
	}, seg.server)
	flush := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		for _, done := range waiting {
			done(err)
		}
		waiting = nil
	}
	c := seg.raw(t)
	request := wirePacket{xid: 1, mac: n1, options: message(fact.Request, opt(50, as4("10.77.0.11")...))}
	c.send(request.bytes())
	<-written
	for xid := uint32(2); xid < 20; xid++ { // the same machine, so the same worker, many times
		c.ask(wirePacket{xid: xid, mac: n1, options: message(fact.Discover)})
	}
	s.wait(t, "no ACK", func() bool { return !strings.Contains(describe(s.events...), "DHCP ACK") })
	flush(nil)
	if p := c.receive(1, 68); p.MessageType() != dhcpv4.MessageTypeAck {
		t.Error(p.Summary())
	}

	request.xid = 30
	c.send(request.bytes())
	<-written
	flush(errors.New("writing journal: no space left on device"))
	e := s.waitEvent(t, 30, "DHCP ACK")
	if got, want := describe(e), "DHCP ACK ack os 52:54:00:77:00:01 failed | n1 | main@sha1:0123456789ab | lease not written, so there is no ACK: writing journal: no space left on device\n"; got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if got, want := s.State().LeaseError, "writing journal: no space left on device"; got != want {
		t.Errorf("state: %q", got)
	}
	request.xid = 31
	c.send(request.bytes())
	<-written
	flush(nil)
	if p := c.receive(31, 68); p.MessageType() != dhcpv4.MessageTypeAck { // and nothing of transaction 30 before it
		t.Error(p.Summary())
	}
	if got := s.State().LeaseError; got != "" {
		t.Errorf("state: %q", got)
	}
}

// register makes a plugin known to coredhcp for the time of the test.
func register(t *testing.T, ps ...*plugins.Plugin) {
	t.Helper()
	for _, p := range ps {
		if err := plugins.RegisterPlugin(p); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { delete(plugins.RegisteredPlugins, p.Name) })
	}
}

func plugin(name string, h handler.Handler4) *plugins.Plugin {
	return &plugins.Plugin{Name: name, Setup4: func(...string) (handler.Handler4, error) { return h, nil }}
}

// TestChain puts coredhcp's own plugins before and after ours.
func TestChain(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, func(c *Config) {
		c.Before = []config.PluginConfig{{Name: "sleep", Args: []string{"1ms"}}, {Name: "mtu", Args: []string{"9000"}}}
		c.After = []config.PluginConfig{{Name: "searchdomains", Args: []string{"lab.example"}}}
	}, seg.server)
	p := seg.raw(t).ask(wirePacket{xid: 1, mac: n1, options: message(fact.Discover, opt(55, 1, 26))})
	if got := p.Options[26]; string(got) != "\x23\x28" {
		t.Errorf("mtu % x", got)
	}
	if got := p.DomainSearch(); got == nil || got.String() != "[lab.example]" {
		t.Errorf("search domains %v", got)
	}
	if got := strings.Join(s.State().Plugins, " "); got != "sleep mtu hostler searchdomains" {
		t.Errorf("plugins: %s", got)
	}
	// A second server of the process is built with the same plugins: coredhcp's map must not know them any more.
	serve(t, func(c *Config) {
		c.After = []config.PluginConfig{{Name: "searchdomains", Args: []string{"lab.example"}}}
	}, newSegment(t, "10.78.0.1/16").server)
}

// TestChainEndsEarly drops what a plugin before ours makes of a request without us: it has no address, no server and no decision.
func TestChainEndsEarly(t *testing.T) {
	register(t, plugin("early", func(_, resp *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, bool) { return resp, true }))
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, func(c *Config) { c.Before = []config.PluginConfig{{Name: "early"}} }, seg.server)
	seg.raw(t).send(wirePacket{xid: 1, mac: n1, options: message(fact.Discover)}.bytes())
	if e := s.waitEvent(t, 1, "DHCP Discover"); e.Result != fact.Refused || e.Detail != "answered by another plugin before hostler could" {
		t.Error(describe(e))
	}
}

// TestChainErrors refuses chains that cannot be built.
func TestChainErrors(t *testing.T) {
	for _, c := range []struct{ plugin, want string }{
		{"nosuch", "dhcp: plugin nosuch: there is none of that name; there are dns, ipv6only, mtu, netmask, router, searchdomains, sleep, staticroute"},
		{"range", "dhcp: plugin range: not beside hostler: it gives addresses that this server knows nothing of"},
		{"mtu", "dhcp: loading plugins: need one mtu value"},
		{"hostler", "dhcp: plugin hostler: it always is in the chain, and only once"},
	} {
		cfg := (&served{recorder: newRecorder()}).config(t, "lo")
		cfg.After = []config.PluginConfig{{Name: c.plugin}}
		if _, err := Listen(cfg); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	if len(plugins.RegisteredPlugins) != 0 {
		t.Errorf("left behind: %v", plugins.RegisteredPlugins)
	}
	for _, c := range []struct {
		before, after, want string
	}{
		{"mtu", "mtu", "plugin mtu: it can be in the chain only once"},
		{"ipv6only", "dns", "plugin ipv6only: it ends the chain for some machines, so it cannot be before hostler"},
	} {
		if err := CheckPlugins([]config.PluginConfig{{Name: c.before}}, []config.PluginConfig{{Name: c.after}}); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	if _, err := Listen((&served{recorder: newRecorder()}).config(t)); err == nil || err.Error() != "dhcp: no interface is named" {
		t.Errorf("got %v", err)
	}
}

// TestOtherPlugins are those that panic, take a reply away, answer themselves, or change an address behind our back.
func TestOtherPlugins(t *testing.T) {
	for _, c := range []struct {
		name  string
		after handler.Handler4
		want  string // of the request's event
	}{
		{"panic", func(_, _ *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, bool) { panic("oh no") }, "failed | n1 | main@sha1:0123456789ab | panic: oh no"},
		{"drop", func(_, _ *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, bool) { return nil, true }, "refused | n1 | main@sha1:0123456789ab | dropped by another plugin"},
		{"readdress", func(_, resp *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, bool) {
			resp.YourIPAddr = net.IPv4(10, 77, 0, 99)
			return resp, false
		}, "failed | n1 | main@sha1:0123456789ab | another plugin changed the address from 10.77.0.11 to 10.77.0.99"},
	} {
		t.Run(c.name, func(t *testing.T) {
			register(t, plugin(c.name, func(req, resp *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, bool) {
				if req.MessageType() == dhcpv4.MessageTypeDiscover {
					return resp, false
				}
				return c.after(req, resp)
			}))
			seg := newSegment(t, "10.77.0.1/24")
			s := serve(t, func(cfg *Config) { cfg.After = []config.PluginConfig{{Name: c.name}} }, seg.server)
			client := seg.raw(t)
			client.send(wirePacket{xid: 1, mac: n1, options: message(fact.Request, opt(50, as4("10.77.0.11")...))}.bytes())
			if got, want := describe(s.waitEvent(t, 1, "DHCP Request")), "DHCP Request request os 52:54:00:77:00:01 "+c.want+"\n"; got != want {
				t.Errorf("got  %swant %s", got, want)
			}
			if p := client.ask(wirePacket{xid: 2, mac: n1, options: message(fact.Discover)}); p.MessageType() != dhcpv4.MessageTypeOffer {
				t.Error(p.Summary()) // the server lives
			}
			if l, _ := s.leases.Holder(addr("10.77.0.11")); l.State == fact.Bound {
				t.Errorf("bound: %+v", l)
			}
			if c.name == "panic" {
				s.waitLog(t, "serve_test.go") // the stack
			}
		})
	}
}

// TestCoredhcpServer runs the plugin under coredhcp's own server, with the same answers.
func TestCoredhcpServer(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := &served{recorder: newRecorder(), leases: newLeases(t)}
	register(t, Plugin("hostler-alone", s.config(t)))
	conf := &config.Config{Server4: &config.ServerConfig{
		Addresses: []net.UDPAddr{{IP: net.IPv4zero, Port: 67, Zone: seg.server}},
		Plugins:   []config.PluginConfig{{Name: "hostler-alone", Args: []string{seg.server}}},
	}}
	srv, err := server.Start(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { srv.Close(); _ = srv.Wait() }()
	c := seg.raw(t)
	offer := c.ask(wirePacket{xid: 1, mac: n2, options: message(fact.Discover, biosROM)})
	ack := c.ask(wirePacket{xid: 1, mac: n2, options: selecting(offer, biosROM)})
	if addrOf(ack.YourIPAddr) != addr("10.77.0.100") || bootFile(ack) != "undionly.kpxe" || ack.Options[optUUID] == nil {
		t.Error(ack.Summary())
	}
	if l, ok := s.leases.Holder(addr("10.77.0.100")); !ok || l.State != fact.Bound {
		t.Errorf("lease: %+v", l)
	}
	c.send(wirePacket{xid: 2, mac: n2, ciaddr: "10.77.0.100", options: message(fact.Release, opt(54, as4("10.77.0.1")...))}.bytes())
	if e := s.waitEvent(t, 2, "DHCP Release"); e.Result != fact.OK {
		t.Error(describe(e))
	}
	s.leases.disk = func(done func(error)) { done(errors.New("disk full")) }
	c.send(wirePacket{xid: 3, mac: n1, options: message(fact.Request, opt(50, as4("10.77.0.11")...))}.bytes())
	if e := s.waitEvent(t, 3, "DHCP ACK"); e.Result != fact.Failed || e.Detail != "lease not written, so there is no ACK: disk full" {
		t.Error(describe(e))
	}
}

// TestInterfaces has an interface appear, change its addresses, vanish and come back while the server runs.
func TestInterfaces(t *testing.T) {
	const name = "late0"
	s := serve(t, nil, name)
	if got := s.State().Interfaces[0]; got.Listening || got.Problem != "there is no such interface" {
		t.Errorf("state: %+v", got)
	}
	for range 2 {
		seg := newSegment(t, "")
		run("ip", "link", "set", seg.server, "down")
		run("ip", "link", "set", seg.server, "name", name)
		run("ip", "link", "set", name, "up")
		seg.server = name
		seg.carrier(t)
		c := seg.raw(t)
		s.wait(t, "listening", func() bool { return s.State().Interfaces[0].Listening })
		c.send(wirePacket{xid: 1, mac: n1, options: message(fact.Discover)}.bytes())
		if e := s.waitEvent(t, 1, "DHCP Discover"); e.Detail != "no subnet: nothing is declared for interface late0" {
			t.Errorf("without an address: %s", describe(e))
		}
		run("ip", "addr", "add", "10.77.0.1/24", "dev", name)
		s.waitLog(t, `msg="dhcp: addresses changed" interface=late0 address=[10.77.0.1/24]`)
		if p := c.ask(wirePacket{xid: 2, mac: n1, options: message(fact.Discover)}); addrOf(p.YourIPAddr) != addr("10.77.0.11") {
			t.Error(p.Summary())
		}
		run("ip", "link", "del", name)
		s.waitLog(t, `msg="dhcp: not serving an interface" interface=late0 err="there is no such interface"`)
		if s.State().Interfaces[0].Listening {
			t.Error("still listening")
		}
		s.add(func() { s.events = nil; s.log.Reset() })
	}
}

// TestOnlyNamedInterfaces stays silent on the others.
func TestOnlyNamedInterfaces(t *testing.T) {
	named, other := newSegment(t, "10.77.0.1/24"), newSegment(t, "10.78.0.1/16")
	s := serve(t, nil, named.server)
	other.raw(t).send(wirePacket{xid: 1, mac: stranger, options: message(fact.Discover)}.bytes())
	named.raw(t).ask(wirePacket{xid: 2, mac: n1, options: message(fact.Discover)})
	if got := s.State().Received; got != 1 {
		t.Errorf("received %d", got)
	}
}

// TestWithoutRawSockets broadcasts what it cannot send to a hardware address, and says so once.
func TestWithoutRawSockets(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := &served{recorder: newRecorder(), leases: newLeases(t)}
	var err error
	withoutNetRaw(t, func() { s.Server, err = Listen(s.config(t, seg.server)) })
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, s)
	c := seg.raw(t)
	for xid := range uint32(3) {
		p := c.ask(wirePacket{xid: xid, mac: n1, options: message(fact.Discover)})
		if addrOf(p.YourIPAddr) != addr("10.77.0.11") || c.String() != "from 10.77.0.1 to 255.255.255.255 at ff:ff:ff:ff:ff:ff" {
			t.Errorf("%s: %s", c, p.Summary())
		}
	}
	if got, want := s.State().Interfaces[0].Broadcasting, "the capability net_raw is missing"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s.wait(t, "one line", func() bool { return strings.Count(s.log.String(), "are broadcast") == 1 })
}

// TestUnicastRecovers forgets that a frame could not be sent once the next one can.
func TestUnicastRecovers(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, nil, seg.server)
	s.attached(seg.server).noUnicast(unix.ENETDOWN)
	if got, want := s.State().Interfaces[0].Broadcasting, "network is down"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	seg.raw(t).ask(wirePacket{xid: 1, mac: n1, options: message(fact.Discover)})
	s.waitEvent(t, 1, "DHCP Offer")
	if got := s.State().Interfaces[0].Broadcasting; got != "" {
		t.Errorf("still %q", got)
	}
}

// withoutNetRaw runs f on a thread that lost the capability.
func withoutNetRaw(t *testing.T, f func()) {
	done := make(chan error)
	go func() {
		done <- func() error {
			lockThread()
			hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var data [2]unix.CapUserData
			if err := unix.Capget(&hdr, &data[0]); err != nil {
				return err
			}
			data[0].Effective &^= 1 << unix.CAP_NET_RAW
			if err := unix.Capset(&hdr, &data[0]); err != nil {
				return err
			}
			f()
			return nil
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestNothingYet has no revision in force.
func TestNothingYet(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, func(c *Config) { c.Current = func() (*render.Snapshot, fact.Revision) { return nil, "" } }, seg.server)
	seg.raw(t).send(wirePacket{xid: 1, mac: n1, options: message(fact.Discover)}.bytes())
	if e := s.waitEvent(t, 1, "DHCP Discover"); e.Result != fact.Refused || e.Detail != "no revision is in force yet" {
		t.Error(describe(e))
	}
}

// TestReplyLongerThanAFrame: what a client wants echoed can make a reply too long for its interface. Nobody gets such a reply, and the
// interface is as well as before.
func TestReplyLongerThanAFrame(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, nil, seg.server)
	var id []byte
	for range 5 {
		id = append(id, text(optClientID, strings.Repeat("x", 240))...)
	}
	seg.raw(t).send(wirePacket{xid: 1, mac: n1, options: message(fact.Discover, id)}.bytes())
	e := s.waitEvent(t, 1, "DHCP Offer")
	if want := "sending to 10.77.0.11:68 on " + seg.server + ": message too long"; e.Result != fact.Failed || e.Detail != want {
		t.Errorf("%s %s, want %s", e.Result, e.Detail, want)
	}
	if got := s.State().Interfaces[0].Broadcasting; got != "" {
		t.Errorf("replies are broadcast: %s", got)
	}
	if strings.Contains(s.said(), "are broadcast") {
		t.Error(s.said())
	}
}

// TestEndlessHostName: a name that leases cannot hold is no reason to call writing them broken, which takes the server out of service.
func TestEndlessHostName(t *testing.T) {
	seg := newSegment(t, "10.78.0.1/24")
	s := serve(t, nil, seg.server)
	var name []byte
	for range 5 {
		name = append(name, text(optHostname, strings.Repeat("x", 240))...)
	}
	c := seg.raw(t)
	offer := c.ask(wirePacket{xid: 1, mac: stranger, options: message(fact.Discover, name)})
	ack := c.ask(wirePacket{xid: 2, mac: stranger, options: append(selecting(offer), name...)})
	if ack.MessageType() != dhcpv4.MessageTypeAck {
		t.Error(ack.Summary())
	}
	if got := s.State().LeaseError; got != "" {
		t.Error(got)
	}
}
