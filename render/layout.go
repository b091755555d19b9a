package render

import (
	"slices"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// layout is how the kernel arguments of the nodes with one mask are printed: those of their profile are text already, and each of a
// node's own has its place among them. Folding the settings of a node anew takes longer than all else about its script.
type layout struct {
	settings *spec.Settings // the profile's, which hold for the node but for kernel arguments, variables and options
	image    *spec.Image    // that the text is for
	pieces   []piece
}

// piece is a text, or an argument of the profile that says who asks, or one of the node's own.
type piece struct {
	text string
	arg  *spec.Arg
	key  string // of an own one
	own  int    // its index
}

// mostLayouts bounds the memory where hardly two nodes set the same arguments.
const mostLayouts = 4096

// newLayouts makes the layout of each mask; nil for those whose nodes set more than arguments.
func (s *Snapshot) newLayouts() []*layout {
	if len(s.masks) > mostLayouts {
		return nil
	}
	ls := make([]*layout, len(s.masks))
	for m, i := range s.masks {
		ls[m] = s.newLayout(&s.fleet.Nodes[i])
	}
	return ls
}

func (s *Snapshot) newLayout(n *spec.Node) *layout {
	var own, rest spec.Settings
	if n.Own != nil {
		own, rest = *n.Own, *n.Own
	}
	rest.KernelArgs, rest.KernelArgsReset, rest.Vars, rest.Options = nil, false, nil, nil
	if len(settingsLeaves(&rest, true)) > 0 {
		return nil
	}
	own.KernelArgs = slices.Clone(own.KernelArgs)
	for i := range own.KernelArgs { // it may remove what another node of the mask sets
		own.KernelArgs[i] = spec.Arg{Key: own.KernelArgs[i].Key}
	}
	settings := *s.settings(n.Profile)
	if settings.Boot.Installs() {
		settings.Boot = spec.BootInstall
	}
	l := &layout{settings: &settings, image: s.image(n.Profile)}
	t := target{settings: l.settings, image: l.image, own: l.image}
	var text strings.Builder
	end := func() {
		if text.Len() > 0 {
			l.pieces = append(l.pieces, piece{text: text.String()})
			text.Reset()
		}
	}
	args := s.fleet.Effective(&spec.Node{Profile: n.Profile, Own: &own}).KernelArgs
	for i := range args {
		a := &args[i]
		j := slices.IndexFunc(own.KernelArgs, func(o spec.Arg) bool { return o.Key == a.Key })
		switch {
		case j >= 0:
			end()
			l.pieces = append(l.pieces, piece{key: a.Key, own: j})
		case saysWho(a):
			end()
			l.pieces = append(l.pieces, piece{arg: a})
		default:
			s.writeArg(&text, &t, a)
		}
	}
	end()
	return l
}

// saysWho reports whether an argument is another one for each interface of a machine.
func saysWho(a *spec.Arg) bool {
	return slices.ContainsFunc(a.Values, func(v fact.Text) bool {
		return slices.ContainsFunc(v.Parts(), func(p fact.Part) bool { return p.Kind == fact.LateBootIF })
	})
}

// layoutOf gives the layout of a node, or nil where there is none.
func (s *Snapshot) layoutOf(i int32, n *spec.Node) *layout {
	m := s.parts[i].mask
	switch {
	case int(m) >= len(s.layouts) || s.layouts[m] == nil:
		return nil
	case n.Own != nil && n.Own.KernelArgsOrder != nil: // an empty one, which no mask tells
		return nil
	case len(s.lives) > 0 && s.lives[n.Name] != nil: // it may boot something else
		return nil
	}
	return s.layouts[m]
}

// boots is what a node boots: as targetOf gives it, but without its own arguments where there is a layout for them.
func (s *Snapshot) boots(i int32, n *spec.Node) (target, *layout) {
	if l := s.layoutOf(i, n); l != nil {
		return target{settings: l.settings, image: l.image, own: l.image}, l
	}
	return s.targetOf(n), nil
}

// args writes the kernel arguments of a node.
func (w *scriptWriter) args(b *strings.Builder) {
	t, l := &w.target, w.layout
	switch {
	case l == nil:
		w.s.writeArgs(b, t)
		return
	case t.image != l.image: // the fallback
		whole := *t
		whole.settings = w.s.targetOf(w.node).settings
		w.s.writeArgs(b, &whole)
		return
	}
	for i := range l.pieces {
		switch p := &l.pieces[i]; {
		case p.arg != nil:
			w.s.writeArg(b, t, p.arg)
		case p.key != "":
			w.s.writeArg(b, t, &w.node.Own.KernelArgs[p.own])
		default:
			b.WriteString(p.text)
		}
	}
}
