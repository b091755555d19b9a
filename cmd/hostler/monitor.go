package main

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sort"
	"time"

	"hostler/reconcile"
	"hostler/reconcile/ledger"
	"hostler/reconcile/timeline"
	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/admin"
	"hostler/servers/dhcp"
	"hostler/servers/metrics"
	"hostler/spec"
)

// Metrics implements admin.Watched.
func (s *server) Metrics() http.Handler { return s.metrics }

// event is where every server reports to.
func (s *server) event(e fact.Event) {
	s.metrics.Event(e)
	s.boots.Record(e)
	s.inbox.Record(&e)
}

// progress counts boots, and tells of a declared machine what somebody wants to read who looks at the log in the morning: that it
// got its script, that it was ready, or that it began again without having been. The other stages are in `hostler boots`.
func (s *server) progress(p timeline.Progress) {
	s.keeper.progress(p)
	image := ""
	if snapshot, _ := s.recon.Current(); snapshot != nil {
		_, image, _, _ = snapshot.Belongs(p.MAC)
	}
	level, msg := slog.LevelDebug, "boot: "+p.Stage.String()
	switch p.Outcome {
	case timeline.Booting:
		s.metrics.Reached(p.Stage, image, p.After)
		if p.Stage == fact.StageScript {
			level = slog.LevelInfo
		}
	case timeline.Ready:
		s.metrics.Reached(fact.StageReady, image, p.After)
		s.metrics.Ready(image)
		s.proven.add(image)
		level = slog.LevelInfo
	case timeline.Ended:
		s.metrics.Abandoned(image, p.Stage)
		level, msg = slog.LevelWarn, "boot: given up for another"
	}
	ctx := context.Background()
	if p.Node == "" { // machines that nobody declared can be made up
		level = slog.LevelDebug
	}
	if !s.log.Enabled(ctx, level) {
		return
	}
	s.log.Log(ctx, level, msg, "mac", p.MAC, "node", p.Node, "boot", p.Boot, "revision", p.Revision.Short(),
		"stage", p.Stage, "image", image, "after", p.After.Round(time.Millisecond))
}

// sample implements what the metrics ask for at a scrape.
func (s *server) sample() metrics.Sample {
	r, d := s.recon.Status(), s.dhcp.State()
	v := metrics.Sample{
		Version: versionText(), Revision: r.LastApplied, Applied: r.ServingSince, Checked: r.Checked, Pending: r.Pending != "",
		Healthy: map[string]float64{}, Failures: map[string]uint64{}, Dropped: map[string]uint64{"dhcp": d.Dropped, "events": s.boots.Lost()},
		Nodes: map[metrics.NodeState]int{}, Stuck: map[metrics.Stuck]int{}, Pools: map[metrics.PoolState]uint64{},
	}
	v.Notices = noticed(d.Totals)
	t := s.tftp.State()
	v.TFTPRunning, v.TFTPResent, v.TFTPRepeat, v.TFTPStray, v.Dropped["tftp"] = t.Running, t.Resent, t.Repeated, t.Strangers, t.Lost
	h := s.http.State()
	v.HTTPConns, v.HTTPSending, v.HTTPWaiting, v.Dropped["http"] = h.Connections, h.Sending, h.Waiting, h.Refused
	if s.tls != nil {
		v.Expires = s.tls.Leaf().NotAfter
	}
	v.Packets, v.PacketsFrom = s.packets.Size()
	for _, c := range s.Checks() {
		v.Healthy[c.Name] = map[admin.Health]float64{admin.Healthy: 1, admin.Degraded: 0.5}[c.Health]
	}
	v.Stages = map[string]time.Duration{}
	for _, st := range r.Stages {
		v.Stages[st.Stage] = st.Took
	}
	for _, reason := range reconcile.Failures() {
		v.Failures[string(reason)] = r.Failures[reason]
	}
	snapshot, _ := s.recon.Current()
	if snapshot == nil {
		return v
	}
	for i := range snapshot.Fleet().Subnets { // from zero on: who asks for an increase misses the first one otherwise
		for _, kind := range []string{metrics.Exhausted, metrics.Foreign, metrics.Conflict} {
			v.Notices[metrics.Notice{Kind: kind, Subnet: snapshot.Fleet().Subnets[i].Name}] += 0
		}
	}
	s.countNodes(snapshot, &v)
	s.countPools(snapshot, &v)
	return v
}

