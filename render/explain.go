package render

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// Explain gives every setting of a node whose path is path or lies below it; all of them when path is empty. Besides
// the settings there are rows for what follows from them: address, bootfile and loader.
func (s *Snapshot) Explain(node fact.NodeName, path string) []Explanation {
	i, ok := s.byName[node]
	if !ok {
		return nil
	}
	n := &s.fleet.Nodes[i]
	steps := map[string][]spec.Step{}
	for _, ts := range [][]spec.Trace{s.traces(n), n.Trace} {
		for _, t := range ts {
			steps[t.Path] = append(steps[t.Path], t.Steps...)
		}
	}
	rows := map[string]Explanation{}
	for p, st := range steps { // what a layer removed has a history, but no leaf
		rows[p] = Explanation{Path: p, Steps: st}
	}
	for _, l := range overlay(s.profileAt(n.Profile).leaves, s.nodeLeaves(n)) {
		e := Explanation{Path: l.path, Value: l.String(), Steps: steps[l.path]}
		if e.Steps == nil && l.place != nil {
			e.Steps = []spec.Step{{Layer: cmp.Or(l.layer, n.Address), Action: spec.Set, Value: e.Value, Place: *l.place}}
		}
		rows[l.path] = e
	}
	for _, e := range []Explanation{s.explainAddress(n), s.explainLoader(n, steps["loader"]), s.explainBootfile(n)} {
		rows[e.Path] = e
	}
	var out []Explanation
	for p, e := range rows {
		if path == "" || p == path || strings.HasPrefix(p, path+".") {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Explanation) int { return cmp.Compare(a.Path, b.Path) })
	return out
}

func (s *Snapshot) explainAddress(n *spec.Node) Explanation {
	ifc := bootPort(n)
	step := spec.Step{Layer: n.Address, Action: spec.Set, Place: ifc.Place}
	e := Explanation{Path: "address"}
	if ifc.Addr.IsValid() {
		e.Value, step.Value = ifc.Addr.String(), ifc.Addr.String()
	} else if i, ok := s.bySubnet[ifc.Subnet]; ok && s.subnets[i].DHCP == "proxy" {
		sn := &s.subnets[i]
		e.Value, step.Layer, step.Place = "(from the site's own DHCP server)", "subnet."+sn.Name, sn.Place
		step.Value = `dhcp = "proxy"`
	} else if i, ok := s.bySubnet[ifc.Subnet]; ok {
		sn := &s.subnets[i]
		e.Value, step.Layer, step.Place = "(none: subnet "+sn.Name+" has no pool that serves boot or any)", "subnet."+sn.Name, sn.Place
		if sn.boot.name != "" {
			e.Value = "(from pool " + sn.boot.name + " of subnet " + sn.Name + ")"
		}
		step.Value = e.Value
	}
	e.Steps = []spec.Step{step}
	return e
}

// explainLoader says which loader a node gets: a setting's, that of its declared firmware, or one for each architecture that
// it may turn out to have.
func (s *Snapshot) explainLoader(n *spec.Node, steps []spec.Step) Explanation {
	st := s.fleet.Effective(n)
	e := Explanation{Path: "loader", Steps: steps}
	if st.Loader != "" || n.Firmware != "" {
		l, why := s.loader(s.nodeArch(n, n.Firmware), st.Loader, n)
		if l == nil {
			e.Value = "(none: " + why + ")"
			return e
		}
		e.Value = l.Name
		if st.Loader == "" {
			e.Steps = []spec.Step{
				{Layer: n.Address, Action: spec.Set, Value: "firmware = " + n.Firmware, Place: n.Place},
				{Layer: why, Action: spec.Set, Value: l.Name, Place: l.Place}}
		}
		return e
	}
	for _, firmware := range []string{"bios", "uefi"} {
		a := s.nodeArch(n, firmware)
		l, why := s.loader(a, "", n)
		if l == nil {
			continue
		}
		if e.Value != "" {
			e.Value += ", "
		}
		e.Value += fmt.Sprintf("%s (%s)", l.Name, a)
		e.Steps = append(e.Steps, spec.Step{Layer: why, Action: spec.Set, Value: l.Name, Place: l.Place})
	}
	return e
}

func (s *Snapshot) explainBootfile(n *spec.Node) Explanation {
	st := s.fleet.Effective(n)
	e := Explanation{Path: "bootfile"}
	if s.bootMode(n) == spec.BootOff {
		e.Value = "(none: boot = off)"
		return e
	}
	var names []string
	next := "then " + scriptURL(fact.LateBase, bootPort(n).MAC).String()
	for _, firmware := range []string{"bios", "uefi"} {
		if n.Firmware != "" && n.Firmware != firmware {
			continue
		}
		l, _ := s.loader(s.nodeArch(n, firmware), st.Loader, n)
		if l != nil && l.Kind == spec.LoaderPXELinux {
			next = "then " + pxelinuxFolder + "01-" + bootPort(n).MAC.Dashed()
		}
		if l != nil && !slices.Contains(names, l.FileName) {
			names = append(names, l.FileName)
		}
	}
	e.Value = strings.Join(append(names, next), ", ")
	return e
}

// nodeArch is the client architecture that a node with the firmware will announce.
func (s *Snapshot) nodeArch(n *spec.Node, firmware string) fact.Arch {
	a := n.Arch
	if m := s.image(n.Profile); a == "" && m != nil {
		a = m.Arch
	}
	return declaredArch(firmware, a)
}
