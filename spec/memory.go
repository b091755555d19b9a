package spec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"hostler/spec/lang"
)

// An Evaluator parses one spec after another, and takes what cannot have changed from the one before: the result is that of Parse,
// sooner. Nodes that are the same share their parts with the fleet before; when all are, it is the same slice. The zero value
// is ready for use. It belongs to one goroutine.
type Evaluator struct {
	last *memory
}

// memory is what is kept of the last spec that had no mistake. Warnings come from what is looked at anew each time.
type memory struct {
	tree         *lang.Tree
	texts        map[string]string    // of the expressions of locals, by "local.NAME"
	values       map[string]cty.Value // of units
	roots        map[string]int       // how many units there are under a root
	nodes        map[string]*nodeUnit
	surroundings string
	templating   string
	addressing   string
	checked      checked
	fleet        *Fleet
}

// nodeUnit is a node block with the nodes that it gave.
type nodeUnit struct {
	text     string // of the block, and where it stands
	elements []element
	nodes    []*nodeSource // parallel to elements; without for_each the only one
}

// Parse is the function Parse.
func (e *Evaluator) Parse(in Input) (*Fleet, Diagnostics) {
	p := newParser(in, e.last)
	f, ds := p.parse()
	if f != nil {
		e.last = p.remember()
	}
	p.mem, p.taken = nil, nil // what is kept must not keep what was kept before it
	p.tree.Forget()
	return f, ds
}

func (p *parser) remember() *memory {
	m := &memory{tree: p.tree, texts: map[string]string{}, values: map[string]cty.Value{}, roots: map[string]int{}, nodes: p.made,
		surroundings: p.surroundings, templating: p.templating, addressing: p.addressing(), checked: p.checked, fleet: p.fleet}
	for root, units := range p.units {
		if root == "node" {
			continue
		}
		m.roots[root] = len(units)
		for name, u := range units {
			m.values[root+"."+name] = u.val
			if u.local != nil {
				m.texts[root+"."+name] = p.textAt(u.local.at())
			}
		}
	}
	return m
}

// sameValue evaluates a unit, and reports whether it has the value that it had.
func (p *parser) sameValue(u *unit, from hcl.Range) bool {
	if p.mem == nil {
		return false
	}
	p.ensure(u, from)
	if u.same == unknownSame {
		u.same = differs
		if old, ok := p.mem.values[u.String()]; ok && u.state == done && old.RawEquals(u.val) {
			u.same = equals
		}
	}
	return u.same == equals
}

// sameness says whether a unit has the value that it had in the spec before.
type sameness uint8

const (
	unknownSame sameness = iota
	equals
	differs
)

// recall gives a local the value that it had, if nothing that it is made of has changed.
func (p *parser) recall(u *unit) bool {
	if p.mem == nil || p.mem.texts[u.String()] != p.textAt(u.local.at()) || !p.sameInputs(u.local.expr) {
		return false
	}
	u.val, u.same = p.mem.values[u.String()], equals
	return true
}

// sameInputs reports whether everything that an expression refers to or reads is what it was, beside each and self. With the
// same text, it has the same value then.
func (p *parser) sameInputs(expr hcl.Expression) bool {
	for _, t := range expr.Variables() {
		units, ok := p.units[t.RootName()]
		if !ok {
			continue
		}
		if name, ok := stepName(t); ok {
			if u := units[name]; u == nil || !p.sameValue(u, t.SourceRange()) {
				return false
			}
			continue
		}
		if len(units) != p.mem.roots[t.RootName()] { // as many, and each was there: the same ones
			return false
		}
		for _, name := range sortedKeys(units) {
			if !p.sameValue(units[name], t.SourceRange()) {
				return false
			}
		}
	}
	return p.sameFiles(expr)
}

// sameFiles reports whether the files that an expression reads are what they were. One whose name is not written out counts as
// changed.
func (p *parser) sameFiles(expr hcl.Expression) bool {
	node, ok := expr.(hclsyntax.Node)
	if !ok { // of JSON, inside of which nobody looks
		return false
	}
	same := true
	_ = hclsyntax.VisitAll(node, func(n hclsyntax.Node) hcl.Diagnostics {
		if call, ok := n.(*hclsyntax.FunctionCallExpr); ok {
			same = same && p.sameCall(call)
		}
		return nil
	})
	return same
}

func (p *parser) sameCall(call *hclsyntax.FunctionCallExpr) bool {
	switch call.Name {
	case "fileexists", "fileset":
		return false
	case "file", "filesha256", "tabledecode", "templatefile":
		if len(call.Args) == 0 {
			return false
		}
		name, diags := call.Args[0].Value(nil)
		return !diags.HasErrors() && isString(name) && p.tree.Same(name.AsString())
	}
	return true
}

