package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"hostler/render/fact"
)

const (
	offerTime = 60 * time.Second    // how long an offer is kept for the machine
	memory    = 30 * 24 * time.Hour // how long an ended lease is remembered, at least
	mostPools = 4                   // sets of ranges of one subnet: those of the snapshot in force, and of the last
)

// The errors of leases. Their text goes to the operator, never to a machine.
var (
	// ErrExhausted means that every address of the ranges is in use.
	ErrExhausted = errors.New("no address is free")
	// ErrTaken means that another machine has the address.
	ErrTaken = errors.New("address is taken")
)

// Leases are the addresses that machines hold now. The packet path reads memory; a lease is acknowledged when the journal
// has it. An address has one owner at most, at every moment and after every crash, as long as the clock is not set
// forward while the host is down (see clock).
//
// Memory is bounded by the addresses of the pools and the declared ones, whatever strangers send.
type Leases struct {
	store Store
	log   *slog.Logger

	mu      sync.Mutex
	clock   clock
	byAddr  map[netip.Addr]*entry
	owners  map[machine]*entry // last lease, also when it has ended
	offers  map[machine]*entry // last offer, also when it has ended
	pools   map[string][]*pool // by subnet, the last used one first
	dirty   map[netip.Addr]bool
	waiting []waiting // records for the journal, in order
	spare   []waiting // memory for more

	committer
}

// machine is whom an address belongs to: one machine may hold one in each subnet.
type machine struct {
	mac    fact.MAC
	subnet string
}

// entry is what is known of one address. All times are in our clock.
type entry struct {
	addr         netip.Addr
	lease        fact.Lease  // the last one that became durable, without times; zero MAC: none
	start, until int64       // of the lease; until is the time of release if it was released
	offer        *fact.Lease // what was promised last
	offerUntil   int64
	from, to     int64       // when the promised lease starts and ends
	pending      int         // leases on their way into the journal, all for the offer's machine
	rest         int64       // declined until then
	decliner     *fact.Lease // what the machine had that declined it; nil: nobody did
	freeAt       int64       // when it may be given to anybody
	slots        []*slot
}

func (e *entry) wasUsed() bool { return !e.lease.MAC.IsZero() || e.rest != 0 }

func (e *entry) owner() machine { return machine{e.lease.MAC, e.lease.Subnet} }

// active reports whether a durable lease runs.
func (e *entry) active(now int64) bool { return e.lease.State == fact.Bound && e.until > now }

// before reports whether a machine had this lease earlier than another one, which may be in the same instant.
func (e *entry) before(f *entry) bool {
	return e.start < f.start || e.start == f.start && f.lease.State == fact.Bound
}

// promised reports whether the address is offered, or on its way into the journal.
func (e *entry) promised(now int64) bool {
	return e.offer != nil && (e.pending > 0 || e.offerUntil > now)
}

// resting is what the machine had that declined the address. An older hostler wrote the address only.
func (e *entry) resting() (l fact.Lease) {
	if e.decliner != nil {
		l = *e.decliner
	}
	return l
}

// changed brings the pools up to date.
func (e *entry) changed() {
	e.freeAt = max(e.until, e.rest)
	switch {
	case e.pending > 0:
		e.freeAt = math.MaxInt64 // however slow the disk is
	case e.offer != nil:
		e.freeAt = max(e.freeAt, e.offerUntil)
	}
	for _, s := range e.slots {
		s.update()
	}
}

// conflict says why a machine cannot have the address now; nil if it can. A declared address (fixed) goes to whom the
// spec names, although another machine's declared lease still runs: that is how a network card is replaced. It does not rest
// either: only its author can say where else the machine should go. A lease from a pool is respected until it ends.
func (e *entry) conflict(m machine, fixed bool, now int64) error {
	if e.rest > now && !fixed {
		return fmt.Errorf("%w: %s was declined by %s", ErrTaken, e.addr, e.resting().MAC)
	}
	if e.active(now) && e.owner() != m && !(fixed && e.lease.Pool == "") {
		return fmt.Errorf("%w: %s is leased to %s", ErrTaken, e.addr, e.lease.MAC)
	}
	if e.promised(now) && (machine{e.offer.MAC, e.offer.Subnet}) != m && !(fixed && e.offer.Pool == "" && e.pending == 0) {
		return fmt.Errorf("%w: %s is offered to %s", ErrTaken, e.addr, e.offer.MAC)
	}
	return nil
}

