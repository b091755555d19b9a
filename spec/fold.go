package spec

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// profile is one distinct combination of subnet, groups and image, while nodes are being counted into it.
type profile struct {
	Profile
	late      []entry     // evaluated for each node
	ambiguous []ambiguity // unless every node decides for itself
	users     []*layer    // own layers of the nodes that have it, kept only if something is ambiguous
	index     int
	lateText  string // of late
}

// ambiguity is a setting that two unrelated groups set to different values.
type ambiguity struct {
	path        string
	weak, won   entry
	first, last string // the groups
}

// fold lays layers over each other, weakest first.
func fold(layers []*layer) (Settings, []Trace, []entry) {
	won := map[string]entry{}
	steps := map[string][]Step{}
	for _, l := range layers {
		if l == nil {
			continue
		}
		if r := l.find("kernel_args_reset"); r != nil {
			for path, e := range won {
				if strings.HasPrefix(path, "kernel_args.") && e.action == Set {
					steps[path] = append(steps[path], Step{Layer: l.name, Action: Reset, Place: r.at.place()})
					delete(won, path)
				}
			}
		}
		for _, e := range l.entries {
			st := Step{Layer: l.name, Action: e.action, Value: e.text, Place: e.at.place()}
			if old, ok := won[e.path]; ok && e.action == Set && old.action == Set {
				st.Action = Replace
			}
			if e.action == Removed {
				st.Value = ""
			}
			won[e.path] = e
			steps[e.path] = append(steps[e.path], st)
		}
	}
	return settle(won, steps)
}

// settle turns the entries that won into settings.
func settle(won map[string]entry, steps map[string][]Step) (Settings, []Trace, []entry) {
	var s Settings
	var late []entry
	for _, path := range sortedKeys(won) {
		e := won[path]
		if e.late != nil {
			late = append(late, e)
		}
		if e.action != Removed && e.apply != nil {
			e.apply(&s)
		}
	}
	s.sort()
	var trace []Trace
	for _, path := range sortedKeys(steps) {
		trace = append(trace, Trace{Path: path, Steps: steps[path]})
	}
	return s, trace, late
}

// sort puts kernel arguments into print order and the rest into the order of names or codes.
func (s *Settings) sort() {
	s.KernelArgs = sorted(s.KernelArgs, printOrder(s.KernelArgsOrder))
	s.Vars = sorted(s.Vars, varOrder)
	s.Options = sorted(s.Options, optionOrder)
}

// printOrder is that of kernel arguments: those whose keys are listed come first, as listed.
func printOrder(first []string) func(a, b Arg) int {
	byKey := func(a, b Arg) int { return cmp.Compare(a.Key, b.Key) }
	if len(first) == 0 {
		return byKey
	}
	rank := make(map[string]int, len(first))
	for i, k := range first {
		if _, ok := rank[k]; !ok {
			rank[k] = i - len(first) // negative: before the others
		}
	}
	return func(a, b Arg) int { return cmp.Or(cmp.Compare(rank[a.Key], rank[b.Key]), byKey(a, b)) }
}

func varOrder(a, b Var) int { return cmp.Compare(a.Name, b.Name) }

func optionOrder(a, b Option) int {
	return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.Name, b.Name))
}

// sorted leaves a list alone that is in order: it may be another's too.
func sorted[E any](list []E, order func(a, b E) int) []E {
	if slices.IsSortedFunc(list, order) {
		return list
	}
	list = slices.Clone(list)
	slices.SortFunc(list, order)
	return list
}

// defaults fills in what no layer set and machines need.
func (s *Settings) defaults() {
	s.Boot = cmp.Or(s.Boot, BootNet)
	s.Lease.Max = cmp.Or(s.Lease.Max, max(12*time.Hour, s.Lease.Default))
	s.Lease.Default = cmp.Or(s.Lease.Default, min(time.Hour, s.Lease.Max))
	s.Retry.Delay = cmp.Or(s.Retry.Delay, 5*time.Second)
	s.Retry.MaxDelay = cmp.Or(s.Retry.MaxDelay, max(time.Minute, s.Retry.Delay))
	s.Retry.Jitter = cmp.Or(s.Retry.Jitter, 25)
	s.Retry.Attempts = cmp.Or(s.Retry.Attempts, -1)
	s.Retry.Hold = cmp.Or(s.Retry.Hold, 15*time.Minute)
}

