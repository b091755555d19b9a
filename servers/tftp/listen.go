package tftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"hostler/servers/device"
)

// receiveBuffer holds some 5,000 requests: a machine room that is switched on sends them at once.
const receiveBuffer = 4 << 20

// listen binds one socket for each interface, or a single one that hears all of them. A socket that is bound to a
// device receives nothing from others, whatever address the packet names.
func listen(addr netip.AddrPort, interfaces []string) ([]*net.UDPConn, error) {
	if len(interfaces) == 0 {
		interfaces = []string{""}
	}
	var conns []*net.UDPConn
	for _, name := range interfaces {
		conn, err := listenOn(addr, name)
		if err != nil {
			for _, c := range conns {
				c.Close()
			}
			return nil, err
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

func listenOn(addr netip.AddrPort, name string) (*net.UDPConn, error) {
	what := "udp " + addr.String()
	if name != "" {
		what += " on " + name
	}
	lc := net.ListenConfig{Control: prepare(name)}
	pc, err := lc.ListenPacket(context.Background(), "udp4", addr.String())
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listening for TFTP: %s: the port is taken: is another TFTP server, or another hostler, running", what)
	}
	if err != nil {
		return nil, fmt.Errorf("listening for TFTP: %s: %w", what, cause(err))
	}
	return pc.(*net.UDPConn), nil
}

// prepare sets a socket up before it is bound. From the first packet on it must know the address and the interface that
// packets came to: pin/tftp replies from that address, and without the interface's MTU it allows blocks of 512 bytes only.
// It switches this on itself, but too late for packets that are waiting by then.
func prepare(name string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		if name != "" {
			if err := device.Bind(c, name); err != nil {
				return err
			}
		}
		var err error
		e := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
			// Beyond net.core.rmem_max only for root; less is no reason not to serve.
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
			}
		})
		return errors.Join(e, err)
	}
}

// cause strips the address that net puts before the reason: the message has it already.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
