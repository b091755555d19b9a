package ledger_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hostler/reconcile/ledger"
	"hostler/reconcile/ledger/ledgertest"
	"hostler/render/fact"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// A server is killed in the middle of a storm of leases, with checkpoints going on: whoever got an acknowledgement has its
// lease, and no address has two owners.
func TestLeasesCrash(t *testing.T) {
	dir := t.TempDir()
	lines := ledgertest.Crash(t, dir, 5000, storm)
	l, _ := leasesIn(t, dir, time.Now)
	owner := map[netip.Addr]string{}
	for _, line := range lines {
		var a, m string
		fmt.Sscan(line, &a, &m)
		if old, twice := owner[addr(a)]; twice && old != m {
			t.Errorf("%s was acknowledged to %s and to %s", a, old, m)
		}
		owner[addr(a)] = m
	}
	for a, m := range owner {
		if lease, ok := l.Holder(a); !ok || lease.MAC.String() != m {
			t.Errorf("%s: held by %s (%t), was acknowledged to %s", a, lease.MAC, ok, m)
		}
	}
	held := map[fact.MAC]netip.Addr{}
	for _, lease := range l.List() {
		if other, twice := held[lease.MAC]; twice {
			t.Errorf("%s holds %s and %s", lease.MAC, other, lease.Addr)
		}
		held[lease.MAC] = lease.Addr
	}
	t.Logf("%d leases were acknowledged, %d are there", len(lines), len(held))
}

