package lang

import (
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/apparentlymart/go-cidr/cidr"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"hostler/render/fact"
)

// maxRange is how many addresses iprange lists at most: a /16.
const maxRange = 65536

func networkFunctions() map[string]function.Function {
	return map[string]function.Function{
		"cidrcontains": early(cidrContainsFunc()),
		"cidrhost":     early(cidrHostFunc()),
		"cidrnetmask": early(stringFunc(func(a []string) (string, error) {
			p, err := parsePrefix(a[0])
			if err != nil || !p.Addr().Is4() {
				return "", orErr(err, "only an IPv4 prefix has a netmask")
			}
			return net.IP(ipNet(p).Mask).String(), nil
		}, "prefix")),
		"cidroverlaps": early(cidrOverlapsFunc()),
		"cidrprefix":   early(cidrPrefixFunc()),
		"cidrsubnet":   early(cidrSubnetFunc()),
		"cidrsubnets":  early(cidrSubnetsFunc()),
		"ipadd":        early(ipAddFunc()),
		"ipdiff":       early(ipDiffFunc()),
		"ipinrange":    early(ipInRangeFunc()),
		"iprange":      early(ipRangeFunc()),
		"ipsort":       early(ipSortFunc()),
		"rangesize":    early(rangeSizeFunc()),
		"reversename":  early(stringFunc(func(a []string) (string, error) { return reverseName(a[0]) }, "ip")),
	}
}

func orErr(err error, text string) error {
	if err != nil {
		return err
	}
	return errors.New(text)
}

// parseAddr reads an address. It refuses leading zeros, which some programs read as octal, and zones.
func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil && strings.Contains(err.Error(), "leading zero"):
		return a, fmt.Errorf("%q has a leading zero, which some programs read as octal: leave it out", s)
	case err != nil && strings.Contains(s, "/"):
		return a, fmt.Errorf("%q is a prefix, not an IP address", s)
	case err != nil || a.Zone() != "":
		return a, fmt.Errorf("%q is not an IP address", s)
	}
	return a.Unmap(), nil
}

// parsePrefix reads a prefix and drops its host bits.
func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil && strings.Contains(err.Error(), "leading zero"):
		return p, fmt.Errorf("%q has a leading zero, which some programs read as octal: leave it out", s)
	case err != nil && !strings.Contains(s, "/"):
		return p, fmt.Errorf("%q is not a prefix: the length is missing, as in 10.0.0.0/24", s)
	case err != nil:
		return p, fmt.Errorf("%q is not a prefix, as 10.0.0.0/24 is", s)
	}
	return p.Masked(), nil
}

// parseRange reads "first-last" or a prefix.
func parseRange(s string) (fact.Range, error) {
	if strings.Contains(s, "/") {
		p, err := parsePrefix(s)
		if err != nil {
			return fact.Range{}, err
		}
		_, last := cidr.AddressRange(ipNet(p))
		return fact.Range{First: p.Addr(), Last: addrOf(last)}, nil
	}
	from, to, ok := strings.Cut(s, "-")
	if !ok {
		return fact.Range{}, fmt.Errorf("%q is not a range, as 10.0.0.10-10.0.0.20 is", s)
	}
	first, err := parseAddr(strings.TrimSpace(from))
	if err != nil {
		return fact.Range{}, err
	}
	last, err := parseAddr(strings.TrimSpace(to))
	switch {
	case err != nil:
		return fact.Range{}, err
	case first.Is4() != last.Is4():
		return fact.Range{}, fmt.Errorf("the range %q mixes IPv4 and IPv6", s)
	case last.Less(first):
		return fact.Range{}, fmt.Errorf("the range %q ends before it begins", s)
	}
	return fact.Range{First: first, Last: last}, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

func number(a netip.Addr) *big.Int { return new(big.Int).SetBytes(a.AsSlice()) }

// integer gives a whole number of at most 128 bits.
func integer(arg int, v cty.Value) (*big.Int, error) {
	n, acc := v.AsBigFloat().Int(nil)
	if n == nil || acc != big.Exact || n.BitLen() > 128 {
		return nil, function.NewArgErrorf(arg, "a whole number is required")
	}
	return n, nil
}

func numberParam(name string) function.Parameter {
	return function.Parameter{Name: name, Type: cty.Number}
}

func cidrHostFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{stringParam("prefix"), numberParam("hostnum")},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			p, err := parsePrefix(args[0].AsString())
			if err != nil {
				return fail(function.NewArgError(0, err))
			}
			n, err := integer(1, args[1])
			if err != nil {
				return fail(err)
			}
			ip, err := cidr.HostBig(ipNet(p), n)
			if err != nil {
				return fail(function.NewArgErrorf(1, "%s has no host number %s", p, n))
			}
			return cty.StringVal(addrOf(ip).String()), nil
		},
	})
}

func cidrPrefixFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{stringParam("prefix")},
		Type:   function.StaticReturnType(cty.Number),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			p, err := parsePrefix(args[0].AsString())
			if err != nil {
				return fail(function.NewArgError(0, err))
			}
			return cty.NumberIntVal(int64(p.Bits())), nil
		},
	})
}

func cidrSubnetFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{stringParam("prefix"), numberParam("newbits"), numberParam("netnum")},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			p, err := parsePrefix(args[0].AsString())
			if err != nil {
				return fail(function.NewArgError(0, err))
			}
			bits, err := newBits(p, 1, args[1])
			if err != nil {
				return fail(err)
			}
			n, err := integer(2, args[2])
			if err != nil {
				return fail(err)
			}
			sub, err := cidr.SubnetBig(ipNet(p), bits, n)
			if err != nil || n.Sign() < 0 {
				return fail(function.NewArgErrorf(2, "%s cut by %d more bits has no network number %s", p, bits, n))
			}
			return cty.StringVal(sub.String()), nil
		},
	})
}

func newBits(p netip.Prefix, arg int, v cty.Value) (int, error) {
	n, err := integer(arg, v)
	if err != nil {
		return 0, err
	}
	if !n.IsInt64() || n.Sign() < 0 || n.Int64() > int64(p.Addr().BitLen()-p.Bits()) {
		return 0, function.NewArgErrorf(arg, "%s can be cut by 0 to %d more bits, not %s", p, p.Addr().BitLen()-p.Bits(), n)
	}
	return int(n.Int64()), nil
}

// cidrSubnetsFunc cuts consecutive networks of the given sizes, as Terraform's.
func cidrSubnetsFunc() function.Function {
	return function.New(&function.Spec{
		Params:   []function.Parameter{stringParam("prefix")},
		VarParam: &function.Parameter{Name: "newbits", Type: cty.Number},
		Type:     function.StaticReturnType(cty.List(cty.String)),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			p, err := parsePrefix(args[0].AsString())
			if err != nil {
				return fail(function.NewArgError(0, err))
			}
			var out []string
			var current *net.IPNet
			for i, a := range args[1:] {
				bits, err := newBits(p, i+1, a)
				if err != nil {
					return fail(err)
				}
				length, over := p.Bits()+bits, false
				if current == nil {
					current = &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(length, p.Addr().BitLen())}
				} else {
					current, over = cidr.NextSubnet(current, length)
				}
				if over || !p.Contains(addrOf(current.IP)) {
					return fail(function.NewArgErrorf(i+1, "%s has no room left for a /%d", p, length))
				}
				out = append(out, current.String())
			}
			return stringsVal(out), nil
		},
	})
}

// cidrContainsFunc asks whether a prefix contains an address or the whole of another prefix.
func cidrContainsFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{stringParam("prefix"), stringParam("address_or_prefix")},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			outer, err := parsePrefix(args[0].AsString())
			if err != nil {
				return fail(function.NewArgError(0, err))
			}
			if s := args[1].AsString(); strings.Contains(s, "/") {
				inner, err := parsePrefix(s)
				if err != nil {
					return fail(function.NewArgError(1, err))
				}
				return cty.BoolVal(outer.Contains(inner.Addr()) && inner.Bits() >= outer.Bits()), nil
			}
			a, err := parseAddr(args[1].AsString())
			if err != nil {
				return fail(function.NewArgError(1, err))
			}
			return cty.BoolVal(outer.Contains(a)), nil
		},
	})
}

// cidrOverlapsFunc asks whether any two of the prefixes share an address.
func cidrOverlapsFunc() function.Function {
	return function.New(&function.Spec{
		VarParam: &function.Parameter{Name: "prefix", Type: cty.String},
		Type:     function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			var ps []netip.Prefix
			for i, a := range args {
				p, err := parsePrefix(a.AsString())
				if err != nil {
					return fail(function.NewArgError(i, err))
				}
				ps = append(ps, p)
			}
			// Prefixes either nest or are apart: sorted, an overlap shows between neighbours.
			slices.SortFunc(ps, func(a, b netip.Prefix) int {
				if c := a.Addr().Compare(b.Addr()); c != 0 {
					return c
				}
				return a.Bits() - b.Bits()
			})
			for i := 1; i < len(ps); i++ {
				if ps[i-1].Overlaps(ps[i]) {
					return cty.True, nil
				}
			}
			return cty.False, nil
		},
	})
}
