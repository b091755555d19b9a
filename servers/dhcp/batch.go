package dhcp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A system call takes or gives many datagrams at once (recvmmsg(2), sendmmsg(2)), as many as there are when it is made. Nothing waits for
// others to come. Neither call waits for anything, so that Go's scheduler is not told of them: it would look for other work after 20
// microseconds, which costs more than what a few more datagrams take.

const (
	datagramsIn  = 32
	datagramsOut = 32
	pktinfoLen   = 12 // of struct in_pktinfo
)

// mmsghdr is the system's struct mmsghdr; the compiler pads it as C does.
type mmsghdr struct {
	unix.Msghdr
	length uint32
}

// socket is a UDP socket of an interface.
type socket struct {
	*net.UDPConn
	raw syscall.RawConn // the same
}

func newSocket(conn *net.UDPConn) (*socket, error) {
	raw, err := conn.SyscallConn()
	return &socket{conn, raw}, err
}

// receive and send wait until the socket is ready, and say how many messages it took or gave.
func (s *socket) receive(msgs []mmsghdr) (int, error) {
	return call(s.raw.Read, "recvmmsg", unix.SYS_RECVMMSG, msgs)
}

func (s *socket) send(msgs []mmsghdr) (int, error) {
	return call(s.raw.Write, "sendmmsg", unix.SYS_SENDMMSG, msgs)
}

func call(wait func(func(uintptr) bool) error, name string, trap uintptr, msgs []mmsghdr) (n int, err error) {
	werr := wait(func(fd uintptr) bool {
		for {
			r, _, errno := syscall.RawSyscall6(trap, fd, uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
			switch errno {
			case 0:
				n = int(r)
			case unix.EINTR:
				continue
			case unix.EAGAIN:
				return false
			default:
				err = os.NewSyscallError(name, errno)
			}
			return true
		}
	})
	if werr != nil {
		err = werr
	}
	return n, err
}

// inbox is the room for one call that receives.
type inbox struct {
	msgs      [datagramsIn]mmsghdr
	iovs      [datagramsIn]unix.Iovec
	names     [datagramsIn]unix.RawSockaddrInet4
	datagrams [datagramsIn]*datagram
}

// receive waits for datagrams. They are the caller's own; take gives others for the next call.
func (b *inbox) receive(conn *socket, take func() *datagram) ([]*datagram, error) {
	for i := range b.msgs {
		d, h := b.datagrams[i], &b.msgs[i].Msghdr
		if d == nil {
			d = take()
			b.datagrams[i] = d
			b.iovs[i].Base = &d.buf[0]
			b.iovs[i].SetLen(len(d.buf))
			h.Iov, h.Name, h.Control = &b.iovs[i], (*byte)(unsafe.Pointer(&b.names[i])), &d.oob[0]
			h.SetIovlen(1)
		}
		h.Namelen = unix.SizeofSockaddrInet4
		h.SetControllen(len(d.oob))
	}
	n, err := conn.receive(b.msgs[:])
	if err != nil {
		return nil, err
	}
	ds := make([]*datagram, n)
	for i := range ds {
		d, m := b.datagrams[i], &b.msgs[i]
		d.n, d.to, d.peer = int(m.length), sentTo(d.oob[:m.Controllen]), addrPort(&b.names[i])
		ds[i], b.datagrams[i] = d, nil
	}
	return ds, nil
}

func addrPort(sa *unix.RawSockaddrInet4) netip.AddrPort {
	port := (*[2]byte)(unsafe.Pointer(&sa.Port))
	return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), binary.BigEndian.Uint16(port[:]))
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
	parcels []parcel
	msgs    [datagramsOut]mmsghdr
	iovs    [datagramsOut]unix.Iovec
	names   [datagramsOut]unix.RawSockaddrInet4
	control [datagramsOut][unix.SizeofCmsghdr + pktinfoLen + 4]byte
}

// put makes a parcel the message at a place.
func (b *outbox) put(i int, p *parcel) {
	b.iovs[i].Base = &p.payload[0]
	b.iovs[i].SetLen(len(p.payload))
	b.names[i] = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: p.to.Addr().As4()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&b.names[i].Port))[:], p.to.Port())
	h := &b.msgs[i].Msghdr
	h.Iov, h.Name, h.Namelen = &b.iovs[i], (*byte)(unsafe.Pointer(&b.names[i])), unix.SizeofSockaddrInet4
	h.SetIovlen(1)
	h.Control = nil
	h.SetControllen(0)
	if p.src.IsValid() {
		c := &b.control[i]
		h.Control = &c[0]
		h.SetControllen(unix.CmsgSpace(pktinfoLen))
		head := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
		head.Level, head.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		head.SetLen(unix.CmsgLen(pktinfoLen))
		info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&c[unix.CmsgLen(0)]))
		info.Ifindex, info.Spec_dst = int32(p.x.link.ifi.Index), p.src.As4()
	}
}

// flush sends everything, and has left told of each parcel in order.
func (b *outbox) flush(left func(parcel, error)) {
	for rest := b.parcels; len(rest) > 0; {
		n := 0
		for n < min(len(rest), datagramsOut) && rest[n].conn == rest[0].conn {
			b.put(n, &rest[n])
			n++
		}
		n, err := rest[0].conn.send(b.msgs[:n])
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
