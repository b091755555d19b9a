package ledger_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"hostler/reconcile/ledger"
	"hostler/render/fact"
)

// model is what Leases must do, in the simplest words: one map, searched from end to end.
type model struct {
	now   time.Duration // elapsed, which never goes back
	addrs map[netip.Addr]*modelAddr
}

type modelAddr struct {
	owner      fact.MAC // of the last lease
	fixed      bool
	bound      bool
	until      time.Duration // of the lease, or when it was released
	offered    fact.MAC
	offerFixed bool
	offerEnd   time.Duration
	rest       time.Duration
	decliner   fact.MAC
}

func (m *model) at(a netip.Addr) *modelAddr {
	if m.addrs[a] == nil {
		m.addrs[a] = &modelAddr{}
	}
	return m.addrs[a]
}

func (m *model) active(a netip.Addr) bool { return m.at(a).bound && m.at(a).until > m.now }

// may says whether a machine can have an address now.
func (m *model) may(mac fact.MAC, a netip.Addr, fixed bool) bool {
	x := m.at(a)
	switch {
	case x.rest > m.now && !fixed:
		return false
	case m.active(a) && x.owner != mac && !(fixed && x.fixed):
		return false
	case x.offerEnd > m.now && x.offered != mac && !(fixed && x.offerFixed):
		return false
	}
	return true
}

// check judges an answer of Offer: whether it is allowed, and whether a better one was due.
func (m *model) check(c fact.Claim, got netip.Addr, err error) error {
	if c.Fixed.IsValid() {
		if ok := m.may(c.MAC, c.Fixed, true); ok != (err == nil) {
			return fmt.Errorf("fixed %s: allowed %t, got %v", c.Fixed, ok, err)
		}
		return nil
	}
	possible := 0
	for a := c.Ranges[0].First; c.Ranges[0].Contains(a); a = a.Next() {
		if m.may(c.MAC, a, false) {
			possible++
		}
		if m.active(a) && m.at(a).owner == c.MAC && err == nil && got != a && m.may(c.MAC, a, false) {
			return fmt.Errorf("%s holds %s and was offered %s", c.MAC, a, got)
		}
	}
	switch {
	case err != nil && (possible > 0 || !errors.Is(err, ledger.ErrExhausted)):
		return fmt.Errorf("%d addresses are possible, got %v", possible, err)
	case err == nil && !c.Ranges[0].Contains(got):
		return fmt.Errorf("%s is outside %s", got, c.Ranges[0])
	case err == nil && !m.may(c.MAC, got, false):
		return fmt.Errorf("%s is not free for %s: %+v", got, c.MAC, *m.at(got))
	}
	return nil
}

func (m *model) offer(c fact.Claim, a netip.Addr) {
	for _, x := range m.addrs {
		if x.offered == c.MAC {
			x.offered, x.offerEnd = fact.MAC{}, 0
		}
	}
	x := m.at(a)
	x.offered, x.offerFixed, x.offerEnd = c.MAC, c.Fixed.IsValid(), m.now+time.Minute
}

func (m *model) bind(c fact.Claim, a netip.Addr) {
	for b, x := range m.addrs {
		if b != a && x.owner == c.MAC && m.active(b) {
			x.bound, x.until = false, m.now
		}
	}
	*m.at(a) = modelAddr{owner: c.MAC, fixed: c.Fixed.IsValid(), bound: true, until: m.now + c.For}
}

// run is one history of random operations, on Leases and on the model.
type run struct {
	testing.TB
	r     *rand.Rand
	clock *hand
	dir   string
	l     *ledger.Leases
	close func()
	model
}

func TestLeasesModel(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { modelRun(t, seed, 400) })
	}
}

func FuzzLeasesModel(f *testing.F) {
	f.Add(uint64(1), uint16(50))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) { modelRun(t, seed, int(steps%300)) })
}

func modelRun(t *testing.T, seed uint64, steps int) {
	r := &run{
		TB: t, r: rand.New(rand.NewPCG(seed, 7)), clock: newHand(), dir: t.TempDir(),
		model: model{addrs: map[netip.Addr]*modelAddr{}},
	}
	r.l, r.close = leasesIn(t, r.dir, r.clock.now)
	for i := range steps {
		r.step()
		r.compare()
		if t.Failed() {
			t.Fatalf("at step %d", i)
		}
	}
}

var (
	poolA = ranges("10.0.0.10", "10.0.0.17")
	poolB = ranges("10.0.0.14", "10.0.0.19") // as after a change of the spec, or for another kind of machine
)

func (r *run) claim() fact.Claim {
	c := claim(1+r.r.IntN(12), [][]fact.Range{poolA, poolB}[r.r.IntN(2)])
	switch r.r.IntN(8) {
	case 0:
		c.Ranges, c.Pool, c.Fixed = nil, "", netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + r.r.IntN(12))})
	case 1:
		c.Want = netip.AddrFrom4([4]byte{10, 0, 0, byte(8 + r.r.IntN(12))})
	}
	return c
}

