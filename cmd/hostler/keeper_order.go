package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"

	"hostler/render"
	"hostler/render/bootsim"
	"hostler/render/fact"
	"hostler/servers/admin"
	"hostler/spec"
	"hostler/spec/lang"
)

// Order implements admin.Backend.
func (s *server) Order(ctx context.Context, r admin.OrderRequest) (any, error) {
	return s.keeper.order(ctx, r)
}

// Assignments implements admin.Backend.
func (s *server) Assignments() any { return s.keeper.assignments() }

// Bounds of an order.
const (
	longestReason = 200
	longestOrder  = 366 * 24 * time.Hour
)

// order carries out a person's order for all the nodes, or for none.
func (k *keeper) order(ctx context.Context, r admin.OrderRequest) ([]admin.OrderResult, error) {
	snapshot, _ := k.recon.Current()
	if snapshot == nil {
		return nil, refused("no revision is served yet")
	}
	nodes, err := named(snapshot, r.Nodes)
	if err != nil {
		return nil, err
	}
	if err := checkOrder(&r); err != nil {
		return nil, err
	}
	var done []fact.NodeName
	what := ""
	switch r.Do {
	case admin.Hold:
		done, what = nodes, "held"
		err = k.book.Hold(ctx, nodes, render.Hold{Reason: r.Reason, By: r.By}, r.For)
	case admin.Release:
		what = "released"
		done, err = k.book.Release(ctx, nodes)
	case admin.Override:
		done, what = nodes, "override"
		err = k.override(ctx, snapshot, nodes, &r)
	case admin.Follow:
		what = "override ended"
		done, err = k.book.Follow(ctx, nodes)
	case admin.Rearm:
		done, what = nodes, "armed"
		err = k.rearm(ctx, snapshot, nodes, r.By)
	default:
		err = refused("there is no order %q", r.Do)
	}
	if err != nil {
		return nil, err
	}
	k.recon.Reassign()
	for _, node := range done {
		k.tell(node, slog.LevelInfo, what, k.detail(node, &r))
	}
	return k.results(nodes, done), nil
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", admin.ErrRefused, fmt.Sprintf(format, args...))
}

// detail is what the log and the events say of an order.
func (k *keeper) detail(node fact.NodeName, r *admin.OrderRequest) string {
	switch a := k.book.Of(node); {
	case r.Do == admin.Override:
		return a.Override.String()
	case r.Do == admin.Hold && !a.Hold.Until.IsZero():
		return fmt.Sprintf("by %s until %s: %s", r.By, a.Hold.Until.Format(time.RFC3339), r.Reason)
	}
	return strings.TrimSuffix("by "+r.By+": "+r.Reason, ": ")
}

// named finds the nodes of an order: each once, in the order of the names.
func named(s *render.Snapshot, names []string) ([]fact.NodeName, error) {
	var nodes []fact.NodeName
	for _, name := range names {
		if n, ok := s.Node(name); ok {
			nodes = append(nodes, n.Name)
			continue
		}
		hosts, err := lang.ExpandHosts(name)
		if err != nil || len(hosts) == 0 {
			hosts = []string{name}
		}
		for _, host := range hosts {
			n, ok := s.Node(host)
			if !ok {
				return nil, refused("no node %q is declared", host)
			}
			nodes = append(nodes, n.Name)
		}
	}
	if len(nodes) == 0 {
		return nil, refused("no node is named")
	}
	slices.Sort(nodes)
	return slices.Compact(nodes), nil
}

// checkOrder puts an order's words right, or says what is wrong with them: the command before it asks the server, and the server.
func checkOrder(r *admin.OrderRequest) error {
	r.Reason = strings.TrimSpace(r.Reason)
	switch {
	case r.Do == admin.Hold && r.Reason == "":
		return refused("a hold needs a reason: whoever finds the machine waiting will read it")
	case len(r.Reason) > longestReason:
		return refused("the reason is longer than %d bytes", longestReason)
	case strings.ContainsFunc(r.Reason, unicode.IsControl):
		return refused("the reason has a control character")
	case r.For < 0 || r.For > longestOrder || r.For > 0 && r.For < time.Second:
		return refused("-for=%s: it is a second to a year", r.For)
	case r.Do == admin.Override:
		return checkOverride(spec.BootMode(r.Boot), r.Image)
	}
	return nil
}

