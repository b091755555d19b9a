package tftp

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"hostler/render/fact"
)

const (
	traceFirst = 7   // packets of a transfer that are handed over as they come: until the second block is acknowledged
	traceLast  = 4   // and those before its end
	traceBytes = 256 // of a packet; of a block only its header: generated files hold the secrets of boots
)

// trace hands over a transfer's packets: the first, and at the end the last ones. Of a hundred megabytes, nobody reads the
// acknowledgements in between.
type trace struct {
	machine fact.Packet    // what all packets have in common; From is the machine
	own     netip.AddrPort // where the machine sends to
	n       int            // packets so far
	last    [traceLast]tracePacket
}

// tracePacket is a packet that is kept back.
type tracePacket struct {
	fact.Packet
	bytes [traceBytes]byte
}

// trace begins with the request, when it is known whose it is and somebody wants to know.
func (l *loop) trace(t *transfer) {
	if l.Packet == nil || t.event.MAC.IsZero() {
		return
	}
	own, _ := localAddr(t.to.fd) // of the socket that the request came to
	t.trace = &trace{
		machine: fact.Packet{MAC: t.event.MAC, Node: t.event.Node, Proto: fact.ProtoTFTP, From: t.peer},
		own:     netip.AddrPortFrom(t.arrival.asked, own.Port()),
	}
	p := t.trace.machine
	p.Time, p.To, p.Payload, p.Size = t.began, t.trace.own, []byte(t.raw), len(t.raw)
	t.trace.n++
	l.Packet(p)
}

// moved notes that the transfer has a socket of its own.
func (tr *trace) moved(fd int) {
	if tr == nil {
		return
	}
	if own, ok := localAddr(fd); ok {
		tr.own = netip.AddrPortFrom(tr.own.Addr(), own.Port())
	}
}

func localAddr(fd int) (netip.AddrPort, bool) {
	sa, err := unix.Getsockname(fd)
	in, ok := sa.(*unix.SockaddrInet4)
	if err != nil || !ok {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port)), true
}

// received is a packet of the machine.
func (l *loop) received(t *transfer, p []byte) {
	if t.trace != nil {
		l.traced(t.trace, false, p, len(p))
	}
}

// emitted is a packet to the machine.
func (l *loop) emitted(t *transfer, op, block uint16, content []byte) {
	if t.trace == nil {
		return
	}
	var b [traceBytes]byte
	n := 0
	head := binary.BigEndian.AppendUint16(b[:0], op)
	if op != opOACK {
		head = binary.BigEndian.AppendUint16(head, block)
	}
	n = len(head)
	if op != opDATA {
		n += copy(b[n:], content)
	}
	l.traced(t.trace, true, b[:n], len(head)+len(content))
}

func (l *loop) traced(tr *trace, sent bool, payload []byte, size int) {
	p := tr.machine
	p.Time, p.Sent, p.Size, p.To = l.now, sent, size, tr.own
	if sent {
		p.From, p.To = tr.own, tr.machine.From
	}
	payload = payload[:min(len(payload), traceBytes)]
	tr.n++
	if tr.n <= traceFirst {
		p.Payload = payload
		l.Packet(p)
		return
	}
	kept := &tr.last[tr.n%traceLast]
	kept.Packet = p
	kept.Payload = kept.bytes[:copy(kept.bytes[:], payload)]
}

// traceEnd hands over the last packets.
func (l *loop) traceEnd(t *transfer) {
	tr := t.trace
	if tr == nil {
		return
	}
	first := max(tr.n-traceLast, traceFirst) + 1
	for n := first; n <= tr.n; n++ {
		p := tr.last[n%traceLast].Packet
		if n == first {
			p.Skipped = n - 1 - traceFirst
		}
		l.Packet(p)
	}
	t.trace = nil
}
