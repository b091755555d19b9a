package spec

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"hostler/render/fact"
	"hostler/spec/lang"
)

// nodeSource is a node with the block and row that it came from.
type nodeSource struct {
	*Node          // once there is a fleet, in it; while it is taken over as it was, in the fleet before
	scope   *scope // while it is read
	body    *body
	profile *profile
	listed  []string // its groups, as written
	own     *layer
	index   int32 // in the fleet

	before    int32 // its index in the fleet before, if it was taken over; else -1
	keepTexts bool  // its templates give what they gave
}

func (n *nodeSource) spot(r hcl.Range) spot { return spot{r, n.Place.Table, n.Place.Row} }

// at is where an attribute of the node stands, or its block.
func (n *nodeSource) at(attr string) spot {
	if a := n.body.attrs[attr]; a != nil {
		return n.spot(a.at())
	}
	return n.spot(n.body.at)
}

// nodes reads every node.
func (p *parser) nodes() {
	p.surroundings, p.templating = p.around(), p.templateInputs()
	for _, name := range sortedKeys(p.units["node"]) {
		p.unitNodes(p.units["node"][name])
	}
}

// node reads one node; nil when it has a mistake.
func (p *parser) node(u *unit, s *scope, name string) *nodeSource {
	n, ok := p.readNode(u.body, s, name)
	if ok {
		return n
	}
	if at := s.spot(u.body.at); p.unknown == nil {
		p.unknown = &at
	}
	return nil
}

