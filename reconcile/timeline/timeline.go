// Package timeline keeps what happened in which boot of which machine. It is told by the servers, names the boots,
// and knows the token of each. It decides nothing about what a machine gets, and nothing it keeps is worth losing a
// reply for: what must not be lost goes to the ledger, through Marks.
package timeline

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hostler/render/fact"
)

// Bounds of what is kept.
const (
	mostBoots     = 20        // of one machine
	mostStrangers = 4096      // machines that nobody declared; those seen last stay
	bytesNodes    = 256 << 20 // of files with boots of declared machines; a start reads them all, at 12 MB/s (BenchmarkOpen)
	bytesOthers   = 64 << 20  // of files with everything else, so that strangers cannot push nodes out
	mostQueued    = 8192      // events that wait for the disk; as many again are being written
	mostFollowed  = 1024      // events on their way to one follower
	mostInVain    = 100       // boots of a machine that are counted towards a loop
	longestText   = 512       // of a file name or detail; clients choose them
)

// Marks keeps what must survive. The ledger's store does, through cmd.
type Marks interface {
	// Ready notes durably that a node finished a boot. It is called again when the machine repeats itself before
	// the first call has returned.
	Ready(ctx context.Context, a Arrival) error
}

// Arrival is a declared node that proved with the token of its boot that it is ready.
type Arrival struct {
	Node  fact.NodeName
	MAC   fact.MAC
	Boot  fact.BootID
	Terms fact.Terms // that the boot was given
	At    time.Time
}

// Timeline is the boots of every machine.
type Timeline struct {
	marks         Marks
	now           func() time.Time
	log           *slog.Logger
	nodes, others *segments

	mu        sync.Mutex
	machines  map[fact.MAC]*machine
	boots     map[fact.BootID]*machine // the newest of each
	strangers *list.List               // of *machine without a node, the last seen one first
	followers map[chan fact.Event]bool
	progress  func(Progress) // may be nil; called without the mutex

	queue   []queued           // events on their way to the disk
	wake    chan struct{}      // has something after the queue was empty
	flushes chan chan struct{} // answered when the queue was empty
	stop    chan struct{}      // closed by Close
	done    chan struct{}      // closed when nothing is written any more
	close   sync.Once
	lost    atomic.Uint64
}

// machine is one MAC.
type machine struct {
	mac  fact.MAC
	node fact.NodeName
	last *running    // newest boot
	vain []time.Time // when the boots before it began, in a row, that were given something to boot and were not ready
	past []*extent   // older ones, oldest first
	seat *list.Element
	asked
}

// Open reads the boots that are kept under dir. Close ends the background work.
func Open(dir string, marks Marks, now func() time.Time, log *slog.Logger) (*Timeline, error) {
	t := &Timeline{
		marks: marks, now: now, log: log,
		machines:  map[fact.MAC]*machine{},
		boots:     map[fact.BootID]*machine{},
		strangers: list.New(),
		followers: map[chan fact.Event]bool{},
		wake:      make(chan struct{}, 1),
		flushes:   make(chan chan struct{}),
		stop:      make(chan struct{}),
		done:      make(chan struct{}),
	}
	var err error
	if t.others, err = openSegments(filepath.Join(dir, "others"), bytesOthers); err != nil {
		return nil, fmt.Errorf("opening boots: %w", err)
	}
	if t.nodes, err = openSegments(filepath.Join(dir, "nodes"), bytesNodes); err != nil {
		t.others.close()
		return nil, fmt.Errorf("opening boots: %w", err)
	}
	if err := t.restore(); err != nil {
		t.others.close()
		t.nodes.close()
		return nil, fmt.Errorf("opening boots: %w", err)
	}
	go t.write()
	return t, nil
}

// Record adds an event. It does not wait for anything: when events come faster than the disk takes them, they count in
// their boot, but are missing from its list (see Lost).
func (t *Timeline) Record(e fact.Event) {
	e.File, e.Detail = cut(e.File), cut(e.Detail)
	t.tell(t.record(e))
}

func (t *Timeline) record(e fact.Event) (s steps) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.Time.IsZero() {
		e.Time = t.now()
	}
	e.Time = e.Time.Round(0)
	x := t.attribute(&e, &s)
	for f := range t.followers {
		select {
		case f <- e:
		default:
			t.lost.Add(1)
		}
	}
	t.enqueue(e, x)
	return s
}

func cut(s string) string {
	if len(s) > longestText {
		return s[:longestText]
	}
	return s
}

// Lost is how many events did not reach the disk or a follower.
func (t *Timeline) Lost() uint64 { return t.lost.Load() }

