package render

import (
	"hostler/render/fact"
	"hostler/spec"
)

// Snapshot is everything that the servers need to answer every machine, complete and immutable. Settings are held once
// for each profile; texts are put together when they are asked for.
type Snapshot struct {
	fleet       *spec.Fleet
	artifacts   Artifacts
	assignments Assignments
	lives       map[fact.NodeName]*life // of nodes with an assignment
	digest      fact.Digest

	profiles  []profile // as fleet.Profiles
	subnets   []subnet  // as fleet.Subnets
	networks  networks
	images    map[string]*spec.Image
	bootLines map[*spec.Image]*bootLines
	loaders   []*spec.Loader // the author's before the built-in ones
	tftp      map[string]File
	blobs     map[fact.Digest]File
	bySubnet  map[string]int
	layouts   []*layout // by mask

	*index  // of fleet.Nodes
	*hashes // of fleet.Nodes
}

// Render builds a snapshot. The snapshot is nil if, and only if, the diagnostics have errors.
func Render(f *spec.Fleet, a Artifacts, as Assignments) (*Snapshot, spec.Diagnostics) {
	return RenderNext(nil, f, a, as)
}

// RenderNext gives what Render gives, sooner: it takes over from a snapshot before what it knows of nodes that are the same, by
// spec.Same, and shares it where all are. old may be nil.
func RenderNext(old *Snapshot, f *spec.Fleet, a Artifacts, as Assignments) (*Snapshot, spec.Diagnostics) {
	s := &Snapshot{fleet: f, artifacts: a, images: map[string]*spec.Image{}, bootLines: map[*spec.Image]*bootLines{}}
	for i := range f.Images {
		s.images[f.Images[i].Name] = &f.Images[i]
	}
	for _, builtin := range []bool{false, true} {
		for i := range f.Loaders {
			if f.Loaders[i].Builtin == builtin {
				s.loaders = append(s.loaders, &f.Loaders[i])
			}
		}
	}
	if s.sameNodes(old) {
		s.index = old.index
	} else {
		s.index = newIndex(f.Nodes)
	}
	s.indexSubnets()
	s.indexProfiles()
	s.indexFiles()
	for _, m := range s.images {
		if l := s.newBootLines(m); l != nil {
			s.bootLines[m] = l
		}
	}
	s.assign(as)
	ds := s.check()
	if ds.HasErrors() {
		return nil, ds
	}
	s.hash(old)
	s.layouts = s.newLayouts()
	return s, ds
}

// Digest is a hash over everything that is served; two servers with the same digest give the same answers.
func (s *Snapshot) Digest() fact.Digest { return s.digest }

// Fleet is what the snapshot was rendered from. Read-only.
func (s *Snapshot) Fleet() *spec.Fleet { return s.fleet }

// sameNodes reports whether two snapshots have one list of nodes.
func (s *Snapshot) sameNodes(old *Snapshot) bool {
	if old == nil || len(s.fleet.Nodes) != len(old.fleet.Nodes) {
		return false
	}
	return len(s.fleet.Nodes) == 0 || &s.fleet.Nodes[0] == &old.fleet.Nodes[0]
}

// bootPort is the interface that a node boots from.
func bootPort(n *spec.Node) *spec.Interface {
	for i := range n.Interfaces {
		if n.Interfaces[i].Boot {
			return &n.Interfaces[i]
		}
	}
	if len(n.Interfaces) > 0 {
		return &n.Interfaces[0]
	}
	return &spec.Interface{}
}

// settings are a profile's settings, or nothing when there is none.
func (s *Snapshot) settings(profile int) *spec.Settings {
	if profile < 0 || profile >= len(s.fleet.Profiles) {
		return &spec.Settings{}
	}
	return &s.fleet.Profiles[profile].Settings
}

// image is what a profile boots, or nil.
func (s *Snapshot) image(profile int) *spec.Image {
	if profile < 0 || profile >= len(s.fleet.Profiles) {
		return nil
	}
	return s.images[s.fleet.Profiles[profile].Image]
}
