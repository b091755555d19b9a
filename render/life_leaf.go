package render

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"hostler/spec"
)

// lifeLeaves are what is the node's next boot beside the settings of the spec.
func (s *Snapshot) lifeLeaves(ls *leaves, n *spec.Node) {
	tell := func(path, raw, show string) {
		*ls = append(*ls, leaf{path: path, raw: raw, show: show, place: &n.Place})
	}
	if declared := s.declaredMode(n); declared.Installs() {
		state := s.installState(n, declared)
		tell("install", state, state)
	}
	l := s.lives[n.Name]
	if l == nil {
		return
	}
	if l.Hold.Reason != "" {
		tell("order.hold", written(l.Hold), l.Hold.String())
	}
	if l.Override.Order != "" {
		tell("order.override", written(l.Override)+l.void, l.Override.String())
	}
	if l.image != nil {
		ls.addFiles(s, "order.file.", l.image)
	}
	if l.Installed != (Installed{}) {
		tell("installed", written(l.Installed), l.Installed.String())
	}
}

// written is every field of an assignment, as text.
func written(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("render: an assignment that cannot be written as JSON: " + err.Error())
	}
	return string(b)
}

// The states of a node that installs itself.
const (
	stateInstalled = "installed"
	stateDue       = "due"
)

// installState says whether a node that installs itself is due. Where nobody knows, it is what it would install: if that
// changes, the machines that are installed are.
func (s *Snapshot) installState(n *spec.Node, declared spec.BootMode) string {
	want := s.installDigest(n, s.image(n.Profile))
	switch l := s.lives[n.Name]; {
	case s.assignments.Nodes == nil && declared == spec.BootInstallOnce:
		return "once"
	case s.assignments.Nodes == nil:
		return cmp.Or(string(want[:min(12, len(want))]), "nothing")
	case l != nil && l.installed(n, declared, want):
		return stateInstalled
	}
	return stateDue
}

// String says what is installed since when, for people.
func (i Installed) String() string {
	if i.Digest == "" {
		return "armed (" + ordered(i.By, i.At, time.Time{}) + ")"
	}
	return fmt.Sprintf("image.%s at %s by boot %s (sha256:%.12s, %s)", i.Image, clockText(i.At), i.Boot, i.Digest, i.MAC)
}

// sameLife reports whether a node that is the same in two snapshots has the same next boot, as far as the assignments decide it.
func (s *Snapshot) sameLife(old *Snapshot, n *spec.Node) bool {
	if s.lives[n.Name] == nil && old.lives[n.Name] == nil && !s.declaredMode(n).Installs() && !old.declaredMode(n).Installs() {
		return true
	}
	var a, b leaves
	s.lifeLeaves(&a, n)
	old.lifeLeaves(&b, n)
	return slices.EqualFunc(a, b, func(x, y leaf) bool { return x.path == y.path && x.raw == y.raw })
}

// sameLives reports that for every node, at least where that is cheap to see.
func (s *Snapshot) sameLives(old *Snapshot) bool {
	if len(s.lives)+len(old.lives) > 0 {
		return false
	}
	for i := range s.fleet.Nodes {
		if n := &s.fleet.Nodes[i]; s.declaredMode(n).Installs() || old.declaredMode(n).Installs() {
			return false
		}
	}
	return true
}