// attribute finds the boot that an event belongs to, begins one if it must, adds the event, and fills in what the event does
// not say. It gives nil for an event of no boot. What that did to boots goes to s.
func (t *Timeline) attribute(e *fact.Event, s *steps) *extent {
	m := t.machines[e.MAC]
	if e.MAC.IsZero() {
		if m = t.boots[e.Boot]; m == nil || e.Boot == "" {
			e.Boot = ""
			return nil
		}
		e.MAC = m.mac
	}
	if m == nil {
		if !starts(e) {
			e.Boot = ""
			return nil
		}
		m = t.meet(e.MAC)
	}
	if e.Node == "" {
		e.Node = m.node
	}
	t.seat(m, e.Node)
	if m.last == nil && !starts(e) {
		return nil
	}
	if m.last == nil || m.last.begins(e) {
		before := m.last
		t.begin(m, e.Time)
		s.ended(before, m.vain)
	}
	switch {
	case m.last.foreign(e):
		e.Boot = ""
		return nil
	case e.Boot != "" && e.Boot != m.last.ID: // a straggler of an older boot
		return m.older(e)
	}
	e.Boot = m.last.ID
	before := m.last.Stage
	m.last.observe(e)
	m.asked.note(e)
	s.reached(m.last, before, e.Time)
	return m.last.extent
}

func (m *machine) older(e *fact.Event) *extent {
	for _, x := range m.past {
		if x.id == e.Boot {
			return x
		}
	}
	e.Boot = ""
	return nil
}

// starts reports whether an event may be the first that is known of a boot. One can miss the DISCOVER: it went to another
// server, or came before this process. But an operating system that renews its lease is not booting.
func starts(e *fact.Event) bool {
	return e.Stage == fact.StageDiscover || e.Stage != fact.StageNone && e.Client != fact.ClientOS && e.Stage != fact.StageReady
}

// meet begins to know a machine.
func (t *Timeline) meet(mac fact.MAC) *machine {
	m := &machine{mac: mac}
	t.machines[mac] = m
	return m
}

// seat keeps the machines that nobody declared in the order in which they were seen, and forgets those at the end.
func (t *Timeline) seat(m *machine, node fact.NodeName) {
	m.node = node
	switch {
	case node != "" && m.seat != nil:
		t.strangers.Remove(m.seat)
		m.seat = nil
	case node == "" && m.seat != nil:
		t.strangers.MoveToFront(m.seat)
	case node == "":
		m.seat = t.strangers.PushFront(m)
	}
	for t.strangers.Len() > mostStrangers {
		old := t.strangers.Remove(t.strangers.Back()).(*machine)
		delete(t.machines, old.mac)
		if old.last != nil {
			delete(t.boots, old.last.ID)
		}
	}
}

// begin starts a new boot of a machine.
func (t *Timeline) begin(m *machine, at time.Time) *running {
	segments := t.others
	if m.node != "" {
		segments = t.nodes
	}
	id := newBootID(at)
	r := &running{extent: &extent{id: id, segments: segments}}
	r.ID, r.MAC, r.Node, r.Start, r.Last = id, m.mac, m.node, at, at
	r.follows(m.last, at)
	t.replace(m, r)
	return r
}

// replace makes a boot the machine's newest.
func (t *Timeline) replace(m *machine, r *running) {
	if m.last != nil {
		m.gaveUp(m.last)
		delete(t.boots, m.last.ID)
		m.past = append(m.past, m.last.extent)
	}
	if n := len(m.past) - (mostBoots - 1); n > 0 {
		m.past = append(m.past[:0:0], m.past[n:]...)
	}
	m.last = r
	t.boots[r.ID] = m
}

// gaveUp notes that a machine begins again. What a stranger makes up does not count: a boot does when the machine's own address was
// given something to boot.
func (m *machine) gaveUp(r *running) {
	switch {
	case r.played:
	case !r.ready.IsZero():
		m.vain = nil
	case r.terms.Boots:
		if len(m.vain) == mostInVain {
			m.vain = slices.Delete(m.vain, 0, 1)
		}
		m.vain = append(m.vain, r.Start)
	}
}

// Follow calls f with every event from now on, until ctx ends. One that is slower than the events misses some.
func (t *Timeline) Follow(ctx context.Context, f func(fact.Event)) {
	events := make(chan fact.Event, mostFollowed)
	t.mu.Lock()
	t.followers[events] = true
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.followers, events)
		t.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-events:
			f(e)
		}
	}
}

// Revisions gives the revisions that running boots are pinned to: not ready, and begun after a time.
func (t *Timeline) Revisions(after time.Time) map[fact.Revision]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	revs := map[fact.Revision]bool{}
	for _, m := range t.boots {
		if r := m.last; r.terms.Revision != "" && r.ready.IsZero() && r.Start.After(after) {
			revs[r.terms.Revision] = true
		}
	}
	return revs
}

// Close writes what is queued and ends the background work.
func (t *Timeline) Close() (err error) {
	t.close.Do(func() {
		close(t.stop)
		<-t.done
		err = errors.Join(t.nodes.close(), t.others.close())
	})
	return err
}
