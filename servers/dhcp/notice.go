package dhcp

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"hostler/render"
	"hostler/render/fact"
)

// Notice is something that somebody should look at, however many packets show it.
type Notice struct {
	Kind    render.NoticeKind `json:"kind"`
	Subject string            `json:"subject"` // which pool, relay agent, server or address
	Detail  string            `json:"detail"`  // of the last packet
	MAC     fact.MAC          `json:"mac"`     // of its machine
	Node    fact.NodeName     `json:"node,omitempty"`
	First   time.Time         `json:"first"`
	Last    time.Time         `json:"last"`
	Count   uint64            `json:"count"`

	told time.Time // when it was news last
}

// NoticeTotal counts the packets that showed something of a kind, since the start.
type NoticeTotal struct {
	Kind   render.NoticeKind `json:"kind"`
	Subnet string            `json:"subnet,omitempty"` // empty for what belongs to none, such as an unknown relay agent
	Count  uint64            `json:"count"`
}

// mostNotices is how many of one kind are kept: who makes up relay agents must not push out the news of a full pool.
const mostNotices = 16

// notices are the newest ones of each kind.
type notices struct {
	mu    sync.Mutex
	lines allowance
	all   []*Notice
	sums  []NoticeTotal // one for each kind and subnet of the spec: a few
}

// count adds to the sum of a kind.
func (ns *notices) count(kind render.NoticeKind, subnet string) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	for i := range ns.sums {
		if s := &ns.sums[i]; s.Kind == kind && s.Subnet == subnet {
			s.Count++
			return
		}
	}
	ns.sums = append(ns.sums, NoticeTotal{kind, subnet, 1})
}

func (ns *notices) totals() []NoticeTotal {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return slices.Clone(ns.sums)
}

// add counts a notice, and says whether it is news: it was not told for a minute, and not many others were.
func (ns *notices) add(n Notice, now time.Time) (news bool) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	place := ns.place(&n)
	n.First, n.told = now, time.Time{}
	if place.Subject == n.Subject && place.Count > 0 {
		n.First, n.told = place.First, place.told
	}
	n.Last, n.Count = now, place.Count+1
	since := now.Sub(n.told)
	if news = since < 0 || since >= limitEvery; news { // the clock may be set back
		n.told = now
		news = ns.lines.take(now) > 0
	}
	*place = n
	return news
}

// place is where a notice is kept: where it is already, or a new place, or that of the one seen longest ago.
func (ns *notices) place(n *Notice) *Notice {
	var oldest *Notice
	kind := 0
	for _, p := range ns.all {
		switch {
		case p.Kind != n.Kind:
			continue
		case p.Subject == n.Subject:
			return p
		case oldest == nil || p.Last.Before(oldest.Last):
			oldest = p
		}
		kind++
	}
	if kind < mostNotices {
		oldest = new(Notice)
		ns.all = append(ns.all, oldest)
	}
	oldest.Count = 0
	return oldest
}

// list gives the notices, the last one first.
func (ns *notices) list() []Notice {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	var all []Notice
	for _, n := range ns.all {
		all = append(all, *n)
	}
	slices.SortFunc(all, func(a, b Notice) int { return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Subject, b.Subject)) })
	return all
}

// notice tells the operator of something beside the one packet that shows it, and says whether that is news.
func (r *report) notice(x *exchange, what render.Notice) (news bool) {
	if what.Kind == "" {
		return false
	}
	n := Notice{Kind: what.Kind, Subject: what.Subject, Detail: x.detail, MAC: x.facts.MAC, Node: x.node}
	r.notices.count(what.Kind, x.subnet)
	news = r.notices.add(n, r.cfg.Now())
	if news {
		r.cfg.Log.Warn("dhcp: "+string(n.Kind), "subject", n.Subject, "mac", n.MAC, "node", n.Node, "err", n.Detail)
	}
	return news
}