// OpenLeases reads the leases of a state directory: the checkpoint in the store and the journal beside it. The store's
// lock protects both. What happens in the background is logged.
func OpenLeases(dir string, store Store, from Clock, log *slog.Logger) (*Leases, error) {
	l := &Leases{
		store:  store,
		log:    log,
		clock:  clock{Clock: from},
		byAddr: map[netip.Addr]*entry{},
		owners: map[machine]*entry{},
		offers: map[machine]*entry{},
		pools:  map[string][]*pool{},
		dirty:  map[netip.Addr]bool{},
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening leases: %w", err)
	}
	if err := l.load(context.Background()); err != nil {
		return nil, fmt.Errorf("opening leases: %w", err)
	}
	l.journal.dir = dir
	if err := l.journal.replay(l.replayed); err != nil {
		return nil, fmt.Errorf("opening leases: %w", err)
	}
	l.clock.resume()
	l.clock.tick()
	if run, ok := l.clock.moved(); ok {
		if err := l.saveRun(run); err != nil {
			return nil, fmt.Errorf("opening leases: %w", errors.Join(err, l.journal.f.Close()))
		}
	}
	l.start(l)
	return l, nil
}

// Elapsed is the present in the time that leases are measured in: nanoseconds that only ever grow, over restarts too, whatever the
// host's clock is set to.
func (l *Leases) Elapsed() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clock.tick()
}

// entry gives the entry of an address, and makes one if there is none.
func (l *Leases) entry(subnet string, a netip.Addr) *entry {
	e := l.byAddr[a]
	if e == nil {
		e = &entry{addr: a}
		l.byAddr[a] = e
		for _, p := range l.pools[subnet] {
			if p.contains(a) {
				p.add(e)
			}
		}
	}
	return e
}

// pool finds the pool that a claim means, or indexes it.
func (l *Leases) pool(c *fact.Claim) *pool {
	pools := l.pools[c.Subnet]
	for i, p := range pools {
		if p.same(c.Ranges) {
			if i > 0 {
				copy(pools[1:], pools[:i])
				pools[0] = p
			}
			return p
		}
	}
	p := newPool(c.Ranges)
	for a, e := range l.byAddr {
		if p.contains(a) {
			p.add(e)
		}
	}
	if len(pools) >= mostPools {
		pools[len(pools)-1].drop()
		pools = pools[:len(pools)-1]
	}
	l.pools[c.Subnet] = slices.Insert(pools, 0, p)
	return p
}

// Offer finds the address for a claim and keeps it for the machine for a minute, in memory: the fixed address; else the
// machine's current or last one, if that lies in the ranges and is nobody else's; else the wanted one if it is free; else
// any free one. The error is ErrExhausted, or ErrTaken when another machine holds a fixed address. The lease runs
// from now, or from its first start if the machine renews it.
func (l *Leases) Offer(c fact.Claim) (fact.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.tick()
	m := machine{c.MAC, c.Subnet}
	a, err := l.find(&c, m, now)
	if err != nil {
		return fact.Lease{}, err
	}
	e := l.entry(c.Subnet, a)
	lease := fact.Lease{
		Addr: a, MAC: c.MAC, Node: c.Node, Subnet: c.Subnet, Pool: c.PoolOf(a), State: fact.Offered,
		Start: l.clock.wall(now), Expires: l.clock.wall(now + int64(c.For)), Hostname: c.Hostname,
	}
	if e.active(now) && e.owner() == m {
		lease.State, lease.Start = fact.Bound, l.clock.wall(e.start)
	}
	l.promise(e, lease, now)
	e.from, e.to = l.clock.ours(lease.Start), l.clock.ours(lease.Expires)
	return lease, nil
}

