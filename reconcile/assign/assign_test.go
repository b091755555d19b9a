package assign

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/reconcile/ledger"
	"hostler/render"
	"hostler/render/fact"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// clock is turned by hand.
type clock struct {
	elapsed time.Duration
	wall    time.Time
}

func (c *clock) turn(d time.Duration) { c.elapsed, c.wall = c.elapsed+d, c.wall.Add(d) }

// broken is a store whose disk is full when it is told so.
type broken struct {
	ledger.Store
	err error
}

func (b *broken) Txn(ctx context.Context, conds []ledger.Cond, ops []ledger.Op) (bool, error) {
	if b.err != nil {
		return false, b.err
	}
	return b.Store.Txn(ctx, conds, ops)
}

// room is a book over a real store, which can be opened again as after a crash: nothing is said to the book that was there before.
type room struct {
	*Book
	t     *testing.T
	clock *clock
	store *broken
}

func newRoom(t *testing.T) *room {
	t.Helper()
	s, err := ledger.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	r := &room{t: t, clock: &clock{elapsed: time.Hour, wall: noon}, store: &broken{Store: s}}
	r.again()
	return r
}

func (r *room) again() {
	r.t.Helper()
	c := Config{Store: r.store, Elapsed: func() int64 { return int64(r.clock.elapsed) }, Now: func() time.Time { return r.clock.wall }}
	b, err := Open(r.t.Context(), c)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Book = b
}

