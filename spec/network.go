package spec

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// subnets reads sites and subnets.
func (p *parser) subnets() {
	for _, in := range p.all("site") {
		in.common()
		p.siteServers[in.name], _ = in.addrs(in.body, "boot_servers")
	}
	for _, in := range p.all("subnet") {
		s, ok := p.subnet(in)
		if !ok {
			continue
		}
		p.siteOf[s.Name] = s.Site
		p.subnetList = append(p.subnetList, subnetSource{in, s.CIDR})
		p.subnetByName[s.Name] = len(p.fleet.Subnets)
		p.fleet.Subnets = append(p.fleet.Subnets, s)
	}
	for i := range p.fleet.Subnets { // profiles need every subnet's site
		s := &p.fleet.Subnets[i]
		p.profile(s.Name, nil, "")
		if s.UnknownGroup != "" {
			p.profile(s.Name, []string{s.UnknownGroup}, "")
		}
		for _, d := range s.Discovery {
			p.profile(s.Name, []string{d.Group}, "")
		}
	}
}

// subnetSource is where a subnet of the fleet came from.
type subnetSource struct {
	in   *instance
	cidr netip.Prefix
}

func (p *parser) subnet(in *instance) (Subnet, bool) {
	b := in.body
	in.common()
	s := Subnet{Name: in.name, DHCP: "full", Authoritative: true, Unknown: -1, Place: in.spot(b.at).place()}
	var ok bool
	if s.CIDR, ok = in.cidr(b); !ok {
		return s, false
	}
	s.Site, _ = in.ref(b, "site", "site")
	s.Gateway, _ = in.addr(b, "gateway")
	s.Relays, _ = in.addrs(b, "relays")
	if s.BootServers, _ = in.addrs(b, "boot_servers"); b.attrs["boot_servers"] == nil {
		s.BootServers = p.siteServers[s.Site]
	}
	if v, ok := in.flag(b, "authoritative"); ok {
		s.Authoritative = v
	}
	s.Quarantine, _ = in.duration(b, "quarantine")
	if v, ok := in.choice(b, "conflict_check", "off", "arp", "ping"); ok && v != "off" {
		s.ConflictCheck = v
	}
	if v, ok := in.number(b, "vlan", 1, 4094); ok {
		s.VLAN = int(v)
	}
	if v, ok := in.choice(b, "dhcp", "full", "proxy", "off"); ok {
		s.DHCP = v
	}
	s.UnknownGroup, s.Discovery = in.unknown(b)
	s.Exclude, _ = in.ranges(b, "exclude")
	if v, ok := in.str(b, "hostname_pattern"); ok {
		p.patterns[in.name] = v
		if why := hostnameProblem(strings.NewReplacer("{name}", "n", "{address}", "10-0-0-1").Replace(v)); why != "" {
			p.rep.err("bad-name", in.spot(b.attrs["hostname_pattern"].at()), "Name is not allowed", fmt.Sprintf("The host name pattern %q %s.", v, why))
		}
	}
	p.pools(in, &s)
	return s, true
}

// pools reads the pools of a subnet, and leaves in each what machines can have.
func (p *parser) pools(in *instance, s *Subnet) {
	seen := map[string]*body{}
	for _, n := range in.body.blocks["pool"] {
		name := n.labels[0]
		if !p.goodName(name, "pool", in.spot(n.at)) {
			continue
		}
		if first := seen[name]; first != nil {
			p.rep.err("duplicate-name", in.spot(n.at), "Duplicate name", fmt.Sprintf("subnet.%s has two pools named %q. Rename one.", in.name, name), related("The first is here.", in.spot(first.at)))
			continue
		}
		seen[name] = n
		if pool, ok := in.pool(n, s); ok {
			s.Pools = append(s.Pools, pool)
		}
	}
	p.poolOverlaps(in, seen, s)
	for i := range s.Pools {
		pool := &s.Pools[i]
		if pool.Ranges = cut(pool.Ranges, append(endsOf(s.CIDR), s.Exclude...)); len(pool.Ranges) == 0 {
			p.rep.err("empty-pool", in.spot(seen[pool.Name].attrs["range"].at()), "Pool is empty",
				fmt.Sprintf("Pool %q has no address left: all are excluded, or the network or broadcast address of %s.", pool.Name, s.CIDR))
		}
	}
	slices.SortFunc(s.Pools, func(a, b Pool) int { return strings.Compare(a.Name, b.Name) })
	p.checkSubnet(in, seen, s)
}

func (s *scope) cidr(b *body) (netip.Prefix, bool) {
	text, ok := s.str(b, "cidr")
	if !ok {
		return netip.Prefix{}, false
	}
	at := s.spot(b.attrs["cidr"].at())
	c, err := netip.ParsePrefix(text)
	switch {
	case err != nil || !c.Addr().Is4():
		s.p.rep.err("bad-cidr", at, "Not a CIDR block", fmt.Sprintf("cidr is %q, which is not an IPv4 block such as 10.0.0.0/24.", short(text)))
	case c != c.Masked():
		s.p.rep.err("bad-cidr", at, "Not a CIDR block", fmt.Sprintf("cidr is %s, which is an address inside the block %s. Write the block.", c, c.Masked()))
	case c.Bits() < 8:
		s.p.rep.err("bad-cidr", at, "CIDR block is too large", fmt.Sprintf("cidr is %s; a subnet has at most a /8.", c))
	default:
		return c, true
	}
	return netip.Prefix{}, false
}

func (in *instance) pool(n *body, s *Subnet) (Pool, bool) {
	pool := Pool{Name: n.labels[0], Place: in.spot(n.at).place()}
	ranges, ok := in.ranges(n, "range")
	if !ok {
		return pool, false
	}
	for _, r := range ranges {
		if !s.CIDR.Contains(r.First) || !s.CIDR.Contains(r.Last) {
			in.p.rep.err("pool-outside-subnet", in.spot(n.attrs["range"].at()), "Pool lies outside the subnet",
				fmt.Sprintf("%s of pool %q is not inside %s, the addresses of subnet.%s.", r, pool.Name, s.CIDR, s.Name), related("The subnet is here.", in.spot(in.body.attrs["cidr"].at())))
			return pool, false
		}
	}
	text, ok := in.str(n, "serves")
	if ok && text == "final" {
		in.p.rep.err("not-in-this-version", in.spot(n.attrs["serves"].at()), "Not in this version", "The language has serves = \"final\", but this version of hostler does not do it yet.")
		return pool, false
	}
	if text, ok = in.choice(n, "serves", string(ServesReserved), string(ServesBoot), string(ServesUnknown), string(ServesAny)); !ok {
		return pool, false
	}
	pool.Serves = Serves(text)
	exclude, _ := in.ranges(n, "exclude")
	pool.Ranges = cut(ranges, exclude)
	if lease := n.only("lease"); lease != nil {
		var l layer
		var t Settings
		in.leaseTimes(lease, &l)
		for _, e := range l.entries {
			e.apply(&t)
		}
		pool.Lease = t.Lease
		in.p.checkLease(t.Lease, func(string) spot { return in.spot(lease.at) })
	}
	return pool, true
}

// hostnameProblem says what of a name the DNS cannot carry (RFC 1123 section 2.1).
func hostnameProblem(name string) string {
	if name == "" || len(name) > 253 {
		return "must have 1 to 253 characters"
	}
	for _, l := range strings.Split(name, ".") {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return "must have parts of 1 to 63 characters that neither begin nor end with a dash"
		}
		for _, c := range l {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return fmt.Sprintf("holds %q; use letters, digits and dashes", c)
			}
		}
	}
	return ""
}
