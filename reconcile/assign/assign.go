// Package assign keeps what people ordered for a node, and what nodes proved to have installed: holds, overrides that expire, and
// installed marks. Every change is in the ledger before it holds. It does not know what an order means for a boot: that is
// rendered.
package assign

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"hostler/reconcile/ledger"
	"hostler/render"
	"hostler/render/fact"
)

// The keys of the ledger, each with the name of a node behind it, and the format of their records.
const (
	holdPrefix      = "hold/"
	overridePrefix  = "override/"
	installedPrefix = "installed/"
	forgivenPrefix  = "forgiven/"
	format          = 1
)

// Config is what a Book needs.
type Config struct {
	Store ledger.Store
	// Elapsed is the time that orders expire by: nanoseconds that only ever grow, over restarts too, whatever the host's clock is
	// set to. It is that of the leases.
	Elapsed func() int64
	Now     func() time.Time // for people
}

// Book is every assignment. Its methods may be called from any goroutine; those with a context return when the change is durable.
type Book struct {
	c       Config
	writing sync.Mutex // held over each transaction and what it changes in memory, so that both happen in one order

	mu    sync.Mutex
	nodes map[fact.NodeName]*assigned
	timed map[fact.NodeName]bool // those of which something expires
	// forgiven is when a hold for a boot loop ended: what a machine did before counts no more.
	forgiven map[fact.NodeName]time.Time
	view     render.Assignments // of nodes, unless stale
	stale    bool
	wake     chan struct{} // something may expire sooner
}

// assigned is what a node has, and when that ends in elapsed time; 0 is never. It is replaced, and not changed.
type assigned struct {
	render.Assignment
	holdEnds, overrideEnds int64
}

// saved is a record of a hold or an override.
type saved[T any] struct {
	Order T     `json:"order"`
	From  int64 `json:"from"` // when it was given, in elapsed time
	Ends  int64 `json:"ends,omitempty"`
}

// Open reads what is kept.
func Open(ctx context.Context, c Config) (*Book, error) {
	b := &Book{c: c, nodes: map[fact.NodeName]*assigned{}, timed: map[fact.NodeName]bool{}, forgiven: map[fact.NodeName]time.Time{}, stale: true, wake: make(chan struct{}, 1)}
	now := c.Elapsed()
	err := errors.Join(
		load(ctx, c.Store, holdPrefix, func(n fact.NodeName, s saved[render.Hold]) {
			b.hold(n, s.Order, s.ends(now))
		}),
		load(ctx, c.Store, overridePrefix, func(n fact.NodeName, s saved[render.Override]) {
			b.override(n, s.Order, s.ends(now))
		}),
		load(ctx, c.Store, installedPrefix, func(n fact.NodeName, i render.Installed) { b.node(n).Installed = i }),
		load(ctx, c.Store, forgivenPrefix, func(n fact.NodeName, at time.Time) { b.forgiven[n] = at }),
	)
	if err != nil {
		return nil, fmt.Errorf("opening the assignments: %w", err)
	}
	return b, nil
}

// ends is when an order ends. After a crash, time may have gone back by what was not on disk yet: it ends no later than it
// would have if it were given now.
func (s *saved[T]) ends(now int64) int64 {
	if s.Ends == 0 {
		return 0
	}
	return min(s.Ends, now+s.Ends-s.From)
}

func load[T any](ctx context.Context, store ledger.Store, prefix string, take func(fact.NodeName, T)) error {
	kvs, err := store.List(ctx, prefix)
	if err != nil {
		return err
	}
	for _, kv := range kvs {
		var v T
		if _, err := ledger.Unpack(kv.Value, format, &v); err != nil {
			return fmt.Errorf("%s: %w", kv.Key, err)
		}
		take(fact.NodeName(strings.TrimPrefix(kv.Key, prefix)), v)
	}
	return nil
}

