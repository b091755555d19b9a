// Package dhcp answers DHCP requests on named interfaces. It turns bytes into facts, asks the snapshot whom they are from and
// what they are told, asks the leases for the address, and turns the answer into bytes: it decides nothing
// about content, and reads no file.
//
// Requests and replies pass through a chain of coredhcp plugins in which ours is one, so that others can stand before and
// after it. The packet loop is our own: coredhcp's tells plugins nothing of where a request came in, drops DECLINE, shares its
// port with whoever else opens it, and has no bound on its work.
package dhcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/coredhcp/coredhcp/config"
	"github.com/coredhcp/coredhcp/handler"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/late"
)

// Config is what the server works with. Interfaces, Current and Leases are needed.
type Config struct {
	Interfaces []string // the only ones that are served

	Current func() (*render.Snapshot, fact.Revision) // called once a request; nil: nothing to serve yet
	Leases  Leases
	Base    late.Base             // of the boot HTTP server, for boot files that are URLs
	Event   func(fact.Event)      // must not block
	Packet  func(fact.Packet)     // every request and reply of a machine; must not block, nor keep the payload
	Before  []config.PluginConfig // coredhcp plugins that see a request before ours
	After   []config.PluginConfig // and after ours
	Log     *slog.Logger
	Now     func() time.Time
	Port    int // 67 when 0; clients listen on the next one

	BootPort int // 4011 when 0: where machines ask a boot server beside the site's own DHCP server
}

func (c Config) withDefaults() Config {
	if c.Event == nil {
		c.Event = func(fact.Event) {}
	}
	if c.Packet == nil {
		c.Packet = func(fact.Packet) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Port == 0 {
		c.Port = 67
	}
	if c.BootPort == 0 {
		c.BootPort = 4011
	}
	return c
}

var errNoInterface = errors.New("there is no such interface")

// Server is a DHCP server with its sockets open.
type Server struct {
	*responder
	chain   []handler.Handler4
	names   []string // of the plugins in the chain
	workers []*worker
	pending sync.WaitGroup // requests in a queue, and replies that wait for a lease
	quit    chan struct{}
	prober  *prober
	buffers sync.Pool

	mu       sync.Mutex
	links    map[string]*attachment
	problems map[string]error
}

// Listen loads the plugins and opens the sockets of every interface that exists. An interface that does not is no error: its
// sockets are opened when it appears. A port that somebody else has is one.
func Listen(cfg Config) (*Server, error) {
	if len(cfg.Interfaces) == 0 {
		return nil, errors.New("dhcp: no interface is named")
	}
	s := &Server{
		responder: newResponder(cfg),
		quit:      make(chan struct{}),
		prober:    newProber(),
		buffers:   sync.Pool{New: func() any { return new(datagram) }},
		links:     make(map[string]*attachment),
		problems:  make(map[string]error),
	}
	if err := s.loadChain(); err != nil {
		return nil, fmt.Errorf("dhcp: %w", err)
	}
	s.hire()
	for _, name := range s.cfg.Interfaces {
		_, err := s.refresh(name)
		if err != nil && !errors.Is(err, errNoInterface) {
			s.closeAll()
			return nil, fmt.Errorf("dhcp: %w", err)
		}
		if s.setProblem(name, err) && err != nil {
			s.cfg.Log.Warn("dhcp: waiting for an interface", "interface", name, "err", err)
		}
	}
	return s, nil
}

// hire makes the workers. Ours waits for nothing, so that few workers with much to do at a time are best; another plugin may wait for
// whatever it likes, while its worker's other machines wait for it.
func (s *Server) hire() {
	n, together := min(4, runtime.GOMAXPROCS(0)), mostTogether
	if len(s.chain) > 1 {
		n, together = max(4, 2*runtime.GOMAXPROCS(0)), 1
	}
	for range n {
		s.workers = append(s.workers, newWorker(together))
	}
}

// Serve answers requests until ctx ends. Requests that were received are answered before it returns, unless the disk hangs.
func (s *Server) Serve(ctx context.Context) error {
	var readers, workers sync.WaitGroup
	for _, w := range s.workers {
		workers.Go(func() { s.work(w) })
	}
	for _, a := range s.attachments() {
		s.start(&readers, a)
	}
	s.watch(ctx, &readers)

	for _, a := range s.attachments() {
		a.stopReading()
	}
	readers.Wait()
	s.cfg.Log.Info("dhcp: stopping")
	s.drain()
	close(s.quit)
	s.closeAll() // a worker may wait for an interface that sends nothing
	workers.Wait()
	s.prober.close()
	return nil
}

// start begins to read an interface's sockets.
func (s *Server) start(wg *sync.WaitGroup, a *attachment) {
	wg.Go(func() { s.read(a, a.udp, false) })
	wg.Go(func() { s.overhear(a) })
}

// drain waits until every request is answered, but not for a disk that hangs.
func (s *Server) drain() {
	answered := make(chan struct{})
	go func() { s.pending.Wait(); close(answered) }()
	select {
	case <-answered:
	case <-time.After(drainTime):
		s.cfg.Log.Warn("dhcp: stopped although leases are still being written")
	}
}

const drainTime = 3 * time.Second

// Close closes the sockets of a server that never served.
func (s *Server) Close() { s.closeAll() }

func (s *Server) attached(name string) *attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.links[name]
}

