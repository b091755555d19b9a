package httpd

import (
	"context"
	"net/netip"
	"sync"
)

// turns bounds how many files are on their way to one client. The kernel shares the network out among connections, so that whoever opens
// fifty would get as much as fifty machines; more of them than this wait for the first to end. Nobody is refused for it: behind an
// address translator, a client is a whole rack.
type turns struct {
	most int

	mu     sync.Mutex
	byPeer map[netip.Addr]*turn
}

// turn is one client's.
type turn struct {
	slots chan struct{}
	users int // that hold a slot or wait for one
}

func newTurns(most int) *turns { return &turns{most: most, byPeer: map[netip.Addr]*turn{}} }

// take waits for a slot. It is not ok when ctx ended first: the client is gone. With ok, leave must follow.
func (t *turns) take(ctx context.Context, peer netip.Addr) (ok bool) {
	t.mu.Lock()
	mine := t.byPeer[peer]
	if mine == nil {
		mine = &turn{slots: make(chan struct{}, t.most)}
		t.byPeer[peer] = mine
	}
	mine.users++
	t.mu.Unlock()
	select {
	case mine.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		t.forget(peer, mine)
		return false
	}
}

func (t *turns) leave(peer netip.Addr) {
	t.mu.Lock()
	mine := t.byPeer[peer]
	t.mu.Unlock()
	<-mine.slots
	t.forget(peer, mine)
}

func (t *turns) forget(peer netip.Addr, mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if mine.users--; mine.users == 0 {
		delete(t.byPeer, peer)
	}
}
