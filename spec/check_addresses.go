package spec

import (
	"fmt"
	"net/netip"
	"slices"

	"hostler/render/fact"
)

// poolRange is one range of a pool, for looking up which pool an address is in.
type poolRange struct {
	fact.Range
	pool *body
	name string
}

// poolOverlaps refuses pools that share addresses.
func (p *parser) poolOverlaps(in *instance, pools map[string]*body, s *Subnet) {
	var all []poolRange
	for _, pool := range s.Pools {
		for _, r := range pool.Ranges {
			all = append(all, poolRange{r, pools[pool.Name], pool.Name})
		}
	}
	slices.SortStableFunc(all, func(a, b poolRange) int { return a.First.Compare(b.First) })
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		if !a.Last.Less(b.First) {
			p.rep.err("pool-overlap", in.spot(b.pool.attrs["range"].at()), "Pools overlap",
				fmt.Sprintf("%s of pool %q and %s of pool %q share addresses. Each address belongs to one pool at most.", b.Range, b.name, a.Range, a.name),
				related("The other is here.", in.spot(a.pool.attrs["range"].at())))
		}
		if b.Last.Less(a.Last) {
			all[i] = a // the longer one may reach over several
		}
	}
}

// checkSubnet refuses infrastructure addresses that cannot be, or that a pool would give away.
func (p *parser) checkSubnet(in *instance, pools map[string]*body, s *Subnet) {
	infra := func(attr, what string, a netip.Addr, inside bool) {
		at := in.spot(in.body.at)
		if x := in.body.attrs[attr]; x != nil {
			at = in.spot(x.at())
		}
		if inside && !s.CIDR.Contains(a) {
			p.rep.err("address-outside-subnet", at, "Address outside its subnet", fmt.Sprintf("The %s %s is not inside %s, the addresses of subnet.%s.", what, a, s.CIDR, s.Name),
				related("The subnet is here.", in.spot(in.body.attrs["cidr"].at())))
			return
		}
		if s.CIDR.Contains(a) && slices.ContainsFunc(endsOf(s.CIDR), func(r fact.Range) bool { return r.Contains(a) }) {
			p.rep.err("network-address", at, "Not an address for machines", fmt.Sprintf("The %s %s is the network or broadcast address of %s.", what, a, s.CIDR))
		}
		for _, pool := range s.Pools {
			for _, r := range pool.Ranges {
				if r.Contains(a) {
					p.rep.err("infrastructure-in-pool", at, "Address lies in a pool", fmt.Sprintf("The %s %s lies in pool %q (%s), so a machine could be given it. Exclude it, or change the range.", what, a, pool.Name, r),
						related("The pool is here.", in.spot(pools[pool.Name].attrs["range"].at())))
				}
			}
		}
	}
	if s.Gateway.IsValid() {
		infra("gateway", "gateway", s.Gateway, true)
	}
	for _, a := range s.BootServers {
		infra("boot_servers", "boot server", a, false)
	}
	for _, a := range s.Relays {
		infra("relays", "relay", a, false)
	}
}

// checkAddresses holds subnets against each other, and the addresses of nodes against their subnets.
func (p *parser) checkAddresses() {
	p.subnetOverlaps()
	index := make([][]poolRange, len(p.fleet.Subnets))
	infra := make([]map[netip.Addr]string, len(p.fleet.Subnets))
	for i := range p.fleet.Subnets {
		s := &p.fleet.Subnets[i]
		infra[i] = map[netip.Addr]string{}
		for _, a := range s.BootServers {
			infra[i][a] = "boot server"
		}
		for _, a := range s.Relays {
			infra[i][a] = "relay"
		}
		if s.Gateway.IsValid() {
			infra[i][s.Gateway] = "gateway"
		}
		for _, pool := range s.Pools {
			for _, r := range pool.Ranges {
				index[i] = append(index[i], poolRange{Range: r, name: pool.Name})
			}
		}
		slices.SortFunc(index[i], func(a, b poolRange) int { return a.First.Compare(b.First) })
	}
	if p.unchanged() && p.addressing() == p.mem.addressing {
		return
	}
	for _, n := range p.nodeList {
		for _, nic := range n.Interfaces {
			if i, ok := p.subnetByName[nic.Subnet]; ok && nic.Addr.IsValid() {
				p.checkNodeAddress(n, &nic, i, index[i], infra[i])
			}
		}
	}
}

