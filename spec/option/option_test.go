package option

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEncode(t *testing.T) {
	for _, c := range []struct {
		t    Type
		in   []string
		want string // bytes in hexadecimal, or the error
	}{
		{IP, []string{"10.0.0.1"}, "0a000001"},
		{IP, []string{"10.0.0.1", "10.0.0.2"}, "it takes one value, not 2"},
		{IP, []string{"fe80::1"}, `"fe80::1" is not an IPv4 address`},
		{IPList, []string{"10.0.0.1", "10.0.0.2"}, "0a0000010a000002"},
		{IPList, nil, "the list is empty"},
		{IPPairs, []string{"10.1.0.0", "10.0.0.1"}, "0a0100000a000001"},
		{IPPairs, []string{"10.1.0.0"}, "addresses come in pairs: destination, router"},
		{Uint8, []string{"255"}, "ff"},
		{Uint8, []string{"256"}, `"256" is not a whole number from 0 to 255`},
		{Uint16, []string{"1500"}, "05dc"},
		{Uint16, []string{"-1"}, `"-1" is not a whole number from 0 to 65535`},
		{Uint32, []string{"4294967295"}, "ffffffff"},
		{Uint32, []string{"1.5"}, `"1.5" is not a whole number from 0 to 4294967295`},
		{Int32, []string{"-3600"}, "fffff1f0"},
		{Int32, []string{"x"}, `"x" is not a whole number from -2147483648 to 2147483647`},
		{Text, []string{"a b"}, "612062"},
		{Text, []string{""}, "the text is empty, or has a line break"},
		{Text, []string{"a\nb"}, "the text is empty, or has a line break"},
		{Text, []string{strings.Repeat("x", 1021)}, "it is longer than 1020 bytes"},
		{Hex, []string{"01:0A ff"}, "010aff"},
		{Hex, []string{"0"}, `"0" is not hexadecimal such as "01:0a:ff"`},
		{Hex, []string{""}, `"" is not hexadecimal such as "01:0a:ff"`},
		{Bool, []string{"true"}, "01"},
		{Bool, []string{"false"}, "00"},
		{Bool, []string{"1"}, `"1" is neither true nor false`},
		{FQDN, []string{"a.example.net"}, "0161076578616d706c65036e657400"},
		{FQDN, []string{"a..b"}, `"a..b" is not a domain name`},
		{FQDN, []string{strings.Repeat("a.", 128) + "b"}, `"` + strings.Repeat("a.", 128) + `b" is longer than a domain name can be`},
		{FQDNList, []string{"a.", "b"}, "016100016200"},
		// RFC 3442 prints these: 0 to 4 significant bytes of the destination.
		{RouteList, []string{"0.0.0.0/0 via 10.0.0.1"}, "000a000001"},
		{RouteList, []string{"default via 10.0.0.1"}, "000a000001"},
		{RouteList, []string{"10.0.0.0/8 via 10.0.0.1"}, "080a0a000001"},
		{RouteList, []string{"10.17.0.0/16 via 10.0.0.1"}, "100a110a000001"},
		{RouteList, []string{"10.27.129.0/24 via 10.0.0.1"}, "180a1b810a000001"},
		{RouteList, []string{"10.229.0.128/25 via 10.0.0.1"}, "190ae500800a000001"},
		{RouteList, []string{"10.1.0.1/16 via 10.0.0.1"}, `"10.1.0.1/16 via 10.0.0.1" has bits of the host set; the network is 10.1.0.0/16`},
		{RouteList, []string{"10.1.0.0/16"}, `"10.1.0.0/16" is not a route; write "10.1.0.0/16 via 10.0.0.1"`},
		{Int8, []string{"-128"}, "80"},
		{Int8, []string{"128"}, `"128" is not a whole number from -128 to 127`},
		{Int16, []string{"-2"}, "fffe"},
		{Uint8s, []string{"1", "2", "255"}, "0102ff"},
		{Uint16s, []string{"1", "1500"}, "000105dc"},
		{Uint32s, []string{"1"}, "00000001"},
		{Uint16s, []string{"65536"}, `"65536" is not a whole number from 0 to 65535`},
		{Subs, []string{"1 ip 10.0.0.1", "2 text two words", "3 ip-list 10.0.0.1 10.0.0.2"}, "01040a000001" + "020974776f20776f726473" + "03080a0000010a000002"},
		{Subs, []string{"6 uint8 8", "10 hex 00:50:58:45", "71 uint16-list 0 1", "9 routes 10.0.0.0/8 via 10.0.0.1"}, "060108" + "0a0400505845" + "470400000001" + "0906080a0a000001"},
		{Subs, []string{"1 ip"}, `"1 ip" is no suboption; write code, type and value, as "1 ip 10.0.0.1"`},
		{Subs, []string{"255 uint8 1"}, `"255 uint8 1" has no suboption code; they go from 1 to 254`},
		{Subs, []string{"1 suboptions 1"}, `"1 suboptions 1": a suboption cannot be of type "suboptions"`},
		{Subs, []string{"1 uint8 300"}, `suboption 1: "300" is not a whole number from 0 to 255`},
		{Subs, []string{"1 text " + strings.Repeat("x", 256)}, "suboption 1: it is longer than 255 bytes"},
		{VendorSub, []string{"3561 1 text acs", "9 5 uint8 7", "3561 2 bool true"}, "00000de9" + "08" + "0103616373" + "020101" + "00000009" + "03" + "050107"},
		{VendorSub, []string{"acs 1 text x"}, `"acs 1 text x" does not begin with an enterprise number, as "3561 1 text acs" does`},
		{VendorSub, []string{"1 1 text " + strings.Repeat("x", 200), "1 2 text " + strings.Repeat("x", 200)}, "what there is for enterprise 1 is longer than 255 bytes"},
		{VendorSub, nil, "the list is empty"},
		{"record", []string{"x"}, `there is no type "record"`},
	} {
		got, err := Encode(c.t, c.in)
		text := hex.EncodeToString(got)
		if err != nil {
			text = err.Error()
		}
		if d := cmp.Diff(c.want, text); d != "" {
			t.Errorf("%s %q: %s", c.t, c.in, d)
		}
	}
}

