package spec

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"hostler/render/fact"
)

// addr gives an IPv4 address.
func (s *scope) addr(b *body, name string) (netip.Addr, bool) {
	text, ok := s.str(b, name)
	if !ok {
		return netip.Addr{}, false
	}
	return s.asAddr(name, text, s.spot(b.attrs[name].at()))
}

func (s *scope) asAddr(name, text string, at spot) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		s.p.rep.err("bad-address", at, "Not an address", fmt.Sprintf("%s is %q, which is not an IPv4 address such as 10.0.0.1.", name, short(text)))
	case !a.Is4():
		s.p.rep.err("bad-address", at, "Not an IPv4 address", fmt.Sprintf("%s is %s; this version knows IPv4 only.", name, a))
	default:
		return a, true
	}
	return netip.Addr{}, false
}

func (s *scope) addrs(b *body, name string) ([]netip.Addr, bool) {
	texts, ok := s.strs(b, name)
	if !ok {
		return nil, false
	}
	out := make([]netip.Addr, 0, len(texts))
	for _, t := range texts {
		a, good := s.asAddr(name, t, s.spot(b.attrs[name].at()))
		ok = ok && good
		out = append(out, a)
	}
	return out, ok
}

// ranges reads addresses, a-b, CIDR blocks or single addresses, in a string or a list.
func (s *scope) ranges(b *body, name string) ([]fact.Range, bool) {
	v, at, ok := s.value(b, name)
	if !ok {
		return nil, false
	}
	texts := []string{}
	if v.Type() == cty.String {
		t, good := s.asString(name, v, at)
		texts, ok = append(texts, t), good
	} else {
		texts, ok = s.strs(b, name)
	}
	if !ok {
		return nil, false
	}
	var out []fact.Range
	for _, t := range texts {
		r, err := parseRange(t)
		if err != nil {
			s.p.rep.err("bad-range", at, "Not an address range", fmt.Sprintf("%s is %q: %s. Write \"10.0.0.10-10.0.0.99\", \"10.0.0.64/26\" or a single address.", name, short(t), err))
			ok = false
			continue
		}
		out = append(out, r)
	}
	return out, ok
}

func parseRange(text string) (r fact.Range, err error) {
	if strings.Contains(text, "/") {
		p, err := netip.ParsePrefix(text)
		if err != nil || !p.Addr().Is4() {
			return r, fmt.Errorf("it is not an IPv4 CIDR block")
		}
		return fact.Range{First: p.Masked().Addr(), Last: lastAddr(p)}, nil
	}
	first, last, two := strings.Cut(text, "-")
	if !two {
		last = first
	}
	r.First, err = netip.ParseAddr(strings.TrimSpace(first))
	if err == nil {
		r.Last, err = netip.ParseAddr(strings.TrimSpace(last))
	}
	switch {
	case err != nil || !r.First.Is4() || !r.Last.Is4():
		return r, fmt.Errorf("it is not a range of IPv4 addresses")
	case r.Last.Less(r.First):
		return r, fmt.Errorf("the last address comes before the first")
	}
	return r, nil
}

// lastAddr is the last address of a prefix, the broadcast address.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(b)
}
