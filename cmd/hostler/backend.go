package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"hostler/reconcile"
	"hostler/reconcile/inbox"
	"hostler/reconcile/timeline"
	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/admin"
	"hostler/spec"
)

// server is the backend of the admin API.
var _ admin.Backend = (*server)(nil)

// Status implements admin.Backend.
func (s *server) Status() any {
	st := serverStatus{
		Version: versionText(), Started: s.started, Reconcile: s.recon.Status(), History: s.recon.History(), DHCP: s.dhcp.State(),
		Leases: s.inUse(), Listen: s.listens, Checks: s.Checks(),
	}
	st.Health = admin.Overall(st.Checks)
	if snapshot, _ := s.recon.Current(); snapshot != nil {
		st.Nodes = len(snapshot.Fleet().Nodes)
		st.NotServed = notServed(snapshot.Fleet().Subnets)
		st.Orders = ordersIn(snapshot)
	}
	return st
}

// ordersIn lists the orders that are in force, by node. Most nodes have none.
func ordersIn(s *render.Snapshot) []nodeOrders {
	var list []nodeOrders
	for name, a := range s.Assignments().Nodes {
		n, declared := s.Node(string(name))
		if a.Hold.Reason == "" && a.Override.Order == "" || !declared {
			continue
		}
		o := nodeOrders{Node: name}
		if n.Assignment.Hold.Reason != "" {
			o.Hold = n.Assignment.Hold.String()
		}
		if n.Assignment.Override.Order != "" {
			o.Override = n.Assignment.Override.String()
		}
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b nodeOrders) int { return cmp.Compare(a.Node, b.Node) })
	return list
}

// notServed are the subnets that name their boot servers, none of which is this host: towards their machines it is silent.
func notServed(subnets []spec.Subnet) []subnetProblem {
	var problems []subnetProblem
	own, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	here := func(a netip.Addr) bool {
		return slices.ContainsFunc(own, func(o net.Addr) bool { p, err := netip.ParsePrefix(o.String()); return err == nil && p.Addr() == a })
	}
	for i := range subnets {
		sn := &subnets[i]
		if sn.DHCP == "off" || len(sn.BootServers) == 0 || slices.ContainsFunc(sn.BootServers, here) {
			continue
		}
		text := make([]string, len(sn.BootServers))
		for j, a := range sn.BootServers {
			text[j] = a.String()
		}
		problems = append(problems, subnetProblem{sn.Name, "none of its boot_servers (" + strings.Join(text, ", ") + ") is an address of this host"})
	}
	return problems
}

// inUse counts the leases that run.
func (s *server) inUse() (n int) {
	s.leases.Each(func(_ netip.Addr, state fact.LeaseState) {
		if state == fact.Bound {
			n++
		}
	})
	return n
}

// nodeStatus is a declared machine with what is known of it.
type nodeStatus struct {
	render.NodeInfo
	State string         `json:"state"` // unseen, held, or the newest boot's outcome
	Lease *fact.Lease    `json:"lease,omitempty"`
	Boot  *timeline.Boot `json:"last_boot,omitempty"`
}

// Nodes implements admin.Backend. Only for those that are wanted is anything put together.
func (s *server) Nodes(f admin.Filter) any {
	nodes := []nodeStatus{}
	snapshot, _ := s.recon.Current()
	if snapshot == nil {
		return nodes
	}
	boots := map[fact.MAC]*timeline.Boot{}
	for _, b := range s.boots.Latest(nil) {
		boots[b.MAC] = &b
	}
	for i := range snapshot.Fleet().Nodes {
		n := &snapshot.Fleet().Nodes[i]
		mac, subnet, held := snapshot.Boots(n)
		state := "unseen"
		if b := boots[mac]; b != nil {
			state = string(outcome(snapshot, mac, b.Outcome))
			b.Outcome = timeline.Outcome(state)
		}
		if held {
			state = "held"
		}
		if f.Subnet != "" && f.Subnet != subnet || f.State != "" && f.State != state {
			continue
		}
		info, _ := snapshot.Node(string(n.Name))
		st := nodeStatus{NodeInfo: info, State: state, Boot: boots[mac]}
		if l, ok := s.leases.Held(mac, subnet); ok {
			st.Lease = &l
		}
		nodes = append(nodes, st)
	}
	return nodes
}

// Leases implements admin.Backend.
func (s *server) Leases() []fact.Lease { return s.leases.List() }

// stranger is a machine that nobody declared, with the address that it has, if it has one.
type stranger struct {
	inbox.Machine
	Address netip.Addr `json:"address,omitzero"`
}

