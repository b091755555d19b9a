package ledger_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"hostler/reconcile/ledger"
	"hostler/render/fact"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// hand is a clock that tests turn by hand.
type hand struct {
	mu sync.Mutex
	t  time.Time
}

func (h *hand) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.t
}

func (h *hand) step(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.t = h.t.Add(d)
}

func newHand() *hand { return &hand{t: epoch} }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// leasesIn opens the leases of a state directory with their store; close undoes both, and may be called twice.
func leasesIn(t testing.TB, dir string, now func() time.Time) (l *ledger.Leases, closeAll func()) {
	t.Helper()
	return leasesBy(t, dir, ledger.Clock{Now: now})
}

func leasesBy(t testing.TB, dir string, clock ledger.Clock) (l *ledger.Leases, closeAll func()) {
	t.Helper()
	store, err := ledger.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	l, err = ledger.OpenLeases(dir, store, clock, quiet)
	if err != nil {
		store.Close()
		t.Fatal(err)
	}
	closeAll = func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		store.Close()
	}
	t.Cleanup(closeAll)
	return l, closeAll
}

func mac(n int) fact.MAC { return fact.MAC{2, 0, 0, byte(n >> 16), byte(n >> 8), byte(n)} }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func ranges(pairs ...string) []fact.Range {
	var rs []fact.Range
	for i := 0; i < len(pairs); i += 2 {
		rs = append(rs, fact.Range{First: addr(pairs[i]), Last: addr(pairs[i+1])})
	}
	return rs
}

func claim(n int, rs []fact.Range) fact.Claim {
	return fact.Claim{MAC: mac(n), Subnet: "lab", Pool: "guests", Ranges: rs, For: 10 * time.Minute}
}

