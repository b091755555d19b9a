package source

import (
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"golang.org/x/net/proxy"
)

// Bounds for a server that answers by SSH: until it has proved who it is, and then between two packets. A server that is
// computing says so every five seconds (uploadpack.keepAlive).
const (
	handshakeTime = 15 * time.Second
	silenceTime   = time.Minute
)

// go-git's SSH transport knows no context, and its time limit ends when the TCP connection is there: a server that accepts and then
// says nothing holds it for ever. All that it lets us choose is a proxy, by a URL. So ours is one that leads straight to the
// server, over connections that give up.
const sshScheme = "hostler-bounded"

// registerSSH makes the scheme known once: the registry is the process's, and its writing is not guarded.
var registerSSH = sync.OnceFunc(func() {
	proxy.RegisterDialerType(sshScheme, func(*url.URL, proxy.Dialer) (proxy.Dialer, error) { return boundedDialer{}, nil })
})

// boundedSSH are the proxy options that lead to the bounded dialer.
func boundedSSH() transport.ProxyOptions {
	registerSSH()
	return transport.ProxyOptions{URL: sshScheme + "://"}
}

type boundedDialer struct{}

func (d boundedDialer) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

// DialContext gives a connection that ends with the context's deadline, unless the context is cancelled before: that is
// when go-git has finished the handshake. From then on only silence ends it. A proxy of the environment is used as go-git
// would have.
func (boundedDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := proxy.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(handshakeTime)
	}
	b := &boundedConn{Conn: conn}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			b.established()
		}
	})
	return b, nil
}

// boundedConn is a connection that fails when its peer is silent, or takes nothing, for too long.
type boundedConn struct {
	net.Conn
	mu   sync.Mutex
	idle bool // the handshake is over
}

func (c *boundedConn) established() {
	c.mu.Lock()
	c.idle = true
	c.mu.Unlock()
	c.extend()
}

func (c *boundedConn) extend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle {
		_ = c.SetDeadline(time.Now().Add(silenceTime)) // of a closed connection, which says so at the next read
	}
}

func (c *boundedConn) Read(b []byte) (int, error)  { c.extend(); return c.Conn.Read(b) }
func (c *boundedConn) Write(b []byte) (int, error) { c.extend(); return c.Conn.Write(b) }
