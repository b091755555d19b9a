package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"hostler/reconcile/source"
	"hostler/render"
	"hostler/render/bootsim"
	"hostler/render/fact"
	"hostler/spec"
)

// Bounds of the stages that talk to others.
const (
	headTime = 30 * time.Second
	openTime = 10 * time.Minute
	// settle is how long after a failure a directory is looked at again before the failure is reported: editors and
	// rsync write halves.
	settle = 150 * time.Millisecond
)

// attempt is the last revision that was tried, with what is needed to try it again from where it failed.
type attempt struct {
	rev  fact.Revision
	fail *failure
	cand *candidate
}

// candidate is a revision on its way to being served.
type candidate struct {
	record
	tree     *source.Tree
	snapshot *render.Snapshot
	warnings spec.Diagnostics // of the evaluation
	diags    spec.Diagnostics // these, and those of the render and the gate
	log      source.Log
	watch    *stopwatch
}

// cycle goes through the stages once. force tries a refused revision again.
func (r *Reconciler) cycle(ctx context.Context, force bool) error {
	began := r.c.Now()
	r.reloadKeys()
	var head fact.Revision
	err := stale(ctx, func() (err error) {
		if head, err = r.observe(ctx); err != nil {
			return &failure{reason: FetchFailed, err: err}
		}
		if r.c.Sync == Manual {
			return r.wait(ctx, head)
		}
		return r.advance(ctx, head, began, options{force: force})
	})
	var f *failure
	if errors.As(err, &f) && f.reason == FetchFailed {
		err = r.report(ctx, r.last.rev, f)
	}
	if cur := r.current(); cur != nil && cur.Commit.Revision != head {
		r.restock(ctx)
	}
	r.noteClocks()
	return err
}

// observe asks the source for its newest revision.
func (r *Reconciler) observe(ctx context.Context) (fact.Revision, error) {
	hctx, cancel := context.WithTimeout(ctx, headTime)
	defer cancel()
	head, err := r.c.Source.Head(hctx)
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Observed, r.status.Checked, r.status.Kind = head, r.c.Now(), r.c.Source.Kind()
	return head, nil
}

type options struct {
	force   bool // try a refused revision again
	rewind  bool // a person wants it even if it does not contain the applied one
	settled bool // a half-written directory was waited for already
}

// advance brings rev into force, unless it is, or was refused before.
func (r *Reconciler) advance(ctx context.Context, rev fact.Revision, began time.Time, o options) error {
	if cur := r.current(); cur != nil && cur.Commit.Revision == rev && maps.Equal(cur.Vars, r.c.Vars) {
		return r.refresh(ctx, cur, began)
	}
	if r.last.rev == rev && r.last.fail != nil && r.last.fail.permanent && !o.force {
		return r.again(ctx, began)
	}
	r.begin(rev)
	cand, fail := r.prepare(ctx, rev, began, o)
	r.last = attempt{rev: rev, fail: fail, cand: cand}
	if fail == nil {
		return r.apply(ctx, cand)
	}
	if fail.reason == FetchFailed {
		return fail // cycle tries again if the source changed meanwhile, and reports
	}
	if fail.permanent && !o.settled && r.c.Source.Kind() == source.Directory {
		if head, err := r.settled(ctx); err == nil && head != rev {
			o.settled = true
			return r.advance(ctx, head, began, o)
		}
	}
	return r.report(ctx, rev, fail)
}

// settled waits a moment and looks at the source again.
func (r *Reconciler) settled(ctx context.Context) (fact.Revision, error) {
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-time.After(settle):
	}
	return r.observe(ctx)
}

// again repeats what may have changed of a refused revision without its text changing: the files that it names.
func (r *Reconciler) again(ctx context.Context, began time.Time) error {
	fail, cand := r.last.fail, r.last.cand
	if cand == nil || cand.Fleet == nil || cand.Artifacts == nil {
		return fail
	}
	before := cand.Artifacts
	as, ps, err := r.observer.observe(ctx, cand.Fleet, cand.tree, nil, nil)
	if err != nil || maps.Equal(as, before) {
		return fail
	}
	cand.Artifacts, cand.Places, cand.watch = as, ps, r.stopwatch(began)
	cand.watch.done(stageObserve)
	if fail := r.finish(ctx, cand); fail != nil {
		r.last.fail = fail
		return r.report(ctx, cand.Commit.Revision, fail)
	}
	return r.apply(ctx, cand)
}

