package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hostler/render/fact"
	"hostler/spec/lang"
)

// Execute renders a template for a node. It gives the same text as when the fleet was parsed; the caller compares
// digests with the node's NodeText. Output, steps and time are bounded.
func (f *Fleet) Execute(template string, n *Node) (fact.Text, error) {
	i := slices.IndexFunc(f.Templates, func(t Template) bool { return t.Name == template })
	if i < 0 {
		return "", fmt.Errorf("template %q: there is none of that name", template)
	}
	t := &f.Templates[i]
	parsed, err := lang.ParseTemplate(t.File, t.Kind, t.Engine, t.Source)
	if err != nil {
		return "", err
	}
	return f.execute(parsed, t, f.Effective(n).Vars, n)
}

func (f *Fleet) execute(parsed *lang.Template, t *Template, settings []Var, n *Node) (fact.Text, error) {
	vars := map[string]string{}
	for _, list := range [][]Var{t.Vars, settings} { // the template's own values are the weakest
		for _, v := range list {
			vars[v.Name] = v.JSON
		}
	}
	return parsed.Execute(vars, f.templateSelf(n))
}

// templateSelf is what templates see of the node as self: the same names as in expressions.
func (f *Fleet) templateSelf(n *Node) map[string]any {
	nics := map[string]any{}
	for _, i := range n.Interfaces {
		nics[i.Name] = map[string]any{"name": i.Name, "mac": i.MAC.String(), "address": addrText(i.Addr), "hostname": i.Hostname, "subnet": f.templateSubnet(i.Subnet)}
	}
	boot := n.Interfaces[0]
	return map[string]any{
		"name": string(n.Name), "address": addrText(boot.Addr), "mac": boot.MAC.String(), "hostname": boot.Hostname,
		"ids": labelMap(n.IDs), "labels": labelMap(n.Labels), "subnet": f.templateSubnet(boot.Subnet), "interface": nics,
	}
}

func (f *Fleet) templateSubnet(name string) map[string]any {
	i, ok := slices.BinarySearchFunc(f.Subnets, name, func(s Subnet, name string) int { return strings.Compare(s.Name, name) })
	if !ok {
		return map[string]any{"name": name}
	}
	s := &f.Subnets[i]
	return map[string]any{"name": name, "cidr": s.CIDR.String(), "gateway": addrText(s.Gateway), "vlan": s.VLAN,
		"relays": addrTexts(s.Relays), "boot_servers": addrTexts(s.BootServers)}
}

func addrTexts(as []netip.Addr) []any {
	texts := make([]any, len(as))
	for i, a := range as {
		texts[i] = a.String()
	}
	return texts
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func labelMap(ls []Label) map[string]any {
	m := make(map[string]any, len(ls))
	for _, l := range ls {
		m[l.Name] = l.Value
	}
	return m
}

// nodeTexts executes the templates of every node, and keeps their digests.
func (p *parser) nodeTexts() {
	if len(p.templates) == 0 {
		return
	}
	for i := range p.fleet.Nodes {
		n := &p.fleet.Nodes[i]
		if x := p.nodeList[i]; x.keepTexts {
			n.Texts = p.mem.fleet.Nodes[x.before].Texts
			continue
		}
		s := p.fleet.Effective(n)
		for _, name := range s.templates() {
			p.nodeText(n, name, s.Vars)
		}
	}
}

func (p *parser) nodeText(n *Node, name string, vars []Var) {
	i := slices.IndexFunc(p.fleet.Templates, func(t Template) bool { return t.Name == name })
	t := &p.fleet.Templates[i]
	text, err := p.fleet.execute(p.templates[name], t, vars, n)
	if err != nil {
		p.rep.addUpTo(1, Diagnostic{Severity: Error, Code: "template-error", Summary: "Template does not execute", Place: &t.Place,
			Detail:  fmt.Sprintf("template.%s, executed for %s: %s.", name, n.Address, err),
			Related: []Related{{Text: "The node is here.", Place: n.Place}}})
		return
	}
	if image := p.fleet.Profiles[n.Profile].Image; image != "" {
		p.checkLate(text, image, placeSpot(t.Place), "template."+name)
	}
	sum := sha256.Sum256([]byte(text))
	n.Texts = append(n.Texts, NodeText{Template: name, Digest: fact.Digest(hex.EncodeToString(sum[:])), Size: len(text)})
}

// templates names the templates that a machine with these settings may fetch, sorted.
func (s *Settings) templates() []string {
	var names []string
	for _, name := range []string{s.Script, s.Config} {
		if name != "" {
			names = append(names, name)
		}
	}
	for _, a := range s.KernelArgs {
		for _, v := range a.Values {
			for _, part := range v.Parts() {
				if part.Kind == fact.LateConfig {
					names = append(names, part.Value)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