// TestTable holds the table to what Lookup and Owned promise.
func TestTable(t *testing.T) {
	codes := map[uint8]string{}
	for _, name := range Names() {
		o, ok := Lookup(name)
		if !ok || o.Name != name {
			t.Errorf("%s is not found", name)
		}
		if codes[o.Code] != "" {
			t.Errorf("%s and %s are both %d", codes[o.Code], name, o.Code)
		}
		codes[o.Code] = name
		if why := Owned(int(o.Code)); why != "" {
			t.Errorf("%s is known, but cannot be set: %s", name, why)
		}
	}
	for alias, name := range aliases() {
		if o, ok := Lookup(alias); !ok || o.Name != name {
			t.Errorf("%s does not lead to %s", alias, name)
		}
		if slices.Contains(Names(), alias) {
			t.Errorf("%s is a name and an alias", alias)
		}
	}
	for _, c := range []int{-1, 0, 1, 50, 51, 53, 54, 58, 59, 61, 67, 82, 93, 97, 118, 255, 256} {
		if Owned(c) == "" {
			t.Errorf("%d may be set", c)
		}
	}
	for _, c := range []int{3, 6, 12, 43, 66, 175, 208, 224, 254} {
		if why := Owned(c); why != "" {
			t.Errorf("%d may not be set: %s", c, why)
		}
	}
}

// FuzzEncode looks for values that panic, or that grow.
func FuzzEncode(f *testing.F) {
	f.Add("fqdn", "a.b")
	f.Add("routes", "10.0.0.0/8 via 10.0.0.1")
	f.Add("hex", "00:ff")
	f.Add("suboptions", "1 ip 10.0.0.1")
	f.Add("vendor-suboptions", "3561 1 text acs")
	f.Fuzz(func(t *testing.T, typ, value string) {
		out, err := Encode(Type(typ), []string{value})
		if err == nil && len(out) > len(value)+9 {
			t.Errorf("%d bytes for %q", len(out), value)
		}
	})
}
