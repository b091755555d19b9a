package reconcile

import (
	"context"
	"maps"

	"hostler/reconcile/source"
	"hostler/render/fact"
	"hostler/spec"
)

// begin notes that a revision is being worked on.
func (r *Reconciler) begin(rev fact.Revision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.LastAttempted = rev
	ready, _ := r.status.Condition(Ready)
	r.status.set(r.c.Now(), ready, Condition{Type: Reconciling, Status: true, Reason: Progressing, Message: "working on " + rev.Short()})
}

// ready notes that the newest revision is served.
func (r *Reconciler) ready(rev fact.Revision, ds spec.Diagnostics) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.LastAttempted, r.status.Pending = rev, ""
	if ds != nil || len(r.status.Diagnostics) > 0 && r.status.Diagnostics.HasErrors() {
		r.status.Diagnostics = ds
	}
	r.status.set(r.c.Now(), Condition{Type: Ready, Status: true, Reason: Succeeded, Message: "serving " + rev.Short()})
}

// report makes a failure known, once: in the status, the log and, if it is the revision's fault, the history.
func (r *Reconciler) report(ctx context.Context, rev fact.Revision, f *failure) error {
	if ctx.Err() != nil {
		return f // the server is ending
	}
	r.last.rev, r.last.fail = rev, f
	cur := r.current()
	r.mu.Lock()
	before, _ := r.status.Condition(Ready)
	r.status.Diagnostics = f.diags
	failures := maps.Clone(r.status.Failures) // readers have the old one
	if failures == nil {
		failures = map[Reason]uint64{}
	}
	failures[f.reason]++
	r.status.Failures = failures
	r.status.set(r.c.Now(), f.conditions(cur != nil)...)
	now, _ := r.status.Condition(Ready)
	r.mu.Unlock()
	if before.Reason == now.Reason && before.Message == now.Message {
		return f
	}
	inForce := fact.Revision("none")
	if cur != nil {
		inForce = cur.Commit.Revision
	}
	r.c.Log.Error("revision not applied", "revision", rev, "reason", f.reason, "err", f, "serving", inForce)
	if f.permanent && r.last.cand != nil && r.last.cand.tree != nil {
		e := newEntry(r.last.cand.tree.Commit, Refused, r.c.Now())
		e.Reason, e.Diagnostic = f.reason, f.Error()
		r.note(ctx, r.last.cand.log, e)
	}
	return f
}

// note writes history: the commits that were passed over, and then what became of the last.
func (r *Reconciler) note(ctx context.Context, log source.Log, e Entry) {
	var list []Entry
	r.mu.Lock()
	for _, c := range log.Commits {
		if c.Revision != e.Revision && r.history.find(c.Revision) == nil {
			list = append(list, newEntry(c, Superseded, e.Last))
		}
	}
	// What happened is written down even if the server is told to end at this moment.
	err := r.history.note(context.WithoutCancel(ctx), append(list, e)...)
	r.mu.Unlock()
	if err != nil {
		r.c.Log.Error("keeping the history", "err", err)
	}
}
