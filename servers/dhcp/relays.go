package dhcp

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// RelayState is a relay agent that passed on requests of a subnet since the start.
type RelayState struct {
	Addr   netip.Addr `json:"address"`
	Subnet string     `json:"subnet"` // of the last request
	Last   time.Time  `json:"last"`
	Count  uint64     `json:"count"`
}

// mostRelays bounds what is remembered: every address inside a subnet may be a relay agent's.
const mostRelays = 1024

// relays are the relay agents that were heard.
type relays struct {
	mu  sync.Mutex
	all map[netip.Addr]RelayState
}

// heard notes a request that a relay agent of a subnet passed on.
func (r *relays) heard(a netip.Addr, subnet string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, known := r.all[a]
	if !known && len(r.all) >= mostRelays {
		return
	}
	if r.all == nil {
		r.all = map[netip.Addr]RelayState{}
	}
	r.all[a] = RelayState{a, subnet, now, s.Count + 1}
}

func (r *relays) list() []RelayState {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []RelayState
	for _, s := range r.all {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b RelayState) int { return a.Addr.Compare(b.Addr) })
	return all
}
