package main

import (
	"hostler/reconcile"
	"hostler/render"
)

// printFirstPlan shows what a spec does that was served nowhere yet.
func (env *environment) printFirstPlan(l *reconcile.Loaded) {
	plan := reconcile.NewPlan(nil, l.Snapshot, nil)
	plan.Revision = l.Revision
	p := planPrinter{env: env, plan: plan, old: (*render.Snapshot)(nil), new: l.Snapshot}
	p.print(l.Revision.Short(), "nothing: this is the first")
}
