package render

import (
	"net/netip"
	"slices"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// index finds nodes. It is made of nothing but the nodes, so that snapshots with the same ones share it.
type index struct {
	byMAC     map[fact.MAC]port
	byName    map[fact.NodeName]int32
	byRef     map[string]int32 // spec address: node.ams1["c0001"]
	byID      map[spec.Label]int32
	byUUID    map[string]int32
	byAddress map[netip.Addr]port
	declared  map[string][]netip.Addr // by subnet, sorted
	waiting   map[string]int          // interfaces without an address, by subnet
	inUse     []int                   // profiles that nodes have, sorted
}

// port is a declared network interface: a node of the fleet and one of its interfaces.
type port struct{ node, iface int32 }

func newIndex(nodes []spec.Node) *index {
	x := &index{
		byMAC: make(map[fact.MAC]port, len(nodes)), byName: make(map[fact.NodeName]int32, len(nodes)),
		byRef: make(map[string]int32, len(nodes)), byAddress: make(map[netip.Addr]port, len(nodes)),
		byID: map[spec.Label]int32{}, byUUID: map[string]int32{}, declared: map[string][]netip.Addr{}, waiting: map[string]int{},
	}
	profiles := map[int]bool{}
	for i := range nodes {
		n := &nodes[i]
		x.byName[n.Name], x.byRef[n.Address] = int32(i), int32(i)
		if n.UUID != "" {
			x.byUUID[strings.ToLower(n.UUID)] = int32(i)
		}
		for _, id := range n.IDs {
			x.byID[id] = int32(i)
		}
		for j := range n.Interfaces {
			x.addPort(port{int32(i), int32(j)}, &n.Interfaces[j])
		}
		if !profiles[n.Profile] {
			profiles[n.Profile] = true
			x.inUse = append(x.inUse, n.Profile)
		}
	}
	for _, taken := range x.declared {
		slices.SortFunc(taken, netip.Addr.Compare)
	}
	slices.Sort(x.inUse)
	return x
}

func (x *index) addPort(p port, ifc *spec.Interface) {
	if !ifc.MAC.IsZero() {
		x.byMAC[ifc.MAC] = p
	}
	if ifc.Addr.IsValid() {
		x.byAddress[ifc.Addr] = p
		x.declared[ifc.Subnet] = append(x.declared[ifc.Subnet], ifc.Addr)
	} else if !ifc.MAC.IsZero() {
		x.waiting[ifc.Subnet]++
	}
}

// position finds a node of another list of nodes, if it is the same; next is where it is expected.
func (x *index) position(nodes []spec.Node, n *spec.Node, next int) (int, bool) {
	if next < len(nodes) && spec.Same(&nodes[next], n) {
		return next, true
	}
	i, ok := x.byName[n.Name]
	return int(i), ok && spec.Same(&nodes[i], n)
}
