package dhcp

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"hostler/render/fact"
)

const (
	arpWait     = 100 * time.Millisecond // after each of two questions; a segment answers within a few
	echoWait    = 250 * time.Millisecond // the same, through routers
	mostProbes  = 256                    // at the same time; an offer beyond that is sent without looking
	probeMemory = 2 * time.Minute        // an address that nobody had is not looked for again
	mostProbed  = 4096                   // addresses that are remembered
	mostTries   = 3                      // addresses of one DISCOVER that somebody has
)

// looksFor looks for the offered address on the network, and reports whether the offer waits for that. Nothing waits with it: the worker
// goes on, and gets the offer back when it is known whether somebody has the address.
func (s *Server) looksFor(w *worker, o outgoing) bool {
	x := o.x
	p := &probe{addr: addrOf(o.resp.YourIPAddr), mac: x.facts.MAC}
	if relayed := x.facts.GIAddr.IsValid(); relayed && x.check == "arp" {
		return false
	} else if relayed {
		p.wait, p.ask = echoWait, func() error { return s.prober.echo(p) }
	} else {
		p.link, p.wait, p.ask = x.link, arpWait, func() error { return s.prober.arp(p.link, p.addr) } // not x: asked again, it may be another request by now
	}
	p.done = func(owner string) {
		o.owner = owner
		s.later(w, o)
	}
	s.pending.Add(1)
	state, err := s.prober.start(p, x.start)
	if err != nil && s.report.quiet.allow(limitKey{what: "probe " + x.link.ifi.Name}, x.start) {
		s.cfg.Log.Warn("dhcp: offering addresses without looking for them on the network", "interface", x.link.ifi.Name, "err", err)
	}
	if state != looking {
		s.pending.Done()
	}
	return state != notNeeded // a machine that repeats itself gets the offer that its first DISCOVER waits for
}

// conflict takes an address out of use that somebody has, and makes the machine another offer.
func (s *Server) conflict(w *worker, o outgoing) {
	x := o.x
	defer s.survive(x)
	addr := addrOf(o.resp.YourIPAddr)
	rest := time.Duration(0)
	if snap, _ := s.cfg.Current(); snap != nil {
		rest = snap.Quarantine(addr)
	}
	s.cfg.Leases.Decline(x.facts.MAC, addr, rest)
	s.report.conflict(x, s.cfg.Now(), fmt.Sprintf("%s is in use: %s has it; it is not offered for %s", addr, o.owner, rest))
	if x.tries == mostTries {
		return // the machine asks again
	}
	again := &exchange{start: x.start, peer: x.peer, link: x.link, facts: x.facts, req: x.req, d: x.d, result: fact.OK, tries: x.tries + 1}
	if resp := s.pass(again); resp != nil {
		s.finish(w, again, resp)
	} else {
		s.report.request(again)
	}
}

// prober looks for addresses on the network.
type prober struct {
	mu      sync.Mutex
	running map[netip.Addr]*probe
	free    map[netip.Addr]time.Time // when nobody had it
	icmp    *net.IPConn              // nil before the first echo
	readers sync.WaitGroup
}

// probe is one address that is looked for.
type probe struct {
	addr  netip.Addr
	link  *attachment // whose segment is asked; nil for an echo, which may come back by any
	mac   fact.MAC    // of the machine that it is meant for, which may have it already
	nonce [8]byte     // what an echo must bring back
	asked int
	wait  time.Duration
	ask   func() error
	done  func(owner string) // called once, unless start reports that it was not started
	timer *time.Timer
}

func newProber() *prober {
	return &prober{running: map[netip.Addr]*probe{}, free: map[netip.Addr]time.Time{}}
}

// probing is what became of the wish to look for an address.
type probing int

const (
	notNeeded probing = iota // looked for a moment ago; or there is too much to do, or it cannot be done: then the machine looks
	looking
	alreadyLooking
)

// start begins to look for an address. That it cannot be looked for is an error.
func (p *prober) start(x *probe, now time.Time) (probing, error) {
	_, _ = rand.Read(x.nonce[:]) // never fails
	p.mu.Lock()
	age := now.Sub(p.free[x.addr])
	switch {
	case p.running[x.addr] != nil:
		p.mu.Unlock()
		return alreadyLooking, nil
	case age >= 0 && age < probeMemory, len(p.running) >= mostProbes:
		p.mu.Unlock()
		return notNeeded, nil
	}
	p.running[x.addr] = x
	p.mu.Unlock()
	if err := x.ask(); err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.running[x.addr] != x { // somebody told who has it, unasked
			return looking, nil
		}
		delete(p.running, x.addr)
		return notNeeded, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running[x.addr] == x { // else somebody has answered already
		x.timer = time.AfterFunc(x.wait, func() { p.silent(x, now) })
	}
	return looking, nil
}

// silent asks once more, or ends the search: nobody has the address.
func (p *prober) silent(x *probe, now time.Time) {
	p.mu.Lock()
	if p.running[x.addr] != x {
		p.mu.Unlock()
		return
	}
	if x.asked++; x.asked < 2 {
		x.timer.Reset(x.wait)
		p.mu.Unlock()
		_ = x.ask() // the first one left
		return
	}
	delete(p.running, x.addr)
	if len(p.free) >= mostProbed {
		clear(p.free)
	}
	p.free[x.addr] = now
	p.mu.Unlock()
	x.done("")
}

