package render

import (
	"hostler/render/fact"
	"hostler/spec"
)

// target is what a machine boots: settings with the node's own folded in, and the image.
type target struct {
	settings *spec.Settings // shared
	image    *spec.Image
	own      *spec.Image // the machine's, when image is a fallback
	mac      fact.MAC    // of the interface that it boots from
}

func (s *Snapshot) targetOf(n *spec.Node) target {
	st := s.fleet.Effective(n)
	st.Boot = s.bootMode(n)
	return target{settings: &st, image: s.imageOf(n), own: s.imageOf(n), mac: bootPort(n).MAC}
}