// noticed gives the sums of notices under the names of metrics.
func noticed(totals []dhcp.NoticeTotal) map[metrics.Notice]uint64 {
	counts := map[metrics.Notice]uint64{{Kind: metrics.Relay}: 0}
	for _, t := range totals {
		n := metrics.Notice{Kind: map[render.NoticeKind]string{
			render.PoolExhausted: metrics.Exhausted, render.ForeignServer: metrics.Foreign,
			render.AddressConflict: metrics.Conflict, render.UnknownRelay: metrics.Relay,
		}[t.Kind], Subnet: t.Subnet}
		if n.Kind == metrics.Relay {
			n.Subnet = ""
		}
		counts[n] += t.Count
	}
	return counts
}

// countNodes counts the declared machines by the state of their newest boots.
func (s *server) countNodes(snapshot *render.Snapshot, v *metrics.Sample) {
	unseen := snapshot.Counts()
	s.boots.Each(func(mac fact.MAC, _ fact.Stage, o timeline.Outcome) {
		subnet, _, held, declared := snapshot.Belongs(mac)
		if !declared {
			return
		}
		o = outcome(snapshot, mac, o)
		state := string(o)
		if held {
			state = "held"
		}
		v.Nodes[metrics.NodeState{Subnet: subnet, State: state}]++
		unseen[subnet]--
	})
	for subnet, n := range unseen {
		v.Nodes[metrics.NodeState{Subnet: subnet, State: "unseen"}] = max(n, 0)
	}
	for _, m := range s.surroundings(false).stuck(admin.Filter{}) {
		if m.Boot != nil {
			v.Stuck[metrics.Stuck{Stage: m.Boot.Stage, Cause: m.Diagnosis.Rule}]++
		}
	}
}

// poolRange is a part of a pool.
type poolRange struct {
	fact.Range
	state metrics.PoolState // without the state
}

// countPools counts the addresses of every pool. Those that the spec gives to machines are not in it: they are never leased to others.
func (s *server) countPools(snapshot *render.Snapshot, v *metrics.Sample) {
	var ranges []poolRange
	add := func(p metrics.PoolState, state string, n int64) {
		p.State = state
		v.Pools[p] += uint64(n)
	}
	for i := range snapshot.Fleet().Subnets {
		sn := &snapshot.Fleet().Subnets[i]
		for j := range sn.Pools {
			p := metrics.PoolState{Subnet: sn.Name, Pool: sn.Pools[j].Name, Kind: string(sn.Pools[j].Serves)}
			for _, state := range []string{"total", string(fact.Bound), string(fact.Offered), string(fact.Declined)} {
				add(p, state, 0)
			}
			for _, r := range sn.Pools[j].Ranges {
				ranges = append(ranges, poolRange{r, p})
				add(p, "total", span(r))
			}
		}
	}
	slices.SortFunc(ranges, func(a, b poolRange) int { return a.First.Compare(b.First) })
	in := func(a netip.Addr) (metrics.PoolState, bool) {
		i := sort.Search(len(ranges), func(i int) bool { return ranges[i].First.Compare(a) > 0 })
		if i == 0 || !ranges[i-1].Contains(a) {
			return metrics.PoolState{}, false
		}
		return ranges[i-1].state, true
	}
	for i := range snapshot.Fleet().Nodes {
		for _, ifc := range snapshot.Fleet().Nodes[i].Interfaces {
			if p, ok := in(ifc.Addr); ok && ifc.Addr.IsValid() && p.Kind != string(spec.ServesReserved) {
				p.State = "total"
				v.Pools[p]--
			}
		}
	}
	s.leases.Each(func(a netip.Addr, state fact.LeaseState) {
		if p, ok := in(a); ok && (p.Kind == string(spec.ServesReserved) || !snapshot.Declared(a)) {
			add(p, string(state), 1)
		}
	})
}

// span is how many addresses a range has.
func span(r fact.Range) int64 {
	first, last := r.First.As4(), r.Last.As4()
	return int64(binary.BigEndian.Uint32(last[:])) - int64(binary.BigEndian.Uint32(first[:])) + 1
}

// measured is a store whose transactions are counted.
type measured struct {
	ledger.Store
	metrics *metrics.Metrics
}

// Txn implements ledger.Store.
func (m measured) Txn(ctx context.Context, conds []ledger.Cond, ops []ledger.Op) (bool, error) {
	begun := time.Now()
	ok, err := m.Store.Txn(ctx, conds, ops)
	m.metrics.Stored("txn", time.Since(begun), err)
	return ok, err
}
