package render

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"hostler/render/fact"
	"hostler/spec"
)

// Assignments are the few facts from outside the spec that change rarely: what people ordered for a node, and what a node proved.
// Everything in them is data; who gives them leaves out what has expired.
type Assignments struct {
	Nodes map[fact.NodeName]*Assignment // read-only, what they point to, too; nil: nothing is known, as in a plan without a server
	// Serial tells one state of the assignments from another; 0 is the one without any.
	Serial uint64
}

// Assignment is what holds for one node beside the spec. Zero values: nothing.
type Assignment struct {
	Hold      Hold      `json:"hold,omitzero"`
	Override  Override  `json:"override,omitzero"`
	Installed Installed `json:"installed,omitzero"`
}

// Hold keeps a node from booting.
type Hold struct {
	Reason string    `json:"reason"` // never empty
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until somebody releases it
	// Boot, when set, makes the hold end by itself: it holds while the node would boot what it booted when it was held.
	Boot fact.Digest `json:"boot,omitempty"`
}

// Override has a node boot otherwise than the spec says, for a while.
type Override struct {
	Order  string        `json:"order"`           // names it among all that the node ever had; never empty
	Boot   spec.BootMode `json:"boot,omitempty"`  // netboot, disk or off
	Image  string        `json:"image,omitempty"` // has it boot from the network, too
	Once   bool          `json:"once,omitempty"`  // until it has booted so
	Reason string        `json:"reason,omitempty"`
	By     string        `json:"by"`
	Since  time.Time     `json:"since"`
	Until  time.Time     `json:"until,omitzero"`
}

// Installed is what a node proved to have installed, with the token of the boot that did so. Without a digest it is armed: a
// person wants it installed again.
type Installed struct {
	Digest fact.Digest `json:"digest,omitempty"` // as Terms.Install
	MAC    fact.MAC    `json:"mac"`              // of the machine: another one under the same name has proved nothing
	Image  string      `json:"image,omitempty"`
	Boot   fact.BootID `json:"boot,omitempty"`
	By     string      `json:"by,omitempty"` // who armed it
	At     time.Time   `json:"at"`
}

// life is what the assignments make of one node's next boot.
type life struct {
	Assignment               // without what does not hold
	mode       spec.BootMode // netboot, install, disk or off
	image      *spec.Image   // of an override; nil: the spec's
	void       string        // why an override is not followed
}

// assign takes over the assignments of nodes. Nodes that have none need no room.
func (s *Snapshot) assign(as Assignments) {
	s.assignments, s.lives = as, make(map[fact.NodeName]*life, len(as.Nodes))
	for name, a := range as.Nodes {
		if i, ok := s.byName[name]; ok {
			s.lives[name] = s.newLife(&s.fleet.Nodes[i], *a)
		}
	}
}

// Assign gives the snapshot with other assignments. Only the nodes whose assignments differ are looked at.
func (s *Snapshot) Assign(as Assignments) *Snapshot {
	next := *s
	next.assignments, next.lives = as, maps.Clone(s.lives)
	var changed []int32
	look := func(name fact.NodeName, a *Assignment) {
		if i, ok := s.byName[name]; ok {
			delete(next.lives, name)
			if a != nil {
				next.lives[name] = next.newLife(&s.fleet.Nodes[i], *a)
			}
			changed = append(changed, i)
		}
	}
	for name, a := range as.Nodes {
		if was := s.assignments.Nodes[name]; a != was && (was == nil || *a != *was) {
			look(name, a)
		}
	}
	for name := range s.assignments.Nodes {
		if _, still := as.Nodes[name]; !still {
			look(name, nil)
		}
	}
	switch {
	case len(changed) == 0 && ((s.assignments.Nodes == nil) == (as.Nodes == nil) || next.sameLives(s)):
		return &next
	case (s.assignments.Nodes == nil) != (as.Nodes == nil): // what is not known of any node is served of none
		next.hashes = next.hashNodes(s)
	default:
		next.hashes = next.rehash(changed)
	}
	next.sum()
	return &next
}

// Assignments are those that the snapshot was made with.
func (s *Snapshot) Assignments() Assignments { return s.assignments }

