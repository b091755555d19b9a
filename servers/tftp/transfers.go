package tftp

import (
	"net/netip"
	"sync"

	pin "github.com/pin/tftp/v3"
)

// key is what makes two requests the same one: a client that heard nothing repeats its request from the same port.
type key struct {
	peer netip.AddrPort
	name string // as sent
}

// transfer is one file on its way to one machine.
type transfer struct {
	key   key
	done  chan struct{} // closed at its end
	probe bool          // how it ended; read it after done

	// What pin/tftp says when a transfer fails, in the goroutine of the transfer.
	sized bool // the client asked for the size
	acked bool // the client acknowledged something
}

// transfers knows every request that is being answered, and bounds them.
type transfers struct {
	slots        chan struct{} // one value for each file that is being sent
	maxPerClient int

	mu       sync.Mutex
	handlers int // requests, waiting ones included
	running  map[key]*transfer
	clients  map[netip.Addr]*client
}

type client struct {
	handlers int
	newest   map[string]uint16 // the port of the last request for a file
}

// mostNames is more than any loader asks for while one file is sent.
const mostNames = 256

func newTransfers(most, perClient int) *transfers {
	return &transfers{
		slots:        make(chan struct{}, most),
		maxPerClient: perClient,
		running:      map[key]*transfer{},
		clients:      map[netip.Addr]*client{},
	}
}

// enter admits a request, unless there are too many of them. Whoever was admitted leaves.
func (ts *transfers) enter(k key) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	c := ts.clients[k.peer.Addr()]
	if ts.handlers >= 2*cap(ts.slots) || c != nil && c.handlers >= ts.maxPerClient {
		return false
	}
	if c == nil {
		c = &client{newest: map[string]uint16{}}
		ts.clients[k.peer.Addr()] = c
	}
	if len(c.newest) >= mostNames {
		clear(c.newest) // who asks for ever new names while one transfer goes on must not use up memory
	}
	ts.handlers++
	c.handlers++
	c.newest[k.name] = k.peer.Port()
	return true
}

func (ts *transfers) leave(k key) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.handlers--
	c := ts.clients[k.peer.Addr()]
	if c.handlers--; c.handlers == 0 {
		delete(ts.clients, k.peer.Addr())
	}
}

// claim starts the transfer, or gives the running one that the request repeats.
func (ts *transfers) claim(k key) (t *transfer, first bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.running[k]; t != nil {
		return t, false
	}
	t = &transfer{key: k, done: make(chan struct{})}
	ts.running[k] = t
	return t, true
}

func (ts *transfers) finish(t *transfer) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.running, t.key)
	close(t.done)
}

// askedAgain reports whether the client has meanwhile requested the file from another port.
func (ts *transfers) askedAgain(k key) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.clients[k.peer.Addr()].newest[k.name] != k.peer.Port()
}

// outcome takes from pin/tftp what it tells nobody else: the options, and how far the client went along.
type outcome struct{ *transfers }

// OnSuccess has nothing to add to what the handler sees.
func (outcome) OnSuccess(pin.TransferStats) {}

// OnFailure is called in the handler's goroutine, before its ReadFrom returns. Packets that are no requests come
// here too, without a name.
func (o outcome) OnFailure(stats pin.TransferStats, _ error) {
	addr, _ := netip.AddrFromSlice(stats.RemoteAddr)
	k := key{netip.AddrPortFrom(addr.Unmap(), uint16(stats.Tid)), stats.Filename}
	o.mu.Lock()
	defer o.mu.Unlock()
	if t := o.running[k]; t != nil {
		_, t.sized = stats.Opts["tsize"]
		t.acked = stats.DatagramsAcked > 0
	}
}
