package reconcile

import (
	"log/slog"
	"time"
)

// StageTime is how long a part of the way from noticing a revision to serving it took.
type StageTime struct {
	Stage string        `json:"stage"`
	Took  time.Duration `json:"took"` // nanoseconds
}

// The stages, in their order.
const (
	stageFetch    = "fetch"    // ask the source for its newest revision, list its files and its log
	stageEvaluate = "evaluate" // read the spec, evaluate it in the child, and take the fleet over
	stageObserve  = "observe"  // digest the files that it names
	stageRender   = "render"
	stageGate     = "gate"    // compare with what is served, and boot what changed in simulation
	stagePersist  = "persist" // write it to the disk
)

// stopwatch measures stages that follow each other.
type stopwatch struct {
	now         func() time.Time
	began, last time.Time
	times       []StageTime
}

func (r *Reconciler) stopwatch(began time.Time) *stopwatch {
	return &stopwatch{now: r.c.Now, began: began, last: began}
}

// done ends a stage. The next one begins.
func (w *stopwatch) done(stage string) {
	now := w.now()
	w.times = append(w.times, StageTime{stage, now.Sub(w.last)})
	w.last = now
}

// total is the time since the beginning.
func (w *stopwatch) total() time.Duration { return w.now().Sub(w.began) }

// attr is the stages for a line of the log.
func (w *stopwatch) attr() slog.Attr {
	attrs := make([]any, len(w.times))
	for i, t := range w.times {
		attrs[i] = slog.Duration(t.Stage, t.Took)
	}
	return slog.Group("stages", attrs...)
}
