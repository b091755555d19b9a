package ledger

import (
	"container/heap"
	"net/netip"
	"slices"
	"sort"
	"unsafe"

	"hostler/render/fact"
)

// pool hands out the addresses of one set of ranges, at a cost that grows neither with the pool nor with its leases. It
// is an index over entries, which belong to Leases; several pools may cover the same address.
type pool struct {
	given  []fact.Range // as the claims have it, to be used up in this order; its identity tells claims of the same pool apart from others
	ranges []fact.Range // ascending
	fresh  queue        // offered once, but never taken
	used   queue        // leased, or declined, at some time
	piece  int          // addresses before the next one of this range were looked at
	next   netip.Addr
}

func newPool(ranges []fact.Range) *pool {
	p := &pool{given: ranges, ranges: ranges}
	byFirst := func(a, b fact.Range) int { return a.First.Compare(b.First) }
	if !slices.IsSortedFunc(ranges, byFirst) {
		p.ranges = slices.SortedFunc(slices.Values(ranges), byFirst)
	}
	return p
}

// same reports whether claims mean this pool. Snapshots share their slices, so the contents are only compared
// when the snapshot changed.
func (p *pool) same(ranges []fact.Range) bool {
	if len(ranges) != len(p.given) {
		return false
	}
	if unsafe.SliceData(ranges) == unsafe.SliceData(p.given) {
		return true
	}
	if !slices.Equal(ranges, p.given) {
		return false
	}
	p.given = ranges
	return true
}

func (p *pool) contains(a netip.Addr) bool {
	i := sort.Search(len(p.ranges), func(i int) bool { return p.ranges[i].First.Compare(a) > 0 })
	return i > 0 && p.ranges[i-1].Contains(a)
}

// add lets the pool hand out an entry's address, once it is free.
func (p *pool) add(e *entry) {
	s := &slot{pool: p, entry: e}
	s.queue = p.queueFor(e)
	e.slots = append(e.slots, s)
	heap.Push(s.queue, s)
}

func (p *pool) queueFor(e *entry) *queue {
	if e.wasUsed() {
		return &p.used
	}
	return &p.fresh
}

// drop takes the pool out of every entry.
func (p *pool) drop() {
	for _, q := range []*queue{&p.fresh, &p.used} {
		for _, s := range *q {
			s.entry.slots = slices.DeleteFunc(s.entry.slots, func(t *slot) bool { return t == s })
		}
	}
}

// take finds a free address: one that was never used, else the one whose last lease ended longest ago. An address that
// was only offered comes first of all, so that a flood of DISCOVERs that leads nowhere goes round in few entries.
func (p *pool) take(now int64, known map[netip.Addr]*entry) (netip.Addr, bool) {
	if a, ok := p.fresh.free(now); ok {
		return a, true
	}
	for p.piece < len(p.given) {
		r := p.given[p.piece]
		if !p.next.IsValid() {
			p.next = r.First
		}
		for p.next.IsValid() && r.Contains(p.next) {
			a := p.next
			p.next = a.Next()
			if known[a] == nil {
				return a, true
			}
		}
		p.piece, p.next = p.piece+1, netip.Addr{}
	}
	return p.used.free(now)
}

// slot is an entry's place in one pool.
type slot struct {
	pool  *pool
	entry *entry
	queue *queue
	index int
}

// update moves the slot to where it belongs after its entry changed.
func (s *slot) update() {
	if q := s.pool.queueFor(s.entry); q != s.queue {
		heap.Remove(s.queue, s.index)
		s.queue = q
		heap.Push(q, s)
		return
	}
	heap.Fix(s.queue, s.index)
}

// queue is a heap of slots, the address that has been or will be free first on top.
type queue []*slot

// free gives the top address if it is free.
func (q *queue) free(now int64) (netip.Addr, bool) {
	if len(*q) == 0 || (*q)[0].entry.freeAt > now {
		return netip.Addr{}, false
	}
	return (*q)[0].entry.addr, true
}

// Len implements heap.Interface, as do the others.
func (q queue) Len() int { return len(q) }

// Less orders by time, and by address where that is equal.
func (q queue) Less(i, j int) bool {
	a, b := q[i].entry, q[j].entry
	if a.freeAt != b.freeAt {
		return a.freeAt < b.freeAt
	}
	return a.addr.Less(b.addr)
}

// Swap keeps the slots' own index.
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push adds at the end.
func (q *queue) Push(x any) {
	s := x.(*slot)
	s.index = len(*q)
	*q = append(*q, s)
}

// Pop removes from the end.
func (q *queue) Pop() any {
	last := len(*q) - 1
	s := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return s
}