// promise keeps an address for a machine.
func (l *Leases) promise(e *entry, lease fact.Lease, now int64) {
	m := machine{lease.MAC, lease.Subnet}
	if e.offer != nil {
		l.forgetOffer(e)
	}
	if other := l.offers[m]; other != nil && other != e && other.pending == 0 {
		other.offer = nil // a machine has one offer
		other.changed()
	}
	if e.offer == nil {
		e.offer = new(fact.Lease)
	}
	*e.offer, e.offerUntil = lease, now+int64(offerTime)
	l.offers[m] = e
	e.changed()
}

// forgetOffer takes an entry's offer from its machine.
func (l *Leases) forgetOffer(e *entry) {
	if m := (machine{e.offer.MAC, e.offer.Subnet}); l.offers[m] == e {
		delete(l.offers, m)
	}
}

// Withdraw takes back what a machine is offered, because it chose another server: the address is free for others at once. A lease
// that it has, or that is on its way to the disk, stays.
func (l *Leases) Withdraw(mac fact.MAC, subnet string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := machine{mac, subnet}
	if e := l.offers[m]; e != nil && e.pending == 0 && e.offer != nil && e.offer.MAC == mac {
		e.offer = nil
		delete(l.offers, m)
		e.changed()
	}
}

// find decides which address a claim gets.
func (l *Leases) find(c *fact.Claim, m machine, now int64) (netip.Addr, error) {
	if c.Fixed.IsValid() {
		a := c.Fixed.Unmap()
		if e := l.byAddr[a]; e != nil {
			return a, e.conflict(m, true, now)
		}
		return a, nil
	}
	if len(c.Ranges) == 0 {
		return netip.Addr{}, fmt.Errorf("%w: subnet %s has no range for this machine", ErrExhausted, c.Subnet)
	}
	p := l.pool(c)
	for _, e := range l.known(m, now) {
		if e != nil && p.contains(e.addr) && e.conflict(m, false, now) == nil {
			return e.addr, nil
		}
	}
	if want := c.Want.Unmap(); want.IsValid() && p.contains(want) {
		if e := l.byAddr[want]; e == nil || e.freeAt <= now {
			return want, nil
		}
	}
	if a, ok := p.take(now, l.byAddr); ok {
		return a, nil
	}
	return netip.Addr{}, fmt.Errorf("%w: pool %s of subnet %s", ErrExhausted, c.Pool, c.Subnet)
}

// known lists a machine's addresses in the order in which it should get them: a running lease, an offer, and then
// those that have ended. Some are nil.
func (l *Leases) known(m machine, now int64) (es [4]*entry) {
	owned, offered := l.owners[m], l.offers[m]
	if owned != nil && owned.active(now) {
		es[0] = owned
	}
	if offered != nil && offered.promised(now) {
		es[1] = offered
	}
	es[2], es[3] = owned, offered
	return es
}

// Release ends a running lease of the machine and reports whether there was one. The pairing is remembered, and the address is
// the last of its pool to be given away. It is durable a moment later; lost in a crash, it is a lease that runs its time.
func (l *Leases) Release(mac fact.MAC, addr netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.tick()
	e := l.byAddr[addr.Unmap()]
	if e == nil || e.lease.MAC != mac || !e.active(now) {
		return false
	}
	l.release(e, now)
	return true
}

func (l *Leases) release(e *entry, now int64) {
	r := record{kind: released, lease: fact.Lease{Addr: e.addr, MAC: e.lease.MAC}, until: now}
	l.apply(&r)
	if e.offer != nil && e.offer.MAC == e.lease.MAC && e.pending == 0 {
		l.forgetOffer(e)
		e.offer = nil
		e.changed()
	}
	l.enqueue(waiting{record: r})
}

