package dhcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render"
	"hostler/render/fact"
)

const chaddrAt = 28 // offset of the hardware address in a request

// datagram is one received request, and the memory of everything that becomes of it. When its reply has left, or there is none, another one
// takes its place.
type datagram struct {
	buf  [2048]byte // no request fills an Ethernet frame and a half
	n    int
	oob  [64]byte // room for one control message
	peer netip.AddrPort
	to   netip.Addr
	link *attachment
	boot bool // came in on the boot server's port

	x         exchange
	req, resp dhcpv4.DHCPv4
	paper     paper
}

// outgoing is a reply whose lease was written, or could not be.
type outgoing struct {
	x       *exchange
	resp    *dhcpv4.DHCPv4
	payload []byte
	err     error
	owner   string // whoever has the offered address already
}

// read hands an interface's datagrams to the workers until its socket is closed. The socket is bound to the interface, so the control
// message only tells whether a datagram was sent to us or to everybody.
func (s *Server) read(a *attachment, conn *socket, boot bool) {
	for in := new(inbox); ; {
		ds, err := in.receive(conn, func() *datagram { return s.buffers.Get().(*datagram) })
		switch {
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return
		case err != nil: // the interface went down, most likely; watch sees what comes of it
			s.cfg.Log.Warn("dhcp: receiving", "interface", a.ifi.Name, "err", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.report.received.Add(uint64(len(ds)))
		snap, _ := s.cfg.Current()
		var whose [datagramsIn]*worker
		for i, d := range ds {
			d.link, d.boot = a, boot
			s.pending.Add(1)
			mac := macIn(d.buf[:d.n])
			if whose[i] = s.workerOf(mac); !whose[i].put(d, declared(snap, mac)) {
				s.pending.Done()
				s.report.overflow(a.ifi.Name)
				s.buffers.Put(d)
			}
		}
		for _, w := range whose[:len(ds)] { // now, so that they find much to do
			w.rouse()
		}
	}
}

// macIn is the hardware address that stands in a request.
func macIn(b []byte) (mac fact.MAC) {
	if len(b) >= chaddrAt+len(mac) {
		mac = fact.MAC(b[chaddrAt:])
	}
	return mac
}

// workerOf picks the worker for a machine by its address (FNV-1a).
func (s *Server) workerOf(mac fact.MAC) *worker {
	h := uint32(2166136261)
	for _, c := range mac {
		h = (h ^ uint32(c)) * 16777619
	}
	return s.workers[h%uint32(len(s.workers))]
}

func declared(snap *render.Snapshot, mac fact.MAC) bool {
	if snap == nil {
		return false
	}
	_, _, _, declared := snap.Belongs(mac)
	return declared
}

func (s *Server) work(w *worker) {
	for {
		select {
		case <-w.wake:
		case <-s.quit:
			return
		}
		for w.next() {
			s.turn(w)
		}
	}
}

// turn does what the worker took, and then sends what came of it.
func (s *Server) turn(w *worker) {
	for _, o := range w.taken.replies {
		s.reply(w, o)
	}
	for _, d := range w.taken.requests {
		s.handleDatagram(w, d)
	}
	w.out.flush(s.left)
	s.pending.Add(-len(w.taken.replies) - len(w.taken.requests))
}

func (s *Server) reply(w *worker, o outgoing) {
	if o.owner != "" {
		s.conflict(w, o)
	} else {
		s.sendReply(w, o)
	}
}

// handleDatagram answers one request.
func (s *Server) handleDatagram(w *worker, d *datagram) {
	x := &d.x
	*x = exchange{start: s.cfg.Now(), peer: d.peer, link: d.link, req: &d.req, d: d, result: fact.OK}
	defer s.survive(x)
	err := decode(x.req, d.buf[:], min(d.n, len(d.buf)-1))
	if err == nil {
		x.facts, err = factsOf(x.req, *d.link.ingress.Load())
		x.addressed(d.to)
		x.facts.BootServer = d.boot
	}
	if err != nil {
		s.report.unreadable(x.start, d.peer.Addr(), d.link.ifi.Name, err)
		s.over(x)
		return
	}
	resp := s.traverse(x)
	s.cfg.Packet(x.received(d))
	if resp == nil {
		s.over(x)
		return
	}
	s.finish(w, x, resp)
}

// over lets the next request have the memory of one that has ended. What ends otherwise, by a panic or because there was no room, is left to
// the collector of garbage, and so is what another plugin has seen: it may have kept it.
func (s *Server) over(x *exchange) {
	if d := x.d; d != nil && len(s.chain) == 1 {
		x.d = nil
		s.buffers.Put(d)
	}
}

// survive, deferred, turns a panic into the end of one request.
func (s *Server) survive(x *exchange) {
	if v := recover(); v != nil {
		s.report.panicked(x, v, debug.Stack())
	}
}

// traverse passes a request through the chain, as coredhcp does, and reports it.
func (s *Server) traverse(x *exchange) *dhcpv4.DHCPv4 {
	resp := s.pass(x)
	s.report.request(x)
	return resp
}

// pass gives the reply of the chain; nil: there is none, and the exchange says why.
func (s *Server) pass(x *exchange) *dhcpv4.DHCPv4 {
	s.inFlight.put(x.req, x)
	defer s.inFlight.drop(x.req)
	resp, stop := newReply(x.blank(), x.req), false
	for _, h := range s.chain {
		if resp, stop = h(x.req, resp); stop || resp == nil {
			break
		}
	}
	switch {
	case resp != nil && resp.MessageType() == dhcpv4.MessageTypeNone && x.facts.Message != fact.BOOTP:
		resp = nil // a RELEASE or DECLINE that no plugin took away: neither has a reply
	case resp != nil && !x.handled:
		x.refuse("answered by another plugin before hostler could")
		resp = nil
	case resp == nil && x.result == fact.OK && x.facts.Message != fact.Release && !x.silent:
		x.refuse("dropped by another plugin")
	case resp != nil && x.commit != nil && addrOf(resp.YourIPAddr) != x.commit.Addr:
		x.result, x.detail = fact.Failed, fmt.Sprintf("another plugin changed the address from %s to %s", x.commit.Addr, resp.YourIPAddr)
		resp = nil
	}
	return resp
}

// finish encodes the reply and sends it, an ACK only after its lease is on disk. It does not wait for that.
func (s *Server) finish(w *worker, x *exchange, resp *dhcpv4.DHCPv4) {
	payload, dropped := x.d.paper.encode(resp, &x.facts, limit(&x.facts, x.link.ifi.MTU))
	if dropped != nil {
		s.report.shortened(x, dropped)
	}
	o := outgoing{x: x, resp: resp, payload: payload}
	if x.check != "" && s.looksFor(w, o) {
		return
	}
	if x.commit == nil {
		s.sendReply(w, o)
		return
	}
	s.pending.Add(1)
	s.cfg.Leases.Bind(*x.commit, func(err error) { // whoever writes leases does not wait for a socket
		o.err = s.bound(err)
		s.later(w, o)
	})
}

// later hands a reply whose time has come to its worker.
func (s *Server) later(w *worker, o outgoing) {
	if !w.putReply(o) { // the machine asks again, and its lease is there already
		s.pending.Done()
		s.report.overflow(o.x.link.ifi.Name)
	}
}

// sendReply has a reply leave with others, at the end of this turn at the latest.
func (s *Server) sendReply(w *worker, o outgoing) {
	defer s.survive(o.x)
	p := parcel{outgoing: o}
	if o.err == nil {
		var gone bool
		if gone, o.err = s.deliver(&p); !gone && o.err == nil {
			if w.out.parcels = append(w.out.parcels, p); len(w.out.parcels) == datagramsOut {
				w.out.flush(s.left)
			}
			return
		}
	}
	s.left(p, o.err)
}

// left reports a reply that left, or could not.
func (s *Server) left(p parcel, err error) {
	defer s.survive(p.x)
	if err == nil {
		s.sent(&p)
	}
	s.report.reply(p.x, p.resp, len(p.payload), err)
	s.over(p.x)
}