// Inbox implements admin.Backend.
func (s *server) Inbox(f admin.Filter) (any, error) {
	snapshot, _ := s.recon.Current()
	machines := s.inbox.List(func(mac fact.MAC) bool {
		if snapshot == nil {
			return false
		}
		_, _, _, declared := snapshot.Belongs(mac)
		return declared
	})
	mac, err := fact.ParseMAC(f.Machine)
	if f.Machine != "" && err != nil {
		return nil, err
	}
	strangers := []stranger{}
	for _, m := range machines {
		if f.Machine != "" && m.MAC != mac || f.Subnet != "" && m.Subnet != f.Subnet {
			continue
		}
		st := stranger{Machine: m}
		if l, ok := s.leases.Held(m.MAC, m.Subnet); ok {
			st.Address = l.Addr
		}
		strangers = append(strangers, st)
	}
	return strangers, nil
}

// Boots implements admin.Backend.
func (s *server) Boots(f admin.Filter) (any, error) {
	if f.Machine == "" {
		return s.latest(f), nil
	}
	mac, err := s.machine(f.Machine)
	if err != nil {
		return nil, err
	}
	boots := s.boots.Boots(mac, f.Newest)
	snapshot, _ := s.recon.Current()
	for i := range boots {
		boots[i].Outcome = outcome(snapshot, mac, boots[i].Outcome)
	}
	return boots, nil
}

// outcome puts right what the timeline cannot know: a machine that is to start from its disk is not stuck when it says no more.
func outcome(s *render.Snapshot, mac fact.MAC, o timeline.Outcome) timeline.Outcome {
	if o == timeline.Stuck && s != nil && s.Local(mac) {
		return timeline.Local
	}
	return o
}

// latest are the newest boots of the machines that a filter lets through.
func (s *server) latest(f admin.Filter) []timeline.Boot {
	snapshot, _ := s.recon.Current()
	boots := s.boots.Latest(func(mac fact.MAC, _ fact.Stage, o timeline.Outcome) bool {
		if f.State != "" && f.State != string(outcome(snapshot, mac, o)) {
			return false
		}
		if f.Subnet == "" || snapshot == nil {
			return f.Subnet == ""
		}
		subnet, _, _, _ := snapshot.Belongs(mac)
		return subnet == f.Subnet
	})
	for i := range boots {
		boots[i].Outcome = outcome(snapshot, boots[i].MAC, boots[i].Outcome)
	}
	return boots
}

func (s *server) machine(name string) (fact.MAC, error) {
	mac, err := fact.ParseMAC(name) // of any of a node's cards
	if snapshot, _ := s.recon.Current(); err != nil && snapshot != nil {
		if node, ok := snapshot.Node(name); ok {
			mac, err = node.MAC, nil
		}
	}
	if err != nil {
		return mac, fmt.Errorf("%q is neither a node nor a MAC address", name)
	}
	return mac, nil
}

// Served implements admin.Backend.
func (s *server) Served() (any, error) {
	snapshot, rev := s.recon.Current()
	st := servedState{Revision: rev, Leases: s.leases.List(), Vars: s.config.Vars}
	if chain := s.dhcp.State().Plugins; len(chain) > 1 {
		st.Plugins = chain
	}
	if snapshot != nil {
		st.Fleet, st.Artifacts, st.Since = snapshot.Fleet(), s.recon.Artifacts(), s.recon.Status().ServingSince
		st.Assignments = snapshot.Assignments()
	}
	return st, nil
}

// Reconcile implements admin.Backend.
func (s *server) Reconcile(ctx context.Context) error { return s.recon.Reconcile(ctx) }

// Apply implements admin.Backend.
func (s *server) Apply(ctx context.Context, r admin.ApplyRequest) (any, error) {
	rev := r.Revision
	if rev == "" {
		rev = s.recon.Status().Observed
	}
	if rev == "" {
		return nil, fmt.Errorf("%w: no revision was observed yet", admin.ErrRefused)
	}
	candidate, err := s.recon.Prepare(ctx, rev)
	if err != nil {
		return nil, err
	}
	current, base := s.recon.Current()
	plan := reconcile.NewPlan(current, candidate.Snapshot, s.leases.List())
	plan.Revision, plan.Base = rev, base
	if r.Plan {
		return plan, nil
	}
	if r.Expect != "" && r.Expect != plan.Digest {
		return nil, fmt.Errorf("%w: the plan is not the one that was shown any more: its digest is %.8s now", admin.ErrRefused, plan.Digest)
	}
	return plan, s.recon.Apply(ctx, rev)
}

// Follow implements admin.Backend.
func (s *server) Follow(ctx context.Context, f func(fact.Event)) { s.boots.Follow(ctx, f) }

// Backup implements admin.Backend. Leases that are only in the journal so far are put into the store first.
func (s *server) Backup(ctx context.Context, w io.Writer) error {
	if err := s.leases.Checkpoint(ctx); err != nil {
		return fmt.Errorf("checkpointing the leases: %v", err)
	}
	bounded, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	return s.store.Backup(bounded, w)
}
