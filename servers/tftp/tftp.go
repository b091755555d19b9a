// Package tftp serves the first files of a boot to firmware: loaders, and the generated configurations of pxelinux and
// GRUB. It looks names up in the snapshot and copies bytes; no name is ever joined to a path, and what a machine may have is
// not decided here.
//
// The protocol itself is pin/tftp's, which trusts its caller a lot: it starts a transfer for every packet that looks
// like a request, again for a repeated one, without limit, and a panic in a handler would end the process. The handler
// here bounds, de-duplicates and recovers. Its anticipating sender is never enabled: it dies of a read error.
//
// Three things are pin/tftp's and cannot be changed from a handler: every error has code 1, an ERROR of the client is
// answered by an ERROR, and option names are compared with their case, so that a client which asks for "TSIZE" gets a
// plain RFC 1350 transfer.
package tftp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	pin "github.com/pin/tftp/v3"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/device"
	"hostler/servers/late"
)

// Blobs has the contents of files by their digest. An *os.File or a bytes.Reader behind it is best.
type Blobs interface {
	Open(fact.Digest) (io.ReadSeekCloser, error)
}

// Leases knows which machine has an address.
type Leases interface {
	Holder(netip.Addr) (fact.Lease, bool)
}

// Boots names the running boot of a machine, for generated files that carry it.
type Boots interface {
	// Script gives the running boot's id and token: the same for every request of one boot.
	Script(mac fact.MAC, node fact.NodeName, addr netip.Addr, rev fact.Revision) (fact.BootID, fact.Token, error)
}

// Config is what a server needs. Zero limits mean the defaults beside them.
type Config struct {
	Addr       netip.AddrPort // to listen on; 0.0.0.0:69 when invalid
	Interfaces []string       // requests are answered on these only; none: on all

	Current func() (*render.Snapshot, fact.Revision)
	Blobs   Blobs
	Leases  Leases
	Boots   Boots
	Base    late.Base
	Event   func(fact.Event)  // must not block
	Packet  func(fact.Packet) // nil, or told of the first and last packets of a transfer; must not block, nor keep the payload
	Log     *slog.Logger
	Now     func() time.Time

	MaxTransfers int           // at the same time; 1024. As many requests again may wait for their turn
	MaxPerClient int           // requests of one address at the same time, repeated ones included; 8
	Timeout      time.Duration // until a packet is sent again; 1s
	Patience     time.Duration // how long a request waits for its turn; 3s
	Drain        time.Duration // how long transfers may go on once the server is told to stop; 3s
}

// retries is how often a packet is sent again before the machine is given up. With the default timeout a machine
// that vanished holds its socket for 9 seconds: many size probes end that way.
const retries = 5

// Server answers read requests. It has its sockets from Listen on.
type Server struct {
	Config
	sockets   []socket
	transfers *transfers
	stopping  chan struct{} // closed when transfers must end now
}

// socket is one bound address with the protocol server that reads from it.
type socket struct {
	conn *net.UDPConn
	pin  *pin.Server
}

// Listen binds every socket, or none. The server answers nobody before Serve.
func Listen(c Config) (*Server, error) {
	setDefault(&c.MaxTransfers, 1024)
	setDefault(&c.MaxPerClient, 8)
	setDefault(&c.Timeout, time.Second)
	setDefault(&c.Patience, 3*time.Second)
	setDefault(&c.Drain, 3*time.Second)
	if !c.Addr.IsValid() {
		c.Addr = netip.AddrPortFrom(netip.IPv4Unspecified(), 69)
	}
	s := &Server{
		Config:    c,
		transfers: newTransfers(c.MaxTransfers, c.MaxPerClient),
		stopping:  make(chan struct{}),
	}
	conns, err := listen(c.Addr, c.Interfaces)
	if err != nil {
		return nil, err
	}
	for _, conn := range conns {
		s.sockets = append(s.sockets, socket{conn, s.protocol()})
	}
	return s, nil
}

func setDefault[T ~int | ~int64](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

// protocol sets pin/tftp up: one value a socket, because it remembers the socket that it serves.
func (s *Server) protocol() *pin.Server {
	p := pin.NewServer(s.read, s.write)
	p.SetTimeout(s.Timeout)
	p.SetRetries(retries)
	p.SetBackoff(func(attempt int) time.Duration { return time.Duration(attempt) * s.Timeout / 5 })
	p.SetHook(outcome{s.transfers})
	return p
}

// Addrs are the addresses that the server is bound to.
func (s *Server) Addrs() []netip.AddrPort {
	var as []netip.AddrPort
	for _, sock := range s.sockets {
		as = append(as, sock.conn.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	return as
}

// Close gives the sockets back when Serve was never called.
func (s *Server) Close() error {
	var errs []error
	for _, sock := range s.sockets {
		errs = append(errs, sock.conn.Close())
	}
	return errors.Join(errs...)
}

// Serve answers requests until ctx ends. Then it accepts no new ones and returns when the running transfers have
// ended: after Drain they are cut short, which takes a vanished machine's retries at most.
func (s *Server) Serve(ctx context.Context) error {
	var reading sync.WaitGroup
	errs := make([]error, len(s.sockets))
	for i, sock := range s.sockets {
		reading.Go(func() { errs[i] = sock.pin.Serve(sock.conn) })
	}
	for i, name := range s.Interfaces { // one socket each, see listen
		reading.Go(func() { device.Follow(ctx, name, s.sockets[i].conn, s.Log) })
	}
	<-ctx.Done()
	cut := time.AfterFunc(s.Drain, func() { close(s.stopping) })
	defer cut.Stop()
	var ending sync.WaitGroup
	for _, sock := range s.sockets {
		sock.conn.Close() // also when Serve had not yet come so far as to let Shutdown do it
		ending.Go(sock.pin.Shutdown)
	}
	ending.Wait()
	reading.Wait()
	return errors.Join(errs...)
}