func storm(t *testing.T, dir string, acked func(string)) {
	l, _ := leasesIn(t, dir, time.Now)
	rs := ranges("10.0.0.0", "10.15.255.255")
	var mu sync.Mutex
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 1000 {
			if err := l.Checkpoint(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	for g := range 16 {
		wg.Go(func() {
			for n := range 100_000 {
				lease, err := l.Offer(claim(g*100_000+n, rs))
				if err == nil {
					err = bind(l, lease)
				}
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				acked(lease.Addr.String() + " " + lease.MAC.String())
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestLeasesDiskFull(t *testing.T) {
	dir, clock := mount(t, "size=1m"), newHand()
	l, closeAll := leasesIn(t, dir, clock.now)
	rs := ranges("10.0.0.10", "10.0.0.12")
	kept := mustBind(t, l, claim(1, rs))
	free := fill(t, dir)
	refused := 0
	for n := 0; n < 50_000 && refused < 200; n++ { // what room the journal has is used up first
		lease := offer(t, l, claim(2, rs))
		err := bind(l, lease)
		if err == nil {
			continue
		}
		refused++
		wantErr(t, err, unix.ENOSPC, "writing "+filepath.Join(dir, "leases-0000000000000001.journal")+": no space left on device")
		if _, ok := l.Held(mac(2), "lab"); ok && refused == n+1 {
			t.Fatal("a lease that was refused is held")
		}
	}
	if refused == 0 {
		t.Fatal("the disk was never full")
	}
	clock.step(time.Hour)
	lease := offer(t, l, claim(3, rs))
	path := filepath.Join(dir, "leases-0000000000000001.journal")
	before := size(t, path)
	if err := bind(l, lease); err == nil {
		t.Fatal("bound on a full disk")
	}
	if after := size(t, path); after != before {
		t.Errorf("a failed write left %d bytes behind", after-before)
	}
	if got, ok := l.Holder(lease.Addr); ok {
		t.Errorf("%v was not durable and is held", got)
	}
	if l.Release(kept.MAC, kept.Addr) {
		t.Error("an ended lease was released")
	}
	free()
	if err := bind(l, offer(t, l, claim(3, rs))); err != nil {
		t.Errorf("with space again: %v", err)
	}
	closeAll()
	l, _ = leasesIn(t, dir, clock.now)
	if got, ok := l.Held(mac(3), "lab"); !ok || got.Addr != lease.Addr {
		t.Errorf("after a restart: %v, %t, want %s", got, ok, lease.Addr)
	}
}

// A release that could not be written is written when the disk works again.
func TestReleaseDiskFull(t *testing.T) {
	dir, clock := mount(t, "size=1m"), newHand()
	l, closeAll := leasesIn(t, dir, clock.now)
	rs := ranges("10.0.0.10", "10.0.0.12")
	lease := mustBind(t, l, claim(1, rs))
	free := fill(t, dir)
	for bind(l, offer(t, l, claim(2, rs))) == nil {
	}
	if !l.Release(mac(1), lease.Addr) {
		t.Error("not released")
	}
	bind(l, offer(t, l, claim(2, rs))) // fails, and the release with it
	free()
	closeAll()
	l, _ = leasesIn(t, dir, clock.now)
	if got, ok := l.Holder(lease.Addr); ok {
		t.Errorf("held after a restart: %v", got)
	}
}

// What a crash leaves behind, at every length: a restart has all leases that were written whole, and goes on.
func TestTornJournal(t *testing.T) {
	dir, clock := t.TempDir(), newHand()
	l, closeAll := leasesIn(t, dir, clock.now)
	rs := ranges("10.0.0.10", "10.0.0.20")
	path := filepath.Join(dir, "leases-0000000000000001.journal")
	ends := []int64{size(t, path)}
	for n := range 3 {
		mustBind(t, l, named(n+1, rs))
		ends = append(ends, size(t, path))
	}
	closeAll()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		dir := t.TempDir()
		path := filepath.Join(dir, "leases-0000000000000001.journal")
		left := whole[:cut:cut]
		if cut >= int(ends[0]) && cut%2 == 0 { // room that was made in advance
			left = append(left, make([]byte, 100)...)
		}
		if err := os.WriteFile(path, left, 0o600); err != nil {
			t.Fatal(err)
		}
		l, closeAll := leasesIn(t, dir, clock.now)
		for n := range 3 {
			if _, held := l.Held(mac(n+1), "lab"); held != (int64(cut) >= ends[n+1]) {
				t.Errorf("cut to %d bytes: machine %d holds a lease: %t", cut, n+1, held)
			}
		}
		mustBind(t, l, claim(9, rs))
		closeAll()
		l, closeAll = leasesIn(t, dir, clock.now)
		if _, held := l.Held(mac(9), "lab"); !held {
			t.Errorf("cut to %d bytes: what was written next is lost", cut)
		}
		closeAll()
	}
}

func named(n int, rs []fact.Range) fact.Claim {
	c := claim(n, rs)
	c.Hostname = "host"
	return c
}

// A file that is full is not shorter because of a crash: room may be left behind its last frame. Anything else there is damage.
func TestRoomInOlderJournal(t *testing.T) {
	dir, clock := t.TempDir(), newHand()
	l, closeAll := leasesIn(t, dir, clock.now)
	mustBind(t, l, named(1, ranges("10.0.0.10", "10.0.0.20")))
	closeAll()
	path := filepath.Join(dir, "leases-0000000000000001.journal")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("leases-0000000000000001.journal", append(whole[:len(whole):len(whole)], make([]byte, 5000)...))
	put("leases-0000000000000002.journal", whole[:24])
	l, closeAll = leasesIn(t, dir, clock.now)
	if _, held := l.Held(mac(1), "lab"); !held {
		t.Error("the lease is lost")
	}
	closeAll()
	put("leases-0000000000000001.journal", append(append(whole[:len(whole):len(whole)], make([]byte, 5000)...), 1))
	_, err = ledger.OpenLeases(dir, openBolt(t, dir), ledger.Clock{Now: clock.now}, quiet)
	wantErr(t, err, ledger.ErrDamaged, fmt.Sprintf("opening leases: %s: file is damaged: at byte %d", path, len(whole)))
}

// size is how much of a journal is written, without the room behind it. Machines have names in these tests, so that no record ends in a zero.
func size(t *testing.T, path string) int64 {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const header = 24
	return int64(max(header, len(bytes.TrimRight(b, "\x00"))))
}

// Damage in the middle is not a crash: leases are missing that machines were told of.
func TestDamagedJournal(t *testing.T) {
	dir, clock := t.TempDir(), newHand()
	l, closeAll := leasesIn(t, dir, clock.now)
	path := filepath.Join(dir, "leases-0000000000000001.journal")
	first := size(t, path)
	mustBind(t, l, named(1, ranges("10.0.0.10", "10.0.0.20")))
	second := size(t, path)
	mustBind(t, l, named(2, ranges("10.0.0.10", "10.0.0.20")))
	closeAll()
	whole, _ := os.ReadFile(path)
	damaged := func(at int64, b byte) []byte {
		c := []byte(string(whole))
		c[at] ^= b
		return c
	}
	store := openBolt(t, dir)
	for _, c := range []struct {
		name, want string
		data       []byte
		is         error
	}{
		{"a bit of a record", fmt.Sprintf("file is damaged: at byte %d, and goes on at byte %d", first, second), damaged(first+30, 1), ledger.ErrDamaged},
		{"a frame's length", fmt.Sprintf("file is damaged: at byte %d, and goes on at byte %d", first, second), damaged(first+5, 0x80), ledger.ErrDamaged},
		{"the header", "file is damaged: not a lease journal", damaged(0, 1), ledger.ErrDamaged},
		{"a newer format", "state was written by a newer hostler: its format is 257, this one reads up to 1", damaged(14, 1), ledger.ErrNewerFormat},
	} {
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ledger.OpenLeases(dir, store, ledger.Clock{Now: clock.now}, quiet)
		wantErr(t, err, c.is, "opening leases: "+path+": "+c.want)
		if after, _ := os.ReadFile(path); string(after) != string(c.data) {
			t.Errorf("%s: the file was changed", c.name)
		}
	}
}

// A journal file that has grown is checkpointed and removed, while leases go on.
func TestCheckpointShrinksJournal(t *testing.T) {
	dir := t.TempDir()
	l, closeAll := leasesIn(t, dir, time.Now)
	rs := ranges("10.0.0.0", "10.0.255.255")
	var wg sync.WaitGroup
	host := strings.Repeat("h", 1000)
	for n := range 20_000 { // 20 MB
		c := claim(n%1000, rs)
		c.Hostname = host
		wg.Add(1)
		l.Bind(offer(t, l, c), func(err error) {
			defer wg.Done()
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := l.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.journal"))
	if len(files) != 1 || size(t, files[0]) > 1000 || strings.HasSuffix(files[0], "0000001.journal") {
		t.Errorf("after a checkpoint: %v", files)
	}
	before := l.List()
	closeAll()
	l, _ = leasesIn(t, dir, time.Now)
	after := l.List()
	if len(before) != 1000 || len(after) != 1000 {
		t.Fatalf("%d leases before and %d after a restart, want 1000", len(before), len(after))
	}
	for i := range before {
		before[i].Expires, after[i].Expires = before[i].Expires.Round(time.Second), after[i].Expires.Round(time.Second)
		before[i].Start, after[i].Start = before[i].Start.Round(time.Second), after[i].Start.Round(time.Second)
	}
	if before[7] != after[7] {
		t.Error(cmp.Diff(before[7], after[7], cmp.Comparer(func(a, b netip.Addr) bool { return a == b })))
	}
}

// Where something always waits when a batch is written, checkpoints have their turn all the same.
func TestCheckpointInStorm(t *testing.T) {
	dir := t.TempDir()
	l, closeAll := leasesIn(t, dir, time.Now)
	defer closeAll()
	lease := offer(t, l, claim(1, ranges("10.0.0.10", "10.0.0.12")))
	var over atomic.Bool
	l.OnCommit(func(time.Duration, error) {
		if !over.Load() {
			l.Bind(lease, func(error) {})
		}
	})
	l.Bind(lease, func(error) {})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := l.Checkpoint(ctx)
	over.Store(true)
	if err != nil {
		t.Error(err)
	}
}

// A disk may take longer than an offer lasts: the address is not given to another machine in the meantime.
func TestSlowDisk(t *testing.T) {
	clock := newHand()
	l, _ := leasesIn(t, t.TempDir(), clock.now)
	rs := ranges("10.0.0.10", "10.0.0.11")
	stalled, release, slow := make(chan bool), make(chan bool), make(chan error, 1)
	unblock := sync.OnceFunc(func() { close(release) })
	defer unblock()
	l.Bind(offer(t, l, claim(1, rs)), func(error) { close(stalled); <-release }) // the committer waits here
	<-stalled
	l.Bind(offer(t, l, claim(2, rs)), func(err error) { slow <- err })
	clock.step(5 * time.Minute)
	if lease, err := l.Offer(claim(3, rs)); err == nil {
		t.Fatalf("%s was offered while its lease was being written", lease.Addr)
	}
	wanting := fact.Lease{Addr: addr("10.0.0.11"), MAC: mac(3), Subnet: "lab", Pool: "guests", Expires: clock.now().Add(time.Hour)}
	wantErr(t, bind(l, wanting), ledger.ErrTaken, "address is taken: 10.0.0.11 is offered to 02:00:00:00:00:02")
	unblock()
	if err := <-slow; err != nil {
		t.Error(err)
	}
}

// What is offered after an address was declined stays offered when the disk has that.
func TestOfferBeforeDeclineIsWritten(t *testing.T) {
	l, _ := leasesIn(t, t.TempDir(), newHand().now)
	stalled, release := make(chan bool), make(chan bool)
	unblock := sync.OnceFunc(func() { close(release) })
	defer unblock()
	l.Bind(offer(t, l, claim(1, ranges("10.0.0.10", "10.0.0.10"))), func(error) { close(stalled); <-release })
	<-stalled
	a := offer(t, l, claim(2, ranges("10.0.0.11", "10.0.0.11"))).Addr
	if _, ok := l.Decline(mac(2), a, time.Hour); !ok {
		t.Fatal("not declined")
	}
	offer(t, l, fact.Claim{MAC: mac(3), Subnet: "lab", Fixed: a, For: time.Hour})
	unblock()
	if err := l.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.List()[1]; got.MAC != mac(3) || got.State != fact.Offered {
		t.Errorf("got %+v", got)
	}
}

// failing is a store whose disk fails for a while.
type failing struct {
	ledger.Store
	err error
}

func (f *failing) Txn(ctx context.Context, conds []ledger.Cond, ops []ledger.Op) (bool, error) {
	if f.err != nil {
		return false, f.err
	}
	return f.Store.Txn(ctx, conds, ops)
}

// A checkpoint that failed is made up for by the next one; until then the journal has the leases.
func TestCheckpointFails(t *testing.T) {
	dir, clock := t.TempDir(), newHand()
	store := &failing{Store: openBolt(t, dir)}
	reopen := func() *ledger.Leases {
		l, err := ledger.OpenLeases(dir, store, ledger.Clock{Now: clock.now}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := reopen()
	rs := ranges("10.0.0.10", "10.0.0.20")
	mustBind(t, l, claim(1, rs))
	store.err = unix.EIO
	err := l.Checkpoint(t.Context())
	wantErr(t, err, unix.EIO, "checkpointing leases: input/output error")
	mustBind(t, l, claim(2, rs))
	l.Close()
	l = reopen()
	if err := l.Checkpoint(t.Context()); err == nil {
		t.Error("no error")
	}
	store.err = nil
	mustBind(t, l, claim(3, rs))
	if err := l.Checkpoint(t.Context()); err != nil {
		t.Error(err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*.journal")); len(files) != 1 {
		t.Errorf("journals %v are left", files)
	}
	l.Close()
	l = reopen()
	defer l.Close()
	for n := 1; n <= 3; n++ {
		if _, ok := l.Held(mac(n), "lab"); !ok {
			t.Errorf("machine %d has lost its lease", n)
		}
	}
}

// FuzzCheckpoint opens leases from a store in which somebody wrote what hostler never would: it refuses, or goes on, and what it goes on
// with has one owner an address.
func FuzzCheckpoint(f *testing.F) {
	dir := f.TempDir()
	l, closeAll := leasesIn(f, dir, newHand().now)
	if err := bind(l, offer(f, l, claim(1, ranges("10.0.0.10", "10.0.0.20")))); err != nil {
		f.Fatal(err)
	}
	if err := l.Checkpoint(f.Context()); err != nil {
		f.Fatal(err)
	}
	closeAll()
	store := openBolt(f, dir)
	seed := func(key string) []byte {
		kv, err := store.Get(f.Context(), key)
		if err != nil {
			f.Fatal(err)
		}
		return kv.Value
	}
	lease, clock := seed("lease/10.0.0.10"), seed("lease-clock")
	run := []byte(`{"format":1,"record":{"run":"a","started":1,"raw":2,"t":3}}`)
	f.Add(lease, lease, clock, run)
	f.Add(lease, []byte(strings.Replace(string(lease), "10.0.0.10", "10.0.0.11", 1)), clock, []byte(nil))
	f.Add([]byte(`{"format":1,"record":{"lease":{},"until":-1,"rest":9223372036854775807,"by":{}}}`), []byte("{}"), clock, run)
	f.Fuzz(func(t *testing.T, one, two, clock, run []byte) {
		ops := []ledger.Op{{Key: "lease/10.0.0.10", Value: one}, {Key: "lease/10.0.0.11", Value: two}, {Key: "lease-clock", Value: clock},
			{Key: "lease-run", Value: run, Delete: len(run) == 0}}
		if _, err := store.Txn(t.Context(), nil, ops); err != nil {
			t.Fatal(err)
		}
		hand := newHand()
		l, err := ledger.OpenLeases(t.TempDir(), store, ledger.Clock{Now: hand.now, Run: "a", Uptime: func() time.Duration { return time.Hour }}, quiet)
		if err != nil {
			return
		}
		defer l.Close()
		for range 3 {
			l.List()
			hand.step(time.Hour)
		}
		if o, err := l.Offer(claim(7, ranges("10.0.0.10", "10.0.0.20"))); err == nil {
			if h, ok := l.Holder(o.Addr); ok && h.MAC != o.MAC {
				t.Errorf("%s is offered to %s and held by %s", o.Addr, o.MAC, h.MAC)
			}
		}
	})
}
