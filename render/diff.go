package render

import (
	"cmp"
	"slices"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// Diff lists every difference in what machines are served, nodes first, in natural order. It is total: two
// snapshots with different digests have a non-empty diff. Either may be nil, the empty snapshot.
func Diff(old, new *Snapshot) []Change {
	if old == nil {
		old = emptySnapshot()
	}
	if new == nil {
		new = emptySnapshot()
	}
	if old.digest == new.digest {
		return nil
	}
	d := differ{old: old, new: new, shared: map[[2]int][]Change{}}
	d.nodes()
	d.subjects()
	return d.changes
}

func emptySnapshot() *Snapshot {
	return &Snapshot{fleet: &spec.Fleet{}, index: newIndex(nil), hashes: &hashes{}}
}

// differ compares two snapshots. What the nodes of a profile share is compared once for each pair of profiles.
type differ struct {
	old, new *Snapshot
	shared   map[[2]int][]Change
	changes  []Change
}

// nodes walks both lists of nodes, which are in natural order, side by side. A node is its spec address.
func (d *differ) nodes() {
	olds, news := d.old.fleet.Nodes, d.new.fleet.Nodes
	i := 0
	gone := func(until *spec.Node) { // old nodes that are no more and stand before the new one
		for ; i < len(olds) && (until == nil || naturalLess(string(olds[i].Name), string(until.Name))); i++ {
			if _, still := d.new.byRef[olds[i].Address]; !still {
				d.whole("-", olds[i].Address, olds[i].Name, &olds[i].Place)
			}
		}
	}
	for j := range news {
		n := &news[j]
		gone(n)
		if k, ok := d.old.byRef[n.Address]; ok {
			d.node(int(k), j)
		} else {
			d.whole("+", n.Address, n.Name, &n.Place)
		}
	}
	gone(nil)
}

func (d *differ) whole(action, name string, node fact.NodeName, place *spec.Place) {
	c := Change{Action: action, Subject: name, Node: node, Class: subjectClass(name, action == "+")}
	if place != nil {
		c.Cause = *place
	}
	d.changes = append(d.changes, c)
}

func (d *differ) node(i, j int) {
	a, b := &d.old.fleet.Nodes[i], &d.new.fleet.Nodes[j]
	ownSame := d.old.parts[i].own == d.new.parts[j].own
	pa, pb := d.old.profileAt(a.Profile), d.new.profileAt(b.Profile)
	if ownSame && pa.hash == pb.hash {
		return
	}
	from := len(d.changes)
	if ownSame {
		d.sharedChanges(a.Profile, b.Profile, b)
	} else {
		own := d.new.nodeLeaves(b)
		d.leaves(overlay(pa.leaves, d.old.nodeLeaves(a)), overlay(pb.leaves, own), remover{d.new.traces(b), own}, b.Address)
	}
	for k := from; k < len(d.changes); k++ {
		c := &d.changes[k]
		c.Subject, c.Node = b.Address, b.Name
		switch {
		case c.Path == "mac":
			c.Action = "-/+"
		case c.Path == "install":
			d.install(c)
		case strings.HasPrefix(c.Path, "order."):
			c.Cause = spec.Place{}
		case c.Path == "image" && c.New == "" && d.new.bootMode(b) == spec.BootNet:
			c.Class = ClassUnbootable
		case strings.HasPrefix(c.Path, "text."):
			d.blameText(c, slices.ContainsFunc(d.changes[from:], func(c Change) bool { return !strings.HasPrefix(c.Path, "text.") }))
		}
	}
}

// install says what a change does to what a node has installed. Its cause is among the node's other changes.
func (d *differ) install(c *Change) {
	c.Class, c.Cause = ClassReinstall, spec.Place{}
	if c.New == "" || c.New == stateInstalled {
		c.Class = ClassNextBoot
	}
	if d.new.assignments.Nodes == nil && c.Old != "" && c.New != "" { // digests, another one for each node
		c.Old, c.New = "what is installed", "something else"
	}
}

// blameText finds what changed a template's text for a node: a line of the template, its declaration, or, when the template is
// the same, what it was made from, which is among the node's other changes.
func (d *differ) blameText(c *Change, others bool) {
	name := strings.TrimPrefix(c.Path, "text.")
	x, y := d.old.template(name), d.new.template(name)
	switch {
	case x == nil || y == nil:
	case x.Source != y.Source && y.File != "template."+name: // a file's, not written in the spec itself
		c.Cause = spec.Place{File: y.File, Line: firstDifference(x.Source, y.Source), Column: 1}
	case x.Source != y.Source || x.Engine != y.Engine || !slices.EqualFunc(x.Vars, y.Vars, sameVar):
	case others:
		c.Layer, c.Cause = "", spec.Place{}
	}
}

func sameVar(x, y spec.Var) bool { return x.Name == y.Name && x.JSON == y.JSON }

// firstDifference is the number of the first line in which two texts differ.
func firstDifference(a, b string) int {
	line := 1
	for i := 0; i < len(a) && i < len(b) && a[i] == b[i]; i++ {
		if a[i] == '\n' {
			line++
		}
	}
	return line
}

func (s *Snapshot) profileAt(i int) *profile {
	if i < 0 || i >= len(s.profiles) {
		return &profile{}
	}
	return &s.profiles[i]
}

// traces are the histories of a node's settings in its profile.
func (s *Snapshot) traces(n *spec.Node) []spec.Trace {
	if n.Profile < 0 || n.Profile >= len(s.fleet.Profiles) {
		return nil
	}
	return s.fleet.Profiles[n.Profile].Trace
}

// sharedChanges are those of the profile, where the node has no value of its own.
func (d *differ) sharedChanges(i, j int, n *spec.Node) {
	key := [2]int{i, j}
	all, ok := d.shared[key]
	if !ok {
		tmp := differ{old: d.old, new: d.new}
		tmp.leaves(d.old.profileAt(i).leaves, d.new.profileAt(j).leaves, remover{traces: d.new.traces(n)}, "")
		all = tmp.changes
		d.shared[key] = all
	}
	if n.Own == nil {
		d.changes = append(d.changes, all...)
		return
	}
	for _, c := range all {
		if !owns(n.Own, c.Path) {
			d.changes = append(d.changes, c)
		}
	}
}

// owns reports whether a node's own settings decide a path, whatever its profile says.
func owns(own *spec.Settings, path string) bool {
	if key, ok := strings.CutPrefix(path, "kernel_args."); ok {
		if own.KernelArgsReset {
			return true
		}
		for i := range own.KernelArgs {
			if own.KernelArgs[i].Key == key {
				return true
			}
		}
		return false
	}
	for _, l := range settingsLeaves(own, true) {
		if l.path == path {
			return true
		}
	}
	return false
}

// overlay lays a node's own leaves over its profile's; both are sorted. What the node removes is gone.
func overlay(shared, own leaves) leaves {
	reset := own.find("kernel_args_reset") != nil
	out := make(leaves, 0, len(shared)+len(own))
	for len(shared)+len(own) > 0 {
		switch {
		case len(own) == 0 || len(shared) > 0 && shared[0].path < own[0].path:
			if !reset || !strings.HasPrefix(shared[0].path, "kernel_args.") {
				out = append(out, shared[0])
			}
			shared = shared[1:]
		default:
			if len(shared) > 0 && shared[0].path == own[0].path {
				shared = shared[1:]
			}
			if !own[0].removed {
				out = append(out, own[0])
			}
			own = own[1:]
		}
	}
	return out
}

// remover tells who removed what is gone: the node itself, or a layer of its profile.
type remover struct {
	traces []spec.Trace
	own    leaves
}

func (r remover) find(path string) (layer string, place spec.Place, ok bool) {
	if l := r.own.find(path); l != nil && l.removed && l.place != nil {
		return l.layer, *l.place, true
	}
	if t := trace(r.traces, path); t != nil {
		st := &t.Steps[len(t.Steps)-1]
		return st.Layer, st.Place, true
	}
	return "", spec.Place{}, false
}

// leaves compares two sorted lists of leaves.
func (d *differ) leaves(a, b leaves, gone remover, subject string) {
	for len(a)+len(b) > 0 {
		var x, y *leaf
		order := 0
		if len(a) == 0 {
			order = 1
		} else if len(b) == 0 {
			order = -1
		} else {
			order = cmp.Compare(a[0].path, b[0].path)
		}
		if order <= 0 {
			x, a = &a[0], a[1:]
		}
		if order >= 0 {
			y, b = &b[0], b[1:]
		}
		if x == nil || y == nil || x.raw != y.raw {
			d.leaf(x, y, gone, subject)
		}
	}
}

func (d *differ) leaf(x, y *leaf, gone remover, subject string) {
	c := Change{Action: "~", Subject: subject, Old: x.String(), New: y.String()}
	if x != nil && y != nil && c.Old == c.New { // they differ in what is not shown otherwise
		c.Old, c.New = oneLine(x.raw), oneLine(y.raw)
	}
	by := y
	if y == nil {
		by = x
	}
	c.Path, c.Layer, c.Class = by.path, by.layer, classOf(by.path)
	if by.place != nil {
		c.Cause = *by.place
	}
	if y == nil { // a null in the new text explains more than the line that is gone
		if layer, place, ok := gone.find(x.path); ok {
			c.Layer, c.Cause = layer, place
		}
	}
	d.changes = append(d.changes, c)
}

func oneLine(raw string) string { return strings.ReplaceAll(fact.Text(raw).String(), "\n", " ") }

// subjects compares subnets, loaders and images. An image that nodes boot shows in their changes.
func (d *differ) subjects() {
	olds := map[string]subject{}
	oldList, newList := d.old.subjects(), d.new.subjects()
	for _, x := range oldList {
		olds[x.name] = x
	}
	for _, y := range newList {
		x, ok := olds[y.name]
		delete(olds, y.name)
		if !ok {
			d.whole("+", y.name, "", y.place)
		} else if !x.used && !y.used {
			d.leaves(x.shown(y), y.shown(x), remover{}, y.name)
		}
	}
	for _, x := range oldList {
		if _, gone := olds[x.name]; gone {
			d.whole("-", x.name, "", x.place)
		}
	}
}

// shown are a subject's leaves without what strangers are given, when only one of the two gives them anything: that says enough.
func (x *subject) shown(other subject) leaves {
	if (x.leaves.find("unknown") == nil) == (other.leaves.find("unknown") == nil) {
		return x.leaves
	}
	return slices.DeleteFunc(slices.Clone(x.leaves), func(l leaf) bool { return strings.HasPrefix(l.path, "unknown.") })
}

// naturalLess orders names as people do: c2 before c10.
func naturalLess(a, b string) bool {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x == 0 || y == 0 {
			if a[0] != b[0] {
				return a[0] < b[0]
			}
			a, b = a[1:], b[1:]
			continue
		}
		m, n := strings.TrimLeft(a[:x], "0"), strings.TrimLeft(b[:y], "0")
		if c := cmp.Or(cmp.Compare(len(m), len(n)), cmp.Compare(m, n), cmp.Compare(x, y)); c != 0 {
			return c < 0
		}
		a, b = a[x:], b[y:]
	}
	return len(a) < len(b)
}

func digits(s string) int {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}
