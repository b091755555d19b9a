package tftp

import (
	"sync"
	"time"

	"hostler/render/fact"
)

// pinFor is how long a boot keeps its revision, and maxPins for how many machines at once.
const (
	pinFor  = time.Hour
	maxPins = 1 << 17
)

// pins remembers from which revision a machine got its configuration, so that the kernel it fetches next is of the same one.
type pins struct {
	mu   sync.Mutex
	revs map[fact.MAC]pinned
}

type pinned struct {
	rev   fact.Revision
	since time.Time
}

func newPins() *pins { return &pins{revs: map[fact.MAC]pinned{}} }

func (p *pins) set(mac fact.MAC, rev fact.Revision, now time.Time) {
	if mac.IsZero() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.revs) >= maxPins {
		p.expire(now)
	}
	if len(p.revs) < maxPins {
		p.revs[mac] = pinned{rev, now}
	}
}

func (p *pins) expire(now time.Time) {
	for mac, pin := range p.revs {
		if now.Sub(pin.since) > pinFor {
			delete(p.revs, mac)
		}
	}
}

func (p *pins) get(mac fact.MAC, now time.Time) (fact.Revision, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pin, ok := p.revs[mac]
	return pin.rev, ok && now.Sub(pin.since) <= pinFor
}
