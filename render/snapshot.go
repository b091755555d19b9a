package render

import (
	"net/netip"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// Snapshot is everything that the servers need to answer every machine, complete and immutable. Settings are held once
// for each profile; texts are put together when they are asked for.
type Snapshot struct {
	fleet     *spec.Fleet
	artifacts Artifacts
	holds     map[fact.NodeName]string
	digest    fact.Digest

	profiles  []profile // as fleet.Profiles
	subnets   []subnet  // as fleet.Subnets
	networks  networks
	images    map[string]*spec.Image
	bootLines map[*spec.Image]*bootLines
	loaders   []*spec.Loader // the author's before the built-in ones
	tftp      map[string]File
	blobs     map[fact.Digest]File
	parts     []part // as fleet.Nodes

	byMAC     map[fact.MAC]port
	byName    map[fact.NodeName]int32
	byRef     map[string]int32 // spec address: node.ams1["c0001"]
	byID      map[spec.Label]int32
	byUUID    map[string]int32
	byAddress map[netip.Addr]port
	bySubnet  map[string]int
}

// port is a declared network interface: a node of the fleet and one of its interfaces.
type port struct{ node, iface int32 }

// Render builds a snapshot. The snapshot is nil if, and only if, the diagnostics have errors.
func Render(f *spec.Fleet, a Artifacts, as Assignments) (*Snapshot, spec.Diagnostics) {
	s := &Snapshot{fleet: f, artifacts: a, holds: as.Holds, images: map[string]*spec.Image{}, bootLines: map[*spec.Image]*bootLines{}}
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
	s.indexNodes()
	s.indexSubnets()
	s.indexProfiles()
	s.indexFiles()
	for _, m := range s.images {
		if l := s.newBootLines(m); l != nil {
			s.bootLines[m] = l
		}
	}
	ds := s.check()
	if ds.HasErrors() {
		return nil, ds
	}
	s.hash()
	return s, ds
}

// Digest is a hash over everything that is served; two servers with the same digest give the same answers.
func (s *Snapshot) Digest() fact.Digest { return s.digest }

// Fleet is what the snapshot was rendered from. Read-only.
func (s *Snapshot) Fleet() *spec.Fleet { return s.fleet }

func (s *Snapshot) indexNodes() {
	n := len(s.fleet.Nodes)
	s.byMAC = make(map[fact.MAC]port, n)
	s.byName = make(map[fact.NodeName]int32, n)
	s.byRef = make(map[string]int32, n)
	s.byAddress = make(map[netip.Addr]port, n)
	s.byID, s.byUUID = map[spec.Label]int32{}, map[string]int32{}
	for i := range s.fleet.Nodes {
		n := &s.fleet.Nodes[i]
		s.byName[n.Name] = int32(i)
		s.byRef[n.Address] = int32(i)
		if n.UUID != "" {
			s.byUUID[strings.ToLower(n.UUID)] = int32(i)
		}
		for _, id := range n.IDs {
			s.byID[id] = int32(i)
		}
		for j := range n.Interfaces {
			p := port{int32(i), int32(j)}
			if ifc := &n.Interfaces[j]; !ifc.MAC.IsZero() {
				s.byMAC[ifc.MAC] = p
			}
			if ifc := &n.Interfaces[j]; ifc.Addr.IsValid() {
				s.byAddress[ifc.Addr] = p
			}
		}
	}
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

// hold is why a node is held back: by the spec, or else by an operator. Empty: it is not.
func (s *Snapshot) hold(n *spec.Node) string {
	if n.Hold != "" {
		return n.Hold
	}
	return s.holds[n.Name]
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
