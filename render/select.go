package render

import (
	"cmp"
	"fmt"
	"net/netip"
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
	at, via, routed := s.where(f)
	i, ok := s.pick(at, p, declared, wanted(f))
	if !ok {
		c := Choice{Ignore: fmt.Sprintf("no subnet: nothing is declared for %s", via)}
		if f.GIAddr.IsValid() {
			c.Notice = Notice{UnknownRelay, f.GIAddr.String()}
		}
		return c
	}
	sn := &s.subnets[i]
	c := Choice{Subnet: sn.Name}
	if declared {
		c.Node = s.fleet.Nodes[p.node].Name
	} else {
		c.cpu = f.Arch.Processor()
	}
	if sn.DHCP == "off" {
		c.Ignore = fmt.Sprintf("subnet %s: dhcp is off", sn.Name)
		return c
	}
	if c.Server, c.Ignore = serverAddress(sn, f); c.Ignore != "" {
		return c
	}
	c.ID = c.Server
	if f.GIAddr.IsValid() && f.Override.IsValid() {
		c.ID = f.Override
	}
	if sn.DHCP == "proxy" || f.BootServer {
		s.selectProxy(&c, sn, f)
		return c
	}
	c.Claim = fact.Claim{MAC: f.MAC, Node: c.Node, Subnet: sn.Name, Want: wanted(f), Hostname: f.Hostname}
	c.asked = f.LeaseTime
	if declared {
		s.claimDeclared(&c, sn, p)
	} else {
		// A renewal that a router passed on is believed only when it names a lease of ours: its sender chose the subnet.
		c.Nak = sn.Unknown >= 0 && sn.Authoritative && !routed
		s.claimUnknown(&c, sn)
	}
	if c.Claim.Pool != "" { // a declared address is its machine's, whoever else uses it
		c.Check = sn.ConflictCheck
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

// wanted is the address that the client names: the one that it has, or else the one that it asks for.
func wanted(f *fact.Facts) netip.Addr {
	if f.CIAddr.IsValid() {
		return f.CIAddr
	}
	return f.Requested
}

func (s *Snapshot) claimDeclared(c *Choice, sn *subnet, p port) {
	n := &s.fleet.Nodes[p.node]
	ifc := &n.Interfaces[p.iface]
	c.Claim.Hostname, c.Nak = hostname(n, ifc), true
	switch {
	case ifc.Subnet != sn.Name:
		// A machine on the wrong wire keeps no address of its own there; it is treated as the stranger that it is. The address
		// that it remembers is refused, where we know every address (RFC 2131 section 4.3.2, INIT-REBOOT on the wrong network).
		c.Nak = sn.Authoritative
		if sn.Unknown < 0 || !c.take(&sn.unknown, s.settings(sn.Unknown).Lease) {
			c.None = fmt.Sprintf("node %s: declared on subnet %s, asking on %s", n.Name, ifc.Subnet, sn.Name)
		}
	case ifc.Addr.IsValid():
		c.Claim.Fixed, c.Claim.For = ifc.Addr, leaseTime(s.lease(sn, p), c.asked)
	case !c.take(&sn.boot, s.lease(sn, p)):
		c.Ignore = fmt.Sprintf("node %s: no address, and subnet %s has no pool that serves boot or any", n.Name, sn.Name)
	}
}

func (s *Snapshot) claimUnknown(c *Choice, sn *subnet) {
	if sn.Unknown < 0 {
		c.Ignore = fmt.Sprintf("unknown machine: subnet %s has no unknown group", sn.Name)
	} else if profile, _ := s.stranger(sn, c.cpu); !c.take(&sn.unknown, s.settings(profile).Lease) {
		c.Ignore = fmt.Sprintf("unknown machine: subnet %s has no pool that serves unknown or any", sn.Name)
	}
}

// take claims an address of a pool, if there is one.
func (c *Choice) take(p *pool, l spec.Lease) bool {
	c.Claim.Pool, c.Claim.Ranges, c.Claim.Pools, c.lease, c.pools = p.name, p.free, p.names, l, p.leases
	c.settle(netip.Addr{})
	return p.name != ""
}

// settle takes over from the leases which address it is: of several pools, each has its name and its lease times.
func (c *Choice) settle(a netip.Addr) {
	if c.pools == nil {
		return
	}
	c.Claim.Pool = c.Claim.PoolOf(a)
	c.Claim.For = leaseTime(layLease(c.lease, c.pools[c.Claim.Pool]), c.asked)
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
