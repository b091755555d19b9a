package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"hostler/render/fact"
)

// attachment is one named interface with the sockets that serve it.
type attachment struct {
	ifi     net.Interface
	port    int // ours; clients have the next one
	udp     *socket
	ear     *packet.Conn // hears other servers; nil when it cannot
	ingress atomic.Pointer[fact.Ingress]

	mu      sync.Mutex
	raw     *packet.Conn // sends to machines without an address; nil when it cannot
	rawErr  error
	told    bool    // the log has rawErr
	boot    *socket // of the boot server's port; nil while no subnet needs it, or it cannot be had
	bootErr error
	arp     *packet.Conn // hears ARP replies; nil before the first conflict check
	closed  bool         // no socket is opened any more
}

// attach opens the sockets of an interface. The UDP socket is bound to the interface and shares its port with nobody:
// without SO_REUSEADDR and SO_REUSEPORT the kernel refuses a second server, which would otherwise
// take turns with the first one at answering.
func attach(ifi net.Interface, port int) (*attachment, error) {
	conn, err := listen(ifi, port)
	if err != nil {
		return nil, err
	}
	a := &attachment{ifi: ifi, port: port, udp: conn}
	a.raw, a.rawErr = rawSocket(ifi)
	if a.raw != nil {
		a.ear, _ = earSocket(ifi, port+1) // nothing depends on it
	}
	return a, nil
}

// listen opens a UDP socket on an interface.
func listen(ifi net.Interface, port int) (*socket, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) {
			err = errors.Join(unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, ifi.Name),
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1))
			// A rack that is switched on sends its requests at once. Best effort: the second call needs no privilege.
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
			}
		}); cerr != nil {
			return cerr
		}
		return err
	}}
	conn, err := lc.ListenPacket(context.Background(), "udp4", netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port)).String())
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, fmt.Errorf("listening on %s: udp port %d is in use: another DHCP server or another hostler is running", ifi.Name, port)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("listening on %s: udp port %d: not permitted: the capabilities net_bind_service and net_raw are needed", ifi.Name, port)
	case err != nil:
		return nil, fmt.Errorf("listening on %s: udp port %d: %w", ifi.Name, port, err)
	}
	return newSocket(conn.(*net.UDPConn))
}

const receiveBuffer = 4 << 20

// rawSocket opens the socket that sends frames. Protocol 0 keeps the kernel from copying every packet of the interface to it.
func rawSocket(ifi net.Interface) (*packet.Conn, error) {
	if len(ifi.HardwareAddr) != 6 {
		return nil, errors.New("the interface has no Ethernet address")
	}
	c, err := packet.Listen(&ifi, packet.Raw, 0, nil)
	if errors.Is(err, unix.EPERM) {
		return nil, errors.New("the capability net_raw is missing")
	}
	return c, err
}

func (a *attachment) close() {
	a.udp.Close()
	a.closeBoot()
	if a.ear != nil {
		a.ear.Close()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if a.raw != nil {
		a.raw.Close()
	}
	if a.arp != nil {
		a.arp.Close()
	}
}

// unicast sends a frame to a machine that has no address yet. It fails when the raw socket is missing, or fails.
func (a *attachment) unicast(dst net.HardwareAddr, src, to netip.AddrPort, payload []byte) error {
	a.mu.Lock()
	raw, err := a.raw, a.rawErr
	a.mu.Unlock()
	if raw == nil {
		return err
	}
	_, err = raw.WriteTo(frame(a.ifi.HardwareAddr, dst, src, to, payload), &packet.Addr{HardwareAddr: dst})
	if err == nil {
		a.mu.Lock()
		a.rawErr, a.told = nil, false // it may have failed while the link was down
		a.mu.Unlock()
	}
	return err
}

// noUnicast remembers why frames cannot be sent, and says whether that is news.
func (a *attachment) noUnicast(err error) (news bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	news = !a.told || a.rawErr.Error() != err.Error()
	a.rawErr, a.told = err, true
	return news
}

// state says how the interface is doing.
func (a *attachment) state() InterfaceState {
	s := InterfaceState{Name: a.ifi.Name, Listening: true, Addresses: a.ingress.Load().Prefixes, Problem: a.link()}
	a.mu.Lock() // only now: every reply takes it, and the kernel is asked for all interfaces
	defer a.mu.Unlock()
	if a.rawErr != nil {
		s.Broadcasting = a.rawErr.Error()
	}
	s.BootServer = a.boot != nil
	switch {
	case s.Problem != "":
	case len(s.Addresses) == 0:
		s.Problem = "the interface has no IPv4 address"
	case a.bootErr != nil:
		s.Problem = "UEFI machines find no boot file: " + a.bootErr.Error()
	}
	return s
}

// link says what keeps frames from coming in; empty: nothing.
func (a *attachment) link() string {
	ifi, err := net.InterfaceByIndex(a.ifi.Index)
	switch {
	case err != nil:
		return errNoInterface.Error()
	case ifi.Flags&net.FlagUp == 0:
		return "the interface is down"
	case ifi.Flags&net.FlagRunning == 0:
		return "the interface has no carrier"
	}
	return ""
}

// ingressOf reads the addresses of an interface, and of the host.
func ingressOf(name string) (fact.Ingress, error) {
	in := fact.Ingress{Interface: name}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return in, err
	}
	for _, p := range prefixes(all) {
		in.Owned = append(in.Owned, p.Addr())
	}
	if name == "" {
		return in, nil
	}
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return in, err
	}
	own, err := ifi.Addrs()
	in.Prefixes = prefixes(own)
	return in, err
}

func prefixes(addrs []net.Addr) []netip.Prefix {
	var ps []netip.Prefix
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if v4 := addrOf(n.IP); v4.IsValid() {
			ones, _ := n.Mask.Size()
			ps = append(ps, netip.PrefixFrom(v4, ones))
		}
	}
	return ps
}

// sameLink reports whether an interface still is the one that the sockets were opened on.
func (a *attachment) sameLink(ifi *net.Interface) bool {
	return ifi.Index == a.ifi.Index && ifi.MTU == a.ifi.MTU && slices.Equal(ifi.HardwareAddr, a.ifi.HardwareAddr)
}

// sentTo is the address that a datagram was sent to, from the control message that came with it (in_pktinfo: interface, local address,
// address in the header).
func sentTo(oob []byte) netip.Addr {
	if at := unix.CmsgLen(0) + 8; len(oob) >= at+4 {
		return addrOf(oob[at : at+4])
	}
	return netip.Addr{}
}
