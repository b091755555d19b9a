package render

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"hostler/render/fact"
	"hostler/spec"
)

// These hold where no layer set a lease time; spec.Parse fills in the same.
const (
	defaultLease    = time.Hour
	defaultMaxLease = 12 * time.Hour
)

// subnet is a spec.Subnet with what every answer on it needs.
type subnet struct {
	*spec.Subnet
	boot    pool     // for declared nodes without an address
	unknown pool     // for machines that nobody declared
	options []option // of machines that have the subnet's own settings only
}

// pool is every address that one kind of machine may lease: first from the pools for that kind, then from those for any.
// Its slices are shared with every claim and read-only.
type pool struct {
	name   string // of all of them; empty: there is none
	free   []fact.Range
	names  []string              // the pool of each range
	leases map[string]spec.Lease // by pool
}

// networks finds subnets by an address of a relay agent, of a link or of an interface. The lists of subnets are sorted.
type networks struct {
	relay  map[netip.Addr][]int
	prefix map[netip.Prefix][]int
	bits   []int // the distinct prefix lengths
}

// at gives every subnet that an address speaks for: that of a relay agent, or one of its own.
func (n *networks) at(a netip.Addr) []int {
	found := append(n.holding(a), n.relay[a]...)
	slices.Sort(found)
	return slices.Compact(found)
}

// holding gives every subnet that has an address.
func (n *networks) holding(a netip.Addr) (found []int) {
	for _, b := range n.bits {
		if p, err := a.Prefix(b); err == nil {
			found = append(found, n.prefix[p]...)
		}
	}
	slices.Sort(found)
	return found
}

func (s *Snapshot) indexSubnets() {
	s.bySubnet = map[string]int{}
	s.networks = networks{relay: map[netip.Addr][]int{}, prefix: map[netip.Prefix][]int{}}
	for i := range s.fleet.Subnets {
		sn := &s.fleet.Subnets[i]
		s.bySubnet[sn.Name] = i
		for _, r := range sn.Relays {
			s.networks.relay[r] = append(s.networks.relay[r], i)
		}
		p := sn.CIDR.Masked()
		s.networks.prefix[p] = append(s.networks.prefix[p], i)
		if !slices.Contains(s.networks.bits, p.Bits()) {
			s.networks.bits = append(s.networks.bits, p.Bits())
		}
		taken := s.declared[sn.Name]
		s.subnets = append(s.subnets, subnet{
			Subnet:  sn,
			boot:    mergePools(sn, spec.ServesBoot, taken),
			unknown: mergePools(sn, spec.ServesUnknown, taken),
			options: encodeOptions(sn, s.settings(sn.Default)),
		})
	}
}

func mergePools(sn *spec.Subnet, use spec.Serves, declared []netip.Addr) pool {
	m := pool{leases: map[string]spec.Lease{}}
	for _, serves := range []spec.Serves{use, spec.ServesAny} {
		for i := range sn.Pools {
			if p := &sn.Pools[i]; p.Serves == serves {
				if m.name != "" {
					m.name += ", "
				}
				m.name += p.Name
				m.leases[p.Name] = p.Lease
				for _, r := range freeRanges(sn, p.Ranges, declared) {
					m.free, m.names = append(m.free, r), append(m.names, p.Name)
				}
			}
		}
	}
	return m
}

// freeRanges is what is left of a pool's ranges without the subnet's own, excluded and declared addresses (sorted).
func freeRanges(sn *spec.Subnet, ranges []fact.Range, declared []netip.Addr) []fact.Range {
	p := sn.CIDR.Masked()
	reserved := append([]netip.Addr{sn.Gateway}, sn.BootServers...)
	if p.IsValid() && p.Bits() < 31 { // RFC 3021: both addresses of a /31 are hosts
		reserved = append(reserved, p.Addr(), lastAddr(p))
	}
	cuts := slices.Clone(sn.Exclude)
	for _, a := range append(reserved, declared...) {
		if a.IsValid() {
			cuts = append(cuts, fact.Range{First: a, Last: a})
		}
	}
	slices.SortFunc(cuts, func(a, b fact.Range) int { return a.First.Compare(b.First) })
	var free []fact.Range
	for _, r := range ranges {
		next, done := r.First, false
		for _, c := range cuts {
			if c.Last.Compare(next) < 0 {
				continue
			}
			if c.First.Compare(r.Last) > 0 {
				break
			}
			if next.Compare(c.First) < 0 {
				free = append(free, fact.Range{First: next, Last: c.First.Prev()})
			}
			if c.Last.Compare(r.Last) >= 0 {
				done = true
				break
			}
			next = c.Last.Next()
		}
		if !done {
			free = append(free, fact.Range{First: next, Last: r.Last})
		}
	}
	return free
}

// lastAddr is the highest address of an IPv4 prefix, its broadcast address.
func lastAddr(p netip.Prefix) netip.Addr {
	if !p.Addr().Is4() {
		return netip.Addr{}
	}
	b := p.Addr().As4()
	host := uint32(1)<<(32-p.Bits()) - 1
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|host)
	return netip.AddrFrom4(b)
}
