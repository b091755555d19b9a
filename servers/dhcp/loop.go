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
	requestQueue = 256  // datagrams that wait for one worker
	replyQueue   = 4096 // replies that wait to be sent after their leases were written
	chaddrAt     = 28   // offset of the hardware address in a request
)

// datagram is one received request.
type datagram struct {
	buf  [2048]byte // no request fills an Ethernet frame and a half
	n    int
	peer netip.AddrPort
	link *attachment
}

// outgoing is a reply whose lease was written, or could not be.
type outgoing struct {
	x       *exchange
	resp    *dhcpv4.DHCPv4
	payload []byte
	err     error
}

// read hands an interface's datagrams to the workers until its socket is closed. The socket is bound to the interface, so
// where a datagram came in needs no control message.
func (s *Server) read(a *attachment) {
	for {
		d := s.buffers.Get().(*datagram)
		var err error
		d.n, d.peer, err = a.udp.ReadFromUDPAddrPort(d.buf[:])
		switch {
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return
		case err != nil: // the interface went down, most likely; watch sees what comes of it
			s.cfg.Log.Warn("dhcp: receiving", "interface", a.ifi.Name, "err", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.report.received.Add(1)
		d.peer, d.link = netip.AddrPortFrom(d.peer.Addr().Unmap(), d.peer.Port()), a
		select {
		case s.queues[shard(d.buf[:d.n], len(s.queues))] <- d:
		default:
			s.report.overflow(a.ifi.Name)
			s.buffers.Put(d)
		}
	}
}

// shard gives every machine a worker of its own, so that its requests are answered in their order (FNV-1a).
func shard(b []byte, n int) int {
	h := uint32(2166136261)
	for i := chaddrAt; i < chaddrAt+6 && i < len(b); i++ {
		h = (h ^ uint32(b[i])) * 16777619
	}
	return int(h % uint32(n))
}

func (s *Server) work(queue <-chan *datagram) {
	for d := range queue {
		s.handleDatagram(d)
		s.buffers.Put(d)
	}
}

// handleDatagram answers one request.
func (s *Server) handleDatagram(d *datagram) {
	x := &exchange{start: s.cfg.Now(), peer: d.peer, link: d.link, result: fact.OK}
	defer s.survive(x)
	req, err := dhcpv4.FromBytes(d.buf[:d.n])
	if err == nil && req.OpCode != dhcpv4.OpcodeBootRequest {
		err = fmt.Errorf("operation %d is not a request", req.OpCode)
	}
	if err == nil {
		x.facts, err = factsOf(req, *d.link.ingress.Load())
	}
	if err != nil {
		s.report.unreadable(x.start, d.peer.Addr(), d.link.ifi.Name, err)
		return
	}
	if resp := s.traverse(x, req); resp != nil {
		s.finish(x, resp)
	}
}

// survive, deferred, turns a panic into the end of one request.
func (s *Server) survive(x *exchange) {
	if v := recover(); v != nil {
		s.report.panicked(x, v, debug.Stack())
	}
}

// traverse passes a request through the chain, as coredhcp does, and reports it.
func (s *Server) traverse(x *exchange, req *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	s.inFlight.put(req, x)
	defer s.inFlight.drop(req)
	resp, stop := newReply(req), false
	for _, h := range s.chain {
		if resp, stop = h(req, resp); stop || resp == nil {
			break
		}
	}
	switch {
	case resp != nil && resp.MessageType() == dhcpv4.MessageTypeNone:
		resp = nil // a RELEASE or DECLINE that no plugin took away: neither has a reply
	case resp == nil && x.result == fact.OK && x.facts.Message != fact.Release:
		x.refuse("dropped by another plugin")
	case resp != nil && x.commit != nil && addrOf(resp.YourIPAddr) != x.commit.Addr:
		x.result, x.detail = fact.Failed, fmt.Sprintf("another plugin changed the address from %s to %s", x.commit.Addr, resp.YourIPAddr)
		resp = nil
	}
	s.report.request(x)
	return resp
}

// finish encodes the reply and sends it, an ACK only after its lease is on disk. It does not wait for that.
func (s *Server) finish(x *exchange, resp *dhcpv4.DHCPv4) {
	if dropped := fit(resp, x.facts.Params, limit(x.facts.MaxSize, x.link.ifi.MTU)); dropped != nil {
		s.cfg.Log.Warn("dhcp: reply too large, leaving options out", "mac", x.facts.MAC, "options", fmt.Sprint(dropped))
	}
	o := outgoing{x: x, resp: resp, payload: resp.ToBytes()}
	if x.commit == nil {
		s.sendReply(o)
		return
	}
	s.pending.Add(1)
	s.cfg.Leases.Bind(*x.commit, func(err error) {
		defer s.pending.Done()
		o.err = s.bound(err)
		select {
		case s.replies <- o:
		default: // the machine asks again, and its lease is there already
			s.report.overflow(x.link.ifi.Name)
		}
	})
}

// sendReplies sends what waited for a lease, so that whoever writes leases never waits for a socket.
func (s *Server) sendReplies() {
	for {
		select {
		case o := <-s.replies:
			s.sendReply(o)
		case <-s.quit:
			for { // what came before the end
				select {
				case o := <-s.replies:
					s.sendReply(o)
				default:
					return
				}
			}
		}
	}
}

func (s *Server) sendReply(o outgoing) {
	defer s.survive(o.x)
	if o.err == nil {
		o.err = s.deliver(o.x, o.resp, o.payload)
	}
	s.report.reply(o.x, o.resp, len(o.payload), o.err)
}