// has holds the assignments, in the book and in one that is opened over the same store.
func (r *room) has(when string, want map[fact.NodeName]*render.Assignment) {
	r.t.Helper()
	for _, how := range []string{"", ", opened again"} {
		if how != "" {
			r.again()
		}
		if diff := cmp.Diff(want, r.Assignments().Nodes); diff != "" {
			r.t.Errorf("%s%s (-want +got):\n%s", when, how, diff)
		}
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

var (
	nodes     = []fact.NodeName{"n1", "n2"}
	dusty     = render.Hold{Reason: "dusty", By: "alice"}
	toDisk    = render.Override{Boot: "disk", By: "bob"}
	rescue    = render.Override{Image: "rescue", Once: true, By: "bob"}
	installed = render.Installed{Digest: "d1", MAC: fact.MAC{2}, Image: "debian", Boot: "01K", At: noon}
)

// given is an order as the book keeps it.
func given(h render.Hold, at, until time.Time) render.Hold {
	h.Since, h.Until = at, until
	return h
}

func TestKept(t *testing.T) {
	r := newRoom(t)
	ctx := t.Context()
	r.has("at first", map[fact.NodeName]*render.Assignment{})
	must(t, r.Hold(ctx, nodes, dusty, 2*time.Hour), r.Installed(ctx, "n2", installed))
	held := given(dusty, noon, noon.Add(2*time.Hour))
	r.has("held", map[fact.NodeName]*render.Assignment{"n1": {Hold: held}, "n2": {Hold: held, Installed: installed}})

	had, err := r.Release(ctx, []fact.NodeName{"n1", "n3"})
	must(t, err)
	if diff := cmp.Diff([]fact.NodeName{"n1"}, had); diff != "" {
		t.Error(diff)
	}
	r.has("one released", map[fact.NodeName]*render.Assignment{"n2": {Hold: held, Installed: installed}})

	must(t, r.Rearm(ctx, nodes, "alice"))
	armed := render.Installed{By: "alice", At: noon}
	r.has("armed", map[fact.NodeName]*render.Assignment{"n1": {Installed: armed}, "n2": {Hold: held, Installed: armed}})
}

// An order that cannot be written does not hold: whoever gave it is told so.
func TestNotWritten(t *testing.T) {
	r := newRoom(t)
	ctx := t.Context()
	must(t, r.Hold(ctx, nodes[:1], dusty, 0))
	want := map[fact.NodeName]*render.Assignment{"n1": {Hold: given(dusty, noon, time.Time{})}}
	r.store.err = errors.New("no space left on device")
	_, release := r.Release(ctx, nodes)
	for what, err := range map[string]error{
		"hold": r.Hold(ctx, nodes, dusty, 0), "release": release, "override": r.Override(ctx, nodes, toDisk, 0), "rearm": r.Rearm(ctx, nodes, "alice"),
		"installed": r.Installed(ctx, "n1", installed),
	} {
		if !errors.Is(err, r.store.err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	r.has("after all that", want)
}

// Orders end when their time is over, whatever the host's clock says, and those of a store whose disk is full, too.
func TestExpire(t *testing.T) {
	r := newRoom(t)
	ctx := t.Context()
	must(t, r.Hold(ctx, nodes[:1], dusty, time.Hour), r.Override(ctx, nodes[1:], toDisk, 2*time.Hour))
	r.clock.wall = noon.Add(-24 * time.Hour) // somebody sets the clock back
	r.clock.elapsed += time.Hour - 1
	expire := func(want ...Ended) {
		t.Helper()
		over, err := r.Expire(ctx)
		if r.store.err == nil {
			must(t, err)
		}
		if diff := cmp.Diff(want, over); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	expire()
	r.clock.elapsed++
	expire(Ended{"n1", "hold", "dusty"})
	expire()
	r.again()
	r.clock.elapsed += time.Hour
	r.store.err = errors.New("no space left on device")
	expire(Ended{"n2", "override", "boot = disk (by bob since 22 Nov 2026 12:00 UTC until 22 Nov 2026 14:00 UTC)"})
	if diff := cmp.Diff(map[fact.NodeName]*render.Assignment{}, r.Assignments().Nodes); diff != "" {
		t.Error(diff)
	}
	r.store.err = nil
	r.again()
	expire(Ended{"n2", "override", "boot = disk (by bob since 22 Nov 2026 12:00 UTC until 22 Nov 2026 14:00 UTC)"}) // it was not written
	r.has("then", map[fact.NodeName]*render.Assignment{})
}

// After a crash, time may have gone back by what was not on disk: an order lasts no longer than it would if it were given now.
func TestTimeGoesBack(t *testing.T) {
	r := newRoom(t)
	must(t, r.Hold(t.Context(), nodes[:1], dusty, time.Hour))
	r.clock.elapsed -= 30 * time.Minute
	r.again()
	r.clock.elapsed += time.Hour
	over, err := r.Expire(t.Context())
	if must(t, err); len(over) != 1 {
		t.Errorf("%v is over", over)
	}
}

// An override for one boot is over with that boot, but not another one that was given meanwhile.
func TestSpend(t *testing.T) {
	r := newRoom(t)
	ctx := t.Context()
	spend := func(order string, after time.Duration, want bool) {
		t.Helper()
		spent, err := r.Spend(ctx, "n1", order, after)
		if must(t, err); spent != want {
			t.Errorf("spent: %t, want %t", spent, want)
		}
	}
	must(t, r.Override(ctx, nodes[:1], rescue, 0))
	first := r.Of("n1").Override.Order
	spend("", 0, false)
	r.clock.turn(time.Second)
	must(t, r.Override(ctx, nodes[:1], rescue, 0))
	spend(first, 0, false)
	second := r.Of("n1").Override.Order
	spend(second, 0, true)
	r.has("spent", map[fact.NodeName]*render.Assignment{})

	once := toDisk
	once.Once = true
	must(t, r.Override(ctx, nodes[:1], once, 0))
	third := r.Of("n1").Override.Order
	spend(third, 2*time.Minute, true)
	spend(third, 10*time.Second, true)
	spend(third, 2*time.Minute, false) // sooner stays
	r.clock.turn(10 * time.Second)
	if over, err := r.Expire(ctx); err != nil || len(over) != 1 {
		t.Errorf("%v, %v", over, err)
	}
	must(t, r.Override(ctx, nodes[:1], toDisk, 0))
	spend(r.Of("n1").Override.Order, 0, false) // it is for every boot
}

// What a machine did before it was released from a loop's hold counts no more, after a crash neither.
func TestForgiven(t *testing.T) {
	r := newRoom(t)
	ctx := t.Context()
	loop := render.Hold{Reason: "it boots in a loop", By: "hostler", Boot: "b1"}
	must(t, r.Hold(ctx, nodes[:1], loop, 0), r.Hold(ctx, nodes[1:], dusty, 0))
	r.clock.turn(time.Minute)
	_, err := r.Release(ctx, nodes)
	must(t, err)
	for range 2 {
		if got := r.Forgiven("n1"); !got.Equal(noon.Add(time.Minute)) {
			t.Errorf("n1: %v", got)
		}
		if got := r.Forgiven("n2"); !got.IsZero() {
			t.Errorf("n2: %v", got)
		}
		r.again()
	}
}

// A state of a newer program is refused.
func TestNewer(t *testing.T) {
	r := newRoom(t)
	value, err := ledger.Pack(format+1, struct{}{})
	must(t, err)
	_, err = r.store.Txn(t.Context(), nil, []ledger.Op{{Key: holdPrefix + "n1", Value: value}})
	must(t, err)
	if _, err := Open(t.Context(), r.c); !errors.Is(err, ledger.ErrNewerFormat) {
		t.Error(err)
	}
}

// Run ends orders in their time, those too that are given while it sleeps, and one goroutine is all that it takes.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := ledger.Open(filepath.Join(dir, "state.db"))
		must(t, err)
		defer s.Close()
		began := time.Now()
		b, err := Open(t.Context(), Config{Store: s, Elapsed: func() int64 { return int64(time.Since(began)) + 1 }, Now: time.Now})
		must(t, err)
		ctx, stop := context.WithCancel(t.Context())
		type end struct {
			Ended
			At time.Duration
		}
		var got []end
		done := make(chan error)
		go func() {
			done <- b.Run(ctx, func(over []Ended, err error) {
				must(t, err)
				for _, e := range over {
					got = append(got, end{e, time.Since(began)})
				}
			})
		}()
		must(t, b.Hold(ctx, nodes[:1], dusty, 3*time.Hour))
		time.Sleep(time.Minute + time.Second)
		must(t, b.Hold(ctx, nodes[1:], dusty, time.Second))
		time.Sleep(4 * time.Hour)
		stop()
		must(t, <-done)
		want := []end{{Ended{"n2", "hold", "dusty"}, time.Minute + 2*time.Second}, {Ended{"n1", "hold", "dusty"}, 3 * time.Hour}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}
