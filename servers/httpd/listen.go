package httpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hostler/servers/device"
)

// socket is what the server listens on.
type socket struct {
	net.Listener
	name   string // of the interface that it is bound to
	secure bool   // it speaks TLS
}

// listen binds one socket for each interface, or a single one that hears all of them. A socket that is bound to a
// device accepts nothing from others, whatever address the client names.
func listen(addr netip.AddrPort, interfaces []string, stall time.Duration) ([]socket, error) {
	if len(interfaces) == 0 {
		interfaces = []string{""}
	}
	var ls []socket
	for _, name := range interfaces {
		l, err := listenOn(addr, name, stall)
		if err != nil {
			for _, l := range ls {
				l.Close()
			}
			return nil, err
		}
		ls = append(ls, socket{Listener: l, name: name})
	}
	return ls, nil
}

func listenOn(addr netip.AddrPort, name string, stall time.Duration) (net.Listener, error) {
	what := "tcp " + addr.String()
	if name != "" {
		what += " on " + name
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		if err := giveUp(c, stall); err != nil || name == "" {
			return err
		}
		return device.Bind(c, name)
	}}
	l, err := lc.Listen(context.Background(), "tcp4", addr.String())
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listening for HTTP: %s: the port is taken: is another HTTP server, or another hostler, running", what)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err // without the address, which the message has already
	}
	if err != nil {
		return nil, fmt.Errorf("listening for HTTP: %s: %w", what, err)
	}
	return l, nil
}

// giveUp has the kernel end connections, which inherit this, that take nothing for so long: what it has buffered, it sends on when we
// have closed them, and whoever opens their window byte by byte would keep that for ever.
func giveUp(c syscall.RawConn, after time.Duration) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(after/time.Millisecond))
	}); e != nil {
		return e
	}
	return err
}

// follow keeps the sockets on their interfaces, and the certificate that of its files, until ctx ends.
func (s *Server) follow(ctx context.Context, wg *sync.WaitGroup) {
	for _, l := range s.listeners {
		if sock, ok := l.Listener.(syscall.Conn); ok && l.name != "" {
			wg.Go(func() { device.Follow(ctx, l.name, sock, s.Log) })
		}
	}
	if s.TLS != nil {
		wg.Go(func() { s.TLS.follow(ctx) })
	}
}

// connLimit bounds the open connections of all listeners together. It hands out the connections themselves, since a
// wrapper around a *net.TCPConn would lose sendfile; net/http says when one has closed. One client may have a quarter of
// them, so that one that opens them all and says nothing does not keep the others out.
type connLimit struct {
	slots chan struct{}
	share int

	mu      sync.Mutex
	byPeer  map[netip.Addr]int
	refused uint64
}

func newConnLimit(n int) *connLimit {
	return &connLimit{slots: make(chan struct{}, n), share: max(n/4, 8), byPeer: map[netip.Addr]int{}}
}

// state is an http.Server's ConnState.
func (c *connLimit) state(conn net.Conn, st http.ConnState) {
	if st == http.StateClosed || st == http.StateHijacked {
		c.leave(conn)
	}
}

// enter counts a connection, unless its client has too many.
func (c *connLimit) enter(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	peer := peerOf(conn)
	if c.byPeer[peer] >= c.share {
		c.refused++
		return false
	}
	c.byPeer[peer]++
	return true
}

func (c *connLimit) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	peer := peerOf(conn)
	if c.byPeer[peer]--; c.byPeer[peer] == 0 {
		delete(c.byPeer, peer)
	}
	<-c.slots
}

// wait waits until every connection has ended, with what was done for it: http.Server.Close does not. The listeners must be
// closed. A disk that hangs is not waited for longer than most.
func (c *connLimit) wait(most time.Duration) {
	timeout := time.After(most)
	for range cap(c.slots) {
		select {
		case c.slots <- struct{}{}:
		case <-timeout:
			return
		}
	}
}

// peerOf is a client's address; all clients of listeners that are not TCP's count as one.
func peerOf(conn net.Conn) netip.Addr { return addrPort(conn.RemoteAddr()).Addr() }

func (c *connLimit) on(l net.Listener) net.Listener {
	return &limitedListener{Listener: l, limit: c, closed: make(chan struct{})}
}

type limitedListener struct {
	net.Listener
	limit  *connLimit
	once   sync.Once
	closed chan struct{}
}

// Accept takes a slot first, so that a connection that exceeds the limit is not accepted at all.
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.limit.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			<-l.limit.slots
			return nil, err
		}
		if l.limit.enter(c) {
			return c, nil
		}
		c.Close()
	}
}

// Close also ends an Accept that waits for a slot.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
