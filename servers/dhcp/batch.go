package dhcp

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
)

// A system call takes or gives many datagrams at once (recvmmsg(2), sendmmsg(2)), as many as there are when it is made. Nothing waits for
// others to come.

const (
	datagramsIn  = 32
	datagramsOut = 64
)

// socket is a UDP socket of an interface.
type socket struct {
	*net.UDPConn
	batch *ipv4.PacketConn // the same
}

func newSocket(conn *net.UDPConn) *socket { return &socket{conn, ipv4.NewPacketConn(conn)} }

// inbox is the room for one call that receives.
type inbox struct {
	messages  [datagramsIn]ipv4.Message
	datagrams [datagramsIn]*datagram
}

// receive waits for datagrams. What it gives is the caller's own; take makes others.
func (b *inbox) receive(conn *socket, take func() *datagram) ([]*datagram, error) {
	for i := range b.messages {
		if b.datagrams[i] == nil {
			d := take()
			b.datagrams[i], b.messages[i] = d, ipv4.Message{Buffers: [][]byte{d.buf[:]}, OOB: d.oob[:]}
		}
	}
	n, err := conn.batch.ReadBatch(b.messages[:], 0)
	if err != nil {
		return nil, err
	}
	ds := make([]*datagram, n)
	for i := range ds {
		d, m := b.datagrams[i], &b.messages[i]
		d.n, d.to, d.peer = m.N, sentTo(m.OOB[:m.NN]), netip.AddrPort{}
		if from, ok := m.Addr.(*net.UDPAddr); ok {
			d.peer = netip.AddrPortFrom(from.AddrPort().Addr().Unmap(), uint16(from.Port))
		}
		ds[i], b.datagrams[i] = d, nil
	}
	return ds, nil
}

// parcel is an encoded reply with its way out.
type parcel struct {
	outgoing
	conn *socket
	src  netip.Addr
	to   netip.AddrPort
}

// outbox collects replies for one call that sends.
type outbox struct {
	parcels  []parcel
	messages [datagramsOut]ipv4.Message
	addrs    [datagramsOut]net.UDPAddr
	source   netip.Addr // of control
	index    int
	control  []byte
}

// from is the control message that has a datagram leave from an address by an interface.
func (b *outbox) from(src netip.Addr, index int) []byte {
	if !src.IsValid() {
		return nil
	}
	if src != b.source || index != b.index {
		b.source, b.index = src, index
		b.control = (&ipv4.ControlMessage{Src: ip(src), IfIndex: index}).Marshal()
	}
	return b.control
}

// flush sends everything, and has left told of each parcel in order.
func (b *outbox) flush(left func(parcel, error)) {
	for rest := b.parcels; len(rest) > 0; {
		n := 0
		for n < min(len(rest), datagramsOut) && rest[n].conn == rest[0].conn {
			p := &rest[n]
			to := p.to.Addr().As4()
			b.addrs[n] = net.UDPAddr{IP: append(b.addrs[n].IP[:0], to[:]...), Port: int(p.to.Port())}
			b.messages[n] = ipv4.Message{Buffers: append(b.messages[n].Buffers[:0], p.payload), OOB: b.from(p.src, p.x.link.ifi.Index), Addr: &b.addrs[n]}
			n++
		}
		n, err := rest[0].conn.batch.WriteBatch(b.messages[:n], 0)
		if err != nil { // of the first one
			n, err = 1, rest[0].failed(err)
		}
		for _, p := range rest[:n] {
			left(p, err)
		}
		rest = rest[n:]
	}
	clear(b.parcels)
	b.parcels = b.parcels[:0]
}
