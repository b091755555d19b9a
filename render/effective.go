package render

import (
	"cmp"
	"slices"

	"hostler/render/fact"
	"hostler/spec"
)

// target is what a machine boots: settings with the node's own folded in, and the image.
type target struct {
	settings spec.Settings
	image    *spec.Image
	node     *spec.Node // nil for machines that nobody declared
	mac      fact.MAC   // of the interface that it boots from
}

func (s *Snapshot) targetOf(n *spec.Node) target {
	return target{s.effective(n), s.image(n.Profile), n, bootPort(n).MAC}
}

// effective folds a node's own settings over its profile's.
func (s *Snapshot) effective(n *spec.Node) spec.Settings {
	st := *s.settings(n.Profile)
	own := n.Own
	if own == nil {
		own = &spec.Settings{}
	}
	st.Boot = cmp.Or(own.Boot, st.Boot)
	st.Loader = cmp.Or(own.Loader, st.Loader)
	st.Script = cmp.Or(own.Script, st.Script)
	st.Config = cmp.Or(own.Config, st.Config)
	st.Domain = cmp.Or(own.Domain, st.Domain)
	st.KernelArgsTail = cmp.Or(own.KernelArgsTail, st.KernelArgsTail)
	st.Lease = spec.Lease{
		Default: cmp.Or(own.Lease.Default, st.Lease.Default),
		Max:     cmp.Or(own.Lease.Max, st.Lease.Max),
		Min:     cmp.Or(own.Lease.Min, st.Lease.Min),
	}
	st.Retry = spec.Retry{
		Delay:    cmp.Or(own.Retry.Delay, st.Retry.Delay),
		MaxDelay: cmp.Or(own.Retry.MaxDelay, st.Retry.MaxDelay),
		Attempts: cmp.Or(own.Retry.Attempts, st.Retry.Attempts),
		Fallback: cmp.Or(own.Retry.Fallback, st.Retry.Fallback),
	}
	if own.DNS != nil {
		st.DNS = own.DNS
	}
	if own.NTP != nil {
		st.NTP = own.NTP
	}
	if own.KernelArgsOrder != nil {
		st.KernelArgsOrder = own.KernelArgsOrder
	}
	st.KernelArgs = foldArgs(st.KernelArgs, own)
	order(st.KernelArgs, st.KernelArgsOrder)
	st.Vars = fold(st.Vars, own.Vars, func(v spec.Var) (string, bool, bool) { return v.Name, v.Remove, v.PerNode })
	st.Options = fold(st.Options, own.Options, func(o spec.Option) (string, bool, bool) { return o.Name, o.Remove, false })
	return st
}

func foldArgs(inherited []spec.Arg, own *spec.Settings) []spec.Arg {
	if own.KernelArgsReset {
		inherited = nil
	}
	return fold(inherited, own.KernelArgs, func(a spec.Arg) (string, bool, bool) { return a.Key, a.Remove, a.PerNode })
}

// fold lays own entries over inherited ones. An inherited entry that is evaluated for each node has no value but the
// node's.
func fold[T any](inherited, own []T, key func(T) (name string, removed, perNode bool)) []T {
	mine := make(map[string]bool, len(own))
	for _, o := range own {
		k, _, _ := key(o)
		mine[k] = true
	}
	var out []T
	for _, x := range inherited {
		if k, removed, perNode := key(x); !mine[k] && !removed && !perNode {
			out = append(out, x)
		}
	}
	for _, o := range own {
		if _, removed, _ := key(o); !removed {
			out = append(out, o)
		}
	}
	return out
}

// order sorts kernel arguments: the keys of first in that order, then the others by key.
func order(args []spec.Arg, first []string) {
	rank := func(a spec.Arg) int {
		if i := slices.Index(first, a.Key); i >= 0 {
			return i
		}
		return len(first)
	}
	slices.SortStableFunc(args, func(a, b spec.Arg) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Key, b.Key))
	})
}