func (s *Snapshot) newLife(n *spec.Node, a Assignment) *life {
	l := &life{Assignment: a}
	if a.Override.Order == "" {
		l.Override = Override{}
	}
	if a.Hold.Reason == "" {
		l.Hold = Hold{}
	}
	if o := l.Override; o.Image != "" {
		switch m := s.images[o.Image]; {
		case m == nil:
			l.void = "there is no image." + o.Image
		case s.bootLines[m] == nil:
			l.void = "image." + o.Image + " has no kernel"
		default:
			l.image = m
		}
	}
	l.mode = s.nextMode(n, l)
	if l.Hold.Boot != "" && l.Hold.Boot != s.bootDigest(n, l) {
		l.Hold = Hold{}
	}
	return l
}

// nextMode is what a node does at its next boot, if nothing holds it.
func (s *Snapshot) nextMode(n *spec.Node, l *life) spec.BootMode {
	o, declared := l.Override, s.declaredMode(n)
	switch {
	case o.Boot != "":
		return o.Boot
	case o.Image != "":
		return spec.BootNet
	case !declared.Installs():
		return declared
	case l.installed(n, declared, s.installDigest(n, s.image(n.Profile))):
		return spec.BootDisk
	}
	return spec.BootInstall
}

// installed reports whether the machine has proved that it has on its disk what it shall have.
func (l *life) installed(n *spec.Node, declared spec.BootMode, want fact.Digest) bool {
	done := l.Installed
	return done.Digest != "" && done.MAC == bootPort(n).MAC && (declared == spec.BootInstallOnce || done.Digest == want)
}

// declaredMode is what the spec says.
func (s *Snapshot) declaredMode(n *spec.Node) spec.BootMode {
	if n.Own != nil && n.Own.Boot != "" {
		return n.Own.Boot
	}
	return cmp.Or(s.settings(n.Profile).Boot, spec.BootNet)
}

// bootMode is what a node does at its next boot, if nothing holds it: netboot, install, disk or off.
func (s *Snapshot) bootMode(n *spec.Node) spec.BootMode {
	if l := s.lives[n.Name]; l != nil {
		return l.mode
	}
	if b := s.declaredMode(n); !b.Installs() {
		return b
	}
	return spec.BootInstall
}

// imageOf is what a node boots, or nil.
func (s *Snapshot) imageOf(n *spec.Node) *spec.Image {
	if l := s.lives[n.Name]; l != nil && l.image != nil {
		return l.image
	}
	return s.image(n.Profile)
}

// hold is why a node is held back: by the spec, or else by an order. Empty: it is not.
func (s *Snapshot) hold(n *spec.Node) string {
	if reason := cmp.Or(n.Hold, s.settings(n.Profile).Hold); reason != "" {
		return reason
	}
	switch l := s.lives[n.Name]; {
	case l == nil:
		return ""
	case l.Hold.Reason != "":
		return l.Hold.String()
	case l.void != "": // whoever ordered something else than the spec must not be given what the spec says
		return l.void + ", which was ordered: " + l.Override.String()
	}
	return ""
}

// unhold says what a person can do about a hold.
func (s *Snapshot) unhold(n *spec.Node) string {
	if cmp.Or(n.Hold, s.settings(n.Profile).Hold) != "" {
		return "it waits until hold is taken out of the spec"
	}
	if l := s.lives[n.Name]; l != nil && l.Hold.Reason == "" {
		return "it waits until: hostler override -end " + string(n.Name)
	}
	return "it waits until: hostler release " + string(n.Name)
}

// ordered says whose order it is, since when (but for an example's), and until when.
func ordered(by string, since, until time.Time) string {
	text := "by " + by
	if !since.IsZero() {
		text += " since " + clockText(since)
	}
	if !until.IsZero() {
		text += " until " + clockText(until)
	}
	return text
}