func checkOverride(mode spec.BootMode, image string) error {
	switch {
	case mode == "" && image == "":
		return refused("an override needs a boot mode or an image")
	case mode != "" && mode != spec.BootNet && mode != spec.BootDisk && mode != spec.BootOff:
		return refused("an override's boot is netboot, disk or off, not %s; to install a machine again, rearm it", mode)
	case image != "" && mode != "" && mode != spec.BootNet:
		return refused("an image is booted from the network, not by boot = %s", mode)
	}
	return nil
}

// override makes sure that the machines boot as ordered before that holds.
func (k *keeper) override(ctx context.Context, s *render.Snapshot, nodes []fact.NodeName, r *admin.OrderRequest) error {
	o := render.Override{Order: "new", Boot: spec.BootMode(r.Boot), Image: strings.TrimPrefix(r.Image, "image."), Once: r.Once, Reason: r.Reason, By: r.By}
	if err := boots(s, nodes, o); err != nil {
		return err
	}
	return k.book.Override(ctx, nodes, o, r.For)
}

// mostTried is how many machines are booted in simulation before an override of them holds.
const mostTried = 100

// boots tries an override out.
func boots(s *render.Snapshot, nodes []fact.NodeName, o render.Override) error {
	if o.Image != "" && !slices.ContainsFunc(s.Fleet().Images, func(m spec.Image) bool { return m.Name == o.Image }) {
		return refused("there is no image.%s in the spec", o.Image)
	}
	as := render.Assignments{Nodes: map[fact.NodeName]*render.Assignment{}, Serial: 1}
	for _, n := range nodes {
		as.Nodes[n] = &render.Assignment{Override: o}
	}
	tried := s.Assign(as)
	for i, node := range nodes {
		if i == mostTried {
			break
		}
		if why := bootsim.Fails(tried, node); why != "" {
			return refused("%s would not boot: %s", node, why)
		}
	}
	return nil
}

// rearm refuses machines that do not install themselves: they would be told to erase their disks on the day that somebody changes
// their spec.
func (k *keeper) rearm(ctx context.Context, s *render.Snapshot, nodes []fact.NodeName, by string) error {
	for _, node := range nodes {
		if n, _ := s.Node(string(node)); !spec.BootMode(n.Boot).Installs() {
			return refused("%s has boot = %s: it does not install itself", node, n.Boot)
		}
	}
	return k.book.Rearm(ctx, nodes, by)
}

// results say what the machines do at their next boot now.
func (k *keeper) results(nodes, done []fact.NodeName) []admin.OrderResult {
	snapshot, _ := k.recon.Current()
	results := make([]admin.OrderResult, len(nodes))
	for i, node := range nodes {
		n, _ := snapshot.Node(string(node))
		_, had := slices.BinarySearch(done, node)
		results[i] = admin.OrderResult{Node: string(node), Done: had, Text: nextText(&n)}
	}
	return results
}

// nextText says what a machine does at its next boot, and why if that is not what the spec says.
func nextText(n *render.NodeInfo) string {
	a := render.Assignment{}
	if n.Assignment != nil {
		a = *n.Assignment
	}
	why := ""
	if a.Override.Order != "" {
		why = ", override: " + a.Override.String()
	}
	switch n.Next {
	case "hold":
		return "waits: " + cmp.Or(n.Hold, "disabled in the spec") + why
	case string(spec.BootInstall):
		return "INSTALLS image." + n.Image + why
	case string(spec.BootDisk):
		if why == "" && spec.BootMode(n.Boot).Installs() {
			why = ", installed: " + a.Installed.String()
		}
		return "starts from its disk" + why
	case string(spec.BootOff):
		return "gets no boot file" + why
	}
	return "boots image." + n.Image + why
}
