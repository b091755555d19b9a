// Package adopt proposes how a machine that nobody declared could be declared: as the machines beside it are. It gives text, a node block or
// a row for the table that its neighbours come from, and refuses to know where that text goes and whether it is right: its caller evaluates
// the spec with it.
package adopt

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// Machine is what is known of the machine.
type Machine struct {
	MAC    fact.MAC
	Arch   fact.Arch // NoArch when it did not say
	UUID   string
	Subnet string // where it asked
}

// Wish is what the operator says; what is empty is proposed.
type Wish struct {
	Name    string
	Address netip.Addr
	Groups  []string
	Set     map[string]string // values of ids, or columns of the table
}

// Proposal is a declaration.
type Proposal struct {
	Name     fact.NodeName
	MAC      fact.MAC
	Subnet   string
	Address  netip.Addr // invalid: a pool gives one
	Firmware string
	Arch     string
	UUID     string
	Groups   []string // weakest first, as the neighbours' are expanded
	IDs      []spec.Label
	Table    string   // that the neighbours come from; empty: from blocks
	Notes    []string // what the operator should look at

	wish  Wish
	like  []*spec.Node // the neighbours from the same table, or from blocks
	peers []*spec.Node // those of them in the same groups
}

// Propose says how the machine could be declared in the fleet. taken are addresses that somebody has without being declared.
func Propose(f *spec.Fleet, m Machine, w Wish, taken func(netip.Addr) bool) (*Proposal, error) {
	subnet := subnetOf(f, m.Subnet)
	if subnet == nil && m.Subnet != "" {
		return nil, fmt.Errorf("%s: there is no subnet %q in the spec", m.MAC, m.Subnet)
	}
	if subnet == nil {
		return nil, fmt.Errorf("%s: which subnet it belongs to is not known: choose one with -subnet", m.MAC)
	}
	p := &Proposal{MAC: m.MAC, Subnet: subnet.Name, wish: w}
	p.neighbours(f, m)
	p.hardware(f, m)
	p.choose(f)
	if p.Name = fact.NodeName(w.Name); w.Name == "" {
		p.Name = nextName(f, p.closest(), subnet.Name)
	}
	p.address(f, subnet, taken)
	p.ids(f)
	return p, nil
}

// subnetOf finds the subnet by its name, or takes the only one.
func subnetOf(f *spec.Fleet, name string) *spec.Subnet {
	for i := range f.Subnets {
		if f.Subnets[i].Name == name || name == "" && len(f.Subnets) == 1 {
			return &f.Subnets[i]
		}
	}
	return nil
}

// neighbours finds the machines that it should be like: those of its subnet, of these those with the same processor, of these those
// with the same firmware, and of these those that are written like most.
func (p *Proposal) neighbours(f *spec.Fleet, m Machine) {
	for i := range f.Nodes {
		if n := &f.Nodes[i]; n.Interfaces[0].Subnet == p.Subnet {
			p.like = append(p.like, n)
		}
	}
	narrow := func(keep func(*spec.Node) bool) {
		if kept := slices.Collect(filter(p.like, keep)); len(kept) > 0 {
			p.like = kept
		}
	}
	if cpu := m.Arch.Processor(); cpu != "" {
		narrow(func(n *spec.Node) bool { return processor(f, n) == cpu })
	}
	if firmware := m.Arch.Firmware(); firmware != "" {
		narrow(func(n *spec.Node) bool { return n.Firmware == firmware || n.Firmware == "" })
	}
	p.Table, _ = most(p.like, func(n *spec.Node) string { return n.Place.Table })
	narrow(func(n *spec.Node) bool { return n.Place.Table == p.Table })
}

func filter(nodes []*spec.Node, keep func(*spec.Node) bool) func(func(*spec.Node) bool) {
	return func(yield func(*spec.Node) bool) {
		for _, n := range nodes {
			if keep(n) && !yield(n) {
				return
			}
		}
	}
}

// most gives the value that most nodes have, the first of several.
func most(nodes []*spec.Node, of func(*spec.Node) string) (value string, count int) {
	counts := map[string]int{}
	for _, n := range nodes {
		counts[of(n)]++
	}
	for _, n := range nodes {
		if v := of(n); counts[v] > count {
			value, count = v, counts[v]
		}
	}
	return value, count
}

func processor(f *spec.Fleet, n *spec.Node) string {
	if n.Arch != "" {
		return n.Arch
	}
	return imageArch(f, f.Profiles[n.Profile].Image)
}

func imageArch(f *spec.Fleet, name string) string {
	for i := range f.Images {
		if f.Images[i].Name == name {
			return f.Images[i].Arch
		}
	}
	return ""
}

// hardware takes over what the machine said, where its neighbours say the like.
func (p *Proposal) hardware(f *spec.Fleet, m Machine) {
	some := func(of func(*spec.Node) string) bool {
		return len(p.like) == 0 || slices.ContainsFunc(p.like, func(n *spec.Node) bool { return of(n) != "" })
	}
	if some(func(n *spec.Node) string { return n.Firmware }) {
		p.Firmware = m.Arch.Firmware()
	}
	if some(func(n *spec.Node) string { return n.UUID }) {
		p.UUID = m.UUID
	}
	if i := slices.IndexFunc(f.Nodes, func(n spec.Node) bool { return n.UUID != "" && n.UUID == p.UUID }); i >= 0 {
		p.note("its UUID %s is declared for %s, so it is left out: firmware that was never told one says the same on many machines", p.UUID, f.Nodes[i].Name)
		p.UUID = ""
	}
	if cpu := m.Arch.Processor(); slices.ContainsFunc(p.like, func(n *spec.Node) bool { return n.Arch != "" }) {
		p.Arch = cpu
	}
}

func (p *Proposal) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// choose takes the groups that most neighbours are in.
func (p *Proposal) choose(f *spec.Fleet) {
	key := func(n *spec.Node) string { return strings.Join(f.Profiles[n.Profile].Groups, "\x00") }
	if len(p.wish.Groups) > 0 {
		p.Groups = p.wish.Groups
		last := p.Groups[len(p.Groups)-1]
		p.peers = slices.Collect(filter(p.like, func(n *spec.Node) bool {
			g := f.Profiles[n.Profile].Groups
			return len(g) > 0 && g[len(g)-1] == last
		}))
		return
	}
	groups, count := most(p.like, key)
	if count == 0 {
		p.note("no machine is declared on subnet %s that it could be like: choose its groups", p.Subnet)
		return
	}
	if count < len(p.like) {
		p.note("its groups are those of %d of %d machines beside it", count, len(p.like))
	}
	p.peers = slices.Collect(filter(p.like, func(n *spec.Node) bool { return key(n) == groups }))
	if groups != "" {
		p.Groups = strings.Split(groups, "\x00")
	}
}

// closest are the machines that it is most like.
func (p *Proposal) closest() []*spec.Node {
	if len(p.peers) > 0 {
		return p.peers
	}
	return p.like
}

// address is the next free one of the subnet's reserved pools, behind the neighbours', if they have declared addresses.
func (p *Proposal) address(f *spec.Fleet, sn *spec.Subnet, taken func(netip.Addr) bool) {
	if p.Address = p.wish.Address; p.Address.IsValid() {
		return
	}
	var last netip.Addr
	used := map[netip.Addr]bool{sn.Gateway: true}
	for i := range f.Nodes {
		for _, ifc := range f.Nodes[i].Interfaces {
			used[ifc.Addr] = true
		}
	}
	for _, n := range p.closest() {
		if a := n.Interfaces[0].Addr; a.IsValid() && last.Less(a) {
			last = a
		}
	}
	if !last.IsValid() && len(p.like) > 0 {
		return // they have none either
	}
	if p.Address = nextFree(sn, last, func(a netip.Addr) bool { return used[a] || taken(a) }); !p.Address.IsValid() {
		p.note("subnet %s has no free address in a pool that serves reserved", sn.Name)
	}
}

// nextFree looks behind an address first, and then from the beginning.
func nextFree(sn *spec.Subnet, last netip.Addr, used func(netip.Addr) bool) netip.Addr {
	for _, behind := range []bool{true, false} {
		for _, pool := range sn.Pools {
			if pool.Serves != spec.ServesReserved {
				continue
			}
			for _, r := range pool.Ranges {
				a := r.First
				if behind && last.IsValid() && a.Compare(last) <= 0 {
					a = last.Next()
				}
				for ; r.Contains(a); a = a.Next() {
					if !used(a) {
						return a
					}
				}
			}
		}
	}
	return netip.Addr{}
}

// ids proposes the ids of the kinds that the neighbours have: the next number, or the name where theirs is.
func (p *Proposal) ids(f *spec.Fleet) {
	for _, kind := range kinds(p.like) {
		value, given := p.wish.Set[kind]
		if !given {
			value = p.nextID(f, kind)
		}
		if value == "" {
			p.note("its id %s is not known: give it with -set=%s=VALUE", kind, kind)
			continue
		}
		p.IDs = append(p.IDs, spec.Label{Name: kind, Value: value})
	}
}

func kinds(nodes []*spec.Node) (names []string) {
	for _, n := range nodes {
		for _, l := range n.IDs {
			if !slices.Contains(names, l.Name) {
				names = append(names, l.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func (p *Proposal) nextID(f *spec.Fleet, kind string) string {
	same, numbers, highest := true, true, uint64(0)
	for _, n := range p.like {
		value := label(n.IDs, kind)
		same = same && value == string(n.Name)
	}
	if same {
		return string(p.Name)
	}
	for i := range f.Nodes {
		if value := label(f.Nodes[i].IDs, kind); value != "" {
			number, err := strconv.ParseUint(value, 10, 32)
			numbers = numbers && err == nil && value == strconv.FormatUint(number, 10)
			highest = max(highest, number)
		}
	}
	if numbers {
		return strconv.FormatUint(highest+1, 10)
	}
	return ""
}

func label(labels []spec.Label, name string) string {
	for _, l := range labels {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

// nextName continues the neighbours' names: the number behind the highest, in as many digits. Without neighbours it is that of the subnet.
func nextName(f *spec.Fleet, like []*spec.Node, subnet string) fact.NodeName {
	declared := map[fact.NodeName]bool{}
	for i := range f.Nodes {
		declared[f.Nodes[i].Name] = true
	}
	var numbered []*spec.Node
	for _, n := range like {
		if _, _, _, ok := splitName(string(n.Name)); ok {
			numbered = append(numbered, n)
		}
	}
	shape, _ := most(numbered, func(n *spec.Node) string {
		before, _, after, _ := splitName(string(n.Name))
		return before + "\x00" + after
	})
	before, after, ok := strings.Cut(shape, "\x00")
	if !ok {
		before = subnet
	}
	highest, width := uint64(0), 1
	for _, n := range numbered {
		b, number, a, _ := splitName(string(n.Name))
		if v, err := strconv.ParseUint(number, 10, 63); err == nil && b == before && a == after && v >= highest {
			highest, width = v, len(number)
		}
	}
	for {
		highest++
		name := fact.NodeName(fmt.Sprintf("%s%0*d%s", before, width, highest, after))
		if !declared[name] {
			return name
		}
	}
}

// splitName cuts a name at its last number.
func splitName(name string) (before, number, after string, ok bool) {
	end := strings.LastIndexAny(name, "0123456789") + 1
	if end == 0 {
		return "", "", "", false
	}
	start := end
	for start > 0 && name[start-1] >= '0' && name[start-1] <= '9' {
		start--
	}
	return name[:start], name[start:end], name[end:], true
}
