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

	"hostler/servers/device"
)

// listen binds one socket for each interface, or a single one that hears all of them. A socket that is bound to a
// device accepts nothing from others, whatever address the client names.
func listen(addr netip.AddrPort, interfaces []string) ([]net.Listener, error) {
	if len(interfaces) == 0 {
		interfaces = []string{""}
	}
	var ls []net.Listener
	for _, name := range interfaces {
		l, err := listenOn(addr, name)
		if err != nil {
			for _, l := range ls {
				l.Close()
			}
			return nil, err
		}
		ls = append(ls, l)
	}
	return ls, nil
}

func listenOn(addr netip.AddrPort, name string) (net.Listener, error) {
	what := "tcp " + addr.String()
	lc := net.ListenConfig{}
	if name != "" {
		what += " on " + name
		lc.Control = func(_, _ string, c syscall.RawConn) error { return device.Bind(c, name) }
	}
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

// follow keeps the sockets on their interfaces until ctx ends.
func (s *Server) follow(ctx context.Context, wg *sync.WaitGroup) {
	if s.Listener != nil {
		return
	}
	for i, name := range s.Interfaces { // one socket each, see listen
		if sock, ok := s.listeners[i].(syscall.Conn); ok {
			wg.Go(func() { device.Follow(ctx, name, sock, s.Log) })
		}
	}
}

// connLimit bounds the open connections of all listeners together. It hands out the connections themselves, since a
// wrapper around a *net.TCPConn would lose sendfile; net/http says when one has closed.
type connLimit struct{ slots chan struct{} }

func newConnLimit(n int) *connLimit { return &connLimit{make(chan struct{}, n)} }

// state is an http.Server's ConnState.
func (c *connLimit) state(_ net.Conn, st http.ConnState) {
	if st == http.StateClosed || st == http.StateHijacked {
		<-c.slots
	}
}

func (c *connLimit) on(l net.Listener) net.Listener {
	return &limitedListener{Listener: l, slots: c.slots, closed: make(chan struct{})}
}

type limitedListener struct {
	net.Listener
	slots  chan struct{}
	once   sync.Once
	closed chan struct{}
}

// Accept takes a slot first, so that a connection that exceeds the limit is not accepted at all.
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
	}
	return c, err
}

// Close also ends an Accept that waits for a slot.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
