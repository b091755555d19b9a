package render

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"hostler/render/fact"
)

// where gives the subnets that a request can come from, and what says so. A machine on a local wire never chooses: its
// link selection does not count, and neither does option 118 (RFC 3011), which hostler does not read. Routed is a
// request that a router passed on as it is.
func (s *Snapshot) where(f *fact.Facts) (at []int, via string, routed bool) {
	if f.GIAddr.IsValid() {
		at, via = s.behind(f)
		return at, via, false
	}
	for _, p := range f.Ingress.Prefixes {
		for _, i := range s.networks.at(p.Addr()) {
			if s.subnets[i].CIDR.Contains(p.Addr()) { // an address of ours that is also somebody's relay says nothing
				at = append(at, i)
			}
		}
	}
	slices.Sort(at)
	at = slices.Compact(at)
	// A machine behind a relay agent renews by unicast, which the agent does not see: only its address says where it is.
	if far := s.networks.holding(f.CIAddr); f.To.IsValid() && f.From == f.CIAddr && len(far) > 0 && !slices.Contains(at, far[0]) {
		return far, "address " + f.CIAddr.String(), true
	}
	return at, "interface " + f.Ingress.Interface, false
}

// behind gives the subnets behind a relay agent: the one that it selects (RFC 3527), else those that it is declared for,
// or has an address in. Whoever is no relay agent of ours selects nothing.
func (s *Snapshot) behind(f *fact.Facts) (at []int, via string) {
	via = "relay " + f.GIAddr.String()
	if at = s.networks.at(f.GIAddr); len(at) > 0 && f.Link.IsValid() {
		at, via = s.networks.at(f.Link), fmt.Sprintf("link %s of %s", f.Link, via)
	}
	return at, via
}

// pick chooses among several subnets on one wire: the declared node's own; else, of those that take unknown machines, the
// one that the client has an address in, or the first; else the first.
func (s *Snapshot) pick(at []int, p port, declared bool, wanted netip.Addr) (int, bool) {
	if len(at) == 0 {
		return 0, false
	}
	best, points := at[0], 0
	for _, i := range at {
		sn, n := &s.subnets[i], 0
		switch {
		case declared && sn.Name == s.fleet.Nodes[p.node].Interfaces[p.iface].Subnet:
			n = 3
		case sn.Unknown >= 0 && sn.DHCP != "off" && sn.CIDR.Contains(wanted):
			n = 2
		case sn.Unknown >= 0 && sn.DHCP != "off":
			n = 1
		}
		if n > points {
			best, points = i, n
		}
	}
	return best, true
}

// serverAddress is the address of this host that answers on a subnet, or why none does.
func serverAddress(sn *subnet, f *fact.Facts) (netip.Addr, string) {
	for _, a := range sn.BootServers {
		if slices.Contains(f.Ingress.Owned, a) {
			return a, ""
		}
	}
	if len(sn.BootServers) > 0 {
		return netip.Addr{}, fmt.Sprintf("subnet %s: none of its boot_servers is this host", sn.Name)
	}
	for _, p := range f.Ingress.Prefixes {
		if sn.CIDR.Contains(p.Addr()) {
			return p.Addr(), ""
		}
	}
	if f.To.IsValid() { // relayed: the address that the relay agent reached us by
		return f.To, ""
	}
	for _, p := range f.Ingress.Prefixes {
		if p.Addr().Is4() && !p.Addr().IsLoopback() {
			return p.Addr(), ""
		}
	}
	for _, a := range f.Ingress.Owned {
		if a.Is4() && !a.IsLoopback() {
			return a, ""
		}
	}
	return netip.Addr{}, fmt.Sprintf("subnet %s: interface %s has no address", sn.Name, f.Ingress.Interface)
}

// Alone reports whether no other DHCP server should give addresses in a subnet.
func (s *Snapshot) Alone(subnet string) bool {
	i, ok := s.bySubnet[subnet]
	return ok && s.subnets[i].Authoritative && s.subnets[i].DHCP == "full"
}

// Quarantine is how long an address rests that a machine found in use by another one.
func (s *Snapshot) Quarantine(a netip.Addr) time.Duration {
	rest := defaultQuarantine
	for _, i := range s.networks.holding(a) {
		rest = cmp.Or(s.subnets[i].Quarantine, rest)
	}
	return rest
}

// defaultQuarantine holds where a subnet says nothing.
const defaultQuarantine = 10 * time.Minute
