// Package reconcile owns what is served. It observes a source, evaluates and renders each new revision, checks it, makes it
// durable, and swaps it in; a revision that fails any of that changes nothing. It knows no protocol, and does not decide what a
// spec means or what a machine is told.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hostler/reconcile/ledger"
	"hostler/reconcile/s3"
	"hostler/reconcile/source"
	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// Sync says what happens to a new revision.
type Sync string

// The ways to synchronise.
const (
	Auto   Sync = "auto"   // it is applied
	Manual Sync = "manual" // it is observed, and waits for Apply
)

// Config is what a Reconciler needs.
type Config struct {
	Source     source.Source
	Ledger     ledger.Store // the history; nil keeps it in memory
	StateDir   string
	S3         *s3.Service // opens stores of kind s3; nil: they are not looked at
	StoreRoots []string    // directories that local stores must lie below; none: anywhere
	// Trust is the SHA-256 of the certificate that the loaders inside this program are told to trust, which they are changed for;
	// empty, or nil: they trust the authority of iPXE's makers.
	Trust       func() fact.Digest
	Poll        time.Duration // 0: 30 s
	Sync        Sync          // empty: Auto
	AllowRewind bool          // apply a revision that does not contain the applied one
	Vars        map[string]string
	Evaluate    Evaluate // nil: in a child process with Limits, which is kept
	Limits      Limits
	// Assignments gives the facts from outside the spec, as they are now; nil: none. Whoever changes them calls Reassign.
	Assignments func() render.Assignments
	// Gate is asked before a swap, with nil for old when nothing is served; errors refuse. nil: every changed node is booted in
	// simulation.
	Gate func(ctx context.Context, old, new *render.Snapshot) spec.Diagnostics
	// Secret says why a secret cannot be had. A revision that needs it waits. nil: nobody knows.
	Secret func(name string) error
	// Probe is called after each swap with the revision and how long it took since it was noticed; may be nil.
	Probe func(fact.Revision, time.Duration)
	Log   *slog.Logger
	Now   func() time.Time // nil: time.Now
}

// How long a replaced snapshot stays for boots that began with it, and how many do.
const (
	holdTime = time.Hour
	holdMost = 2
)

// Reconciler owns the current snapshot. Its methods may be called from any goroutine; Run is the one writer.
type Reconciler struct {
	c        Config
	blobs    *blobs
	archive  *archive
	observer *observer
	requests chan *command
	hints    chan struct{}
	ended    chan struct{} // closed when Run returns
	held     atomic.Pointer[held]
	swapping sync.Mutex // held by whoever replaces held

	lookedAgain atomic.Int64 // when a changed file last had the stores looked at, in Unix nanoseconds

	mu      sync.Mutex // guards status and history for readers
	status  Status
	history *history

	// These belong to the goroutine in Run.
	last    attempt
	keys    string // what was wrong with the keys of S3, so that it is said once
	clocks  string // what was said of their endpoints' clocks
	warm    *warmChild
	reading *reading // of the last revision that was evaluated without a mistake
}

// held is every snapshot that can be asked for, the current one first. Immutable.
type held []*served

// served is one snapshot with what it was made from. Immutable.
type served struct {
	record
	snapshot *render.Snapshot
	until    time.Time // zero for the current one
}

// New loads the last good revision, so that it is served at once, whether or not the source answers. It touches neither
// the source nor, but for what a crash left half-written, the state.
func New(c Config) (*Reconciler, error) {
	c = c.orDefaults()
	if err := apart(c.Source, c.StateDir); err != nil {
		return nil, err
	}
	h, err := openHistory(context.Background(), c.Ledger)
	if err != nil {
		return nil, fmt.Errorf("state: %s: %w", c.StateDir, err)
	}
	r := &Reconciler{
		c: c, history: h,
		blobs:    &blobs{filepath.Join(c.StateDir, "blobs")},
		requests: make(chan *command), hints: make(chan struct{}, 1),
		ended: make(chan struct{}),
	}
	r.archive = newArchive(filepath.Join(c.StateDir, "revisions"), r.blobs)
	r.observer = newObserver(r.blobs, c.Now)
	r.observer.roots, r.observer.trust, r.observer.s3 = c.StoreRoots, c.Trust, c.S3
	r.observer.progress.log = c.Log
	r.warm = &warmChild{limits: c.Limits.orDefaults()}
	if r.c.Evaluate == nil {
		r.c.Evaluate = r.warm.evaluate
	}
	r.held.Store(&held{})
	r.status = Status{Source: c.Source.String(), Kind: c.Source.Kind(), Sync: c.Sync}
	r.status.set(c.Now(), Condition{Type: Ready, Reason: NothingServed, Message: "no revision was applied yet"},
		Condition{Type: Reconciling, Status: true, Reason: Progressing})
	return r, r.restore()
}

