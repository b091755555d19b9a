package timeline

import (
	"strings"
	"time"

	"hostler/render/fact"
)

// asked is when a machine last got what it asks for by HTTP, in whichever boot.
type asked struct{ script, config time.Time }

func (a *asked) note(e *fact.Event) {
	if e.Result != fact.OK {
		return
	}
	switch {
	case e.Stage == fact.StageScript && e.Time.After(a.script):
		a.script = e.Time
	case (e.File == "user-data" || strings.HasPrefix(e.File, "config/")) && e.Time.After(a.config):
		a.config = e.Time
	}
}

// Asked is when a machine last got its boot script and its configuration, and what became of its newest boot. Zero times: never, as far
// as is known; an empty outcome: it has no boot.
func (t *Timeline) Asked(mac fact.MAC) (script, config time.Time, o Outcome) {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.machines[mac]
	if m == nil {
		return
	}
	if m.last != nil {
		o, _ = m.last.outcome(now, true)
	}
	return m.asked.script, m.asked.config, o
}
