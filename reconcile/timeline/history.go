package timeline

import (
	"cmp"
	"math"
	"slices"
	"time"

	"hostler/render/fact"
)

// queued is an entry on its way to the disk.
type queued struct {
	entry
	segments *segments
	extent   *extent // nil for an event of no boot
}

// gather is how long the first event waits for others: writing each by itself costs more than all else that is done about it.
const gather = 2 * time.Millisecond

// write takes entries off the queue until Close.
func (t *Timeline) write() {
	defer close(t.done)
	for {
		select {
		case q := <-t.queue:
			time.Sleep(gather)
			t.writeSome(q)
			t.drain()
		case done := <-t.flushes:
			t.drain()
			close(done)
		case <-t.stop:
			t.drain()
			return
		}
	}
}

func (t *Timeline) drain() {
	for len(t.queue) > 0 {
		t.writeSome(<-t.queue)
	}
}

// writeSome writes an entry and what is queued behind it, with one call to the system for each row of segments.
func (t *Timeline) writeSome(q queued) {
	batch := []queued{q}
	for len(batch) < 256 && len(t.queue) > 0 {
		batch = append(batch, <-t.queue)
	}
	t.writeBatch(t.nodes, batch)
	t.writeBatch(t.others, batch)
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

// writeBatch writes those entries of a batch that belong to these segments.
func (t *Timeline) writeBatch(s *segments, batch []queued) {
	var lines [][]byte
	var extents []*extent
	for i := range batch {
		if batch[i].segments != s {
			continue
		}
		line, err := batch[i].encode()
		if err != nil {
			t.lost.Add(1)
			continue
		}
		lines, extents = append(lines, line), append(extents, batch[i].extent)
	}
	if len(lines) == 0 {
		return
	}
	places, err := s.append(lines)
	if err != nil {
		if t.lost.Add(uint64(len(lines))) == uint64(len(lines)) {
			t.log.Error("events of boots are lost", "err", err)
		}
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, x := range extents {
		if x != nil {
			x.add(places[i])
		}
	}
}

// writeNow writes past the queue what a killed process must find again: it is with the system when the machine gets its
// answer. A disk that refuses it costs the machine its phone-home after a restart, not its boot.
func (t *Timeline) writeNow(x *extent, e *entry) {
	t.writeBatch(x.segments, []queued{{entry: *e, segments: x.segments, extent: x}})
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
	}
	t.seat(m, node)
	switch {
	case m.last == nil || e.Boot > m.last.ID:
		r := &running{extent: &extent{id: e.Boot, segments: s}}
		r.ID, r.MAC, r.Node = e.Boot, m.mac, node
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
