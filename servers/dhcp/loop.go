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

	"hostler/render/fact"
)

const (
	requestQueue = 2048 // datagrams that wait for one worker, of declared machines and as many of others: some 25 ms of work
	replyQueue   = 4096 // replies that wait for one worker after their leases were written, all of one batch at worst
	chaddrAt     = 28   // offset of the hardware address in a request
)

// datagram is one received request.
type datagram struct {
	buf  [2048]byte // no request fills an Ethernet frame and a half
	n    int
	oob  [64]byte // room for one control message
	peer netip.AddrPort
	to   netip.Addr
	link *attachment
	boot bool // came in on the boot server's port
}

// worker answers the requests of some machines, one after another, so that each machine's requests, replies and events keep
// their order. Declared machines have a queue of their own, which comes first: whoever makes addresses up waits.
type worker struct {
	declared chan *datagram
	requests chan *datagram
	replies  chan outgoing
}

func newWorker() worker {
	return worker{make(chan *datagram, requestQueue), make(chan *datagram, requestQueue), make(chan outgoing, replyQueue)}
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
func (s *Server) read(a *attachment, conn *net.UDPConn, boot bool) {
	for {
		d := s.buffers.Get().(*datagram)
		var n int
		var err error
		d.boot = boot
		d.n, n, _, d.peer, err = conn.ReadMsgUDPAddrPort(d.buf[:], d.oob[:])
		switch {
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return
		case err != nil: // the interface went down, most likely; watch sees what comes of it
			s.cfg.Log.Warn("dhcp: receiving", "interface", a.ifi.Name, "err", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.report.received.Add(1)
		d.to = sentTo(d.oob[:n])
		d.peer, d.link = netip.AddrPortFrom(d.peer.Addr().Unmap(), d.peer.Port()), a
		s.pending.Add(1)
		select {
		case s.queueOf(macIn(d.buf[:d.n])) <- d:
		default:
			s.pending.Done()
			s.report.overflow(a.ifi.Name)
			s.buffers.Put(d)
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

// queueOf is the queue for the requests of a machine: of a worker that its address picks (FNV-1a).
func (s *Server) queueOf(mac fact.MAC) chan *datagram {
	h := uint32(2166136261)
	for _, c := range mac {
		h = (h ^ uint32(c)) * 16777619
	}
	w := s.workers[h%uint32(len(s.workers))]
	if snap, _ := s.cfg.Current(); snap != nil {
		if _, _, _, declared := snap.Belongs(mac); declared {
			return w.declared
		}
	}
	return w.requests
}

func (s *Server) work(w worker) {
	for {
		select {
		case o := <-w.replies:
			s.reply(w, o)
			continue
		case d := <-w.declared:
			s.request(w, d)
			continue
		default:
		}
		select {
		case o := <-w.replies:
			s.reply(w, o)
		case d := <-w.declared:
			s.request(w, d)
		case d := <-w.requests:
			s.request(w, d)
		case <-s.quit:
			return
		}
	}
}

func (s *Server) request(w worker, d *datagram) {
	defer s.pending.Done()
	s.handleDatagram(w, d)
	s.buffers.Put(d)
}

func (s *Server) reply(w worker, o outgoing) {
	defer s.pending.Done()
	if o.owner != "" {
		s.conflict(w, o)
	} else {
		s.sendReply(o)
	}
}

// handleDatagram answers one request.
func (s *Server) handleDatagram(w worker, d *datagram) {
	x := &exchange{start: s.cfg.Now(), peer: d.peer, link: d.link, result: fact.OK}
	defer s.survive(x)
	req, err := decode(d.buf[:], min(d.n, len(d.buf)-1))
	if err == nil {
		x.facts, err = factsOf(req, *d.link.ingress.Load())
		x.addressed(d.to)
		x.facts.BootServer = d.boot
	}
	if err != nil {
		s.report.unreadable(x.start, d.peer.Addr(), d.link.ifi.Name, err)
		return
	}
	x.req = req
	resp := s.traverse(x)
	s.cfg.Packet(x.received(d))
	if resp != nil {
		s.finish(w, x, resp)
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
	resp, stop := newReply(x.req), false
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
func (s *Server) finish(w worker, x *exchange, resp *dhcpv4.DHCPv4) {
	payload, dropped := encode(resp, &x.facts, limit(&x.facts, x.link.ifi.MTU))
	if dropped != nil {
		s.report.shortened(x, dropped)
	}
	o := outgoing{x: x, resp: resp, payload: payload}
	if x.check != "" && s.looksFor(w, o) {
		return
	}
	if x.commit == nil {
		s.sendReply(o)
		return
	}
	s.pending.Add(1)
	s.cfg.Leases.Bind(*x.commit, func(err error) { // whoever writes leases does not wait for a socket
		o.err = s.bound(err)
		s.later(w, o)
	})
}

// later hands a reply whose time has come to its worker.
func (s *Server) later(w worker, o outgoing) {
	select {
	case w.replies <- o:
	default: // the machine asks again, and its lease is there already
		s.pending.Done()
		s.report.overflow(o.x.link.ifi.Name)
	}
}

func (s *Server) sendReply(o outgoing) {
	defer s.survive(o.x)
	if o.err == nil {
		o.err = s.deliver(o.x, o.resp, o.payload)
	}
	s.report.reply(o.x, o.resp, len(o.payload), o.err)
}
