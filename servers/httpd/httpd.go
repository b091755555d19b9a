// Package httpd is the boot HTTP server: boot scripts, image files by digest, the configuration of a node, and the
// report that a node is ready. It recognises who asks, looks up and copies; what a machine gets is the snapshot's
// business, and which boot it is in, the timeline's.
//
// Clients are firmware and boot loaders. They get no redirects (several loaders stop at one), no chunks, an exact
// Content-Length, and a script instead of an error wherever a script was asked for: a machine that reads one knows what
// to do next, and a machine that reads "404" hangs.
package httpd

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/bss"
	"hostler/servers/late"
)

// Blobs has the contents of files by their digest. With an *os.File the kernel copies to the socket (sendfile).
type Blobs interface {
	Open(fact.Digest) (io.ReadSeekCloser, error)
}

// Leases knows which machine has an address.
type Leases interface {
	Holder(netip.Addr) (fact.Lease, bool)
}

// Boots knows the running boots and their tokens.
type Boots interface {
	// Script gives the running boot's id and token, the same for every request of one boot, and pins the boot to its terms.
	Script(mac fact.MAC, node fact.NodeName, addr netip.Addr, terms fact.Terms) (fact.BootID, fact.Token, error)
	// Check finds the node and the revision of a boot whose token this is, and whose machine has the address.
	Check(boot fact.BootID, token fact.Token, addr netip.Addr) (node fact.NodeName, rev fact.Revision, ok bool)
	// Ready notes that the machine has arrived. The note is durable before it returns.
	Ready(boot fact.BootID, token fact.Token, addr netip.Addr) (fact.NodeName, error)
}

// Secrets knows the values of secrets. An error never holds any part of one.
type Secrets interface {
	Read(name string) ([]byte, error)
}

// Deliveries counts how often a boot was given a text with secrets.
type Deliveries interface {
	// Deliver counts one more, unless there were most already: then ok is false. The count is durable before it returns.
	Deliver(ctx context.Context, node fact.NodeName, boot fact.BootID, template string, most int) (ok bool, err error)
}

// Config is what a server needs. Zero limits mean the defaults beside them.
type Config struct {
	Listener   net.Listener   // to serve on; nil: the server makes its own from Addr and Interfaces
	Addr       netip.AddrPort // 0.0.0.0:8080 when invalid
	Interfaces []string       // requests are answered on these only; none: on all
	Secure     netip.AddrPort // of the TLS listener; invalid: there is none
	TLS        *Certificate   // what that shows
	Seed       netip.AddrPort // of a listener that has the addresses of cloud-init only; invalid: there is none

	Current    func() (*render.Snapshot, fact.Revision)
	At         func(fact.Revision) (*render.Snapshot, bool) // an older revision that is still held
	Older      func() []*render.Snapshot                    // all of those, newest first: their files can be fetched; nil: none
	Blobs      Blobs
	Leases     Leases
	Boots      Boots
	Secrets    Secrets // nil: there are none
	Deliveries Deliveries
	Signer     late.Signer       // signs URLs of objects in S3; nil: there are none
	Base       late.Base         // its Prefix is accepted in front of every path; its Port is the listener's when 0
	Event      func(fact.Event)  // must not block
	Packet     func(fact.Packet) // the head of each request and answer of a machine; nil: nobody wants them
	BSS        BSS
	Log        *slog.Logger
	Now        func() time.Time

	MaxConns      int           // open connections; 4096. Further ones wait in the kernel. A quarter of them for one client
	PerClient     int           // files on their way to one client; 8. Further ones wait for those
	HeaderTimeout time.Duration // until a request's headers are there; 10s
	IdleTimeout   time.Duration // of a connection between requests; 15s
	StallTimeout  time.Duration // for each half MiB that a client takes, and a quarter less for a text; 1m
	Drain         time.Duration // how long requests may go on once the server is told to stop; 10s
}

