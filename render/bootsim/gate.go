package bootsim

import (
	"fmt"
	"strconv"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// maxWalks bounds the time of Gate; nodes that differ only in their identifiers share a walk.
const maxWalks = 20000

// Gate boots every node that the new snapshot may serve something else than the old one, with its declared firmware, or else as BIOS
// and as UEFI, of which one must do. A node that should boot and does not is an error, or only a warning when the old
// snapshot fails it in the same way. old may be nil. What was ordered for a node, and what it has installed, is left out: it may
// be over tomorrow, and the spec must be right then.
func Gate(old, new *render.Snapshot) spec.Diagnostics {
	new = new.Assign(render.Assignments{})
	if old != nil {
		old = old.Assign(render.Assignments{})
	}
	g := gate{old: old, new: new, kinds: map[kindKey]*kind{}}
	g.collect()
	var ds spec.Diagnostics
	for i, k := range g.order {
		if i == maxWalks {
			ds = append(ds, spec.Diagnostic{
				Severity: spec.Warning, Code: "gate-limit", Summary: "Not every node was tried",
				Detail: fmt.Sprintf("Of %d kinds of node the first %d were booted in simulation.", len(g.order), maxWalks),
			})
			break
		}
		if d, bad := g.try(k); bad {
			ds = append(ds, d)
		}
	}
	return ds
}

type gate struct {
	old, new *render.Snapshot
	kinds    map[kindKey]*kind
	order    []*kind
}

// kind is nodes that differ only in their identifiers.
type kind struct {
	node  *spec.Node // the first of them
	count int
}

// collect sorts the nodes to try into kinds.
func (g *gate) collect() {
	changed := g.new.Changed(g.old)
	nodes := g.new.Fleet().Nodes
	for i := range nodes {
		n := &nodes[i]
		if !changed(i) {
			continue
		}
		key := kindOf(n)
		if k, ok := g.kinds[key]; ok {
			k.count++
			continue
		}
		k := &kind{n, 1}
		g.kinds[key] = k
		g.order = append(g.order, k)
	}
}

// kindKey is everything of a node that decides how its boot goes, without names, addresses and values of arguments.
type kindKey struct {
	profile        int
	firmware, arch string
	disabled, held bool
	subnet         string // of the boot interface
	addressed      bool
	others         string // interfaces, and what the node has of its own
}

func kindOf(n *spec.Node) kindKey {
	k := kindKey{profile: n.Profile, firmware: n.Firmware, arch: n.Arch, disabled: n.Disabled, held: n.Hold != ""}
	var b []byte
	for i := range n.Interfaces {
		ifc := &n.Interfaces[i]
		if i == 0 {
			k.subnet, k.addressed = ifc.Subnet, ifc.Addr.IsValid()
		} else {
			b = fmt.Appendf(b, " %s %t %t", ifc.Subnet, ifc.Boot, ifc.Addr.IsValid())
		}
	}
	if o := n.Own; o != nil {
		b = fmt.Appendf(b, "; %s %s %s %s %v", o.Boot, o.Loader, o.Script, o.ConfigText(), o.KernelArgsReset)
		for i := range o.KernelArgs {
			b = append(append(b, ' '), o.KernelArgs[i].Key...)
			b = strconv.AppendBool(append(b, ' '), o.KernelArgs[i].Remove)
		}
	}
	k.others = string(b)
	return k
}

// try boots one node of a kind.
func (g *gate) try(k *kind) (spec.Diagnostic, bool) {
	n := k.node
	firmware, reason := fails(g.new, n)
	if reason == "" {
		return spec.Diagnostic{}, false
	}
	d := spec.Diagnostic{
		Severity: spec.Error, Code: "would-not-boot", Summary: "Node would not boot", Address: n.Address, Place: &n.Place,
		Detail: fmt.Sprintf("%s, started as %s, would not boot: %s.", n.Address, firmware, reason),
	}
	if k.count > 1 {
		d.Detail += fmt.Sprintf(" The same holds for %d more nodes that differ from it only in name and addresses.", k.count-1)
	}
	if s := g.new.Fleet().Effective(n); s.Script != "" {
		d.Severity = spec.Warning
		d.Detail += fmt.Sprintf(" Its script is template.%s, of which the simulation may not know every command.", s.Script)
	}
	if g.old != nil {
		if _, before := fails(g.old, n); before == reason {
			d.Severity = spec.Warning
			d.Detail += " It does not boot from what is served now, either."
		}
	}
	return d, true
}

// fails says why a node that should boot does not, on any firmware that it may have.
func fails(s *render.Snapshot, n *spec.Node) (firmware, reason string) {
	info, ok := s.Node(string(n.Name))
	if !ok || info.Next != string(spec.BootNet) && info.Next != string(spec.BootInstall) || info.Image == "" {
		return "", ""
	}
	for _, m := range machines(s, n) {
		t := Walk(Offline(s, m.MAC), m)
		if t.Booted {
			return "", ""
		}
		firmware, reason = m.Arch.String(), t.Reason
	}
	return firmware, reason
}

// machines are what a declared node may turn out to be when it is switched on: its declared firmware, or BIOS and UEFI of its
// architecture.
func machines(s *render.Snapshot, n *spec.Node) []Machine {
	info, _ := s.Node(string(n.Name))
	arch := n.Arch
	for j := range s.Fleet().Images {
		if m := &s.Fleet().Images[j]; arch == "" && m.Name == info.Image {
			arch = m.Arch
		}
	}
	var ms []Machine
	if n.Firmware == "rpi" {
		return []Machine{{MAC: info.MAC, Arch: archRPi, Loaders: s}}
	}
	if n.Firmware != "uefi" && (arch == "" || arch == "x86_64") {
		ms = append(ms, Machine{MAC: info.MAC, Arch: 0, Loaders: s})
	}
	if n.Firmware != "bios" {
		a := fact.Arch(7)
		if arch == "arm64" {
			a = 11
		}
		ms = append(ms, Machine{MAC: info.MAC, Arch: a, Loaders: s})
	}
	return ms
}

// Fails says why a node does not boot as it is told to, from the network; empty: it does, or is not told to.
func Fails(s *render.Snapshot, node fact.NodeName) string {
	nodes := s.Fleet().Nodes
	for i := range nodes {
		if nodes[i].Name == node {
			_, reason := fails(s, &nodes[i])
			return reason
		}
	}
	return "no such node"
}
