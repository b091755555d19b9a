package tftp

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A system call takes or gives many packets at once (recvmmsg(2), sendmmsg(2)): one for a window of blocks, and in single-port mode one
// for the blocks of many machines.

// mmsghdr is the system's struct mmsghdr; the compiler pads it as C does.
type mmsghdr struct {
	unix.Msghdr
	length uint32
}

const (
	packetsIn   = 32
	packetIn    = 2048 // bytes; requests of real firmware have 30 to 110, everything later 4 and a text
	packetsOut  = 64
	packetOut   = 4 + 65464
	bytesOut    = 2 * packetOut
	pktinfoSize = 12 // of struct in_pktinfo: interface, address that was asked as routed, address in the packet
)

// pktinfoSpace is the room for one struct in_pktinfo with its header.
var pktinfoSpace = unix.CmsgSpace(pktinfoSize)

// inbox holds the packets of one system call.
type inbox struct {
	msgs    [packetsIn]mmsghdr
	iovs    [packetsIn]unix.Iovec
	names   [packetsIn]unix.RawSockaddrInet4
	data    [packetsIn][packetIn]byte
	control [packetsIn][64]byte
}

func newInbox() *inbox {
	b := &inbox{}
	for i := range b.msgs {
		b.iovs[i].Base = &b.data[i][0]
		b.iovs[i].SetLen(packetIn)
		h := &b.msgs[i].Msghdr
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Control = &b.control[i][0]
	}
	return b
}

// read takes up to most packets that are there.
func (b *inbox) read(fd, most int) (n int, err error) {
	for i := range b.msgs[:most] {
		b.msgs[i].Namelen = unix.SizeofSockaddrInet4
		b.msgs[i].SetControllen(len(b.control[i]))
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[0])), uintptr(most), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return 0, nil
		}
		return 0, errno
	}
}

// packet gives the content and the sender of a packet. The content is valid until the next read.
func (b *inbox) packet(i int) ([]byte, netip.AddrPort) {
	return b.data[i][:b.msgs[i].length], addrPort(&b.names[i])
}

// arrival says where a packet came in.
type arrival struct {
	index int        // of the interface; 0 when it is not known
	asked netip.Addr // the address of this host that the packet was for
	cast  bool       // it was sent to a broadcast or multicast address
}

func (b *inbox) arrival(i int) arrival {
	control := b.control[i][:b.msgs[i].Controllen]
	if len(control) < pktinfoSpace {
		return arrival{asked: netip.IPv4Unspecified()}
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	if h.Level != unix.IPPROTO_IP || h.Type != unix.IP_PKTINFO {
		return arrival{asked: netip.IPv4Unspecified()}
	}
	info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&control[unix.CmsgLen(0)]))
	return arrival{int(info.Ifindex), netip.AddrFrom4(info.Spec_dst), info.Addr != info.Spec_dst}
}

func addrPort(sa *unix.RawSockaddrInet4) netip.AddrPort {
	port := (*[2]byte)(unsafe.Pointer(&sa.Port))
	return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), binary.BigEndian.Uint16(port[:]))
}

func sockaddr(ap netip.AddrPort) unix.RawSockaddrInet4 {
	sa := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: ap.Addr().As4()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], ap.Port())
	return sa
}

// dest is where packets go, and by which socket.
type dest struct {
	fd      int
	name    unix.RawSockaddrInet4
	control []byte // the address to send from, for a socket that is not bound to one
}

// from makes a control message that lets packets leave from an address.
func from(a netip.Addr) []byte {
	if a.IsUnspecified() {
		return nil
	}
	control := make([]byte, pktinfoSpace)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	h.SetLen(unix.CmsgLen(pktinfoSize))
	(*unix.Inet4Pktinfo)(unsafe.Pointer(&control[unix.CmsgLen(0)])).Spec_dst = a.As4()
	return control
}

// outbox collects packets for one system call. What does not fit into the socket's buffer is lost, as it could be on the wire.
type outbox struct {
	msgs  [packetsOut]mmsghdr
	iovs  [packetsOut]unix.Iovec
	names [packetsOut]unix.RawSockaddrInet4
	data  [bytesOut]byte
	fd    int
	n     int // packets
	used  int // bytes
	lost  func(packets int, err error)
}

func newOutbox(lost func(int, error)) *outbox {
	b := &outbox{lost: lost}
	for i := range b.msgs {
		h := &b.msgs[i].Msghdr
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Namelen = unix.SizeofSockaddrInet4
	}
	return b
}

// add copies a packet in. An option acknowledgement has no number.
func (b *outbox) add(d *dest, op, number uint16, content []byte) {
	if b.n == packetsOut || b.n > 0 && b.fd != d.fd || b.used+4+len(content) > len(b.data) {
		b.flush()
	}
	b.fd = d.fd
	p := binary.BigEndian.AppendUint16(b.data[b.used:b.used], op)
	if op != opOACK {
		p = binary.BigEndian.AppendUint16(p, number)
	}
	p = append(p, content...)
	b.used += len(p)
	b.names[b.n] = d.name
	b.iovs[b.n].Base = &p[0]
	b.iovs[b.n].SetLen(len(p))
	h := &b.msgs[b.n].Msghdr
	h.Control = nil
	if len(d.control) > 0 {
		h.Control = &d.control[0]
	}
	h.SetControllen(len(d.control))
	b.n++
}

// flush sends what there is.
func (b *outbox) flush() {
	for first := 0; first < b.n; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(b.fd), uintptr(unsafe.Pointer(&b.msgs[first])), uintptr(b.n-first), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == 0:
			first += int(n)
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			b.lost(b.n-first, errno)
			first = b.n
		default: // about the first of them: no route, a firewall
			b.lost(1, errno)
			first++
		}
	}
	b.n, b.used = 0, 0
}