// refresh looks whether files of stores changed since the current revision was rendered.
func (r *Reconciler) refresh(ctx context.Context, cur *served, began time.Time) error {
	r.last = attempt{rev: cur.Commit.Revision}
	as, ps, err := r.observer.observe(ctx, cur.Fleet, nil, cur.Artifacts, cur.Places)
	if err != nil {
		return r.report(ctx, cur.Commit.Revision, classify(err))
	}
	cand := &candidate{record: cur.record, watch: r.stopwatch(began)}
	cand.watch.done(stageObserve)
	cand.Artifacts, cand.Places = as, ps
	if !maps.Equal(as, cur.Artifacts) {
		fail := r.finish(ctx, cand)
		if fail == nil {
			return r.apply(ctx, cand)
		}
		return r.report(ctx, cur.Commit.Revision, fail)
	}
	if !maps.Equal(ps, cur.Places) { // the same content in another file: servable again, nothing else changes
		r.swap(&served{record: cand.record, snapshot: cur.snapshot}, nil)
	}
	r.ready(cur.Commit.Revision, nil)
	return nil
}

// prepare evaluates, observes, renders and gates.
func (r *Reconciler) prepare(ctx context.Context, rev fact.Revision, began time.Time, o options) (*candidate, *failure) {
	octx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	cand := &candidate{watch: r.stopwatch(began)}
	tree, err := r.open(octx, rev)
	if err != nil {
		return cand, &failure{reason: FetchFailed, err: err}
	}
	cand.tree = tree
	cand.record = record{Source: r.c.Source.String(), Commit: tree.Commit, Vars: r.c.Vars}
	if cand.log, err = r.since(octx, rev); err != nil {
		return cand, &failure{reason: FetchFailed, err: err}
	}
	if cand.log.Rewind && !o.rewind && !r.c.AllowRewind {
		return cand, &failure{reason: RewindRefused, permanent: true, err: fmt.Errorf(
			"%s does not contain the applied %s: its branch was reset, or its repository is gone; apply it by hand, or allow rewinds",
			rev.Short(), r.current().Commit.Revision.Short())}
	}
	cand.watch.done(stageFetch)
	if fail := r.evaluate(ctx, cand); fail != nil {
		return cand, fail
	}
	cand.watch.done(stageEvaluate)
	if cand.Artifacts, cand.Places, err = r.observer.observe(ctx, cand.Fleet, tree, nil, nil); err != nil {
		return cand, classify(err)
	}
	cand.watch.done(stageObserve)
	return cand, r.finish(ctx, cand)
}

// since tells how the source came here from what is served. What is served may come from another source, configured before.
func (r *Reconciler) since(ctx context.Context, rev fact.Revision) (source.Log, error) {
	var from fact.Revision
	if cur := r.current(); cur != nil && cur.Source == r.c.Source.String() {
		from = cur.Commit.Revision
	}
	return r.c.Source.Since(ctx, from, rev)
}

// evaluate makes the fleet of a candidate's text.
func (r *Reconciler) evaluate(ctx context.Context, cand *candidate) *failure {
	files := newReading(cand.tree, r.reading)
	fleet, ds, err := r.c.Evaluate(ctx, spec.Input{Files: files, Vars: r.c.Vars})
	switch {
	case files.stale != nil:
		return &failure{reason: FetchFailed, err: files.stale}
	case err != nil:
		return &failure{reason: EvaluateFailed, err: err}
	case ds.HasErrors():
		return &failure{reason: stage(ds), permanent: true, diags: ds}
	}
	files.before, r.reading = nil, files
	cand.Fleet, cand.record.Files, cand.warnings = fleet, files.files, ds
	return nil
}

// stage tells an evaluation that was stopped from a spec with mistakes.
func stage(ds spec.Diagnostics) Reason {
	if slices.ContainsFunc(ds, func(d spec.Diagnostic) bool { return d.Code == codeStopped }) {
		return EvaluateFailed
	}
	return CheckFailed
}

// classify tells a failing disk, a source that changed, and a failing store from each other.
func classify(err error) *failure {
	var se *stateError
	switch {
	case errors.As(err, &se):
		return &failure{reason: ApplyFailed, err: fmt.Errorf("writing the state: %w", err)}
	case errors.Is(err, source.ErrStale):
		return &failure{reason: FetchFailed, err: err}
	}
	return &failure{reason: ArtifactFailed, err: err}
}