func (p *parser) readNode(b *body, s *scope, name string) (*nodeSource, bool) {
	if b.attrs["name"] != nil {
		text, ok := s.str(b, "name")
		if !ok {
			return nil, false
		}
		name = text
	}
	n := &nodeSource{scope: s, body: b, before: -1, Node: &Node{Name: fact.NodeName(name), Address: s.owner, Place: s.spot(b.at).place()}}
	if !p.goodName(name, "node", n.at("name")) {
		return nil, false
	}
	s.str(b, description)
	n.Labels, n.IDs = s.labelList(b, "labels"), s.labelList(b, "ids")
	n.UUID = s.uuid(b)
	n.Firmware, _ = s.choice(b, "firmware", "uefi", "bios", "rpi")
	n.Arch, _ = s.str(b, "arch")
	n.Hold, _ = s.str(b, "hold")
	if enabled, ok := s.flag(b, "enabled"); ok {
		n.Disabled = !enabled
	}
	listed, ok := s.refs(b, "groups", "group")
	if !p.interfaces(n) || (!ok && b.attrs["groups"] != nil) {
		return nil, false
	}
	p.nodeSettings(n, listed)
	n.scope = nil // it holds everything that was read
	return n, true
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

func (s *scope) uuid(b *body) string {
	text, ok := s.str(b, "uuid")
	if !ok {
		return ""
	}
	text = strings.ToLower(text)
	if !uuidForm.MatchString(text) {
		s.p.rep.err("bad-uuid", s.spot(b.attrs["uuid"].at()), "Not a UUID", fmt.Sprintf("uuid is %q; it has the form 4c4c4544-0051-3010-8057-b5c04f4d3233.", short(text)))
		return ""
	}
	return text
}

// interfaces reads the node's mac attribute or interface blocks; not ok when there is no telling which machine it is.
func (p *parser) interfaces(n *nodeSource) bool {
	s, b := n.scope, n.body
	subnet, _ := s.ref(b, "subnet", "subnet")
	blocks := b.blocks["interface"]
	switch {
	case len(blocks) == 0 && b.attrs["mac"] == nil:
		p.rep.err("node-without-mac", s.spot(b.at), "Node without a MAC", fmt.Sprintf("%s has neither a mac attribute nor interface blocks, so no machine can be recognised as it.", n.Address))
		return false
	case len(blocks) > 0 && (b.attrs["mac"] != nil || b.attrs["address"] != nil):
		p.rep.err("node-mac-twice", s.spot(b.at), "MAC given twice", fmt.Sprintf("%s has interface blocks: put mac and address into them.", n.Address))
		return false
	case len(blocks) == 0:
		i, good := p.nic(n, b, "boot", subnet)
		i.Boot = true
		n.Interfaces = []Interface{i}
		return p.hasSubnet(n, b, subnet) && good
	}
	good := true
	seen := map[string]*body{}
	for _, x := range blocks {
		name := x.labels[0]
		if first := seen[name]; first != nil {
			p.rep.err("duplicate-name", s.spot(x.at), "Duplicate name", fmt.Sprintf("%s has two interfaces named %q. Rename one.", n.Address, name), related("The first is here.", s.spot(first.at)))
			good = false
			continue
		}
		seen[name] = x
		i, ok := p.nic(n, x, name, subnet)
		i.Boot, _ = s.flag(x, "boot")
		n.Interfaces = append(n.Interfaces, i)
		good = p.goodName(name, "interface", s.spot(x.at)) && p.hasSubnet(n, x, i.Subnet) && ok && good
	}
	return good && p.bootInterface(n)
}

// hasSubnet reports whether an interface is in a subnet that was read without a mistake.
func (p *parser) hasSubnet(n *nodeSource, b *body, name string) bool {
	at, bad := n.scope.spot(n.body.at), false
	for _, a := range []*attr{b.attrs["subnet"], n.body.attrs["subnet"]} {
		if a != nil {
			at, bad = n.scope.spot(a.at()), !n.scope.eval(a).IsNull() // not null, and yet no name: reported as what it is
			break
		}
	}
	if name == "" && !bad {
		p.rep.err("missing-attribute", at, "Missing attribute", fmt.Sprintf("%s needs subnet: the subnet that it boots in.", n.Address))
	}
	_, ok := p.subnetByName[name]
	return ok
}

// bootInterface puts the interface that the machine boots from first.
func (p *parser) bootInterface(n *nodeSource) bool {
	boots := 0
	for _, i := range n.Interfaces {
		if i.Boot {
			boots++
		}
	}
	if boots == 0 && len(n.Interfaces) == 1 {
		n.Interfaces[0].Boot, boots = true, 1
	}
	if boots != 1 {
		p.rep.err("boot-interface", n.scope.spot(n.body.at), "Boot interface is unclear", fmt.Sprintf("%s boots from one interface, but %d of its %d interfaces have boot = true.", n.Address, boots, len(n.Interfaces)))
		return false
	}
	slices.SortStableFunc(n.Interfaces, func(a, b Interface) int {
		if a.Boot != b.Boot {
			if a.Boot {
				return -1
			}
			return 1
		}
		return 0
	})
	return true
}

// nic reads one interface from the node's block or an interface block.
func (p *parser) nic(n *nodeSource, b *body, name, subnet string) (Interface, bool) {
	s := n.scope
	i := Interface{Name: name, Subnet: subnet, Place: s.spot(b.at).place()}
	if own, ok := s.ref(b, "subnet", "subnet"); ok {
		i.Subnet = own
	}
	var ok bool
	i.MAC, ok = p.mac(n, b)
	i.Addr, _ = s.addr(b, "address")
	i.Hostname = p.hostname(n, b, &i)
	return i, ok
}

func (p *parser) mac(n *nodeSource, b *body) (fact.MAC, bool) {
	a := b.attrs["mac"]
	if a == nil {
		return fact.MAC{}, false // reported as a missing attribute
	}
	s := n.scope
	if v := s.eval(a); v.IsNull() {
		p.rep.err("node-without-mac", s.spot(a.at()), "Node without a MAC", fmt.Sprintf("The mac of %s is null, so no machine can be recognised as it.", n.Address))
		return fact.MAC{}, false
	}
	text, ok := s.str(b, "mac")
	if !ok {
		return fact.MAC{}, false
	}
	mac, err := fact.ParseMAC(text)
	if err == nil && !mac.IsZero() && mac[0]&1 == 0 {
		return mac, true
	}
	why := "is not a MAC address such as 52:54:00:12:34:56"
	if err == nil {
		why = "is not the address of one machine"
	}
	p.rep.err("bad-mac", s.spot(a.at()), "Not a MAC address", fmt.Sprintf("The mac of %s, %q, %s.", n.Address, short(text), why))
	return mac, false
}

func (p *parser) hostname(n *nodeSource, b *body, i *Interface) string {
	if text, ok := n.scope.str(b, "hostname"); ok {
		if why := hostnameProblem(text); why != "" {
			p.rep.err("bad-name", n.scope.spot(b.attrs["hostname"].at()), "Name is not allowed", fmt.Sprintf("%q as a host name %s.", text, why))
		}
		return text
	}
	pattern := p.patterns[i.Subnet]
	if pattern == "" || strings.Contains(pattern, "{address}") && !i.Addr.IsValid() {
		return string(n.Name)
	}
	return strings.NewReplacer("{name}", string(n.Name), "{address}", strings.ReplaceAll(i.Addr.String(), ".", "-")).Replace(pattern)
}

// nodeSettings finds the node's profile and gives it what it has of its own.
func (p *parser) nodeSettings(n *nodeSource, listed []string) {
	self := &subject{p: p, n: n}
	n.listed, n.own = listed, p.ownLayer(n, self)
	p.join(n, p.profile(n.Interfaces[0].Subnet, listed, n.own.image()))
	p.ownSettings(n, self)
}

// image is the name of the image that a layer sets.
func (l *layer) image() string {
	if e := l.find("image"); e != nil {
		return strings.TrimPrefix(e.text, "image.")
	}
	return ""
}

// join gives a node its profile.
func (p *parser) join(n *nodeSource, pr *profile) {
	n.profile = pr
	if len(pr.ambiguous) > 0 {
		pr.users = append(pr.users, n.own)
	}
}

// ownSettings gives a node the settings of its own layer, and those that its profile's expressions give it.
func (p *parser) ownSettings(n *nodeSource, self *subject) {
	entries := n.own.all()
	for _, e := range n.profile.late {
		if n.own.decides(e.path) {
			continue
		}
		if e, ok := e.late.evaluate(self, n.Place.Table, n.Place.Row); ok {
			entries = append(entries, e)
		}
	}
	n.Own, n.Trace = nil, nil
	if len(entries) == 0 {
		return
	}
	n.Own = &Settings{}
	for _, e := range entries {
		if e.apply != nil {
			e.apply(n.Own)
		}
	}
	n.Own.sort()
	n.Trace = n.own.trace()
	p.checkOwn(n)
}

// ownLayer decodes the node's own settings: once for a block whose settings use neither each nor self.
func (p *parser) ownLayer(n *nodeSource, self *subject) *layer {
	b := n.body
	if !b.settingsKnown {
		b.settingsKnown = true
		b.hasSettings, b.fixedSettings = settingsOf(b)
	}
	switch {
	case !b.hasSettings:
		return nil
	case b.ownLayer != nil:
		return b.ownLayer
	}
	s := *n.scope
	if !b.fixedSettings {
		s.self = self
	}
	l := s.settings(b, n.Address)
	if b.fixedSettings {
		b.ownLayer = l
	}
	return l
}

// settingsOf reports whether a node block sets anything, and whether that is the same for all its nodes.
func settingsOf(b *body) (some, fixed bool) {
	fixed = true
	look := func(as []*attr) {
		for _, a := range as {
			some = true
			fixed = fixed && !a.each && !a.self
		}
	}
	probe := settings(&Block{Type: "node"})
	for _, a := range probe.Attrs {
		if x := b.attrs[a.Name]; x != nil {
			look([]*attr{x})
		}
	}
	for _, typ := range probe.Blocks {
		for _, x := range b.blocks[typ.Type] {
			look(x.order)
		}
	}
	return some, fixed
}

// all gives a copy of the layer's entries.
func (l *layer) all() []entry {
	if l == nil {
		return nil
	}
	return slices.Clone(l.entries)
}

func (l *layer) trace() []Trace {
	if l == nil {
		return nil
	}
	var ts []Trace
	for _, e := range l.entries {
		st := Step{Layer: l.name, Action: e.action, Value: e.text, Place: e.at.place()}
		if e.action == Removed {
			st.Value = ""
		}
		ts = append(ts, Trace{Path: e.path, Steps: []Step{st}})
	}
	slices.SortFunc(ts, func(a, b Trace) int { return strings.Compare(a.Path, b.Path) })
	return ts
}

// sortNodes puts the nodes into natural order: n2 before n10.
func (p *parser) sortNodes() {
	slices.SortStableFunc(p.nodeList, func(a, b *nodeSource) int {
		if a.Name != b.Name {
			if lang.NaturalLess(string(a.Name), string(b.Name)) {
				return -1
			}
			return 1
		}
		return cmp.Or(strings.Compare(a.Place.File, b.Place.File), cmp.Compare(a.Place.Line, b.Place.Line), cmp.Compare(a.Place.Row, b.Place.Row))
	})
}
