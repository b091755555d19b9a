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
	return target{settings: s.fleet.Effective(n), image: s.image(n.Profile), own: s.image(n.Profile), mac: bootPort(n).MAC}
}

// targetUnknown is what a subnet gives to machines that nobody declared. Values that are evaluated for each node have none for them.
func (s *Snapshot) targetUnknown(sn *subnet, mac fact.MAC) target {
	return target{settings: s.fleet.Effective(&spec.Node{Profile: sn.Unknown}), image: s.image(sn.Unknown), own: s.image(sn.Unknown), mac: mac}
}