// around describes what the nodes are read in, beside the values of units: what host names and checks depend on.
func (p *parser) around() string {
	var b strings.Builder
	for _, name := range sortedKeys(p.patterns) {
		fmt.Fprintf(&b, "pattern %q %q\n", name, p.patterns[name])
	}
	fmt.Fprintf(&b, "%q %q %t\n", sortedKeys(p.subnetByName), sortedKeys(p.units["template"]), p.strict)
	for i := range p.fleet.Images {
		fmt.Fprintf(&b, "image %q", p.fleet.Images[i].Name)
		for _, f := range p.fleet.Images[i].Files {
			fmt.Fprintf(&b, " %q", f.Role)
		}
	}
	return b.String()
}

// known gives what is kept of a node block, if every node of it with the same element is the same node.
func (p *parser) known(u *unit) *nodeUnit {
	if p.mem == nil || p.mem.surroundings != p.surroundings || u.text == "" {
		return nil
	}
	old := p.mem.nodes[u.name]
	if old == nil || old.text != u.text {
		return nil
	}
	for _, name := range sortedKeys(p.units["subnet"]) { // self has what can be read of them
		if !p.sameValue(p.units["subnet"][name], u.at) {
			return nil
		}
	}
	if !p.sameBody(u.body, "for_each") {
		return nil
	}
	return old
}

// sameBody reports whether all inputs of a block's expressions, but for one attribute, are what they were.
func (p *parser) sameBody(b *body, without string) bool {
	for _, a := range b.order {
		if a.name != without && !p.sameInputs(a.expr) {
			return false
		}
	}
	for _, list := range b.blocks {
		for _, x := range list {
			if !p.sameBody(x, "") {
				return false
			}
		}
	}
	return true
}

// unitNodes reads the nodes of a block. Those that are known are taken over.
func (p *parser) unitNodes(u *unit) {
	old := p.known(u)
	now := &nodeUnit{text: u.text}
	var ok bool
	if a := u.body.attrs["for_each"]; old != nil && old.elements != nil && a != nil && p.sameInputs(a.expr) {
		now.elements, ok = old.elements, true
	} else if now.elements, ok = p.elements(u); !ok {
		return
	}
	p.made[u.name] = now
	if now.elements == nil {
		n := &nodeSource{}
		if old != nil && old.elements == nil {
			p.takeOver(u, n, old.nodes[0])
		} else {
			n = p.node(u, &scope{p: p, owner: u.String()}, u.name)
		}
		now.nodes = append(now.nodes, n)
	}
	same := old != nil && shared(old.elements, now.elements)
	var slab []nodeSource // for those that are taken over
	if old != nil {
		slab = make([]nodeSource, len(now.elements))
	}
	for i := range now.elements {
		e, known := &now.elements[i], (*nodeSource)(nil)
		if same {
			known = old.nodes[i]
		} else {
			known = old.find(e)
		}
		var n *nodeSource
		if known != nil {
			n = &slab[i]
			p.takeOver(u, n, known)
		} else {
			n = p.node(u, e.scope(p, u), e.key)
		}
		now.nodes = append(now.nodes, n)
	}
	for _, n := range now.nodes {
		if n != nil {
			p.nodeList = append(p.nodeList, n)
		}
	}
}

// find gives the node of an element that has not changed. Elements are in the order of their keys.
func (u *nodeUnit) find(e *element) *nodeSource {
	if u == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(u.elements, e.key, func(x element, key string) int { return strings.Compare(x.key, key) })
	if !ok {
		return nil
	}
	old := &u.elements[i]
	if old.table != e.table || old.row != e.row || !old.equal(e) {
		return nil
	}
	return u.nodes[i]
}

// taken is how nodes with the same groups are taken over.
type taken struct {
	new    *profile
	image  string
	listed []string
	late   bool // the settings that each node has of its own stay what they were
	texts  bool // and so do the texts of its templates
}

// takeOver makes a node of one of the spec before. It gets the settings of its profile in this one.
func (p *parser) takeOver(u *unit, n, old *nodeSource) {
	*n = *old
	n.body, n.before = u.body, old.index
	t := p.taking(old)
	n.keepTexts = t.texts
	p.join(n, t.new)
	if !t.late {
		own := *n.Node
		n.before, n.Node = -1, &own
		p.ownSettings(n, &subject{p: p, n: n})
	} else if n.Own != nil {
		p.checkOwn(n)
	}
}

