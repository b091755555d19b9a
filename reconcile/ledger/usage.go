package ledger

import (
	"net/netip"
	"time"

	"hostler/render/fact"
)

// slice is how many addresses are looked at before packets get their turn again.
const slice = 512

// Each calls f with every address that is leased, offered or declined now, in no order. It may be called often: packets wait for
// a few hundred addresses, never for all. What changes meanwhile is seen or not.
func (l *Leases) Each(f func(netip.Addr, fact.LeaseState)) {
	l.mu.Lock()
	now := l.clock.tick()
	all := make([]*entry, 0, len(l.byAddr))
	for _, e := range l.byAddr {
		all = append(all, e)
	}
	l.mu.Unlock()
	for len(all) > 0 {
		n := min(len(all), slice)
		l.mu.Lock()
		for _, e := range all[:n] {
			switch {
			case e.rest > now:
				f(e.addr, fact.Declined)
			case e.active(now):
				f(e.addr, fact.Bound)
			case e.promised(now):
				f(e.addr, fact.Offered)
			}
		}
		l.mu.Unlock()
		all = all[n:]
	}
}

// OnCommit has f told of every batch of leases: how long the disk took, and what it said. Set it before the first lease.
func (l *Leases) OnCommit(f func(took time.Duration, err error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.committed = f
}
