package render

import (
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// Parameters are what a node boots, one by one, for those who do not want a script. Nothing in them proves a boot.
type Parameters struct {
	Kernel  fact.Text   // its URL; empty: nothing to boot
	Initrds []fact.Text // in their order
	Args    fact.Text   // of the kernel, as the script has them, without hostler's own and without those that name the initrds
}

// Parameters gives what a node boots, whether or not it is held.
func (s *Snapshot) Parameters(node fact.NodeName) (p Parameters, ok bool) {
	i, ok := s.byName[node]
	if !ok {
		return p, false
	}
	t := s.targetOf(&s.fleet.Nodes[i])
	var b strings.Builder
	s.writeArgs(&b, &t)
	writeTail(&b, &t)
	p.Args = fact.Text(strings.TrimPrefix(b.String(), " "))
	if t.image == nil || t.settings.Boot == spec.BootOff || t.settings.Boot == spec.BootDisk {
		return p, true
	}
	kernel, initrds := s.bootFiles(t.image)
	if kernel != nil {
		p.Kernel = fileURL(*kernel)
	}
	for _, f := range initrds {
		p.Initrds = append(p.Initrds, fileURL(f))
	}
	return p, true
}

// Whose gives the node that a query means.
func (s *Snapshot) Whose(q Query) (*spec.Node, bool) {
	p, ok := s.find(q)
	if !ok {
		return nil, false
	}
	return &s.fleet.Nodes[p.node], true
}

// Hostname is the name that a node is told on its boot interface.
func (s *Snapshot) Hostname(n *spec.Node) string { return hostname(n, bootPort(n)) }

// Domain is that of a node.
func (s *Snapshot) Domain(n *spec.Node) string { return s.fleet.Effective(n).Domain }

// Installation tells one installation of a node from the next: the boot that proved it, and something else while it is to be
// installed. Empty: it is never installed.
func (s *Snapshot) Installation(n *spec.Node) string {
	if !s.declaredMode(n).Installs() {
		return ""
	}
	by := "none"
	if l := s.lives[n.Name]; l != nil && l.Installed.Boot != "" {
		by = string(l.Installed.Boot)
	}
	if s.bootMode(n) == spec.BootInstall {
		return "after " + by
	}
	return by
}
