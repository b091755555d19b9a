package spec

import (
	"fmt"
	"slices"
	"strings"
)

// group is a declared group with its place in the inheritance.
type group struct {
	in        *instance
	parents   []string
	chain     []string        // ancestors and itself, weakest first, each once
	ancestors map[string]bool // without itself
	visiting  bool
}

// allLayers decodes the settings of everything that is a layer, once for all nodes.
func (p *parser) allLayers() {
	anyone := &subject{}
	if p.defaults != nil {
		s := &scope{p: p, owner: "defaults", self: anyone}
		p.layers["defaults"] = s.settings(p.defaults, "defaults")
	}
	for _, kind := range []string{"image", "site", "subnet", "group"} {
		for _, in := range p.all(kind) {
			s := *in.scope
			s.self = anyone
			p.layers[kind+"."+in.name] = s.settings(in.body, in.owner)
		}
	}
	for _, in := range p.all("group") {
		in.common()
		parents, _ := in.refs(in.body, "inherits", "group")
		p.groups[in.name] = &group{in: in, parents: parents}
	}
	for _, name := range sortedKeys(p.groups) {
		p.expand(p.groups[name], nil)
	}
}

// expand computes a group's chain. A group that inherits from itself is reported once, and cut.
func (p *parser) expand(g *group, path []string) []string {
	if g.chain != nil {
		return g.chain
	}
	path = append(path, g.in.owner)
	if g.visiting {
		p.rep.err("dependency-cycle", g.in.spot(g.in.body.attrs["inherits"].at()), "Dependency cycle",
			fmt.Sprintf("%s: a group cannot inherit from itself. Break the circle.", strings.Join(path[slices.Index(path, path[len(path)-1]):], " inherits ")))
		return nil
	}
	g.visiting = true
	var chain []string
	g.ancestors = map[string]bool{}
	for _, name := range g.parents {
		parent := p.groups[name]
		if parent == nil {
			continue
		}
		for _, a := range p.expand(parent, path) {
			if !g.ancestors[a] {
				g.ancestors[a] = true
				chain = append(chain, a)
			}
		}
	}
	g.visiting = false
	g.chain = append(chain, g.in.name)
	return g.chain
}

// expandAll gives the groups that a list stands for: parents before children, each once, at its first place.
func (p *parser) expandAll(listed []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, name := range listed {
		g := p.groups[name]
		if g == nil {
			continue
		}
		for _, c := range g.chain {
			if !seen[c] {
				seen[c] = true
				out = append(out, c)
			}
		}
	}
	return out
}

// profile gives the folded settings of a subnet, groups and image. own is an image that the node itself sets.
func (p *parser) profile(subnet string, listed []string, own string) *profile {
	key := subnet + "\x00" + strings.Join(listed, "\x01") + "\x00" + own
	if pr := p.profiles[key]; pr != nil {
		return pr
	}
	groups := p.expandAll(listed)
	layers := []*layer{p.layers["defaults"], nil, p.layers["site."+p.siteOf[subnet]], p.layers["subnet."+subnet]}
	for _, g := range groups {
		layers = append(layers, p.layers["group."+g])
	}
	image := own
	for i := len(layers) - 1; i >= 0 && image == ""; i-- {
		if layers[i] != nil {
			if e := layers[i].find("image"); e != nil {
				image = strings.TrimPrefix(e.text, "image.")
			}
		}
	}
	full := subnet + "\x00" + strings.Join(groups, "\x01") + "\x00" + image + "\x00"
	if pr := p.profiles[full]; pr != nil { // listed differently, but the same
		p.profiles[key] = pr
		return pr
	}
	if image != "" {
		layers[1] = p.layers["image."+image]
	}
	pr := &profile{Profile: Profile{Subnet: subnet, Image: image, Groups: groups}, ambiguous: p.ambiguities(groups, p.layers)}
	pr.Settings, pr.Trace, pr.late = fold(layers)
	pr.Settings.defaults()
	pr.lateText = p.lateText(pr.late)
	p.profiles[key], p.profiles[full] = pr, pr
	p.checkProfile(pr)
	return pr
}

// finishProfiles numbers the profiles in the order of subnet, groups and image, and gives the fleet its final lists.
func (p *parser) finishProfiles() {
	var list []*profile
	seen := map[*profile]bool{}
	for _, pr := range p.profiles {
		if !seen[pr] {
			seen[pr] = true
			list = append(list, pr)
		}
	}
	sortKey := func(pr *profile) string {
		return pr.Subnet + "\x00" + strings.Join(pr.Groups, "\x01") + "\x00" + pr.Image
	}
	slices.SortFunc(list, func(a, b *profile) int { return strings.Compare(sortKey(a), sortKey(b)) })
	for i, pr := range list {
		pr.index = i
		p.fleet.Profiles = append(p.fleet.Profiles, pr.Profile)
		p.reportAmbiguities(pr)
	}
	for i := range p.fleet.Subnets {
		s := &p.fleet.Subnets[i]
		s.Default = p.profile(s.Name, nil, "").index
		if s.UnknownGroup != "" {
			s.Unknown = p.profile(s.Name, []string{s.UnknownGroup}, "").index
		}
		if len(s.Discovery) > 0 {
			s.Unknown = s.Default
		}
		for j := range s.Discovery {
			d := &s.Discovery[j]
			d.Profile = p.profile(s.Name, []string{d.Group}, "").index
		}
	}
	p.fleet.Nodes = make([]Node, 0, len(p.nodeList))
	for i, n := range p.nodeList {
		p.fleet.Nodes = append(p.fleet.Nodes, *n.Node)
		n.index, n.Node = int32(i), &p.fleet.Nodes[i]
		n.Node.Profile, n.Texts = n.profile.index, nil
	}
}