func clockText(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04 UTC") }

// String says why, and whose order it is, for people.
func (h Hold) String() string { return h.Reason + " (" + ordered(h.By, h.Since, h.Until) + ")" }

// String says what the override does, for people.
func (o Override) String() string {
	text := "boot = " + string(o.Boot)
	if o.Image != "" {
		text = "image." + o.Image
		if o.Boot != "" {
			text += ", boot = " + string(o.Boot)
		}
	}
	if o.Once {
		text += ", once"
	}
	text += " (" + ordered(o.By, o.Since, o.Until)
	if o.Reason != "" {
		text += ": " + o.Reason
	}
	return text + ")"
}

// installDigest stands for what a node would install: the contents of its image's files, and the texts of its templates, under
// whatever names. Kernel arguments do not count: somebody who adds a console does not mean to erase disks. Empty: nothing.
func (s *Snapshot) installDigest(n *spec.Node, m *spec.Image) fact.Digest {
	if m == nil {
		return ""
	}
	h := sha256.New()
	for _, x := range m.Files {
		f := s.file(x.File, x.Name)
		fmt.Fprintf(h, "%s %s\n", x.Role, cmp.Or(string(f.Digest), f.ETag, x.File.ID()))
	}
	texts := make([]fact.Digest, len(n.Texts))
	for i := range n.Texts {
		texts[i] = n.Texts[i].Digest
	}
	slices.Sort(texts)
	fmt.Fprintln(h, texts)
	return fact.Digest(hex.EncodeToString(h.Sum(nil)))
}

// BootDigest stands for what a node boots next: how, the files, the texts and the kernel's command line. A commit that changes it may
// have mended what was wrong.
func (s *Snapshot) BootDigest(node fact.NodeName) fact.Digest {
	i, ok := s.byName[node]
	if !ok {
		return ""
	}
	n := &s.fleet.Nodes[i]
	l := s.lives[node]
	if l == nil {
		l = &life{mode: s.bootMode(n)}
	}
	return s.bootDigest(n, l)
}

func (s *Snapshot) bootDigest(n *spec.Node, l *life) fact.Digest {
	st := s.fleet.Effective(n)
	t := target{settings: &st, image: cmp.Or(l.image, s.image(n.Profile)), own: s.image(n.Profile), mac: bootPort(n).MAC}
	return digestOf(fmt.Sprintf("%s %s %s", l.mode, s.installDigest(n, t.image), string(s.cmdline(&t))))
}

// Loop says when a node's boots count as a loop: that many in a row without being ready, begun within that time. No boots: never.
// Without a word in the spec, only machines that install themselves can boot in a loop: they say when they are done, by contract. Of
// others nobody knows whether their image ever reports, so that a machine in perfect health would be held after its fifth reboot.
func (s *Snapshot) Loop(node fact.NodeName) (boots int, within time.Duration) {
	i, ok := s.byName[node]
	if !ok {
		return 0, 0
	}
	n := &s.fleet.Nodes[i]
	l := s.fleet.Effective(n).Loop
	switch {
	case l.Boots > 0:
		boots = l.Boots
	case l.Boots == 0 && s.bootMode(n) == spec.BootInstall:
		boots = defaultLoopBoots
	}
	return boots, cmp.Or(l.Within, defaultLoopWithin)
}

// Five installations, of which each takes minutes, do not begin within half an hour by any healthy course of events.
const (
	defaultLoopBoots  = 5
	defaultLoopWithin = 30 * time.Minute
)

// whyDisk says why a machine shall start from its disk.
func (s *Snapshot) whyDisk(n *spec.Node) string {
	switch l := s.lives[n.Name]; {
	case l != nil && l.Override.Boot == spec.BootDisk:
		return "override: " + l.Override.String()
	case l != nil && s.declaredMode(n).Installs():
		return "boot = " + string(s.declaredMode(n)) + ", and it is installed: " + l.Installed.String()
	}
	return "boot = disk"
}

// terms are those of a node that is given an image to boot. A fallback installs nothing: it is what a machine gets when its own
// image does not boot.
func (s *Snapshot) terms(n *spec.Node, m *spec.Image) fact.Terms {
	t := fact.Terms{Boots: true}
	if m != nil {
		t.Image = m.Name
	}
	if l := s.lives[n.Name]; l != nil {
		t.Override = l.Override.Order
	}
	if s.bootMode(n) == spec.BootInstall && m == s.image(n.Profile) {
		t.Install = s.installDigest(n, m)
	}
	return t
}
