package render

import (
	"net/netip"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// Nodes lists every declared node in natural order.
func (s *Snapshot) Nodes() []NodeInfo {
	infos := make([]NodeInfo, len(s.fleet.Nodes))
	for i := range s.fleet.Nodes {
		infos[i] = s.info(&s.fleet.Nodes[i])
	}
	return infos
}

// Node finds a node by name, spec address, MAC in any form, IP address, UUID, or the value of one of its ids.
func (s *Snapshot) Node(name string) (NodeInfo, bool) {
	i, ok := s.lookup(name)
	if !ok {
		return NodeInfo{}, false
	}
	return s.info(&s.fleet.Nodes[i]), true
}

func (s *Snapshot) lookup(name string) (int32, bool) {
	if i, ok := s.byName[fact.NodeName(name)]; ok {
		return i, true
	}
	if i, ok := s.byRef[name]; ok {
		return i, true
	}
	if m, err := fact.ParseMAC(name); err == nil {
		if p, ok := s.byMAC[m]; ok {
			return p.node, true
		}
	}
	if a, err := netip.ParseAddr(name); err == nil {
		if p, ok := s.byAddress[a]; ok {
			return p.node, true
		}
	}
	if i, ok := s.byUUID[strings.ToLower(name)]; ok {
		return i, true
	}
	for _, kind := range []string{"xname", "nid"} {
		if i, ok := s.byID[spec.Label{Name: kind, Value: name}]; ok {
			return i, true
		}
	}
	return 0, false
}

func (s *Snapshot) info(n *spec.Node) NodeInfo {
	ifc := bootPort(n)
	t := s.targetOf(n)
	in := NodeInfo{
		Name: n.Name, Address: n.Address, MAC: ifc.MAC, IP: ifc.Addr, Subnet: ifc.Subnet,
		Boot: string(s.declaredMode(n)), Next: string(s.bootMode(n)), Hold: s.hold(n), Place: n.Place,
		KernelArgs: s.cmdline(&t).String(),
	}
	if l := s.lives[n.Name]; l != nil {
		in.Assignment = &l.Assignment
	}
	switch {
	case n.Disabled:
		in.Boot, in.Next = "disabled", "hold"
	case in.Hold != "":
		in.Next = "hold"
	}
	if t.image != nil {
		in.Image = t.image.Name
	}
	if n.Profile >= 0 && n.Profile < len(s.fleet.Profiles) {
		in.Groups = s.fleet.Profiles[n.Profile].Groups
	}
	return in
}

// Belongs says where a declared machine boots, by the MAC of any of its interfaces, without making anything: the subnet that it
// boots on, its image ("" for none), and whether something holds it back.
func (s *Snapshot) Belongs(mac fact.MAC) (subnet, image string, held, ok bool) {
	p, ok := s.byMAC[mac]
	if !ok {
		return "", "", false, false
	}
	n := &s.fleet.Nodes[p.node]
	if img := s.imageOf(n); img != nil {
		image = img.Name
	}
	return bootPort(n).Subnet, image, s.hold(n) != "", true
}

// At says which node an address was declared for, and from which interface that boots.
func (s *Snapshot) At(a netip.Addr) (fact.MAC, fact.NodeName, bool) {
	p, ok := s.byAddress[a]
	if !ok {
		return fact.MAC{}, "", false
	}
	n := &s.fleet.Nodes[p.node]
	return bootPort(n).MAC, n.Name, true
}

// Boots says from which interface and subnet a node of the fleet boots, and whether something holds it back.
func (s *Snapshot) Boots(n *spec.Node) (mac fact.MAC, subnet string, held bool) {
	ifc := bootPort(n)
	return ifc.MAC, ifc.Subnet, s.hold(n) != ""
}

// Local reports whether a declared machine is to start without us, from its disk or whatever it has: silence after its
// address is then no trouble.
func (s *Snapshot) Local(mac fact.MAC) bool {
	p, ok := s.byMAC[mac]
	if !ok {
		return false
	}
	n := &s.fleet.Nodes[p.node]
	mode := s.bootMode(n)
	return (mode == spec.BootDisk || mode == spec.BootOff) && !n.Disabled && s.hold(n) == ""
}

// Counts gives the number of declared machines that boot on each subnet.
func (s *Snapshot) Counts() map[string]int {
	counts := map[string]int{}
	for i := range s.fleet.Nodes {
		counts[bootPort(&s.fleet.Nodes[i]).Subnet]++
	}
	return counts
}

// Declared reports whether the spec gives an address to a machine.
func (s *Snapshot) Declared(a netip.Addr) bool { _, ok := s.byAddress[a]; return ok }

// Cards are the MACs of a node's interfaces.
func (s *Snapshot) Cards(name fact.NodeName) (macs []fact.MAC) {
	if i, ok := s.byName[name]; ok {
		for _, ifc := range s.fleet.Nodes[i].Interfaces {
			macs = append(macs, ifc.MAC)
		}
	}
	return macs
}