func (s *Server) attachments() []*attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var as []*attachment
	for _, a := range s.links {
		as = append(as, a)
	}
	return as
}

func (s *Server) detach(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links[name].close()
	delete(s.links, name)
}

func (s *Server) closeAll() {
	for _, a := range s.attachments() {
		s.detach(a.ifi.Name)
	}
}

// setProblem remembers why an interface is not served, and says whether that changed.
func (s *Server) setProblem(name string, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.problems[name]
	s.problems[name] = err
	return (old == nil) != (err == nil) || err != nil && old.Error() != err.Error()
}

// State is how the server is doing, for status and health checks.
type State struct {
	Interfaces []InterfaceState `json:"interfaces"`
	Plugins    []string         `json:"plugins"`           // the chain, in order; ours is "hostler"
	Notices    []Notice         `json:"notices,omitempty"` // the newest of each kind, the last one first
	Totals     []NoticeTotal    `json:"notice_totals,omitempty"`
	Relays     []RelayState     `json:"relays,omitempty"`      // relay agents that were heard since the start
	LeaseError string           `json:"lease_error,omitempty"` // why the last lease could not be written
	Received   uint64           `json:"received"`              // datagrams
	Replied    uint64           `json:"replied"`
	Refused    uint64           `json:"refused"` // requests that got no reply, by decision
	Failed     uint64           `json:"failed"`
	Dropped    uint64           `json:"dropped"` // datagrams and replies for which there was no room
}

// InterfaceState is how one interface is doing.
type InterfaceState struct {
	Name         string         `json:"name"`
	Listening    bool           `json:"listening"`
	Problem      string         `json:"problem,omitempty"`
	BootServer   bool           `json:"boot_server,omitempty"`  // listening on port 4011, for subnets with dhcp = "proxy"
	Broadcasting string         `json:"broadcasting,omitempty"` // why replies to machines without an address are broadcast
	Addresses    []netip.Prefix `json:"addresses"`
}

// State gives the server's state.
func (s *Server) State() State {
	st := State{
		Plugins: slices.Clone(s.names), LeaseError: s.report.lastLeaseError(), Notices: s.report.notices.list(), Totals: s.report.notices.totals(), Relays: s.report.relays.list(),
		Received: s.report.received.Load(), Replied: s.report.replied.Load(), Refused: s.report.refused.Load(),
		Failed: s.report.failed.Load(), Dropped: s.report.dropped.Load(),
	}
	for _, name := range s.cfg.Interfaces {
		is := InterfaceState{Name: name}
		if a := s.attached(name); a != nil {
			is = a.state()
		}
		s.mu.Lock()
		if err := s.problems[name]; err != nil {
			is.Problem = err.Error()
		}
		s.mu.Unlock()
		st.Interfaces = append(st.Interfaces, is)
	}
	return st
}
