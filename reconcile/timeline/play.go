package timeline

import (
	"hostler/render/fact"
)

// played is the What of the event that marks a boot which is no machine's.
const played = "Played, not booted"

// Play begins a boot of a machine that somebody plays, to see what it is told. It counts as no boot of the machine: it is neither stuck
// when it ends nowhere, nor one of several that were not ready, and progress is not told of it.
func (t *Timeline) Play(mac fact.MAC, node fact.NodeName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.machines[mac]
	if m == nil {
		m = t.meet(mac)
	}
	t.seat(m, node)
	r := t.begin(m, t.now().Round(0))
	e := fact.Event{Time: r.Start, Boot: r.ID, MAC: mac, Node: node, What: played, Result: fact.OK}
	r.observe(&e)
	t.enqueue(e, r.extent)
}
