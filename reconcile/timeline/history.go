package timeline

import (
	"cmp"
	"math"
	"slices"
	"time"

	"hostler/render/fact"
)

// queued is an event on its way to the disk.
type queued struct {
	event  fact.Event
	extent *extent // nil for an event of no boot
}

// enqueue has an event written soon. The caller holds the mutex.
func (t *Timeline) enqueue(e fact.Event, x *extent) {
	if len(t.queue) == mostQueued {
		t.lost.Add(1)
		return
	}
	t.queue = append(t.queue, queued{e, x})
	if len(t.queue) == 1 {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// gather is how long the first event waits for others: writing each by itself costs more than all else that is done about it.
const gather = 5 * time.Millisecond

// write takes events off the queue until Close.
func (t *Timeline) write() {
	defer close(t.done)
	w := writer{t: t}
	for {
		select {
		case <-t.wake:
			time.Sleep(gather)
			w.drain()
		case done := <-t.flushes:
			w.drain()
			close(done)
		case <-t.stop:
			w.drain()
			return
		}
	}
}

// writer has memory that is used again.
type writer struct {
	t             *Timeline
	taken         []queued
	nodes, others page
}

// drain writes what is queued, in pages with one call to the system for each row of segments.
func (w *writer) drain() {
	t := w.t
	t.mu.Lock()
	w.taken, t.queue = t.queue, w.taken[:0]
	t.mu.Unlock()
	line := entry{Kind: kindEvent}
	for part := range slices.Chunk(w.taken, 512) {
		for i := range part {
			line.Event = &part[i].event
			p := &w.others
			if x := part[i].extent; x != nil && x.segments == t.nodes {
				p = &w.nodes
			}
			if p.add(&line, part[i].extent) != nil {
				t.lost.Add(1)
			}
		}
		t.writePage(t.nodes, &w.nodes)
		t.writePage(t.others, &w.others)
	}
	clear(w.taken) // so that what it refers to can go
}

// flush waits until everything that was recorded before is on disk.
func (t *Timeline) flush() {
	done := make(chan struct{})
	select {
	case t.flushes <- done:
		<-done
	case <-t.done:
	}
}

// page is lines that are written together.
type page struct {
	text  []byte
	lines []line
}

type line struct {
	extent *extent // that it belongs to; may be nil
	off    int64   // in the page
}

// add gives an error for an entry that cannot be written, and leaves it out.
func (p *page) add(e *entry, x *extent) error {
	off := int64(len(p.text))
	text, err := e.append(p.text)
	if err == nil {
		p.text, p.lines = text, append(p.lines, line{x, off})
	}
	return err
}

// writePage writes a page and empties it.
func (t *Timeline) writePage(s *segments, p *page) {
	n := uint64(len(p.lines))
	if n == 0 {
		return
	}
	at, err := s.append(p.text)
	if err == nil {
		t.mu.Lock()
		for _, l := range p.lines {
			if l.extent != nil {
				l.extent.add(place{at.seq, at.off + l.off})
			}
		}
		t.mu.Unlock()
	} else if t.lost.Add(n) == n {
		t.log.Error("events of boots are lost", "err", err)
	}
	clear(p.lines)
	p.text, p.lines = p.text[:0], p.lines[:0]
}

// writeNow writes past the queue what a killed process must find again: it is with the system when the machine gets its
// answer. A disk that refuses it costs the machine its phone-home after a restart, not its boot.
func (t *Timeline) writeNow(x *extent, e *entry) {
	var p page
	if p.add(e, x) != nil {
		t.lost.Add(1)
	}
	t.writePage(x.segments, &p)
}

// restore reads every entry that is kept.
func (t *Timeline) restore() error {
	for _, s := range []*segments{t.others, t.nodes} {
		err := s.read(place{}, place{math.MaxUint64, 0}, func(p place, e entry) { t.restoreEntry(s, p, &e) })
		if err != nil {
			return err
		}
	}
	return nil
}

// restoreEntry takes one entry over. A machine's boots sort by their ids.
func (t *Timeline) restoreEntry(s *segments, p place, e *entry) {
	if e.Boot == "" || e.MAC.IsZero() {
		return
	}
	m := t.machines[e.MAC]
	if m == nil {
		m = t.meet(e.MAC)
	}
	node := cmp.Or(e.Node, m.node)
	if e.Event != nil {
		node = cmp.Or(e.Event.Node, m.node)
		m.asked.note(e.Event)
	}
	t.seat(m, node)
	switch {
	case m.last == nil || e.Boot > m.last.ID:
		r := &running{extent: &extent{id: e.Boot, segments: s}}
		r.ID, r.MAC, r.Node = e.Boot, m.mac, node
		r.follows(m.last, e.Time)
		t.replace(m, r)
	case e.Boot < m.last.ID:
		m.pastExtent(e.Boot, s).add(p)
		return
	}
	m.last.extent.add(p)
	m.last.fold(e)
}

// pastExtent finds an older boot's extent, or makes one in its place.
func (m *machine) pastExtent(id fact.BootID, s *segments) *extent {
	i, found := slices.BinarySearchFunc(m.past, id, func(x *extent, id fact.BootID) int { return cmp.Compare(x.id, id) })
	if found {
		return m.past[i]
	}
	x := &extent{id: id, segments: s}
	if m.past = slices.Insert(m.past, i, x); len(m.past) >= mostBoots {
		m.past = m.past[1:]
	}
	return x
}

// fold adds an entry to a boot as it happened.
func (r *running) fold(e *entry) {
	switch e.Kind {
	case kindEvent:
		r.observe(e.Event)
	case kindToken:
		r.admit(e)
	case kindPin:
		r.pin(e)
	case kindReady:
		r.arrive(e.Time)
	}
}

// Latest gives the newest boot of every machine that keep wants (nil: all), without its events, by node and then by MAC. Like
// Each, it does not hold up events for long.
func (t *Timeline) Latest(keep func(mac fact.MAC, furthest fact.Stage, outcome Outcome) bool) []Boot {
	var boots []Boot
	t.each(func(m *machine, now time.Time) {
		if o, _ := m.last.outcome(now, true); keep == nil || keep(m.mac, m.last.Stage, o) {
			boots = append(boots, m.last.judged(now, true))
		}
	})
	slices.SortFunc(boots, func(a, b Boot) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), slices.Compare(a.MAC[:], b.MAC[:]))
	})
	return boots
}

