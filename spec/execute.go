package spec

import (
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

// templates names the templates that a machine with these settings may fetch, sorted.
func (s *Settings) templates() []string {
	var names []string
	for _, name := range []string{s.Script, s.Config, s.VendorData, s.NetworkConfig} {
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
