package dhcp

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"hostler/render/fact"
)

const (
	quarantineTime = 10 * time.Minute
	quarantineSize = 256 // a machine that declines everything must not use up memory, nor a pool for long
)

// quarantine remembers which addresses machines declined.
type quarantine struct {
	mu    sync.Mutex
	until map[netip.Addr]time.Time
}

// add keeps an address out of use from now on. When there are too many, the oldest comes back into use.
func (q *quarantine) add(a netip.Addr, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.until == nil {
		q.until = make(map[netip.Addr]time.Time)
	}
	if len(q.until) >= quarantineSize {
		var oldest netip.Addr
		for x, t := range q.until {
			if !oldest.IsValid() || t.Before(q.until[oldest]) {
				oldest = x
			}
		}
		delete(q.until, oldest)
	}
	q.until[a] = now.Add(quarantineTime)
}

// cut gives the ranges without the addresses in quarantine. The ranges are shared: they are copied if they change.
func (q *quarantine) cut(ranges []fact.Range, now time.Time) []fact.Range {
	q.mu.Lock()
	defer q.mu.Unlock()
	for a, t := range q.until {
		if !now.Before(t) {
			delete(q.until, a)
			continue
		}
		if i := slices.IndexFunc(ranges, func(r fact.Range) bool { return r.Contains(a) }); i >= 0 {
			ranges = slices.Concat(ranges[:i], without(ranges[i], a), ranges[i+1:])
		}
	}
	return ranges
}

// without splits a range around an address in it.
func without(r fact.Range, a netip.Addr) []fact.Range {
	var rs []fact.Range
	if r.First != a {
		rs = append(rs, fact.Range{First: r.First, Last: a.Prev()})
	}
	if r.Last != a {
		rs = append(rs, fact.Range{First: a.Next(), Last: r.Last})
	}
	return rs
}
