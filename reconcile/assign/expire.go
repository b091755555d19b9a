package assign

import (
	"context"
	"maps"
	"slices"
	"time"

	"hostler/reconcile/ledger"
	"hostler/render"
	"hostler/render/fact"
)

// Ended is an order that is over because its time is.
type Ended struct {
	Node fact.NodeName
	What string // "hold" or "override"
	Text string // what it was
}

// Expire ends what is over, even if that cannot be written: then it is over again after a restart.
func (b *Book) Expire(ctx context.Context) ([]Ended, error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	now := b.c.Elapsed()
	var over []Ended
	var ops []ledger.Op
	b.mu.Lock()
	for _, n := range slices.Sorted(maps.Keys(b.timed)) {
		a := *b.nodes[n]
		if a.holdEnds != 0 && a.holdEnds <= now {
			over, ops = append(over, Ended{n, "hold", a.Hold.Reason}), append(ops, remove(holdPrefix, n))
			b.hold(n, render.Hold{}, 0)
		}
		if a.overrideEnds != 0 && a.overrideEnds <= now {
			over, ops = append(over, Ended{n, "override", a.Override.String()}), append(ops, remove(overridePrefix, n))
			b.follow(n)
		}
	}
	b.stale = b.stale || len(over) > 0
	b.mu.Unlock()
	return over, b.change(ctx, ops, func() {})
}

// longestWait is how long Run sleeps at most: the time that orders expire by does not stand still while a host does.
const longestWait = time.Minute

// Run ends orders when their time is over, and tells, until ctx ends.
func (b *Book) Run(ctx context.Context, tell func([]Ended, error)) error {
	for {
		over, err := b.Expire(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if len(over) > 0 {
			tell(over, err)
		}
		timer := time.NewTimer(b.next())
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-b.wake:
			timer.Stop()
		}
	}
}

// next is how long nothing expires.
func (b *Book) next() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	wait, now := longestWait, b.c.Elapsed()
	for name := range b.timed {
		a := b.nodes[name]
		for _, ends := range []int64{a.holdEnds, a.overrideEnds} {
			if ends != 0 {
				wait = min(wait, max(time.Duration(ends-now), time.Millisecond))
			}
		}
	}
	return wait
}
