package spec

import (
	"net/netip"
	"slices"

	"hostler/render/fact"
)

// endsOf gives the network and broadcast addresses, which no machine can have; blocks of one or two addresses have none.
func endsOf(c netip.Prefix) []fact.Range {
	if c.Bits() >= 31 {
		return nil
	}
	last := lastAddr(c)
	return []fact.Range{{First: c.Addr(), Last: c.Addr()}, {First: last, Last: last}}
}

// cut takes addresses out of ranges. The result is sorted.
func cut(ranges, out []fact.Range) []fact.Range {
	out = slices.Clone(out)
	byFirst := func(a, b fact.Range) int { return a.First.Compare(b.First) }
	slices.SortFunc(out, byFirst)
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, byFirst)
	var rest []fact.Range
	i := 0
	for _, r := range ranges {
		for i > 0 && !out[i-1].Last.Less(r.First) { // an exclusion may reach into the next range
			i--
		}
		for ; i < len(out) && r.First.Compare(r.Last) <= 0; i++ {
			x := out[i]
			if x.Last.Less(r.First) {
				continue
			}
			if r.Last.Less(x.First) {
				break
			}
			if r.First.Less(x.First) {
				rest = append(rest, fact.Range{First: r.First, Last: x.First.Prev()})
			}
			r.First = x.Last.Next()
			if !r.First.IsValid() { // after 255.255.255.255
				r.First, r.Last = r.Last, r.Last.Prev()
			}
		}
		if r.First.Compare(r.Last) <= 0 {
			rest = append(rest, r)
		}
	}
	return rest
}