// node gives a node's assignments, to be changed: a copy, for others look at what was.
func (b *Book) node(name fact.NodeName) *assigned {
	a := &assigned{}
	if was := b.nodes[name]; was != nil {
		*a = *was
	}
	b.nodes[name] = a
	return a
}

func (b *Book) hold(name fact.NodeName, h render.Hold, ends int64) {
	a := b.node(name)
	a.Hold, a.holdEnds = h, ends
	b.settle(name)
}

func (b *Book) override(name fact.NodeName, o render.Override, ends int64) {
	a := b.node(name)
	a.Override, a.overrideEnds = o, ends
	b.settle(name)
}

// settle forgets a node of which there is nothing to remember, and has Run look at what expires.
func (b *Book) settle(name fact.NodeName) {
	select {
	case b.wake <- struct{}{}:
	default:
	}
	a := b.nodes[name]
	if *a == (assigned{}) {
		delete(b.nodes, name)
	}
	if a.holdEnds != 0 || a.overrideEnds != 0 {
		b.timed[name] = true
	} else {
		delete(b.timed, name)
	}
}

// Assignments are all that hold now. Their serial grows with each change.
func (b *Book) Assignments() render.Assignments {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stale {
		nodes := make(map[fact.NodeName]*render.Assignment, len(b.nodes))
		for name, a := range b.nodes {
			nodes[name] = &a.Assignment
		}
		b.view, b.stale = render.Assignments{Nodes: nodes, Serial: b.view.Serial + 1}, false
	}
	return b.view
}

// Of gives what one node has.
func (b *Book) Of(node fact.NodeName) render.Assignment {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.nodes[node]; a != nil {
		return a.Assignment
	}
	return render.Assignment{}
}

// change writes operations, and then does the same in memory.
func (b *Book) change(ctx context.Context, ops []ledger.Op, memory func()) error {
	if len(ops) == 0 {
		return nil
	}
	if _, err := b.c.Store.Txn(ctx, nil, ops); err != nil {
		return fmt.Errorf("writing the assignments: %w", err)
	}
	b.mu.Lock()
	memory()
	b.stale = true
	b.mu.Unlock()
	return nil
}

func put(prefix string, node fact.NodeName, v any) ledger.Op {
	value, err := ledger.Pack(format, v)
	if err != nil {
		panic(err) // plain structures of ours always encode
	}
	return ledger.Op{Key: prefix + string(node), Value: value}
}

func remove(prefix string, node fact.NodeName) ledger.Op {
	return ledger.Op{Key: prefix + string(node), Delete: true}
}

// until gives both ends of an order, in elapsed time and for people.
func (b *Book) until(d time.Duration) (from, ends int64, wall time.Time) {
	if from = b.c.Elapsed(); d > 0 {
		ends, wall = from+int64(d), b.c.Now().Add(d).UTC().Round(time.Second)
	}
	return from, ends, wall
}

// Hold holds nodes, in place of what held them before. A duration of 0 is until somebody releases them.
func (b *Book) Hold(ctx context.Context, nodes []fact.NodeName, h render.Hold, d time.Duration) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	from, ends, wall := b.until(d)
	h.Since, h.Until = b.c.Now().UTC().Round(time.Second), wall
	var ops []ledger.Op
	for _, n := range nodes {
		ops = append(ops, put(holdPrefix, n, saved[render.Hold]{h, from, ends}))
	}
	return b.change(ctx, ops, func() {
		for _, n := range nodes {
			b.hold(n, h, ends)
		}
	})
}

// Release ends holds, and says of which nodes there was one.
func (b *Book) Release(ctx context.Context, nodes []fact.NodeName) ([]fact.NodeName, error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	now := b.c.Now().UTC()
	var ops []ledger.Op
	var loops []fact.NodeName
	for _, n := range nodes {
		if b.Of(n).Hold.Boot != "" {
			loops, ops = append(loops, n), append(ops, put(forgivenPrefix, n, now))
		}
	}
	had, err := b.end(ctx, nodes, holdPrefix, func(a *assigned) bool { return a.Hold.Reason != "" },
		func(n fact.NodeName) { b.hold(n, render.Hold{}, 0) }, ops...)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range loops {
		b.forgiven[n] = now
	}
	return had, nil
}

