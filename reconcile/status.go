package reconcile

import (
	"time"

	"hostler/reconcile/s3"
	"hostler/reconcile/source"
	"hostler/render/fact"
	"hostler/spec"
)

// Reason says which stage a condition comes from.
type Reason string

// The reasons.
const (
	Succeeded      Reason = "Succeeded"
	Progressing    Reason = "Progressing"
	NothingServed  Reason = "NothingServed" // no revision was ever good
	AwaitingApply  Reason = "AwaitingApply" // sync is manual, and a newer revision waits
	FetchFailed    Reason = "FetchFailed"
	RewindRefused  Reason = "RewindRefused"
	EvaluateFailed Reason = "EvaluateFailed" // the evaluation did not come to its end
	CheckFailed    Reason = "CheckFailed"    // the spec has mistakes
	ArtifactFailed Reason = "ArtifactFailed" // a store does not answer
	RenderFailed   Reason = "RenderFailed"
	GateRefused    Reason = "GateRefused"
	ApplyFailed    Reason = "ApplyFailed"
)

// Failures are the reasons of an attempt that failed.
func Failures() []Reason {
	return []Reason{FetchFailed, RewindRefused, EvaluateFailed, CheckFailed, ArtifactFailed, RenderFailed, GateRefused, ApplyFailed}
}

// The types of condition. Reconciling and Stalled are only listed while they are true.
const (
	Ready       = "Ready"       // the newest revision is served
	Reconciling = "Reconciling" // something is being done, or will be tried again
	Stalled     = "Stalled"     // nothing will happen until a person does something
)

// Condition is one statement about the reconciler.
type Condition struct {
	Type    string    `json:"type"`
	Status  bool      `json:"status"`
	Reason  Reason    `json:"reason"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since"` // of the present status and reason
}

// Status is what an operator wants to know.
type Status struct {
	Source        string           `json:"source"`
	Kind          source.Kind      `json:"kind"`
	Sync          Sync             `json:"sync"`
	LastApplied   fact.Revision    `json:"last_applied,omitempty"`   // what is served
	LastAttempted fact.Revision    `json:"last_attempted,omitempty"` // what was last evaluated
	Observed      fact.Revision    `json:"observed,omitempty"`       // the newest seen at the source
	Pending       fact.Revision    `json:"pending,omitempty"`        // waits for apply
	Digest        fact.Digest      `json:"digest,omitempty"`         // of what is served
	Author        string           `json:"author,omitempty"`
	Subject       string           `json:"subject,omitempty"`
	ServingSince  time.Time        `json:"serving_since,omitzero"`
	Stages        []StageTime      `json:"stages,omitempty"` // of bringing it into force, in their order; none after a start
	Checked       time.Time        `json:"checked,omitzero"` // when the source last answered
	NextTry       time.Time        `json:"next_try,omitzero"`
	Fetching      *Fetch           `json:"fetching,omitempty"`  // from a store, now
	Clocks        []s3.Clock       `json:"s3_clocks,omitempty"` // those that differ from this host's
	Conditions    []Condition      `json:"conditions"`
	Diagnostics   spec.Diagnostics `json:"diagnostics,omitempty"` // of the last attempt

	Failures map[Reason]uint64 `json:"failures,omitempty"` // attempts that failed since the process began, by what refused them
}

// Condition finds a condition by type.
func (s Status) Condition(typ string) (Condition, bool) {
	for _, c := range s.Conditions {
		if c.Type == typ {
			return c, true
		}
	}
	return Condition{}, false
}

// set replaces the conditions and keeps the time of those that did not change.
func (s *Status) set(now time.Time, list ...Condition) {
	for i := range list {
		list[i].Since = now
		if old, ok := s.Condition(list[i].Type); ok && old.Status == list[i].Status && old.Reason == list[i].Reason {
			list[i].Since = old.Since
		}
	}
	s.Conditions = list
}

// failure is why a revision is not served. A permanent one is not tried again until something changes.
type failure struct {
	reason    Reason
	permanent bool
	diags     spec.Diagnostics
	err       error
}

// Error gives the first mistake, with file and line, and how many more there are.
func (f *failure) Error() string {
	if f.err != nil {
		return f.err.Error()
	}
	return f.diags.Error()
}

func (f *failure) Unwrap() error {
	if f.err != nil {
		return f.err
	}
	return f.diags
}

// conditions of a failure. serving is whether an older revision is in force.
func (f *failure) conditions(serving bool) []Condition {
	message := f.Error()
	if !serving {
		message += "; nothing is served"
	}
	other := Condition{Type: Reconciling, Status: true, Reason: f.reason, Message: message}
	if f.permanent {
		other.Type = Stalled
	}
	return []Condition{{Type: Ready, Reason: f.reason, Message: message}, other}
}