// Decline lets an address rest, and forgets whose it was: the machine found somebody else using it. Only the machine that
// holds the address, or is offered it, can say so; what it had is given back. A declared address does not rest, it is released.
func (l *Leases) Decline(mac fact.MAC, addr netip.Addr, rest time.Duration) (fact.Lease, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.tick()
	e := l.byAddr[addr.Unmap()]
	if e == nil {
		return fact.Lease{}, false
	}
	var had fact.Lease
	switch {
	case e.active(now) && e.lease.MAC == mac:
		had = l.shown(e, now)
	case e.promised(now) && e.offer.MAC == mac:
		had = *e.offer
	default:
		return had, false
	}
	switch {
	case had.Pool != "":
		r := record{kind: declined, lease: had, start: now, until: now + int64(rest)}
		r.lease.State, r.lease.Start, r.lease.Expires = "", time.Time{}, time.Time{}
		if e.offer != nil && e.pending == 0 { // now, and not again when the record is durable: a declared machine may be offered it by then
			l.forgetOffer(e)
			e.offer = nil
		}
		l.apply(&r)
		l.enqueue(waiting{record: r})
	case had.State == fact.Bound:
		l.release(e, now)
	}
	return had, true
}

// apply changes memory as a record says. It is the same for a record that is replayed, and leaves alone what a later
// record has changed already.
func (l *Leases) apply(r *record) {
	if r.kind == bound && r.lease.MAC.IsZero() {
		return
	}
	e := l.entry(r.lease.Subnet, r.lease.Addr)
	switch r.kind {
	case bound:
		if l.owners[e.owner()] == e {
			delete(l.owners, e.owner())
		}
		e.lease, e.start, e.until, e.rest, e.decliner = r.lease, r.start, r.until, 0, nil
		l.owners[e.owner()] = e
	case released:
		if e.lease.MAC != r.lease.MAC || e.lease.State != fact.Bound {
			return
		}
		e.lease.State, e.until = fact.Released, r.until
	case declined:
		if l.owners[e.owner()] == e {
			delete(l.owners, e.owner())
		}
		by := r.lease
		e.lease, e.start, e.until, e.rest, e.decliner = fact.Lease{}, r.start, 0, max(r.until, e.rest), &by
	}
	l.dirty[e.addr] = true
	e.changed()
}

// shown is a running or ended lease as callers see it.
func (l *Leases) shown(e *entry, now int64) fact.Lease {
	lease := e.lease
	lease.Start, lease.Expires = l.clock.wall(e.start), l.clock.wall(e.until)
	if lease.State == fact.Bound && e.until <= now {
		lease.State = fact.Expired
	}
	return lease
}

// Holder finds the running, durable lease of an address.
func (l *Leases) Holder(addr netip.Addr) (fact.Lease, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.tick()
	if e := l.byAddr[addr.Unmap()]; e != nil && e.active(now) {
		return l.shown(e, now), true
	}
	return fact.Lease{}, false
}

// Held finds the running, durable lease that a machine has in a subnet.
func (l *Leases) Held(mac fact.MAC, subnet string) (fact.Lease, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.tick()
	if e := l.owners[machine{mac, subnet}]; e != nil && e.active(now) {
		return l.shown(e, now), true
	}
	return fact.Lease{}, false
}

// resting is a declined address as callers see it, with the machine that declined it.
func (l *Leases) resting(e *entry) fact.Lease {
	lease := e.resting()
	lease.Addr, lease.State = e.addr, fact.Declined
	lease.Start, lease.Expires = l.clock.wall(e.start), l.clock.wall(e.rest)
	return lease
}

// List gives every lease that runs or is remembered, every offer that stands and every address that rests, by address.
func (l *Leases) List() []fact.Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.tick()
	var all []fact.Lease
	for _, e := range l.byAddr {
		switch {
		case e.rest > now && !e.promised(now):
			all = append(all, l.resting(e))
		case !e.active(now) && e.promised(now):
			all = append(all, *e.offer)
		case !e.lease.MAC.IsZero():
			all = append(all, l.shown(e, now))
		}
	}
	slices.SortFunc(all, func(a, b fact.Lease) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Subnet, b.Subnet))
	})
	return all
}