// finish renders a candidate whose facts are complete, and passes it through the gate. A panic there is a defect of ours, but
// a commit that meets it must not end the server.
func (r *Reconciler) finish(ctx context.Context, cand *candidate) (fail *failure) {
	rev := cand.Commit.Revision
	defer func() {
		if p := recover(); p != nil {
			r.c.Log.Error("this is a defect of hostler", "revision", rev, "panic", p, "stack", string(debug.Stack()))
			fail = &failure{reason: RenderFailed, permanent: true, err: fmt.Errorf("%s: rendering crashed: %v", rev.Short(), p)}
		}
	}()
	old, _ := r.Current()
	snapshot, ds := render.RenderNext(old, cand.Fleet, cand.Artifacts, r.c.Assignments())
	if ds.HasErrors() {
		return &failure{reason: RenderFailed, permanent: true, diags: append(ds, cand.warnings...)}
	}
	cand.watch.done(stageRender)
	gate := r.c.Gate(ctx, old, snapshot)
	if gate.HasErrors() {
		return &failure{reason: GateRefused, permanent: true, diags: append(gate, cand.warnings...)}
	}
	if missing := r.secrets(cand.Fleet); missing.HasErrors() {
		return &failure{reason: GateRefused, diags: append(missing, cand.warnings...)}
	}
	cand.watch.done(stageGate)
	cand.snapshot, cand.Digest = snapshot, snapshot.Digest()
	cand.Bare = snapshot.Assign(render.Assignments{}).Digest()
	cand.diags = slices.Concat(cand.warnings, ds, gate)
	return nil
}

// walk is the gate: it boots, in simulation, what changed.
func walk(_ context.Context, old, new *render.Snapshot) spec.Diagnostics {
	return bootsim.Gate(old, new)
}

// apply makes a candidate durable, and then serves it. The swap cannot fail.
func (r *Reconciler) apply(ctx context.Context, cand *candidate) error {
	cand.Applied = r.c.Now()
	if err := r.archive.save(&cand.record); err != nil {
		return r.report(ctx, cand.Commit.Revision, &failure{reason: ApplyFailed, err: err})
	}
	cand.watch.done(stagePersist)
	s := &served{record: cand.record, snapshot: cand.snapshot}
	r.swap(s, cand.watch.times)
	took := cand.watch.total()
	r.last = attempt{rev: s.Commit.Revision}
	r.c.Log.Info("revision applied", "revision", s.Commit.Revision, "digest", s.Digest, "duration", took,
		"author", s.Commit.Author, "subject", s.Commit.Subject, "nodes", len(s.Fleet.Nodes), cand.watch.attr())
	e := newEntry(s.Commit, Applied, s.Applied)
	e.Digest, e.Duration = s.Digest, took
	r.note(ctx, cand.log, e)
	r.ready(s.Commit.Revision, cand.diags)
	if r.c.Probe != nil {
		r.c.Probe(s.Commit.Revision, took)
	}
	r.tidy()
	runtime.GC() // of the revisions that are not held any more, before the next one needs as much
	return nil
}

// swap puts s in force; the one before stays for an hour. An older state of the same revision does not. Without stages it is the
// same revision as before, for the status.
func (r *Reconciler) swap(s *served, stages []StageTime) {
	r.swapping.Lock()
	defer r.swapping.Unlock()
	if as := r.c.Assignments(); as.Serial != s.snapshot.Assignments().Serial { // changed while s was made
		s.snapshot = s.snapshot.Assign(as)
	}
	now := r.c.Now()
	next := held{s}
	for _, old := range *r.held.Load() {
		kept := *old
		if kept.until.IsZero() {
			kept.until = now.Add(holdTime)
		}
		if kept.Commit.Revision != s.Commit.Revision && now.Before(kept.until) && len(next) <= holdMost {
			next = append(next, &kept)
		}
	}
	r.held.Store(&next)
	r.mu.Lock()
	defer r.mu.Unlock()
	if stages != nil {
		r.status.serve(s, now)
		r.status.Stages = stages
	}
}

// Reassign takes over the assignments as they are now: what is served when it returns knows of every change that was made before.
// It does not wait for a revision that is being prepared, and of calls at the same time one does the work.
func (r *Reconciler) Reassign() {
	r.swapping.Lock()
	defer r.swapping.Unlock()
	all := *r.held.Load()
	as := r.c.Assignments()
	if len(all) == 0 || all[0].snapshot.Assignments().Serial == as.Serial {
		return
	}
	cur := *all[0]
	cur.snapshot = cur.snapshot.Assign(as)
	next := append(held{&cur}, all[1:]...)
	r.held.Store(&next)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Digest = cur.snapshot.Digest()
}

// tidy removes what nothing needs any more. Failing to is worth a line, no more.
func (r *Reconciler) tidy() {
	keep := map[fact.Digest]bool{}
	for _, s := range *r.held.Load() {
		for d := range s.Places {
			keep[d] = true
		}
	}
	err := errors.Join(r.archive.prune(), r.archive.blobsOf(keep), r.observedBlobs(keep))
	if err == nil {
		err = r.blobs.sweep(keep)
	}
	if err != nil {
		r.c.Log.Warn("tidying the state directory", "err", err)
	}
}
