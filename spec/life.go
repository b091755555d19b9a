package spec

import "fmt"

func (s *scope) bootMode(b *body) (BootMode, bool) {
	text, ok := s.choice(b, "boot", string(BootNet), string(BootInstall), string(BootInstallOnce), string(BootDisk), string(BootOff))
	return BootMode(text), ok
}

// hold reads why the machines of a layer must not boot. A node's own hold is not laid over others' but stands beside them: whichever
// layer holds a machine, it is held.
func (s *scope) hold(b *body, l *layer) {
	if b.schema.Type == "node" {
		return
	}
	if v, ok := s.str(b, "hold"); ok && v != "" {
		s.set(l, b, "hold", "hold", v, func(t *Settings) { t.Hold = v })
	}
}

// loop reads when a machine counts as one that boots in a loop.
func (s *scope) loop(b *body, l *layer) {
	n := b.only("loop")
	if n == nil {
		return
	}
	if v, ok := s.number(n, "boots", 0, 1000); ok {
		boots := int(v)
		if boots == 0 {
			boots = NoLoop
		}
		s.set(l, n, "loop.boots", "boots", fmt.Sprint(v), func(t *Settings) { t.Loop.Boots = boots })
	}
	if v, ok := s.duration(n, "within"); ok {
		s.set(l, n, "loop.within", "within", durationText(v), func(t *Settings) { t.Loop.Within = v })
	}
}
