package render

import (
	"hostler/render/fact"
	"hostler/spec"
)

// target is what a machine boots: settings with the node's own folded in, and the image.
type target struct {
	settings spec.Settings
	image    *spec.Image
	own      *spec.Image // the machine's, when image is a fallback
	mac      fact.MAC    // of the interface that it boots from
}

func (s *Snapshot) targetOf(n *spec.Node) target {
	t := target{settings: s.fleet.Effective(n), image: s.imageOf(n), own: s.imageOf(n), mac: bootPort(n).MAC}
	t.settings.Boot = s.bootMode(n)
	return t
}
