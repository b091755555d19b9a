package reconcile

import (
	"context"
	"errors"
	"maps"
	"time"
)

// errChanged is given for a file of a store that is another one than was observed: a machine was promised its digest, so it is not sent.
var errChanged = errors.New("changed since it was observed")

// lookAgain is how often at most requests of machines for changed files have the stores looked at.
const lookAgain = time.Second

// changed has the stores looked at soon: until then, no machine can have the file. Many machines may ask for it, so that only
// one of a second counts.
func (r *Reconciler) changed() {
	now := r.c.Now().UnixNano()
	last := r.lookedAgain.Load()
	if now-last < int64(lookAgain) || !r.lookedAgain.CompareAndSwap(last, now) {
		return
	}
	select {
	case r.hints <- struct{}{}:
	default: // one is waiting already
	}
}

// restock takes over files of stores that changed under what is served, while the source has nothing to put in its place: its newest
// revision was refused, or waits to be applied, or the source cannot be reached. What is reported of that stays.
func (r *Reconciler) restock(ctx context.Context) {
	cur := r.current()
	as, ps, err := r.observer.observe(ctx, cur.Fleet, nil, cur.Artifacts, cur.Places)
	if err != nil || maps.Equal(as, cur.Artifacts) && maps.Equal(ps, cur.Places) {
		return // a file that is gone is reported where it is asked for
	}
	cand := &candidate{record: cur.record, watch: r.stopwatch(r.c.Now())}
	cand.Artifacts, cand.Places, cand.snapshot = as, ps, cur.snapshot
	fresh := !maps.Equal(as, cur.Artifacts)
	if fresh {
		if fail := r.finish(ctx, cand); fail != nil {
			r.c.Log.Warn("files of stores changed, and cannot be served", "revision", cur.Commit.Revision, "err", fail)
			return
		}
		cand.Applied = r.c.Now()
		if err := r.archive.save(&cand.record); err != nil {
			r.c.Log.Warn("files of stores changed, and cannot be served", "revision", cur.Commit.Revision, "err", err)
			return
		}
	}
	r.swap(&served{record: cand.record, snapshot: cand.snapshot}, cand.watch.times)
	r.c.Log.Info("files of stores changed", "revision", cur.Commit.Revision, "digest", cand.Digest)
}
