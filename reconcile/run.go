package reconcile

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"hostler/reconcile/source"
	"hostler/render/fact"
)

// Bounds of the delay before a transient failure is tried again; it doubles, and the poll interval bounds it too.
const (
	firstRetry = 2 * time.Second
	lastRetry  = 5 * time.Minute
)

// Bounds of the delay before a broken watch is begun again; a watch that lasted longer than the last starts at the first.
const (
	firstWatch = time.Second
	lastWatch  = time.Minute
)

// command is a request to the goroutine in Run.
type command struct {
	do   func(context.Context) error
	done chan error
}

// Run observes the source until ctx ends: at each hint, at each poll, and when asked. It is called once.
func (r *Reconciler) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(r.ended)
	defer func() { _ = r.warm.end() }() // it has nothing to say any more
	wg.Go(func() { r.watch(ctx) })
	r.tidy() // what a crash left
	poll := time.NewTimer(0)
	defer poll.Stop()
	var backoff time.Duration
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case cmd := <-r.requests:
			err = cmd.do(ctx)
			cmd.done <- err
		case <-r.hints:
			err = r.cycle(ctx, false)
		case <-poll.C:
			err = r.cycle(ctx, false)
		}
		backoff = r.nextBackoff(err, backoff)
		delay := backoff
		if delay == 0 {
			delay = r.c.Poll + time.Duration(rand.Int64N(int64(r.c.Poll/10)+1))
		}
		poll.Reset(delay)
		r.mu.Lock()
		r.status.NextTry = r.c.Now().Add(delay)
		r.mu.Unlock()
	}
}

// nextBackoff is zero after a success or a failure that time alone does not mend.
func (r *Reconciler) nextBackoff(err error, before time.Duration) time.Duration {
	var f *failure
	if !errors.As(err, &f) || f.permanent {
		return 0
	}
	return min(max(firstRetry, 2*before), max(firstRetry, min(r.c.Poll, lastRetry)))
}

// watch passes hints on until ctx ends. Where watching breaks, and it does where the kernel's queue overflows or its limits are
// reached, everything is looked at again; the poll covers the time between.
func (r *Reconciler) watch(ctx context.Context) {
	hint := func() {
		select {
		case r.hints <- struct{}{}:
		default: // one is waiting already
		}
	}
	logged, wait := "", firstWatch
	for {
		begun := time.Now()
		err := r.c.Source.Watch(ctx, hint)
		if ctx.Err() != nil {
			return
		}
		if err != nil && err.Error() != logged {
			logged = err.Error()
			r.c.Log.Warn("watching the source broke; polling until it works again", "err", err, "poll", r.c.Poll)
		}
		if time.Since(begun) > lastWatch {
			wait = firstWatch
		}
		hint()
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, lastWatch)
	}
}

// ask runs f in the goroutine of Run and waits.
func (r *Reconciler) ask(ctx context.Context, f func(context.Context) error) error {
	cmd := &command{do: f, done: make(chan error, 1)}
	select {
	case r.requests <- cmd:
	case <-r.ended:
		return ErrNotRunning
	case <-ctx.Done():
		return ErrNotRunning
	}
	select {
	case err := <-cmd.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Reconcile looks at the source now, tries a refused revision again, and waits for the outcome. A refusal is an error.
func (r *Reconciler) Reconcile(ctx context.Context) error {
	return r.ask(ctx, func(ctx context.Context) error { return r.cycle(ctx, true) })
}

// Apply promotes an observed revision, the newest when rev is empty, even if it does not contain the applied one.
func (r *Reconciler) Apply(ctx context.Context, rev fact.Revision) error {
	return r.ask(ctx, func(ctx context.Context) error { return r.promote(ctx, rev) })
}

// Prepare evaluates and renders a revision, the newest when rev is empty, and applies nothing. For plans of what would be served.
func (r *Reconciler) Prepare(ctx context.Context, rev fact.Revision) (*Loaded, error) {
	var l *Loaded
	err := r.ask(ctx, func(ctx context.Context) (err error) {
		l, err = r.preview(ctx, rev)
		return err
	})
	return l, err
}

// stale repeats f while the source changes under it, a few times.
func stale(ctx context.Context, f func() error) error {
	var err error
	for try := range 4 {
		if err = f(); !errors.Is(err, source.ErrStale) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond << try):
		}
	}
	return err
}