func (r *run) step() {
	switch n := r.r.IntN(20); {
	case n < 12:
		r.take()
	case n < 14:
		d := time.Duration(r.r.IntN(300)) * time.Second
		r.clock.step(d)
		r.now += d
	case n < 16:
		r.release()
	case n < 17:
		for range 6 { // most do not hold what they decline
			r.decline()
		}
	case n < 18:
		r.clock.step(-time.Duration(r.r.IntN(100000)) * time.Second) // set back: no time passes
		r.l.Holder(poolA[0].First)                                   // and that is noticed
	case n < 19:
		if err := r.l.Checkpoint(r.Context()); err != nil {
			r.Error(err)
		}
	default:
		r.reopen()
	}
}

func (r *run) take() {
	c := r.claim()
	lease, err := r.l.Offer(c)
	if problem := r.check(c, lease.Addr, err); problem != nil {
		r.Errorf("%+v: %v", c, problem)
	}
	if err != nil {
		return
	}
	r.offer(c, lease.Addr)
	if r.r.IntN(4) == 0 {
		return // the machine does not take it
	}
	if err := bind(r.l, lease); err != nil {
		r.Errorf("binding %v: %v", lease, err)
	}
	r.bind(c, lease.Addr)
}

func (r *run) release() {
	mac, a := mac(1+r.r.IntN(12)), netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + r.r.IntN(12))})
	want := r.active(a) && r.at(a).owner == mac
	if got := r.l.Release(mac, a); got != want {
		r.Errorf("releasing %s of %s: %t, want %t", a, mac, got, want)
	}
	if x := r.at(a); want {
		x.bound, x.until = false, r.now
		if x.offered == mac {
			x.offered, x.offerEnd = fact.MAC{}, 0
		}
	}
}

func (r *run) decline() {
	m, a := mac(1+r.r.IntN(12)), netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + r.r.IntN(12))})
	x := r.at(a)
	holds, offered := r.active(a) && x.owner == m, x.offerEnd > r.now && x.offered == m
	fixed := holds && x.fixed || !holds && x.offerFixed
	rest := time.Duration(1+r.r.IntN(1000)) * time.Second
	if _, ok := r.l.Decline(m, a, rest); ok != (holds || offered) {
		r.Errorf("%s declines %s: %t, but it holds it: %t, is offered it: %t", m, a, ok, holds, offered)
	}
	switch {
	case !holds && !offered:
	case !fixed:
		*x = modelAddr{rest: r.now + rest, decliner: m}
	case holds:
		x.bound, x.until = false, r.now
		if x.offered == m {
			x.offered, x.offerEnd = fact.MAC{}, 0
		}
	}
}

// reopen is a restart. Offers are forgotten. As the disk only has the time of the last record, one is written first.
func (r *run) reopen() {
	d := fact.Claim{MAC: mac(200), Subnet: "other", Fixed: addr("10.9.9.9"), For: time.Hour}
	mustBind(r, r.l, d)
	r.bind(d, addr("10.9.9.9"))
	r.close()
	r.l, r.close = leasesIn(r, r.dir, r.clock.now)
	for _, x := range r.addrs {
		x.offered, x.offerEnd = fact.MAC{}, 0
	}
}

// compare looks at every address: the same owner, and the same time left.
func (r *run) compare() {
	owners := map[fact.MAC]netip.Addr{}
	resting := map[netip.Addr]fact.Lease{}
	for _, l := range r.l.List() {
		if l.State == fact.Declined {
			resting[l.Addr] = l
		}
	}
	for n := 10; n < 22; n++ {
		a := netip.AddrFrom4([4]byte{10, 0, 0, byte(n)})
		lease, held := r.l.Holder(a)
		x := r.at(a)
		if held != r.active(a) || held && lease.MAC != x.owner {
			r.Errorf("%s: held %t by %s, want %+v at %s", a, held, lease.MAC, *x, r.now)
		}
		l, rests := resting[a]
		if want := x.rest > r.now && x.offerEnd <= r.now; rests != want || rests && (l.MAC != x.decliner || l.Expires.Sub(r.clock.now()) != x.rest-r.now) {
			r.Errorf("%s: rests %t for %s until %s, want %t, %+v at %s", a, rests, l.MAC, l.Expires, want, *x, r.now)
		}
		if !held {
			continue
		}
		if left := lease.Expires.Sub(r.clock.now()); left != x.until-r.now {
			r.Errorf("%s: %s left, want %s", a, left, x.until-r.now)
		}
		if other, twice := owners[lease.MAC]; twice {
			r.Errorf("%s holds %s and %s", lease.MAC, other, a)
		}
		owners[lease.MAC] = a
		if mine, ok := r.l.Held(lease.MAC, "lab"); !ok || mine.Addr != a {
			r.Errorf("%s holds %s, but Held says %s", lease.MAC, a, mine.Addr)
		}
	}
}