// apart refuses a state directory inside a directory source: each applied revision would make another.
func apart(s source.Source, state string) error {
	abs, err := filepath.Abs(state)
	if err != nil {
		return fmt.Errorf("state: %s: %w", state, err)
	}
	rel, err := filepath.Rel(s.String(), abs)
	if s.Kind() == source.Directory && err == nil && filepath.IsLocal(rel) && !strings.HasPrefix(rel, ".") {
		return fmt.Errorf("state: %s: lies inside the source %s, where every write to it would be a change", state, s)
	}
	return nil
}

func (c Config) orDefaults() Config {
	if c.Poll <= 0 {
		c.Poll = 30 * time.Second
	}
	if c.Sync == "" {
		c.Sync = Auto
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Gate == nil {
		c.Gate = walk
	}
	if c.Assignments == nil {
		c.Assignments = func() render.Assignments { return render.Assignments{} }
	}
	return c
}

// restore serves the newest persisted revision that is whole, and holds those that boots may have begun with.
func (r *Reconciler) restore() error {
	recs, bad, err := r.archive.load()
	for _, b := range bad {
		r.c.Log.Error("a persisted revision is unusable, trying the one before", "err", b)
	}
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if len(recs) == 0 {
		return nil
	}
	snapshot, ds := render.Render(recs[0].Fleet, recs[0].Artifacts, render.Assignments{})
	if ds.HasErrors() { // a stricter program than the one that applied it; the source may hold something better
		r.unrenderable(recs[0], ds)
		return nil
	}
	cur := &served{record: *recs[0], snapshot: snapshot}
	r.observer.remember(recs[0])
	if cur.Bare != "" && snapshot.Digest() != cur.Bare {
		r.c.Log.Warn("this program renders the persisted revision differently than the one that applied it",
			"revision", cur.Commit.Revision, "digest", snapshot.Digest(), "was", cur.Bare)
	}
	cur.snapshot = snapshot.Assign(r.c.Assignments())
	all := r.renderOlder(held{cur}, recs)
	r.held.Store(&all)
	r.announce(cur)
	return nil
}

// renderOlder adds what was replaced less than an hour ago.
func (r *Reconciler) renderOlder(list held, recs []*record) held {
	for i, rec := range recs[1:] {
		until := recs[i].Applied.Add(holdTime) // recs[i] is what replaced it
		if !r.c.Now().Before(until) || len(list) > holdMost {
			break
		}
		if rec.Commit.Revision == recs[i].Commit.Revision {
			continue
		}
		if snapshot, ds := render.RenderNext(list[0].snapshot, rec.Fleet, rec.Artifacts, render.Assignments{}); !ds.HasErrors() {
			list = append(list, &served{record: *rec, snapshot: snapshot, until: until})
		}
	}
	return list
}

func (r *Reconciler) unrenderable(rec *record, ds spec.Diagnostics) {
	r.c.Log.Error("rendering the persisted revision", "revision", rec.Commit.Revision, "err", ds)
	r.status.Diagnostics = ds
	r.status.set(r.c.Now(), Condition{Type: Ready, Reason: RenderFailed,
		Message: fmt.Sprintf("this program cannot render the persisted revision %s: %v; nothing is served", rec.Commit.Revision, ds)},
		Condition{Type: Reconciling, Status: true, Reason: Progressing})
}

// announce says what is served after a start.
func (r *Reconciler) announce(s *served) {
	r.status.serve(s, s.Applied)
	r.status.set(r.c.Now(), Condition{Type: Ready, Status: true, Reason: Succeeded, Message: "serving the persisted revision"},
		Condition{Type: Reconciling, Status: true, Reason: Progressing})
	r.c.Log.Info("serving the persisted revision", "revision", s.Commit.Revision, "digest", s.snapshot.Digest(), "applied", s.Applied)
	// A crash between the record and the history left the revision unmentioned.
	if e := r.history.find(s.Commit.Revision); e == nil || e.Outcome != Applied {
		e := newEntry(s.Commit, Applied, s.Applied)
		e.Digest = s.Digest
		if err := r.history.note(context.Background(), e); err != nil {
			r.c.Log.Error("keeping the history", "err", err)
		}
	}
}

// serve copies what is served into the status.
func (s *Status) serve(x *served, since time.Time) {
	s.LastApplied, s.Digest, s.ServingSince = x.Commit.Revision, x.snapshot.Digest(), since
	s.Author, s.Subject = x.Commit.Author, x.Commit.Subject
}

// current is what is served, nil when nothing is.
func (r *Reconciler) current() *served {
	if h := *r.held.Load(); len(h) > 0 {
		return h[0]
	}
	return nil
}

// Current is the snapshot in force and its revision; nil while there is none.
func (r *Reconciler) Current() (*render.Snapshot, fact.Revision) {
	if s := r.current(); s != nil {
		return s.snapshot, s.Commit.Revision
	}
	return nil, ""
}

// At gives the snapshot of the current revision, or of an older one that is still held for boots that began with it.
func (r *Reconciler) At(rev fact.Revision) (*render.Snapshot, bool) {
	for _, s := range *r.held.Load() {
		if s.Commit.Revision == rev && (s.until.IsZero() || r.c.Now().Before(s.until)) {
			return s.snapshot, true
		}
	}
	return nil, false
}

// Older gives the snapshots that are still held for boots that began with them, newest first.
func (r *Reconciler) Older() []*render.Snapshot {
	var older []*render.Snapshot
	for i, s := range *r.held.Load() {
		if i > 0 && r.c.Now().Before(s.until) {
			older = append(older, s.snapshot)
		}
	}
	return older
}

// Open gives the content of a digest that a held snapshot names. The error is fs.ErrNotExist for any other.
func (r *Reconciler) Open(d fact.Digest) (io.ReadSeekCloser, error) {
	err := fmt.Errorf("%s: %w", d, fs.ErrNotExist)
	for _, s := range *r.held.Load() {
		if _, ok := s.Places[d]; !ok || (!s.until.IsZero() && !r.c.Now().Before(s.until)) {
			continue
		}
		f, oerr := s.Places.open(d, r.blobs, r.c.S3)
		if oerr == nil {
			return f, nil
		}
		err = oerr
	}
	if errors.Is(err, errChanged) {
		r.changed()
	}
	return nil, err
}

// Artifacts are the observed files of the current snapshot.
func (r *Reconciler) Artifacts() render.Artifacts {
	if s := r.current(); s != nil {
		return s.Artifacts
	}
	return nil
}

// Files are the texts that the current revision was evaluated from, for messages that quote them.
func (r *Reconciler) Files() map[string][]byte {
	if s := r.current(); s != nil {
		return s.record.Files
	}
	return nil
}

// Status says what is served, what was tried, and what went wrong.
func (r *Reconciler) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Conditions = append([]Condition(nil), s.Conditions...)
	s.Fetching = r.observer.progress.current()
	if r.c.S3 != nil {
		s.Clocks = r.c.S3.Clocks()
	}
	return s
}

// History lists what became of each revision, newest first.
func (r *Reconciler) History() []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Entry, 0, len(r.history.entries))
	for i := len(r.history.entries) - 1; i >= 0; i-- {
		list = append(list, r.history.entries[i])
	}
	return list
}

// ErrNotRunning is given by requests when Run has ended, or has not begun before their context ends.
var ErrNotRunning = errors.New("the reconciler is not running")