// BSS is what the addresses of a Boot Script Service, and of cloud-init, need besides.
type BSS struct {
	Readers []netip.Prefix          // whose clients may see the parameters of every node
	Token   func() string           // who shows it, may too; nil, or an empty one: nobody
	Seen    func(fact.MAC) bss.Seen // nil: nothing is known of any machine
	Version string
}

// Server answers requests. It has its sockets from Listen on.
type Server struct {
	Config
	prefix    string // with a leading slash, or empty
	routes    routes
	seedPort  uint16 // 0: none
	listeners []socket
	conns     *connLimit
	turns     *turns
	buffers   sync.Pool // of *[]byte, for what one request puts together
}

// Listen binds every socket, or none. The server answers nobody before Serve.
func Listen(c Config) (*Server, error) {
	setDefault(&c.MaxConns, 4096)
	setDefault(&c.HeaderTimeout, 10*time.Second)
	setDefault(&c.IdleTimeout, 15*time.Second)
	setDefault(&c.StallTimeout, time.Minute)
	setDefault(&c.Drain, 10*time.Second)
	setDefault(&c.PerClient, 8)
	if !c.Addr.IsValid() {
		c.Addr = netip.AddrPortFrom(netip.IPv4Unspecified(), 8080)
	}
	if c.Older == nil {
		c.Older = func() []*render.Snapshot { return nil }
	}
	s := &Server{Config: c, routes: newRoutes(), conns: newConnLimit(c.MaxConns), turns: newTurns(c.PerClient)}
	s.buffers.New = func() any { return new([]byte) }
	if p := strings.Trim(c.Base.Prefix, "/"); p != "" {
		s.prefix = "/" + p
	}
	if c.Listener != nil {
		s.listeners = []socket{{Listener: c.Listener}}
		return s, nil
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	return s, nil
}

// listen binds the sockets of all listeners, or none.
func (s *Server) listen() error {
	for _, l := range []struct {
		addr         netip.AddrPort
		secure, seed bool
	}{{addr: s.Addr}, {addr: s.Secure, secure: true}, {addr: s.Seed, seed: true}} {
		if !l.addr.IsValid() {
			continue
		}
		more, err := listen(l.addr, s.Interfaces, s.StallTimeout)
		if err != nil {
			return errors.Join(err, s.Close())
		}
		for i := range more {
			more[i].secure = l.secure
			if l.seed {
				s.seedPort = addrPort(more[i].Addr()).Port()
			}
		}
		s.listeners = append(s.listeners, more...)
	}
	return nil
}

func setDefault[T ~int | ~int64](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

// Addrs are the addresses that the server is bound to.
func (s *Server) Addrs() []net.Addr {
	var as []net.Addr
	for _, l := range s.listeners {
		as = append(as, l.Addr())
	}
	return as
}

// Close gives the sockets back when Serve was never called.
func (s *Server) Close() error {
	var errs []error
	for _, l := range s.listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Serve answers requests until ctx ends; then it lets running ones finish for as long as Drain, and cuts the rest.
func (s *Server) Serve(ctx context.Context) error {
	srv := &http.Server{
		Handler:                      s,
		ReadHeaderTimeout:            s.HeaderTimeout,
		IdleTimeout:                  s.IdleTimeout,
		MaxHeaderBytes:               16 << 10,
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is refused like every other method
		ConnContext:                  s.remember,
		ConnState:                    s.conns.state,
		ErrorLog:                     slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, len(s.listeners))
	var serving sync.WaitGroup
	following, stop := context.WithCancel(ctx)
	s.follow(following, &serving)
	for _, l := range s.listeners {
		serving.Go(func() {
			on := s.conns.on(l)
			if l.secure {
				on = tls.NewListener(on, s.TLS.config())
			}
			if err := srv.Serve(on); err != http.ErrServerClosed {
				failed <- err
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	stop()
	// The drain must outlive ctx, which has ended.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Drain)
	defer cancel()
	if srv.Shutdown(drain) != nil {
		srv.Close()
	}
	serving.Wait()
	s.conns.wait(s.Drain)
	return err
}
