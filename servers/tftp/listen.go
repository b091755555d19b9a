package tftp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"hostler/servers/device"
)

// socketBuffer holds some 5,000 requests: a machine room that is switched on sends them at once. In single-port mode it holds the
// acknowledgements, and what goes out, of every transfer.
const socketBuffer = 4 << 20

// socket is a descriptor that Go's own poller does not know: the server waits for all of its sockets in one place.
type socket int

// listen binds one socket for each interface, or a single one that hears all of them. A socket that is bound to a
// device receives nothing from others, whatever address the packet names.
func listen(addr netip.AddrPort, interfaces []string) ([]socket, error) {
	if len(interfaces) == 0 {
		interfaces = []string{""}
	}
	var sockets []socket
	for _, name := range interfaces {
		sock, err := listenOn(addr, name)
		if err != nil {
			for _, s := range sockets {
				s.close()
			}
			return nil, err
		}
		sockets = append(sockets, sock)
	}
	return sockets, nil
}

func listenOn(addr netip.AddrPort, name string) (socket, error) {
	what := "udp " + addr.String()
	if name != "" {
		what += " on " + name
	}
	s, err := newSocket(addr, func(s socket) error {
		if name != "" {
			if err := device.Bind(rawConn{s}, name); err != nil {
				return err
			}
		}
		// Beyond net.core.rmem_max only for root; less is no reason not to serve.
		for option, unforced := range map[int]int{unix.SO_RCVBUFFORCE: unix.SO_RCVBUF, unix.SO_SNDBUFFORCE: unix.SO_SNDBUF} {
			if unix.SetsockoptInt(int(s), unix.SOL_SOCKET, option, socketBuffer) != nil {
				_ = unix.SetsockoptInt(int(s), unix.SOL_SOCKET, unforced, socketBuffer)
			}
		}
		// Replies leave from the address that was asked, in blocks that fit the interface that the request came by.
		return unix.SetsockoptInt(int(s), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	})
	if errors.Is(err, unix.EADDRINUSE) {
		return 0, fmt.Errorf("listening for TFTP: %s: the port is taken: is another TFTP server, or another hostler, running", what)
	}
	if err != nil {
		return 0, fmt.Errorf("listening for TFTP: %s: %w", what, err)
	}
	return s, nil
}

// newSocket opens a socket, lets it be prepared, and binds it.
func newSocket(addr netip.AddrPort, prepare func(socket) error) (socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	s := socket(fd)
	// A router with a smaller MTU on the way may cut packets up: firmware knows nothing of path MTU discovery.
	err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
	if err == nil && prepare != nil {
		err = prepare(s)
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}))
	}
	if err != nil {
		s.close()
		return 0, err
	}
	return s, nil
}

func (s socket) close() error { return unix.Close(int(s)) }

func (s socket) addr() netip.AddrPort {
	if sa, err := unix.Getsockname(int(s)); err == nil {
		if sa, ok := sa.(*unix.SockaddrInet4); ok {
			return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
		}
	}
	return netip.AddrPort{}
}

// SyscallConn implements syscall.Conn, for servers/device.
func (s socket) SyscallConn() (syscall.RawConn, error) { return rawConn{s}, nil }

type rawConn struct{ socket }

func (c rawConn) Control(f func(fd uintptr)) error { f(uintptr(c.socket)); return nil }
func (rawConn) Read(func(uintptr) bool) error      { return errors.ErrUnsupported }
func (rawConn) Write(func(uintptr) bool) error     { return errors.ErrUnsupported }

const ethernet = 1500 // bytes of its packets

// mtuOf is the largest packet of an interface; that of Ethernet when it is not known.
func mtuOf(index int) int {
	if ifi, err := net.InterfaceByIndex(index); err == nil && ifi.MTU > 0 {
		return ifi.MTU
	}
	return ethernet
}