// nicBody is the block that an interface was read from.
func (n *nodeSource) nicBody(name string) *body {
	for _, b := range n.body.blocks["interface"] {
		if b.labels[0] == name {
			return b
		}
	}
	return n.body
}

func (p *parser) checkNodeAddress(n *nodeSource, nic *Interface, i int, ranges []poolRange, infra map[netip.Addr]string) {
	s, in := &p.fleet.Subnets[i], p.subnetList[i].in
	at := n.nicSpot(nic.Name, "address")
	cidrAt := related("The subnet is here.", in.spot(in.body.attrs["cidr"].at()))
	switch {
	case !s.CIDR.Contains(nic.Addr):
		detail := fmt.Sprintf("The address of %s, %s, is not inside %s, the addresses of subnet.%s.", n.Address, nic.Addr, s.CIDR, s.Name)
		if other := p.subnetOf(nic.Addr); other != "" {
			detail += fmt.Sprintf(" It is inside subnet.%s.", other)
		}
		p.rep.err("address-outside-subnet", at, "Address outside its subnet", detail, cidrAt)
		return
	case slices.ContainsFunc(endsOf(s.CIDR), func(r fact.Range) bool { return r.Contains(nic.Addr) }):
		p.rep.err("network-address", at, "Not an address for machines", fmt.Sprintf("The address of %s, %s, is the network or broadcast address of %s.", n.Address, nic.Addr, s.CIDR), cidrAt)
		return
	}
	if what := infra[nic.Addr]; what != "" {
		p.rep.err("infrastructure-address", at, "Address is taken", fmt.Sprintf("The address of %s, %s, is that of the %s of subnet.%s.", n.Address, nic.Addr, what, s.Name), cidrAt)
	}
	j, _ := slices.BinarySearchFunc(ranges, nic.Addr, func(r poolRange, a netip.Addr) int {
		if r.Last.Less(a) {
			return -1
		}
		return 1
	})
	if j == len(ranges) || !ranges[j].Contains(nic.Addr) {
		return
	}
	for _, pool := range s.Pools {
		if pool.Name == ranges[j].name && pool.Serves != ServesReserved && pool.Serves != ServesAny {
			p.rep.err("reservation-in-wrong-pool", at, "Address lies in another pool",
				fmt.Sprintf("The address of %s, %s, lies in pool %q, which serves %q and could give it to another machine. Take one from a pool that serves \"reserved\", or exclude it there.", n.Address, nic.Addr, pool.Name, pool.Serves),
				related("The pool is here.", in.spot(poolBody(in, pool.Name).at)))
		}
	}
}

func poolBody(in *instance, name string) *body {
	for _, b := range in.body.blocks["pool"] {
		if b.labels[0] == name {
			return b
		}
	}
	return in.body
}

// nicSpot is where an attribute of an interface stands.
func (n *nodeSource) nicSpot(name, attr string) spot {
	b := n.nicBody(name)
	if a := b.attrs[attr]; a != nil {
		return n.spot(a.at())
	}
	return n.spot(b.at)
}

// subnetOf names the subnet that an address is in.
func (p *parser) subnetOf(a netip.Addr) string {
	for i := range p.fleet.Subnets {
		if p.fleet.Subnets[i].CIDR.Contains(a) {
			return p.fleet.Subnets[i].Name
		}
	}
	return ""
}

// subnetOverlaps refuses subnets that share addresses. In the order of their first addresses, a block can only overlap
// one before it that is still open.
func (p *parser) subnetOverlaps() {
	order := slices.Clone(p.subnetList)
	slices.SortStableFunc(order, func(a, b subnetSource) int {
		if c := a.cidr.Addr().Compare(b.cidr.Addr()); c != 0 {
			return c
		}
		return a.cidr.Bits() - b.cidr.Bits()
	})
	for i := 1; i < len(order); i++ {
		a, b := order[i-1], order[i]
		if !a.cidr.Overlaps(b.cidr) {
			continue
		}
		p.rep.err("subnet-overlap", b.in.spot(b.in.body.attrs["cidr"].at()), "Subnets overlap",
			fmt.Sprintf("subnet.%s (%s) and subnet.%s (%s) share addresses, so it is unclear whose a machine's address is.", b.in.name, b.cidr, a.in.name, a.cidr),
			related("The other is here.", a.in.spot(a.in.body.attrs["cidr"].at())))
		order[i] = a // the larger one goes on being compared
	}
}