// found ends the search for an address that somebody has, on the segment that was asked: what others say there is of other networks. The
// machine that it is meant for may keep what it had.
func (p *prober) found(link *attachment, addr netip.Addr, owner string, mac net.HardwareAddr, nonce []byte) {
	p.mu.Lock()
	x := p.running[addr]
	if x == nil || x.link != link || mac != nil && string(mac) == string(x.mac[:]) || mac == nil && string(nonce) != string(x.nonce[:]) {
		p.mu.Unlock()
		return
	}
	delete(p.running, addr)
	delete(p.free, addr)
	if x.timer != nil {
		x.timer.Stop()
	}
	p.mu.Unlock()
	x.done(owner)
}

// arp asks a segment who has an address, as from nobody, so that no cache learns from it (RFC 5227 section 2.1.1).
func (p *prober) arp(a *attachment, addr netip.Addr) error {
	conn, err := p.arpConn(a)
	if err != nil {
		return err
	}
	_, err = conn.WriteTo(arpQuestion(a.ifi.HardwareAddr, addr), &packet.Addr{HardwareAddr: net.HardwareAddr{255, 255, 255, 255, 255, 255}})
	return err
}

// arpConn opens the socket for ARP of an interface when it is needed first: it hears every ARP reply that comes in.
func (p *prober) arpConn(a *attachment) (*packet.Conn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.arp != nil {
		return a.arp, nil
	}
	if a.closed { // a request of it was still waiting
		return nil, net.ErrClosed
	}
	if len(a.ifi.HardwareAddr) != 6 {
		return nil, fmt.Errorf("the interface has no Ethernet address")
	}
	replies, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 6, Size: 2}, // the operation
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 2, SkipFalse: 1},
		bpf.RetConstant{Val: 64},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return nil, err
	}
	conn, err := packet.Listen(&a.ifi, packet.Datagram, unix.ETH_P_ARP, &packet.Config{Filter: replies})
	if err != nil {
		return nil, err
	}
	a.arp = conn
	p.readers.Go(func() {
		for b := make([]byte, 64); ; {
			n, _, err := conn.ReadFrom(b)
			if err != nil {
				return // it was closed, with the interface's other sockets
			}
			if addr, mac, ok := arpAnswer(b[:n]); ok {
				p.found(a, addr, mac.String(), mac, nil)
			}
		}
	})
	return conn, nil
}

// echo asks a host by ICMP (RFC 792).
func (p *prober) echo(x *probe) error {
	conn, err := p.echoConn()
	if err != nil {
		return err
	}
	_, err = conn.WriteToIP(echoQuestion(x.nonce), &net.IPAddr{IP: ip(x.addr)})
	return err
}

func (p *prober) echoConn() (*net.IPConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.icmp != nil {
		return p.icmp, nil
	}
	conn, err := net.ListenIP("ip4:icmp", nil)
	if err != nil {
		return nil, err
	}
	var f ipv4.ICMPFilter
	f.SetAll(true)
	f.Accept(ipv4.ICMPTypeEchoReply)
	if err := ipv4.NewPacketConn(conn).SetICMPFilter(&f); err != nil {
		conn.Close()
		return nil, err
	}
	p.icmp = conn
	p.readers.Go(func() {
		for b := make([]byte, 256); ; {
			n, from, err := conn.ReadFromIP(b)
			if err != nil {
				return // it was closed
			}
			if nonce, ok := echoAnswer(b[:n]); ok {
				p.found(nil, addrOf(from.IP), "a host that answers ping", nil, nonce)
			}
		}
	})
	return conn, nil
}

// close ends the readers; the sockets of interfaces are closed before.
func (p *prober) close() {
	p.mu.Lock()
	if p.icmp != nil {
		p.icmp.Close()
	}
	p.mu.Unlock()
	p.readers.Wait()
}

// arpQuestion is the body of an ARP request (RFC 826).
func arpQuestion(mac net.HardwareAddr, addr netip.Addr) []byte {
	b := make([]byte, 28)
	copy(b, []byte{0, 1, 8, 0, 6, 4, 0, 1}) // Ethernet, IPv4, lengths of their addresses, a request
	copy(b[8:14], mac)
	copy(b[24:28], ip(addr))
	return b
}

// arpAnswer says who has which address.
func arpAnswer(b []byte) (netip.Addr, net.HardwareAddr, bool) {
	if len(b) < 28 || string(b[:8]) != "\x00\x01\x08\x00\x06\x04\x00\x02" {
		return netip.Addr{}, nil, false
	}
	addr := addrOf(b[14:18])
	return addr, append(net.HardwareAddr(nil), b[8:14]...), addr.IsValid()
}

// echoQuestion is an ICMP echo request with a nonce as its data.
func echoQuestion(nonce [8]byte) []byte {
	b := make([]byte, 16)
	b[0] = 8
	copy(b[4:8], nonce[:4]) // identifier and sequence
	copy(b[8:], nonce[:])
	binary.BigEndian.PutUint16(b[2:], ^fold(sum(0, b)))
	return b
}

// echoAnswer is the nonce that an ICMP echo reply brings back.
func echoAnswer(b []byte) ([]byte, bool) {
	if len(b) < 16 || b[0] != 0 || b[1] != 0 {
		return nil, false
	}
	return b[8:16], true
}
