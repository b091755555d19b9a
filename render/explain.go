package render

import (
	"cmp"
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
		if l.file != nil {
			e.Steps = append(e.Steps, s.explainDelivery(l.file)...)
		}
		rows[l.path] = e
	}
	for _, e := range []Explanation{s.explainAddress(n), s.explainLoader(n, steps["loader"]), s.explainBootfile(n), s.explainBoot(n, rows["boot"])} {
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

// explainDelivery says where a file of a store is, and how a machine gets it.
func (s *Snapshot) explainDelivery(ref *spec.FileRef) []spec.Step {
	st := s.fleet.Store(ref.Store)
	if st == nil {
		return nil
	}
	at := st.Path + "/" + strings.TrimLeft(ref.Key, "/")
	switch {
	case st.S3 != nil:
		at = st.S3.Object(ref.Key).URI() + " at " + st.S3.Endpoint
	case st.URL != "":
		at = st.URL + ref.Key
	}
	how := map[spec.Deliver]string{
		spec.DeliverProxy:  "passed on by hostler",
		spec.DeliverMirror: "fetched beforehand, verified and kept by hostler",
		spec.DeliverDirect: "fetched by the machine itself",
	}[st.Deliver]
	if st.Deliver == spec.DeliverPresign {
		how = "fetched by the machine itself, by a URL that is signed when it asks and holds for " + duration(st.S3.TTL)
	}
	return []spec.Step{{Layer: "store." + st.Name, Action: spec.Set, Value: at + ", " + how, Place: st.Place}}
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

// explainLoader says which loader a node gets from each firmware that it may have, and why; or why none.
func (s *Snapshot) explainLoader(n *spec.Node, steps []spec.Step) Explanation {
	setting := s.fleet.Effective(n).Loader
	e := Explanation{Path: "loader", Steps: steps}
	var names []string
	by := map[string][]string{} // the architectures that have a loader, or a reason for none
	for _, a := range s.mayHave(n) {
		l, why := s.loader(a, setting, n)
		name := "(none: " + why + ")"
		if l != nil {
			name = l.Name
		}
		if by[name] == nil {
			names = append(names, name)
			if setting == "" && n.Firmware != "" {
				e.Steps = append(e.Steps, spec.Step{Layer: n.Address, Action: spec.Set, Value: "firmware = " + n.Firmware, Place: n.Place})
			}
			if setting == "" && l != nil {
				e.Steps = append(e.Steps, spec.Step{Layer: why, Action: spec.Set, Value: name, Place: l.Place})
			}
		}
		by[name] = append(by[name], a.String())
	}
	for i, name := range names {
		if len(names) > 1 && !strings.HasPrefix(name, "(none") {
			names[i] += " (" + strings.Join(by[name], ", ") + ")"
		}
	}
	e.Value = strings.Join(names, ", ")
	return e
}

// mayHave are the client architectures that a node may announce: those of its declared firmware, or of a BIOS and of UEFI.
func (s *Snapshot) mayHave(n *spec.Node) []fact.Arch {
	var as []fact.Arch
	for _, firmware := range []string{"bios", "uefi", "rpi"} {
		a := s.nodeArch(n, firmware)
		if a == fact.NoArch || n.Firmware != "" && n.Firmware != firmware || n.Firmware == "" && firmware == "rpi" {
			continue
		}
		as = append(as, a)
		if a.UEFI() { // which boots by HTTP, too
			as = append(as, httpBoot(a))
		}
	}
	return as
}

func (s *Snapshot) explainBootfile(n *spec.Node) Explanation {
	st := s.fleet.Effective(n)
	e := Explanation{Path: "bootfile"}
	mode := s.bootMode(n)
	if mode == spec.BootOff || mode == spec.BootDisk && n.Firmware == "uefi" {
		e.Value = "(none: boot = " + string(mode) + ")"
		return e
	}
	var names []string
	next := "then " + scriptURL(fact.LateBase, bootPort(n).MAC, "").String()
	for _, a := range s.mayHave(n) {
		l, _ := s.loader(a, st.Loader, n)
		if l == nil || slices.Contains(names, l.FileName) || mode == spec.BootDisk && a.UEFI() {
			continue
		}
		names = append(names, l.FileName)
		switch mac := bootPort(n).MAC; l.Kind {
		case spec.LoaderPXELinux:
			next = "then " + pxelinuxName(mac)
		case spec.LoaderGRUB:
			next = "then " + grubConfig + "-01-" + mac.Dashed()
		case spec.LoaderRPi:
			next = "then config.txt"
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

// explainBoot says what a node does at its next boot: what the spec says, then what stands before that.
func (s *Snapshot) explainBoot(n *spec.Node, e Explanation) Explanation {
	e.Path, e.Value = "boot", string(s.declaredMode(n))
	step := func(layer, value string, at spec.Place) {
		e.Value = value
		e.Steps = append(slices.Clone(e.Steps), spec.Step{Layer: layer, Action: spec.Replace, Value: value, Place: at})
	}
	l := s.lives[n.Name]
	if l == nil {
		l = &life{}
	}
	switch declared := s.declaredMode(n); {
	case !declared.Installs():
	case s.assignments.Nodes == nil:
		step("the machine, if it has proved to be installed, which only a server knows", string(declared), spec.Place{})
	case l.installed(n, declared, s.installDigest(n, s.image(n.Profile))):
		step("what is installed: "+l.Installed.String(), "disk", spec.Place{})
	case l.Installed.Digest == "" && !l.Installed.At.IsZero():
		step("what is installed: nothing, "+l.Installed.String(), "install", spec.Place{})
	case l.Installed.Digest != "":
		step("what is installed is something else: "+l.Installed.String(), "install", spec.Place{})
	}
	switch o := l.Override; {
	case o.Order == "":
	default:
		step("override: "+o.String(), string(l.mode), spec.Place{})
	}
	if hold := s.hold(n); hold != "" {
		step("a hold: "+hold, "(held)", spec.Place{})
	}
	if n.Disabled {
		step(n.Address, "(disabled)", n.Place)
	}
	return e
}
