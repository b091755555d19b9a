package timeline

import (
	"slices"
	"time"

	"hostler/render/fact"
)

// Progress is a boot that came further than before, was ready, or ended without that.
type Progress struct {
	Boot     fact.BootID
	MAC      fact.MAC
	Node     fact.NodeName // empty for a machine that nobody declared
	Revision fact.Revision
	Stage    fact.Stage    // the furthest
	Outcome  Outcome       // Booting, Ready or Ended
	After    time.Duration // since the boot began
	Terms    fact.Terms    // that it was given, if any yet
	InVain   []time.Time   // with Ended: when the last boots in a row began that were given something to boot, and were not ready
}

// OnProgress has f told of every boot's progress from now on. It is called in the goroutine of whoever reported the event, so it
// must not wait. Set it before the first event.
func (t *Timeline) OnProgress(f func(Progress)) { t.progress = f }

// steps is what one event did: it may end a boot, and begin another.
type steps struct {
	n    int
	each [2]Progress
}

func (s *steps) add(r *running, o Outcome, at time.Time) {
	if r.played {
		return
	}
	s.each[s.n] = Progress{Boot: r.ID, MAC: r.MAC, Node: r.Node, Revision: r.Revision, Stage: r.Stage, Outcome: o, After: max(at.Sub(r.Start), 0), Terms: r.terms}
	s.n++
}

func (s *steps) reached(r *running, before fact.Stage, at time.Time) {
	if r.Stage > before && r.ready.IsZero() {
		s.add(r, Booting, at)
	}
}

// ended notes that a machine begins another boot although this one was never ready.
func (s *steps) ended(r *running, vain []time.Time) {
	if r != nil && r.ready.IsZero() && !r.played {
		s.add(r, Ended, r.Last)
		s.each[s.n-1].InVain = slices.Clone(vain)
	}
}

func (t *Timeline) tell(s steps) {
	if t.progress == nil {
		return
	}
	for _, p := range s.each[:s.n] {
		t.progress(p)
	}
}

// slice is how many machines are looked at before events get their turn again.
const slice = 512

// Each calls f with how every machine's newest boot stands, in no order. It may be called often: events wait for a few hundred
// machines, never for all.
func (t *Timeline) Each(f func(mac fact.MAC, furthest fact.Stage, outcome Outcome)) {
	t.each(func(m *machine, now time.Time) {
		o, _ := m.last.outcome(now, true)
		f(m.mac, m.last.Stage, o)
	})
}

// each calls f, with the mutex held, for every machine that has a boot.
func (t *Timeline) each(f func(*machine, time.Time)) {
	t.mu.Lock()
	now := t.now()
	all := make([]*machine, 0, len(t.boots))
	for _, m := range t.boots {
		all = append(all, m)
	}
	t.mu.Unlock()
	for len(all) > 0 {
		n := min(len(all), slice)
		t.mu.Lock()
		for _, m := range all[:n] {
			f(m, now)
		}
		t.mu.Unlock()
		all = all[n:]
	}
}