func offer(t testing.TB, l *ledger.Leases, c fact.Claim) fact.Lease {
	t.Helper()
	lease, err := l.Offer(c)
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

func bind(l *ledger.Leases, lease fact.Lease) error {
	done := make(chan error, 1)
	l.Bind(lease, func(err error) { done <- err })
	return <-done
}

func mustBind(t testing.TB, l *ledger.Leases, c fact.Claim) fact.Lease {
	t.Helper()
	lease := offer(t, l, c)
	if err := bind(l, lease); err != nil {
		t.Fatal(err)
	}
	return lease
}

func wantAddr(t testing.TB, what string, got fact.Lease, want string) {
	t.Helper()
	if got.Addr != addr(want) {
		t.Errorf("%s: got %s, want %s", what, got.Addr, want)
	}
}

// The order in which a machine gets an address, in one story: each step depends on those before.
func TestOfferPrefers(t *testing.T) {
	clock := newHand()
	l, _ := leasesIn(t, t.TempDir(), clock.now)
	rs := ranges("10.0.0.10", "10.0.0.12")

	wantAddr(t, "the first of the range", offer(t, l, claim(1, rs)), "10.0.0.10")
	wantAddr(t, "its standing offer again", offer(t, l, claim(1, rs)), "10.0.0.10")
	wanting := claim(2, rs)
	wanting.Want = addr("10.0.0.12")
	wantAddr(t, "the wanted one", offer(t, l, wanting), "10.0.0.12")
	wanting = claim(3, rs)
	wanting.Want = addr("10.0.0.12")
	wantAddr(t, "another, since the wanted one is offered", offer(t, l, wanting), "10.0.0.11")
	_, err := l.Offer(claim(4, rs))
	wantErr(t, err, ledger.ErrExhausted, "no address is free: pool guests of subnet lab")

	clock.step(61 * time.Second)
	wantAddr(t, "an offer that ended, before others", offer(t, l, claim(4, rs)), "10.0.0.10")
	wanting = claim(2, rs)
	wantAddr(t, "its own offer that ended", offer(t, l, wanting), "10.0.0.12")
	clock.step(61 * time.Second)

	one, two := mustBind(t, l, claim(1, rs)), mustBind(t, l, claim(2, rs))
	clock.step(time.Minute)
	three := mustBind(t, l, claim(3, rs))
	if !l.Release(mac(2), two.Addr) || l.Release(mac(2), two.Addr) {
		t.Error("a lease is released exactly once")
	}
	if l.Release(mac(1), three.Addr) {
		t.Error("released by a machine that does not hold it")
	}
	wantAddr(t, "the last lease of the machine", offer(t, l, claim(2, rs)), two.Addr.String())
	clock.step(20 * time.Minute) // all ended; two by release first, then one, then three
	wantAddr(t, "the one that ended longest ago", offer(t, l, claim(7, rs)), two.Addr.String())
	wantAddr(t, "then the next", offer(t, l, claim(8, rs)), one.Addr.String())
	wantAddr(t, "its own last lease, not the oldest", offer(t, l, claim(3, rs)), three.Addr.String())
}

func wantErr(t testing.TB, err, is error, text string) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Errorf("got error %v, want %v", err, is)
		return
	}
	if diff := cmp.Diff(text, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

// An offer that a machine did not take up is free at once, and what it has is not touched.
func TestWithdraw(t *testing.T) {
	clock := newHand()
	l, _ := leasesIn(t, t.TempDir(), clock.now)
	rs := ranges("10.0.0.10", "10.0.0.10")
	offer(t, l, claim(1, rs))
	l.Withdraw(mac(2), "lab") // not its offer
	_, err := l.Offer(claim(2, rs))
	wantErr(t, err, ledger.ErrExhausted, "no address is free: pool guests of subnet lab")
	l.Withdraw(mac(1), "lab")
	mustBind(t, l, claim(2, rs))
	offer(t, l, claim(2, rs)) // it renews, and then asks another server
	l.Withdraw(mac(2), "lab")
	if held, ok := l.Held(mac(2), "lab"); !ok || held.Addr != addr("10.0.0.10") {
		t.Errorf("its lease is gone: %v", held)
	}
	_, err = l.Offer(claim(3, rs))
	wantErr(t, err, ledger.ErrExhausted, "no address is free: pool guests of subnet lab")
}

func TestOfferFixed(t *testing.T) {
	clock := newHand()
	l, _ := leasesIn(t, t.TempDir(), clock.now)
	rs := ranges("10.0.0.10", "10.0.0.12")
	fixed := func(n int) fact.Claim {
		return fact.Claim{MAC: mac(n), Node: "n1", Subnet: "lab", Fixed: addr("10.0.0.10"), For: 10 * time.Minute}
	}
	mustBind(t, l, claim(1, rs))
	_, err := l.Offer(fixed(2))
	wantErr(t, err, ledger.ErrTaken, "address is taken: 10.0.0.10 is leased to 02:00:00:00:00:01")
	clock.step(11 * time.Minute)
	offer(t, l, claim(1, rs))
	_, err = l.Offer(fixed(2))
	wantErr(t, err, ledger.ErrTaken, "address is taken: 10.0.0.10 is offered to 02:00:00:00:00:01")
	clock.step(2 * time.Minute)
	got := mustBind(t, l, fixed(2))
	want := fact.Lease{
		Addr: addr("10.0.0.10"), MAC: mac(2), Node: "n1", Subnet: "lab", State: fact.Offered,
		Start: epoch.Add(13 * time.Minute), Expires: epoch.Add(23 * time.Minute),
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}

	// The node's network card is replaced: the spec now names another MAC, and the old lease still runs.
	if err := bind(l, offer(t, l, fixed(3))); err != nil {
		t.Error(err)
	}
	if _, ok := l.Held(mac(2), "lab"); ok {
		t.Error("the replaced card still has the lease")
	}
	// It finds a squatter there, but only the author of the spec can say where else it should go: the address stays its own.
	had, ok := l.Decline(mac(3), addr("10.0.0.10"), 10*time.Minute)
	if _, held := l.Holder(addr("10.0.0.10")); !ok || had.Pool != "" || had.Node != "n1" || held {
		t.Errorf("declined: %t %+v", ok, had)
	}
	mustBind(t, l, fixed(3))
}

// A machine that comes back as a declared node leaves its address in the pool behind.
func TestMachineHasOneAddress(t *testing.T) {
	dir, clock := t.TempDir(), newHand()
	l, closeAll := leasesIn(t, dir, clock.now)
	rs := ranges("10.0.0.10", "10.0.0.10")
	mustBind(t, l, claim(1, rs))
	mustBind(t, l, fact.Claim{MAC: mac(1), Subnet: "lab", Fixed: addr("10.0.0.5"), For: time.Hour})
	check := func() {
		t.Helper()
		held, ok := l.Held(mac(1), "lab")
		if wantAddr(t, "held", held, "10.0.0.5"); !ok {
			t.Error("holds nothing")
		}
		if lease, ok := l.Holder(addr("10.0.0.10")); ok {
			t.Errorf("the old address is held: %v", lease)
		}
	}
	check()
	closeAll()
	l, _ = leasesIn(t, dir, clock.now)
	check()
	wantAddr(t, "the address left behind", offer(t, l, claim(2, rs)), "10.0.0.10")
}

// A declined address rests for as long as it is told to, also across a restart, and is listed with who declined it.
func TestDecline(t *testing.T) {
	dir, clock := t.TempDir(), newHand()
	l, closeAll := leasesIn(t, dir, clock.now)
	rs := ranges("10.0.0.10", "10.0.0.12")
	const rest = 20 * time.Minute
	decline := func(n int, a string, want bool) {
		t.Helper()
		if _, ok := l.Decline(mac(n), addr(a), rest); ok != want {
			t.Errorf("machine %d declines %s: %t", n, a, ok)
		}
	}
	mustBind(t, l, claim(1, rs))
	offer(t, l, claim(2, rs))
	decline(2, "10.0.0.10", false) // another machine's
	decline(1, "10.0.0.11", false) // offered to another machine
	decline(1, "10.0.0.99", false) // nobody's
	decline(1, "10.0.0.10", true)
	decline(1, "10.0.0.10", false) // not any more
	decline(2, "10.0.0.11", true)  // before it took it
	check := func() {
		t.Helper()
		want := []fact.Lease{
			{Addr: addr("10.0.0.10"), MAC: mac(1), Subnet: "lab", Pool: "guests", State: fact.Declined, Start: epoch, Expires: epoch.Add(rest)},
			{Addr: addr("10.0.0.11"), MAC: mac(2), Subnet: "lab", Pool: "guests", State: fact.Declined, Start: epoch, Expires: epoch.Add(rest)},
		}
		if d := cmp.Diff(want, l.List()[:2], cmpopts.EquateComparable(netip.Addr{})); d != "" {
			t.Error(d)
		}
	}
	check()
	long := claim(1, rs)
	long.For = time.Hour
	wantAddr(t, "another address", mustBind(t, l, long), "10.0.0.12")
	closeAll()
	l, closeAll = leasesIn(t, dir, clock.now) // from the journal
	check()
	if err := l.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	closeAll()
	l, _ = leasesIn(t, dir, clock.now) // from the checkpoint
	check()
	_, err := l.Offer(claim(3, rs))
	wantErr(t, err, ledger.ErrExhausted, "no address is free: pool guests of subnet lab")
	clock.step(rest + time.Second)
	wantAddr(t, "the first declined one, rested", mustBind(t, l, claim(3, rs)), "10.0.0.10")
	if got := l.List()[0]; got.State != fact.Bound || got.MAC != mac(3) {
		t.Errorf("listed: %+v", got)
	}
}

// A clock that is set back must neither bring an ended lease back nor make a running one longer.
func TestClockSetBack(t *testing.T) {
	dir, clock := t.TempDir(), newHand()
	l, closeAll := leasesIn(t, dir, clock.now)
	rs := ranges("10.0.0.10", "10.0.0.11")
	mustBind(t, l, claim(1, rs)) // until +10m
	clock.step(6 * time.Minute)
	mustBind(t, l, claim(2, rs)) // until +16m
	clock.step(5 * time.Minute)
	check := func(what string, one, two bool) {
		t.Helper()
		_, has1 := l.Held(mac(1), "lab")
		_, has2 := l.Held(mac(2), "lab")
		if has1 != one || has2 != two {
			t.Errorf("%s: machine 1 holds %t, want %t; machine 2 holds %t, want %t", what, has1, one, has2, two)
		}
	}
	check("at 11 minutes", false, true)
	if err := bind(l, offer(t, l, claim(2, rs))); err != nil { // until +21m; also puts the time on disk
		t.Fatal(err)
	}
	clock.step(-24 * time.Hour)
	check("set back by a day", false, true)
	held, _ := l.Held(mac(2), "lab")
	if want := clock.now().Add(10 * time.Minute); !held.Expires.Equal(want) {
		t.Errorf("shown to end at %s, want %s", held.Expires, want)
	}
	clock.step(9 * time.Minute)
	check("9 minutes later", false, true)
	closeAll()
	l, closeAll = leasesIn(t, dir, clock.now) // the time that passed since the last record is not known on disk
	check("after a restart", false, true)
	clock.step(11 * time.Minute)
	check("ended", false, false)
	mustBind(t, l, claim(3, rs))
	closeAll()
	clock.step(-time.Hour)
	l, _ = leasesIn(t, dir, clock.now)
	check("restarted an hour back", false, false)
	clock.step(10*time.Minute + time.Second)
	if _, ok := l.Held(mac(3), "lab"); ok {
		t.Error("a lease got longer because the clock was set back while the process was down")
	}
}

// The system's clock is set between an offer and its lease, which is as long as any other all the same.
func TestClockSetAfterOffer(t *testing.T) {
	clock := newHand()
	l, _ := leasesIn(t, t.TempDir(), clock.now)
	o := offer(t, l, claim(1, ranges("10.0.0.10", "10.0.0.11")))
	clock.step(-24 * time.Hour)
	if err := bind(l, o); err != nil {
		t.Fatal(err)
	}
	if held, ok := l.Held(mac(1), "lab"); !ok || !held.Expires.Equal(clock.now().Add(10*time.Minute)) {
		t.Errorf("%t, ends at %s, and it is %s", ok, held.Expires, clock.now())
	}
	clock.step(11 * time.Minute)
	if _, ok := l.Held(mac(1), "lab"); ok {
		t.Error("it has not ended after its time")
	}
}

// A process that comes back while its host runs knows how long it was away, whatever the clock was set to before, meanwhile or
// afterwards: by hours, by days, to a year before hostler was written.
func TestClockSetAcrossRestarts(t *testing.T) {
	const day = 24 * time.Hour
	// Set forward inside the process is not here: only a real clock tells elapsed time from its hands. TestClockSet has one.
	for _, set := range []struct{ before, down time.Duration }{
		{}, {down: time.Hour}, {down: -time.Hour}, {down: 400 * day}, {down: -400 * day}, {before: -time.Hour}, {before: -day, down: day},
		{before: -9 * 365 * day, down: 9 * 365 * day}, {before: -9 * 365 * day, down: -time.Hour},
	} {
		for _, writes := range []bool{false, true} { // something between the clock's being set and the end of the process
			t.Run(fmt.Sprint(set, writes), func(t *testing.T) {
				dir, hand, up := t.TempDir(), newHand(), time.Hour
				pass := func(d time.Duration) { hand.step(d); up += d }
				clock := ledger.Clock{Now: hand.now, Run: "a", Uptime: func() time.Duration { return up }}
				l, closeAll := leasesBy(t, dir, clock)
				rs := ranges("10.0.0.10", "10.0.0.20")
				mustBind(t, l, claim(1, rs)) // for ten minutes
				pass(4 * time.Minute)
				l.List() // looks at the clock
				hand.step(set.before)
				if writes {
					mustBind(t, l, claim(2, rs))
				}
				closeAll()
				hand.step(set.down)
				pass(2 * time.Minute)
				l, closeAll = leasesBy(t, dir, clock)
				if _, ok := l.Held(mac(1), "lab"); !ok {
					t.Error("six of ten minutes have passed, and the lease is gone")
				}
				if got := offer(t, l, claim(3, rs)); got.Addr == addr("10.0.0.10") {
					t.Error("the address of a running lease is offered")
				}
				pass(5 * time.Minute)
				if _, ok := l.Held(mac(1), "lab"); ok {
					t.Error("eleven of ten minutes have passed, and the lease runs")
				}
				closeAll()
			})
		}
	}
}

// Claims for the same machine in two subnets, and pools of one subnet that overlap: no address is given twice.
func TestOverlappingPools(t *testing.T) {
	l, _ := leasesIn(t, t.TempDir(), newHand().now)
	a, b := ranges("10.0.0.10", "10.0.0.13"), ranges("10.0.0.12", "10.0.0.15")
	seen := map[netip.Addr]int{}
	for n, rs := range [][]fact.Range{b, a, b, a, b, b} {
		lease := mustBind(t, l, claim(n+1, rs))
		if other, ok := seen[lease.Addr]; ok {
			t.Errorf("%s given to %d and %d", lease.Addr, other, n)
		}
		seen[lease.Addr] = n
	}
	for _, rs := range [][]fact.Range{a, b} {
		if _, err := l.Offer(claim(99, rs)); !errors.Is(err, ledger.ErrExhausted) {
			t.Errorf("got %v, want %v", err, ledger.ErrExhausted)
		}
	}
}

func TestBindRefuses(t *testing.T) {
	l, closeAll := leasesIn(t, t.TempDir(), newHand().now)
	rs := ranges("10.0.0.10", "10.0.0.11")
	mustBind(t, l, claim(1, rs))
	stolen := fact.Lease{Addr: addr("10.0.0.10"), MAC: mac(2), Subnet: "lab", Pool: "guests", Expires: epoch.Add(time.Hour)}
	wantErr(t, bind(l, stolen), ledger.ErrTaken, "address is taken: 10.0.0.10 is leased to 02:00:00:00:00:01")
	long := stolen
	long.Addr, long.Hostname = addr("10.0.0.11"), string(make([]byte, 2000))
	if diff := cmp.Diff("writing leases: address 10.0.0.11: a name is longer than 1024 bytes", fmt.Sprint(bind(l, long))); diff != "" {
		t.Error(diff)
	}
	closeAll()
	long.Hostname = ""
	if diff := cmp.Diff("leases are closed", fmt.Sprint(bind(l, long))); diff != "" {
		t.Error(diff)
	}
}

// Strangers that only say DISCOVER use up a pool for a minute, and memory for as many addresses as are offered in one.
func TestOfferFlood(t *testing.T) {
	clock := newHand()
	l, _ := leasesIn(t, t.TempDir(), clock.now)
	rs := ranges("10.0.0.0", "10.0.255.255")
	seen := map[netip.Addr]bool{}
	for n := range 50_000 {
		seen[offer(t, l, claim(n, rs)).Addr] = true
		clock.step(100 * time.Millisecond) // 600 offers stand at a time
	}
	if len(seen) > 601 {
		t.Errorf("%d addresses were offered, want the same 601 again and again", len(seen))
	}
	if n := len(l.List()); n > 601 {
		t.Errorf("%d offers are listed", n)
	}
}

func TestConcurrentOffers(t *testing.T) {
	dir := t.TempDir()
	l, closeAll := leasesIn(t, dir, time.Now)
	rs := ranges("10.0.0.0", "10.0.7.255")
	var mu sync.Mutex
	owner := map[netip.Addr]fact.MAC{}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 1000 {
				lease, err := l.Offer(claim(r.IntN(1500), rs))
				if err != nil {
					t.Error(err)
					return
				}
				wg.Add(1)
				l.Bind(lease, func(err error) {
					defer wg.Done()
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						t.Error(err)
					} else if old, ok := owner[lease.Addr]; ok && old != lease.MAC {
						t.Errorf("%s acknowledged to %s and %s", lease.Addr, old, lease.MAC)
					}
					owner[lease.Addr] = lease.MAC
				})
			}
		})
	}
	wg.Wait()
	closeAll()
	l, _ = leasesIn(t, dir, time.Now)
	for a, m := range owner {
		if lease, ok := l.Holder(a); !ok || lease.MAC != m {
			t.Errorf("%s: after a restart held by %s, want %s", a, lease.MAC, m)
		}
	}
}
