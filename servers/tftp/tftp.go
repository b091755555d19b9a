// Package tftp serves the first files of a boot to firmware: loaders, and the generated configurations of pxelinux and
// GRUB. It looks names up in the snapshot and copies bytes; no name is ever joined to a path, and what a machine may have is
// not decided here.
//
// One goroutine reads and writes all packets (loop). What a transfer sends, and when, is decided by a value without sockets and
// clock (sender). dnsmasq's server is the reference for what RFC 1350, 1123, 2347 to 2349 and 7440 leave open.
package tftp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

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
	Script(mac fact.MAC, node fact.NodeName, addr netip.Addr, terms fact.Terms) (fact.BootID, fact.Token, error)
}

// Config is what a server needs. Zero limits mean the defaults beside them.
type Config struct {
	Addr       netip.AddrPort // to listen on; 0.0.0.0:69 when invalid
	Interfaces []string       // requests are answered on these only; none: on all

	Current func() (*render.Snapshot, fact.Revision)
	Older   func() []*render.Snapshot // that boots under way began with, newest first; nil: none
	Blobs   Blobs
	Leases  Leases
	Boots   Boots
	Base    late.Base
	Signer  late.Signer       // signs URLs of objects in S3; nil: there are none
	Event   func(fact.Event)  // must not block
	Packet  func(fact.Packet) // nil, or told of the first and last packets of a transfer; must not block, nor keep the payload
	Log     *slog.Logger
	Now     func() time.Time

	// SinglePort sends everything from the port that requests come to, for machines behind an address translator. Then a peer's address says
	// nothing about who it is: machines are told apart by names of files only.
	SinglePort bool

	MaxTransfers int           // at the same time; 1024
	MaxPerClient int           // of one address at the same time, but in single-port mode; 8
	Timeout      time.Duration // until the first packet is sent again; further ones by the measured round trip; 1s
	Drain        time.Duration // how long transfers may go on once the server is told to stop; 3s
}

// Server answers read requests. It has its sockets from Listen on.
type Server struct {
	Config
	sockets  []socket
	counters counters
	work     sync.WaitGroup // goroutines of the loop
}

// Listen binds every socket, or none. The server answers nobody before Serve.
func Listen(c Config) (*Server, error) {
	if c.Older == nil {
		c.Older = func() []*render.Snapshot { return nil }
	}
	setDefault(&c.MaxTransfers, 1024)
	setDefault(&c.MaxPerClient, 8)
	setDefault(&c.Timeout, time.Second)
	setDefault(&c.Drain, 3*time.Second)
	if !c.Addr.IsValid() {
		c.Addr = netip.AddrPortFrom(netip.IPv4Unspecified(), 69)
	}
	sockets, err := listen(c.Addr, c.Interfaces)
	if err != nil {
		return nil, err
	}
	return &Server{Config: c, sockets: sockets}, nil
}

func setDefault[T ~int | ~int64](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

// perClient is the bound for one address: none when a translator's address is that of many machines.
func (s *Server) perClient() int {
	if s.SinglePort {
		return 0
	}
	return s.MaxPerClient
}

// Addrs are the addresses that the server is bound to.
func (s *Server) Addrs() []netip.AddrPort {
	var as []netip.AddrPort
	for _, sock := range s.sockets {
		as = append(as, sock.addr())
	}
	return as
}

// Close gives the sockets back when Serve was never called.
func (s *Server) Close() error {
	var errs []error
	for _, sock := range s.sockets {
		errs = append(errs, sock.close())
	}
	return errors.Join(errs...)
}

// Serve answers requests until ctx ends. Then it accepts no new ones and returns when the running transfers have
// ended: after Drain they are cut short.
func (s *Server) Serve(ctx context.Context) error {
	defer s.Close()
	l, err := newLoop(s)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	for i, name := range s.Interfaces { // one socket each, see listen
		following.Go(func() { device.Follow(ctx, name, s.sockets[i], s.Log) })
	}
	following.Go(func() {
		<-ctx.Done()
		l.stop(s.Drain)
	})
	err = l.run()
	cancel()
	following.Wait()
	if l.stopping && l.pending > 0 { // what it still tells us, it tells nobody
		s.Log.Warn("TFTP stopped although files are still being read", "files", l.pending)
		return err
	}
	s.work.Wait()
	l.close()
	return err
}