// Boots gives the last n boots of a machine, all that are kept if n is 0, with their events; the newest comes first.
func (t *Timeline) Boots(mac fact.MAC, n int) []Boot {
	t.flush()
	t.mu.Lock()
	m := t.machines[mac]
	if m == nil || m.last == nil {
		t.mu.Unlock()
		return nil
	}
	extents := []extent{*m.last.extent}
	for _, x := range slices.Backward(m.past) {
		extents = append(extents, *x)
	}
	newest := m.last.judged(t.now(), true)
	t.mu.Unlock()
	if n > 0 && n < len(extents) {
		extents = extents[:n]
	}
	var boots []Boot
	for i, x := range extents {
		b, ok := t.read(mac, &x)
		if i == 0 { // memory knows it even where the disk does not
			newest.Events, newest.Omitted = b.Events, b.Omitted
			b, ok = newest, true
		}
		if ok {
			boots = append(boots, b)
		}
	}
	return boots
}

// read folds the entries of an older boot. It is not ok when none are left.
func (t *Timeline) read(mac fact.MAC, x *extent) (b Boot, ok bool) {
	r := &running{}
	r.ID, r.MAC = x.id, mac
	if x.to == (place{}) {
		return b, false
	}
	var events []fact.Event
	omitted := 0
	err := x.segments.read(x.from, x.to, func(_ place, e entry) {
		if e.Boot != x.id {
			return
		}
		ok = true
		r.fold(&e)
		switch {
		case e.Event == nil:
		case len(events) < mostEvents:
			events = append(events, *e.Event)
		default:
			omitted++
		}
	})
	if err != nil {
		t.log.Error("reading the events of a boot", "boot", x.id, "err", err)
	}
	slices.SortStableFunc(events, func(a, b fact.Event) int { return a.Time.Compare(b.Time) })
	b = r.judged(t.now(), false)
	b.Events, b.Omitted = events, omitted
	return b, ok
}

// Newest gives the newest boot of a machine, without its events.
func (t *Timeline) Newest(mac fact.MAC) (Boot, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.machines[mac]
	if m == nil || m.last == nil {
		return Boot{}, false
	}
	return m.last.judged(t.now(), true), true
}
