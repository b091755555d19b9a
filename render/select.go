package render

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"hostler/render/fact"
	"hostler/spec"
)

// Select finds subnet, node and address or pool for a DHCP request. It costs the same however many nodes there are.
func (s *Snapshot) Select(f *fact.Facts) Choice {
	if why := badMAC(f.MAC); why != "" {
		return Choice{Ignore: why}
	}
	p, declared := s.byMAC[f.MAC]
	at, via := s.where(f)
	i, ok := s.pick(at, p, declared)
	if !ok {
		return Choice{Ignore: fmt.Sprintf("no subnet: nothing is declared for %s", via)}
	}
	sn := &s.subnets[i]
	c := Choice{Subnet: sn.Name}
	if declared {
		c.Node = s.fleet.Nodes[p.node].Name
	}
	if sn.DHCP == "off" {
		c.Ignore = fmt.Sprintf("subnet %s: dhcp is off", sn.Name)
		return c
	}
	if c.Server, c.Ignore = serverAddress(sn, f); c.Ignore != "" {
		return c
	}
	c.Nak = declared || sn.Unknown >= 0 && sn.Authoritative
	c.Claim = fact.Claim{MAC: f.MAC, Node: c.Node, Subnet: sn.Name, Want: wanted(f), Hostname: f.Hostname}
	if declared {
		s.claimDeclared(&c, sn, p, f.LeaseTime)
	} else {
		s.claimUnknown(&c, sn, f.LeaseTime)
	}
	return c
}

// badMAC says why a hardware address cannot be a machine's own.
func badMAC(m fact.MAC) string {
	switch {
	case m.IsZero():
		return "hardware address: all zero"
	case m[0]&1 != 0: // group bit: multicast and broadcast
		return fmt.Sprintf("hardware address %s: multicast", m)
	}
	return ""
}

// where gives the subnets that a request can come from: by link selection (RFC 3527, RFC 3011), else by relay agent,
// else by the interface that it came in by.
func (s *Snapshot) where(f *fact.Facts) (at []int, via string) {
	if f.Link.IsValid() {
		return s.networks.at(f.Link), "link " + f.Link.String()
	}
	if f.GIAddr.IsValid() {
		return s.networks.at(f.GIAddr), "relay " + f.GIAddr.String()
	}
	for _, p := range f.Ingress.Prefixes {
		for _, i := range s.networks.at(p.Addr()) {
			if s.subnets[i].CIDR.Contains(p.Addr()) { // an address of ours that is also somebody's relay says nothing
				at = append(at, i)
			}
		}
	}
	slices.Sort(at)
	return slices.Compact(at), "interface " + f.Ingress.Interface
}

// pick chooses among several subnets on one wire: the declared node's own, else the first that takes unknown machines, else the first.
func (s *Snapshot) pick(at []int, p port, declared bool) (int, bool) {
	if len(at) == 0 {
		return 0, false
	}
	if declared {
		own := s.fleet.Nodes[p.node].Interfaces[p.iface].Subnet
		for _, i := range at {
			if s.subnets[i].Name == own {
				return i, true
			}
		}
	}
	for _, i := range at {
		if s.subnets[i].Unknown >= 0 && s.subnets[i].DHCP != "off" {
			return i, true
		}
	}
	return at[0], true
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
	for _, p := range f.Ingress.Prefixes { // relayed: the address that the relay agent reached us by
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

// wanted is the address that the client would like: the one it has, else the one it asks for.
func wanted(f *fact.Facts) netip.Addr {
	if f.CIAddr.IsValid() {
		return f.CIAddr
	}
	return f.Requested
}

func (s *Snapshot) claimDeclared(c *Choice, sn *subnet, p port, asked time.Duration) {
	n := &s.fleet.Nodes[p.node]
	ifc := &n.Interfaces[p.iface]
	c.Claim.Hostname = hostname(n, ifc)
	switch {
	case ifc.Subnet != sn.Name:
		// A machine on the wrong wire keeps no address of its own there; it is treated as the stranger that it is.
		if sn.Unknown < 0 || !c.take(&sn.unknown, s.settings(sn.Unknown).Lease, asked) {
			c.Ignore = fmt.Sprintf("node %s: declared on subnet %s, asking on %s", n.Name, ifc.Subnet, sn.Name)
		}
	case ifc.Addr.IsValid():
		c.Claim.Fixed, c.Claim.For = ifc.Addr, leaseTime(s.lease(sn, p), asked)
	case !c.take(&sn.boot, s.lease(sn, p), asked):
		c.Ignore = fmt.Sprintf("node %s: no address, and subnet %s has no pool that serves boot or any", n.Name, sn.Name)
	}
}

func (s *Snapshot) claimUnknown(c *Choice, sn *subnet, asked time.Duration) {
	if sn.Unknown < 0 {
		c.Ignore = fmt.Sprintf("unknown machine: subnet %s has no unknown group", sn.Name)
	} else if !c.take(&sn.unknown, s.settings(sn.Unknown).Lease, asked) {
		c.Ignore = fmt.Sprintf("unknown machine: subnet %s has no pool that serves unknown or any", sn.Name)
	}
}

// take claims an address of a pool, if there is one.
func (c *Choice) take(p *pool, l spec.Lease, asked time.Duration) bool {
	c.Claim.Pool, c.Claim.Ranges, c.Claim.For = p.name, p.free, leaseTime(layLease(l, p.lease), asked)
	return p.name != ""
}

// lease are the lease settings of a declared interface.
func (s *Snapshot) lease(sn *subnet, p port) spec.Lease {
	n := &s.fleet.Nodes[p.node]
	l := s.settings(s.profileOn(sn, n)).Lease
	if n.Own != nil {
		l = layLease(l, n.Own.Lease)
	}
	return l
}

// layLease lays what a stronger layer says of lease times over the weaker.
func layLease(weak, strong spec.Lease) spec.Lease {
	return spec.Lease{
		Default: cmp.Or(strong.Default, weak.Default), Min: cmp.Or(strong.Min, weak.Min), Max: cmp.Or(strong.Max, weak.Max),
	}
}

// profileOn is the profile of a node on a subnet: its own where it boots, the subnet's elsewhere.
func (s *Snapshot) profileOn(sn *subnet, n *spec.Node) int {
	if n.Profile >= 0 && n.Profile < len(s.fleet.Profiles) && s.fleet.Profiles[n.Profile].Subnet == sn.Name {
		return n.Profile
	}
	return sn.Default
}

// leaseTime is how long a lease runs: as long as the client asks for, within the limits, else the default (RFC 2131
// section 4.3.1). The default is the author's own word and not limited.
func leaseTime(l spec.Lease, asked time.Duration) time.Duration {
	if asked <= 0 {
		return cmp.Or(l.Default, defaultLease)
	}
	if most := cmp.Or(l.Max, defaultMaxLease); asked > most {
		asked = most
	}
	return max(asked, l.Min, time.Second)
}

func hostname(n *spec.Node, ifc *spec.Interface) string {
	if ifc.Hostname != "" {
		return ifc.Hostname
	}
	return string(n.Name)
}

// LeaseTime is how long the lease for the choice runs.
func (c *Choice) LeaseTime() time.Duration { return c.Claim.For }
