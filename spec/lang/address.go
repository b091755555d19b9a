package lang

import (
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"hostler/render/fact"
)

func ipAddFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{stringParam("ip"), numberParam("n")},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			a, err := parseAddr(args[0].AsString())
			if err != nil {
				return fail(function.NewArgError(0, err))
			}
			n, err := integer(1, args[1])
			if err != nil {
				return fail(err)
			}
			sum := number(a)
			sum.Add(sum, n)
			if sum.Sign() < 0 || sum.BitLen() > a.BitLen() {
				return fail(function.NewArgErrorf(1, "%s plus %s is not an address", a, n))
			}
			ip, _ := netip.AddrFromSlice(sum.FillBytes(make([]byte, a.BitLen()/8)))
			return cty.StringVal(ip.String()), nil
		},
	})
}

// ipDiffFunc gives how many addresses lie from the second up to the first: ipdiff(ipadd(a, n), a) == n.
func ipDiffFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{stringParam("a"), stringParam("b")},
		Type:   function.StaticReturnType(cty.Number),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			var as [2]netip.Addr
			for i := range as {
				var err error
				if as[i], err = parseAddr(args[i].AsString()); err != nil {
					return fail(function.NewArgError(i, err))
				}
			}
			if as[0].Is4() != as[1].Is4() {
				return fail(fmt.Errorf("%s and %s are of different families", as[0], as[1]))
			}
			d := new(big.Int).Sub(number(as[0]), number(as[1]))
			return cty.NumberVal(new(big.Float).SetInt(d)), nil
		},
	})
}

func ipInRangeFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{stringParam("ip"), stringParam("range")},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			a, err := parseAddr(args[0].AsString())
			if err != nil {
				return fail(function.NewArgError(0, err))
			}
			r, err := parseRange(args[1].AsString())
			if err != nil {
				return fail(function.NewArgError(1, err))
			}
			return cty.BoolVal(a.Is4() == r.First.Is4() && r.Contains(a)), nil
		},
	})
}

func ipRangeFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{stringParam("range")},
		Type:   function.StaticReturnType(cty.List(cty.String)),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			r, err := parseRange(args[0].AsString())
			if err != nil {
				return fail(function.NewArgError(0, err))
			}
			if size := rangeSize(r); size.Cmp(big.NewInt(maxRange)) > 0 {
				return fail(function.NewArgErrorf(0, "%s has %s addresses, and iprange lists %d at most", r, size, maxRange))
			}
			var out []string
			for a := r.First; ; a = a.Next() {
				out = append(out, a.String())
				if a == r.Last {
					return stringsVal(out), nil
				}
			}
		},
	})
}

func rangeSize(r fact.Range) *big.Int {
	n := new(big.Int).Sub(number(r.Last), number(r.First))
	return n.Add(n, big.NewInt(1))
}

func rangeSizeFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{stringParam("range")},
		Type:   function.StaticReturnType(cty.Number),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			r, err := parseRange(args[0].AsString())
			if err != nil {
				return fail(function.NewArgError(0, err))
			}
			return cty.NumberVal(new(big.Float).SetInt(rangeSize(r))), nil
		},
	})
}

func ipSortFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "list", Type: cty.List(cty.String)}},
		Type:   function.StaticReturnType(cty.List(cty.String)),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			ss, err := stringElements(args[0])
			if err != nil {
				return fail(err)
			}
			as := make([]netip.Addr, len(ss))
			for i, s := range ss {
				if as[i], err = parseAddr(s); err != nil {
					return fail(function.NewArgError(0, err))
				}
			}
			slices.SortStableFunc(as, netip.Addr.Compare)
			for i, a := range as {
				ss[i] = a.String()
			}
			return stringsVal(ss), nil
		},
	})
}

// reverseName gives the name under which DNS keeps the address's name (RFC 1035 section 3.5, RFC 3596 section 2.5).
func reverseName(s string) (string, error) {
	a, err := parseAddr(s)
	if err != nil {
		return "", err
	}
	if a.Is4() {
		b := a.As4()
		return fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", b[3], b[2], b[1], b[0]), nil
	}
	var out strings.Builder
	b := a.As16()
	for i := len(b) - 1; i >= 0; i-- {
		fmt.Fprintf(&out, "%x.%x.", b[i]&15, b[i]>>4)
	}
	return out.String() + "ip6.arpa", nil
}
