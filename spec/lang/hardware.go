package lang

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"hostler/render/fact"
)

func hardwareFunctions() map[string]function.Function {
	return map[string]function.Function{
		"hostfold": early(hostFoldFunc()),
		"hostlist": early(hostListFunc()),
		"maceui64": early(stringFunc(func(a []string) (string, error) { return eui64(a[0], a[1]) }, "mac", "prefix")),
		"macformat": early(stringFunc(func(a []string) (string, error) {
			m, err := fact.ParseMAC(a[0])
			if err != nil {
				return "", err
			}
			return formatMAC(m, a[1])
		}, "mac", "layout")),
		"macinc": early(macIncFunc()),
		"macnorm": early(stringFunc(func(a []string) (string, error) {
			m, err := fact.ParseMAC(a[0])
			return m.String(), err
		}, "mac")),
		"uuidnorm": early(stringFunc(func(a []string) (string, error) { return normUUID(a[0]) }, "uuid")),
	}
}

// formatMAC writes a MAC as the layout shows: each x is a digit, each X a capital one, twelve in all, and what stands between
// them is kept. The short form "xx-xx" gives its separator to the whole address.
func formatMAC(m fact.MAC, layout string) (string, error) {
	if len(layout) == 5 && strings.EqualFold(layout[:2], "xx") && layout[:2] == layout[3:] {
		layout = strings.Repeat(layout[:3], 5) + layout[:2]
	}
	digits := strings.ReplaceAll(m.String(), ":", "")
	var b strings.Builder
	for _, c := range layout {
		if c != 'x' && c != 'X' {
			b.WriteRune(c)
			continue
		}
		if digits == "" {
			return "", fmt.Errorf("the layout %q has more than twelve x", layout)
		}
		d := digits[:1]
		if c == 'X' {
			d = strings.ToUpper(d)
		}
		b.WriteString(d)
		digits = digits[1:]
	}
	if digits != "" {
		return "", fmt.Errorf("the layout %q has %d x, not twelve", layout, 12-len(digits))
	}
	return b.String(), nil
}

func macIncFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{stringParam("mac"), numberParam("n")},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			m, err := fact.ParseMAC(args[0].AsString())
			if err != nil {
				return fail(function.NewArgError(0, err))
			}
			n, err := integer(1, args[1])
			if err != nil {
				return fail(err)
			}
			if m, err = macAdd(m, n); err != nil {
				return fail(function.NewArgError(1, err))
			}
			return cty.StringVal(m.String()), nil
		},
	})
}

// normUUID gives a UUID in lower case with hyphens, from any of the forms that inventories have: with braces, with the urn:uuid:
// prefix, without hyphens.
func normUUID(s string) (string, error) {
	t := strings.ToLower(strings.TrimSpace(s))
	t = strings.TrimPrefix(t, "urn:uuid:")
	if strings.HasPrefix(t, "{") && strings.HasSuffix(t, "}") {
		t = t[1 : len(t)-1]
	}
	hyphens := len(t) == 36 && t[8] == '-' && t[13] == '-' && t[18] == '-' && t[23] == '-'
	if hyphens {
		t = t[:8] + t[9:13] + t[14:18] + t[19:23] + t[24:]
	}
	if len(t) != 32 || strings.Trim(t, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%q is not a UUID", s)
	}
	if strings.Trim(t, "0") == "" || strings.Trim(t, "f") == "" {
		return "", errors.New("a UUID of only zeros or only f is what firmware reports when none was set")
	}
	return t[:8] + "-" + t[8:12] + "-" + t[12:16] + "-" + t[16:20] + "-" + t[20:], nil
}

// eui64 gives the address that a machine with the MAC gives itself in a /64 (RFC 4291 appendix A).
func eui64(mac, prefix string) (string, error) {
	m, err := fact.ParseMAC(mac)
	if err != nil {
		return "", err
	}
	p, err := parsePrefix(prefix)
	if err != nil || p.Addr().Is4() || p.Bits() > 64 {
		return "", orErr(err, fmt.Sprintf("%q is not an IPv6 prefix of at most 64 bits", prefix))
	}
	b := p.Addr().As16()
	copy(b[8:], []byte{m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
	return netip.AddrFrom16(b).String(), nil
}

// macAdd counts up from a MAC.
func macAdd(m fact.MAC, n *big.Int) (fact.MAC, error) {
	v := new(big.Int).SetUint64(uint64(binary.BigEndian.Uint16(m[:2]))<<32 | uint64(binary.BigEndian.Uint32(m[2:])))
	v.Add(v, n)
	if v.Sign() < 0 || v.BitLen() > 48 {
		return fact.MAC{}, fmt.Errorf("%s plus %s is not a MAC address", m, n)
	}
	v.FillBytes(m[:])
	return m, nil
}