func (p *parser) taking(n *nodeSource) *taken {
	image := n.own.image()
	for _, t := range p.taken[n.profile] {
		if t.image == image && slices.Equal(t.listed, n.listed) {
			return t
		}
	}
	t := &taken{new: p.profile(n.Interfaces[0].Subnet, n.listed, image), image: image, listed: n.listed}
	t.late = p.sameLate(n.profile, t.new)
	t.texts = t.late && p.mem.templating == p.templating && n.profile.textInputs() == t.new.textInputs()
	p.taken[n.profile] = append(p.taken[n.profile], t)
	return t
}

// sameLate reports whether the expressions of a profile that use self give a node the values that those of another gave it.
func (p *parser) sameLate(old, pr *profile) bool {
	return old.lateText == pr.lateText &&
		!slices.ContainsFunc(pr.late, func(e entry) bool { return e.late.scope.elem != nil || !p.sameInputs(e.late.part.attr.expr) })
}

// lateText is the text of a profile's expressions that use self, with their places.
func (p *parser) lateText(late []entry) string {
	var b strings.Builder
	for _, e := range late {
		at := e.late.part.attr.at()
		fmt.Fprintf(&b, "%s %s %q %q %t %q\n", e.path, at, e.late.part.pick, e.late.scope.owner, e.late.vars, p.textAt(at))
	}
	return b.String()
}

// unchanged reports whether the nodes are those of the spec before: every one taken over, and none gone.
func (p *parser) unchanged() bool {
	return p.mem != nil && len(p.nodeList) == len(p.mem.fleet.Nodes) &&
		!slices.ContainsFunc(p.nodeList, func(n *nodeSource) bool { return n.before < 0 })
}

// templateInputs is everything that decides what templates make, beside the node itself.
func (p *parser) templateInputs() string {
	var b strings.Builder
	for _, t := range p.fleet.Templates {
		fmt.Fprintf(&b, "%q %q %q %q %q\n", t.Name, t.Kind, t.Engine, t.File, t.Source)
		writeVars(&b, t.Vars)
	}
	for _, s := range p.fleet.Subnets {
		fmt.Fprintf(&b, "%q %s %s %d %s %s\n", s.Name, s.CIDR, s.Gateway, s.VLAN, s.Relays, s.BootServers)
	}
	return b.String()
}

// addressing is what the addresses of nodes are held against.
func (p *parser) addressing() string {
	var b strings.Builder
	for _, s := range p.fleet.Subnets {
		fmt.Fprintf(&b, "%q %s %s %s %s\n", s.Name, s.CIDR, s.Gateway, s.Relays, s.BootServers)
		for _, pool := range s.Pools {
			fmt.Fprintf(&b, "%q %s %s\n", pool.Name, pool.Serves, pool.Ranges)
		}
	}
	return b.String()
}

// textInputs is what of a profile decides which templates its nodes have, and what they make.
func (pr *profile) textInputs() string {
	var b strings.Builder
	s := &pr.Settings
	fmt.Fprintf(&b, "%q %q %q %q %q %q\n", pr.Image, s.Script, s.Config, s.VendorData, s.NetworkConfig, s.templates())
	writeVars(&b, pr.Settings.Vars)
	return b.String()
}

func writeVars(b *strings.Builder, vars []Var) {
	for _, v := range vars {
		fmt.Fprintf(b, "%q %q %t %t\n", v.Name, v.JSON, v.Remove, v.PerNode)
	}
}

// shareNodes gives the fleet the slice of the one before, if every node is the same.
func (p *parser) shareNodes() {
	if p.mem == nil || len(p.fleet.Nodes) != len(p.mem.fleet.Nodes) {
		return
	}
	for i := range p.fleet.Nodes {
		if !Same(&p.fleet.Nodes[i], &p.mem.fleet.Nodes[i]) {
			return
		}
	}
	p.fleet.Nodes = p.mem.fleet.Nodes
	for i, n := range p.nodeList {
		n.Node = &p.fleet.Nodes[i]
	}
}

// Same reports whether two nodes are the same because they share all their parts. Nodes that are equal without sharing may be
// reported as different.
func Same(a, b *Node) bool {
	return a == b || a.Name == b.Name && a.Address == b.Address && a.Profile == b.Profile && a.Firmware == b.Firmware && a.Arch == b.Arch &&
		a.UUID == b.UUID && a.Disabled == b.Disabled && a.Hold == b.Hold && a.Own == b.Own && a.Place == b.Place &&
		shared(a.Labels, b.Labels) && shared(a.IDs, b.IDs) && shared(a.Interfaces, b.Interfaces) && shared(a.Trace, b.Trace) && shared(a.Texts, b.Texts)
}

func shared[E any](a, b []E) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }
