package bss

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"hostler/render/fact"
)

// Options are what a dump does not say.
type Options struct {
	CIDR     netip.Prefix // of the nodes' network; invalid: what holds their addresses
	Endpoint string       // of the S3 service
}

// Node is a node that is imported.
type Node struct {
	Name string
	MACs []fact.MAC
	Old  string // the script that the service sends it

	nid   string
	addr  netip.Addr
	group *group
}

// group is the nodes that are sent the same but for their own names.
type group struct {
	name           string
	tag            string // of the record that most of it came from
	kernel, initrd string
	arch           string
	words          []string // of the command line; own values are replaced by ownXname, ownNID and ownSeed
	nodes          []*Node
	image          *image
}

// image is what a group boots: the group's files.
type image struct {
	name, arch, description string
	files                   []file
}

type file struct{ role, store, key string }

// Words that stand for a node's own values.
const (
	ownXname = "xname=\x00"
	ownNID   = "nid=\x00"
	ownSeed  = "ds=\x00"
)

// plan is a spec before it is text.
type plan struct {
	o       Options
	dump    *Dump
	nodes   []*Node
	groups  []*group
	unknown []*group // by architecture
	images  []*image
	stores  map[string]string // by name: s3 bucket, or the beginning of URLs
	cidr    netip.Prefix
	notes   []string
	missing []Missing
}

func (p *plan) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// newPlan sorts the nodes into groups, and the groups' files into images and stores.
func newPlan(d *Dump, o Options) *plan {
	p := &plan{o: o, dump: d, stores: map[string]string{}, notes: slices.Clone(d.Notes)}
	byKey := map[string]*group{}
	for i := range d.Components {
		c := &d.Components[i]
		b, ok := d.choose(c)
		switch {
		case !ok:
			p.note("%s is left out: the service has nothing for it to boot", c.ID)
			continue
		case c.EndpointEnabled != nil && !*c.EndpointEnabled && d.discovers():
			p.note("%s is left out: it is disabled in the inventory, and the service gives it the image of undeclared machines", c.ID)
			continue
		case len(c.macs) == 0:
			p.missing = append(p.missing, Missing{c.ID, "the inventory has no MAC of it"})
			continue
		case !served(b.kernel) || b.initrd != "" && !served(b.initrd):
			p.missing = append(p.missing, Missing{c.ID, "its kernel or its initrd is neither in S3 nor behind HTTP"})
			continue
		}
		n := &Node{Name: c.ID, MACs: c.macs, Old: d.Script(c), nid: c.NID.String(), addr: c.addr}
		g := &group{tag: b.tag, kernel: b.kernel, initrd: b.initrd, arch: archOf(c.Arch), words: ownWords(&b, c)}
		if !b.shared {
			g.tag = ""
		}
		key := strings.Join(append([]string{g.kernel, g.initrd, g.arch}, g.words...), "\x01")
		if old := byKey[key]; old != nil {
			g = old
		} else {
			byKey[key] = g
			p.groups = append(p.groups, g)
		}
		n.group, g.nodes = g, append(g.nodes, n)
		p.nodes = append(p.nodes, n)
	}
	p.strangers()
	p.name()
	for _, g := range slices.Concat(p.groups, p.unknown) {
		p.picture(g)
	}
	p.network()
	return p
}

// served reports whether machines can be given a file from where it is. A plain path is one of the service's own TFTP server.
func served(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (strings.EqualFold(u.Scheme, "s3") || (u.Scheme == "http" || u.Scheme == "https") && u.Host != "")
}

// archOf is the inventory's word for a processor in ours.
func archOf(arch string) string {
	switch strings.ToLower(arch) {
	case "arm", "arm64", "aarch64":
		return "arm64"
	}
	return "x86_64"
}

// ownWords are the arguments as the service sends them, without those that are for the initrd and for tokens.
func ownWords(b *boot, c *Component) []string {
	params := b.complete(c)
	if b.initrd != "" {
		params = withoutInitrd(params)
	}
	words := slices.DeleteFunc(splitWords(params), func(w string) bool {
		key, _, _ := strings.Cut(w, "=")
		return key == "initrd" || slices.Contains(tokens, key)
	})
	for i, w := range words {
		switch {
		case w == "xname="+c.ID:
			words[i] = ownXname
		case w == "nid="+c.NID.String() && c.NID != "":
			words[i] = ownNID
		case strings.HasPrefix(w, "ds=nocloud-net;s=http"):
			words[i] = ownSeed
		}
	}
	return words
}

// strangers are what undeclared machines boot.
func (p *plan) strangers() {
	for _, name := range slices.Sorted(keysOf(p.dump.byName)) {
		arch, ok := strings.CutPrefix(name, unknownPrefix)
		if !ok {
			continue
		}
		r := p.dump.byName[name]
		if !served(r.Kernel) || r.Initrd != "" && !served(r.Initrd) {
			p.note("%s is left out: its kernel or its initrd is neither in S3 nor behind HTTP", name)
			continue
		}
		g := &group{tag: name, kernel: r.Kernel, initrd: r.Initrd, arch: archOf(arch), words: ownWords(&boot{params: r.Params, initrd: r.Initrd}, &Component{})}
		if slices.ContainsFunc(p.unknown, func(x *group) bool { return x.arch == g.arch }) {
			p.note("%s is left out: there is another one for %s", name, g.arch)
			continue
		}
		p.unknown = append(p.unknown, g)
	}
}

func keysOf[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// name gives groups names: their role's, when nodes of it share a record, else a number, the largest group first.
func (p *plan) name() {
	slices.SortStableFunc(p.groups, func(a, b *group) int { return cmp.Compare(len(b.nodes), len(a.nodes)) })
	used, number := map[string]bool{}, 0
	for _, g := range slices.Concat(p.groups, p.unknown) {
		g.name = identifier(g.tag)
		for g.tag == "" || used[g.name] {
			number++
			g.name = fmt.Sprintf("own%d", number)
			if !used[g.name] {
				break
			}
		}
		used[g.name] = true
	}
}

// identifier is a text as a name.
func identifier(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '_'
	}, s)
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		s = "x" + s
	}
	return s
}

// picture finds or makes the image of a group.
func (p *plan) picture(g *group) {
	m := &image{arch: g.arch}
	p.add(m, "kernel", g.kernel)
	if g.initrd != "" {
		p.add(m, "initrd", g.initrd)
	}
	for _, w := range g.words {
		if role, object := signedObject(w); role != "" {
			p.add(m, role, object)
		}
	}
	for _, old := range p.images {
		if old.arch == m.arch && slices.Equal(old.files, m.files) {
			g.image = old
			return
		}
	}
	m.name, m.description = p.imageName(g), g.kernel
	p.images, g.image = append(p.images, m), m
}

// imageName is the folder that the kernel is in, or the group's name.
func (p *plan) imageName(g *group) string {
	parts := strings.Split(strings.Trim(address(g.kernel), "/"), "/")
	name := identifier(g.name)
	if len(parts) > 2 {
		name = identifier(parts[len(parts)-2])
	}
	if len(name) > 12 && strings.Count(name, "-") == 4 { // a UUID
		name = "image-" + strings.TrimPrefix(name, "x")[:8]
	}
	for base, i := name, 2; slices.ContainsFunc(p.images, func(m *image) bool { return m.name == name }); i++ {
		name = fmt.Sprintf("%s-%d", base, i)
	}
	return name
}

// signedObject is the object of a parameter whose address the service signs, and the role that it gets in the image.
func signedObject(word string) (role, object string) {
	switch m := signedParam.FindString(word); {
	case m != word || m == "":
		return "", ""
	case strings.HasPrefix(word, "root=live:"):
		return "live", strings.TrimPrefix(word, "root=live:")
	default:
		return "metal", strings.TrimPrefix(word, "metal.server=")
	}
}

// add adds a file that is served.
func (p *plan) add(m *image, role, address string) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
	case strings.EqualFold(u.Scheme, "s3"):
		bucket, key, _ := strings.Cut(strings.Trim(u.Host+"/"+strings.TrimPrefix(u.Path, "/"), "/"), "/")
		store := identifier(bucket)
		p.stores[store] = bucket
		m.files = append(m.files, file{role, store, key})
	default:
		store, begin := identifier(u.Host), u.Scheme+"://"+u.Host+"/"
		p.stores[store] = begin
		m.files = append(m.files, file{role, store, strings.TrimPrefix(address, begin)})
	}
}

// network finds the network that holds the nodes.
func (p *plan) network() {
	p.cidr = p.o.CIDR
	if !p.cidr.IsValid() {
		p.cidr = smallest(p.nodes)
	}
	if !p.cidr.IsValid() {
		p.cidr = netip.MustParsePrefix("10.252.0.0/17") // the node management network of CSM's documentation
		p.note("the inventory has no address: the network %s is made up; give -cidr", p.cidr)
	}
	for _, n := range p.nodes {
		if n.addr.IsValid() && !p.cidr.Contains(n.addr) {
			p.note("%s: its address %s is left out: it is not in %s", n.Name, n.addr, p.cidr)
			n.addr = netip.Addr{}
		}
	}
}

// smallest is the smallest network, from a /24 on, that holds every address; invalid when there is none that a subnet may have.
func smallest(nodes []*Node) (p netip.Prefix) {
	for _, n := range nodes {
		if !n.addr.IsValid() {
			continue
		}
		if !p.IsValid() {
			p = netip.PrefixFrom(n.addr, 24).Masked()
		}
		for p.Bits() > 8 && !p.Contains(n.addr) {
			p = netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked()
		}
	}
	return p
}