// Forgiven is when a hold of a node for a boot loop ended; zero: there never was one.
func (b *Book) Forgiven(node fact.NodeName) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.forgiven[node]
}

// Override has nodes boot otherwise, in place of what was ordered before. A duration of 0 is until somebody ends it.
func (b *Book) Override(ctx context.Context, nodes []fact.NodeName, o render.Override, d time.Duration) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	from, ends, wall := b.until(d)
	o.Order, o.Since, o.Until = strconv.FormatInt(from, 36), b.c.Now().UTC().Round(time.Second), wall
	var ops []ledger.Op
	for _, n := range nodes {
		ops = append(ops, put(overridePrefix, n, saved[render.Override]{o, from, ends}))
	}
	return b.change(ctx, ops, func() {
		for _, n := range nodes {
			b.override(n, o, ends)
		}
	})
}

// Follow ends overrides: the nodes follow the spec again. It says of which nodes there was one.
func (b *Book) Follow(ctx context.Context, nodes []fact.NodeName) ([]fact.NodeName, error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	return b.end(ctx, nodes, overridePrefix, func(a *assigned) bool { return a.Override.Order != "" }, b.follow)
}

func (b *Book) follow(n fact.NodeName) { b.override(n, render.Override{}, 0) }

// Spend ends an override for one boot, which was that, unless another one was ordered meanwhile. after is how long the machine may
// still ask again in the same boot.
func (b *Book) Spend(ctx context.Context, node fact.NodeName, order string, after time.Duration) (bool, error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	if o := b.Of(node).Override; o.Order != order || !o.Once || order == "" {
		return false, nil
	}
	if after == 0 {
		_, err := b.end(ctx, []fact.NodeName{node}, overridePrefix, func(*assigned) bool { return true }, b.follow)
		return err == nil, err
	}
	from, ends, wall := b.until(after)
	o := b.Of(node).Override
	if !o.Until.IsZero() && !o.Until.After(wall) {
		return false, nil
	}
	o.Until = wall
	return true, b.change(ctx, []ledger.Op{put(overridePrefix, node, saved[render.Override]{o, from, ends})}, func() {
		b.override(node, o, ends)
	})
}

// end removes what some of the nodes have under a prefix.
func (b *Book) end(ctx context.Context, nodes []fact.NodeName, prefix string, has func(*assigned) bool, clear func(fact.NodeName), ops ...ledger.Op) ([]fact.NodeName, error) {
	var had []fact.NodeName
	b.mu.Lock()
	for _, n := range nodes {
		if a := b.nodes[n]; a != nil && has(a) && !slices.Contains(had, n) {
			had, ops = append(had, n), append(ops, remove(prefix, n))
		}
	}
	b.mu.Unlock()
	return had, b.change(ctx, ops, func() {
		for _, n := range had {
			clear(n)
		}
	})
}

// Rearm has nodes install themselves again.
func (b *Book) Rearm(ctx context.Context, nodes []fact.NodeName, by string) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	armed := render.Installed{By: by, At: b.c.Now().UTC().Round(time.Second)}
	var ops []ledger.Op
	for _, n := range nodes {
		ops = append(ops, put(installedPrefix, n, armed))
	}
	return b.change(ctx, ops, func() {
		for _, n := range nodes {
			b.node(n).Installed = armed
		}
	})
}

// Installed notes what a node has proved to have installed, together with other operations.
func (b *Book) Installed(ctx context.Context, node fact.NodeName, i render.Installed, ops ...ledger.Op) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	return b.change(ctx, append(ops, put(installedPrefix, node, i)), func() { b.node(node).Installed = i })
}