// Effective folds the node's own settings over its profile's: what holds for the node, kernel arguments in print order.
func (f *Fleet) Effective(n *Node) Settings {
	base, own := f.Profiles[n.Profile].Settings, n.Own
	if own == nil {
		if !slices.ContainsFunc(base.KernelArgs, func(a Arg) bool { return a.PerNode }) && !slices.ContainsFunc(base.Vars, func(v Var) bool { return v.PerNode }) {
			return base
		}
		own = &Settings{}
	}
	out := base
	out.Boot = cmp.Or(own.Boot, base.Boot)
	out.Loader = cmp.Or(own.Loader, base.Loader)
	out.Script = cmp.Or(own.Script, base.Script)
	out.ScriptForm = cmp.Or(own.ScriptForm, base.ScriptForm)
	if own.hasConfig() {
		out.Config, out.VendorData, out.NetworkConfig = own.Config, own.VendorData, own.NetworkConfig
	}
	out.Domain = cmp.Or(own.Domain, base.Domain)
	out.DNS, out.NTP = either(own.DNS, base.DNS), either(own.NTP, base.NTP)
	out.KernelArgsOrder = either(own.KernelArgsOrder, base.KernelArgsOrder)
	out.KernelArgsTail = cmp.Or(own.KernelArgsTail, base.KernelArgsTail)
	out.Lease = own.Lease.over(base.Lease)
	out.Retry = own.Retry.over(base.Retry)
	out.Loop = own.Loop.over(base.Loop)
	inherited := base.KernelArgs
	if own.KernelArgsReset {
		inherited, out.KernelArgsReset = nil, true
	}
	out.KernelArgs = merge(inherited, own.KernelArgs, func(a Arg) (string, bool) { return a.Key, a.Remove || a.PerNode }, printOrder(out.KernelArgsOrder))
	out.Vars = merge(base.Vars, own.Vars, func(v Var) (string, bool) { return v.Name, v.Remove || v.PerNode }, varOrder)
	out.Options = merge(base.Options, own.Options, func(o Option) (string, bool) { return o.Name, o.Remove }, optionOrder)
	return out
}

// either gives the list that is set, the own one first: list settings replace, they do not add up.
func either[E any](own, base []E) []E {
	if own != nil {
		return own
	}
	return base
}

func (l Lease) over(base Lease) Lease {
	out := Lease{cmp.Or(l.Default, base.Default), cmp.Or(l.Max, base.Max), cmp.Or(l.Min, base.Min)}
	return out
}

func (r Retry) over(base Retry) Retry {
	return Retry{cmp.Or(r.Delay, base.Delay), cmp.Or(r.MaxDelay, base.MaxDelay), cmp.Or(r.Jitter, base.Jitter),
		cmp.Or(r.Attempts, base.Attempts), cmp.Or(r.Fallback, base.Fallback), cmp.Or(r.Hold, base.Hold)}
}

func (l Loop) over(base Loop) Loop {
	return Loop{cmp.Or(l.Boots, base.Boots), cmp.Or(l.Within, base.Within)}
}

// merge lays own elements over inherited ones by key, without those that are marks rather than values, and puts them in order. It may give
// the inherited list itself: many nodes have nothing to lay over it, and each boot script asks.
func merge[E any](base, own []E, key func(E) (name string, mark bool), order func(a, b E) int) []E {
	isMark := func(e E) bool { _, mark := key(e); return mark }
	if len(own) == 0 && !slices.ContainsFunc(base, isMark) {
		return sorted(base, order)
	}
	set := make(map[string]bool, len(own))
	for _, e := range own {
		k, _ := key(e)
		set[k] = true
	}
	out := make([]E, 0, len(base)+len(own))
	for _, e := range base {
		if k, mark := key(e); !set[k] && !mark {
			out = append(out, e)
		}
	}
	for _, e := range own {
		if !isMark(e) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, order)
	return out
}

func joinAddrs(as []netip.Addr) string {
	texts := make([]string, len(as))
	for i, a := range as {
		texts[i] = a.String()
	}
	return strings.Join(texts, " ")
}

// ambiguities finds settings that two groups, neither an ancestor of the other, set differently.
func (p *parser) ambiguities(groups []string, layers map[string]*layer) []ambiguity {
	last := map[string]string{} // path: the group that decides
	found := map[string]ambiguity{}
	for _, g := range groups {
		l := layers["group."+g]
		if l == nil {
			continue
		}
		for _, e := range l.entries {
			if prev, ok := last[e.path]; ok {
				old := layers["group."+prev].find(e.path)
				delete(found, e.path)
				if !p.groups[g].ancestors[prev] && (old.text != e.text || old.action != e.action) {
					found[e.path] = ambiguity{e.path, *old, e, layers["group."+prev].name, l.name}
				}
			}
			last[e.path] = g
		}
	}
	var out []ambiguity
	for _, path := range sortedKeys(found) {
		out = append(out, found[path])
	}
	return out
}

// reportAmbiguities warns about ambiguous settings of profiles that some node takes as they are.
func (p *parser) reportAmbiguities(pr *profile) {
	for _, a := range pr.ambiguous {
		if !slices.ContainsFunc(pr.users, func(own *layer) bool { return !own.decides(a.path) }) {
			continue
		}
		say := p.rep.warn
		if p.strict {
			say = p.rep.err
		}
		say("ambiguous-layer", a.won.at, "Ambiguous layers",
			fmt.Sprintf("%s and %s both set %s, and neither inherits from the other. %s wins because it is listed later. Set %s in one of them only, in a group that inherits both, or in the node.",
				a.first, a.last, a.path, a.last, a.path), related("The other value is here.", a.weak.at))
	}
}

// decides reports whether a node's own layer settles a path.
func (l *layer) decides(path string) bool {
	return l != nil && (l.find(path) != nil || strings.HasPrefix(path, "kernel_args.") && l.find("kernel_args_reset") != nil)
}
