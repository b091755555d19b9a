// Package option knows the DHCP options that a spec may set: their numbers, their types, how values of a type become bytes, and
// which options are not the author's to set, with the reason. It knows nothing of the language that the values are written in.
package option

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Type says how an option's value is written and encoded.
type Type string

// The types. Lists are a value after another.
const (
	IP        Type = "ip"
	IPList    Type = "ip-list"
	IPPairs   Type = "ip-pairs" // destination and router, as in option 33
	Uint8     Type = "uint8"
	Uint16    Type = "uint16"
	Uint32    Type = "uint32"
	Int8      Type = "int8"
	Int16     Type = "int16"
	Int32     Type = "int32"
	Uint8s    Type = "uint8-list"
	Uint16s   Type = "uint16-list"
	Uint32s   Type = "uint32-list"
	Text      Type = "text"
	Hex       Type = "hex"
	Bool      Type = "bool"
	FQDN      Type = "fqdn"
	FQDNList  Type = "fqdn-list"         // RFC 3397 section 2
	RouteList Type = "routes"            // RFC 3442: "10.1.0.0/16 via 10.0.0.1"
	Subs      Type = "suboptions"        // "1 ip 10.0.0.1": code, type and values of one inside the option (RFC 2132 section 8.4)
	VendorSub Type = "vendor-suboptions" // "3561 1 text acs": the same after an enterprise number (RFC 3925 section 4)
)

// OwnTypes are the types that an option without a known name may have.
func OwnTypes() []string {
	return []string{"ip", "ip-list", "ip-pairs", "uint8", "uint16", "uint32", "uint8-list", "uint16-list", "uint32-list", "int8", "int16", "int32",
		"text", "hex", "bool", "fqdn", "fqdn-list", "routes", "suboptions", "vendor-suboptions"}
}

// Option is a known option.
type Option struct {
	Code uint8
	Name string
	Type Type
}

// Lookup finds a known option by its name, or by the name that ISC dhcpd has for it.
func Lookup(name string) (Option, bool) {
	if n, ok := aliases()[name]; ok {
		name = n
	}
	for _, o := range known() {
		if o.Name == name {
			return o, true
		}
	}
	return Option{}, false
}

// Names lists the known options in the order of their codes.
func Names() []string {
	names := make([]string, 0, len(known()))
	for _, o := range known() {
		names = append(names, o.Name)
	}
	return names
}

// aliases are the names that ISC dhcpd has for known options.
func aliases() map[string]string {
	return map[string]string{
		"routers": "router", "domain-name-servers": "dns", "domain-name": "domain", "ntp-servers": "ntp", "hostname": "host-name",
		"mtu": "interface-mtu", "log-servers": "log-server", "time-servers": "time-server", "tftp-server-name": "tftp-server",
		"vendor-encapsulated-options": "vendor", "classless-static-routes": "routes", "static-routes": "static-route",
	}
}

// known is the part of the IANA registry of BOOTP and DHCP options that servers send on an operator's behalf.
func known() []Option {
	return []Option{
		{2, "time-offset", Int32}, {3, "router", IPList}, {4, "time-server", IPList}, {5, "name-server", IPList}, {6, "dns", IPList},
		{7, "log-server", IPList}, {9, "lpr-server", IPList}, {12, "host-name", Text}, {15, "domain", Text}, {16, "swap-server", IP},
		{17, "root-path", Text}, {18, "extensions-path", Text}, {19, "ip-forwarding", Bool}, {23, "default-ip-ttl", Uint8},
		{26, "interface-mtu", Uint16}, {28, "broadcast-address", IP}, {33, "static-route", IPPairs}, {35, "arp-cache-timeout", Uint32},
		{37, "tcp-ttl", Uint8}, {40, "nis-domain", Text}, {41, "nis-server", IPList}, {42, "ntp", IPList}, {43, "vendor", Hex},
		{44, "netbios-name-server", IPList}, {45, "netbios-dd-server", IPList}, {46, "netbios-node-type", Uint8}, {47, "netbios-scope", Text},
		{66, "tftp-server", Text}, {69, "smtp-server", IPList}, {70, "pop3-server", IPList}, {72, "www-server", IPList},
		{100, "posix-timezone", Text}, {101, "tzdb-timezone", Text}, {108, "ipv6-only-preferred", Uint32}, {114, "captive-portal", Text},
		{116, "auto-config", Uint8}, {119, "domain-search", FQDNList}, {121, "routes", RouteList}, {125, "vendor-identifying", VendorSub}, {138, "capwap-controller", IPList},
		{150, "tftp-server-address", IPList}, {208, "pxelinux-magic", Hex}, {209, "pxelinux-config-file", Text},
		{210, "pxelinux-path-prefix", Text}, {211, "pxelinux-reboot-time", Uint32}, {249, "ms-routes", RouteList}, {252, "wpad", Text},
	}
}

// Owned says why an option is not the author's to set; empty when it is.
func Owned(code int) string {
	if code <= 0 || code > 254 {
		return "option codes go from 1 to 254"
	}
	return map[int]string{
		1: "it follows from the subnet's cidr", 50: "only machines send it", 51: "the lease block sets it", 52: "it is about the layout of the packet", 53: "it is the type of the message",
		54: "it is the address of the server that answers", 55: "only machines send it", 56: "it is the text of a refusal",
		57: "it is about the layout of the packet", 58: "it follows from the lease time", 59: "it follows from the lease time", 60: "the answer to firmware needs its own value there",
		61: "it is the machine's identifier, sent back", 67: "the loader blocks and the loader setting choose the boot file",
		82: "it belongs to the relay agents", 93: "only machines send it", 94: "only machines send it", 97: "it is the machine's identifier, sent back",
		118: "only relay agents and machines send it",
	}[code]
}

// mostBytes is what an option may have: it is repeated if it is longer than 255 (RFC 3396), but it has to fit a packet.
const mostBytes = 4 * 255

var errTooLong = errors.New("it is longer than 1020 bytes")

// list reports whether a type takes several values.
func (t Type) list() bool {
	switch t {
	case IPList, IPPairs, FQDNList, RouteList, Uint8s, Uint16s, Uint32s, Subs, VendorSub:
		return true
	}
	return false
}

// Encode turns the values of an option, as written, into its bytes. A type that is no list takes one value.
func Encode(t Type, values []string) ([]byte, error) {
	if !t.list() && len(values) != 1 {
		return nil, fmt.Errorf("it takes one value, not %d", len(values))
	}
	if len(values) == 0 {
		return nil, fmt.Errorf("the list is empty")
	}
	if t == IPPairs && len(values)%2 != 0 {
		return nil, fmt.Errorf("addresses come in pairs: destination, router")
	}
	if t == VendorSub {
		return encodeVendors(values)
	}
	var out []byte
	for _, v := range values {
		var err error
		if out, err = encode(out, t, v); err != nil {
			return nil, err
		}
	}
	if len(out) > mostBytes {
		return nil, errTooLong
	}
	return out, nil
}

func encode(out []byte, t Type, v string) ([]byte, error) {
	switch t {
	case IP, IPList, IPPairs:
		a, err := netip.ParseAddr(v)
		if err != nil || !a.Is4() {
			return nil, fmt.Errorf("%q is not an IPv4 address", v)
		}
		return append(out, a.AsSlice()...), nil
	case Uint8, Uint16, Uint32, Uint8s, Uint16s, Uint32s, Int8, Int16, Int32:
		return encodeNumber(out, t, v)
	case Text:
		if v == "" || strings.ContainsAny(v, "\x00\r\n") {
			return nil, fmt.Errorf("the text is empty, or has a line break")
		}
		return append(out, v...), nil
	case Hex:
		b, err := hex.DecodeString(strings.NewReplacer(":", "", " ", "").Replace(v))
		if err != nil || len(b) == 0 {
			return nil, fmt.Errorf("%q is not hexadecimal such as \"01:0a:ff\"", v)
		}
		return append(out, b...), nil
	case Bool:
		switch v {
		case "true":
			return append(out, 1), nil
		case "false":
			return append(out, 0), nil
		}
		return nil, fmt.Errorf("%q is neither true nor false", v)
	case FQDN, FQDNList:
		return encodeName(out, v)
	case RouteList:
		return encodeRoute(out, v)
	case Subs:
		return encodeSub(out, v)
	}
	return nil, fmt.Errorf("there is no type %q", t)
}

func encodeNumber(out []byte, t Type, v string) ([]byte, error) {
	bits := map[Type]int{Uint8: 8, Uint16: 16, Uint32: 32, Uint8s: 8, Uint16s: 16, Uint32s: 32, Int8: 8, Int16: 16, Int32: 32}[t]
	low, high := int64(0), int64(1)<<bits-1
	if t == Int8 || t == Int16 || t == Int32 {
		low, high = -(int64(1) << (bits - 1)), int64(1)<<(bits-1)-1
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < low || n > high {
		return nil, fmt.Errorf("%q is not a whole number from %d to %d", v, low, high)
	}
	for shift := bits - 8; shift >= 0; shift -= 8 {
		out = append(out, byte(n>>shift))
	}
	return out, nil
}

// encodeName writes a name as RFC 1035 section 3.1 does, without compression, which RFC 3397 allows but not demands.
func encodeName(out []byte, name string) ([]byte, error) {
	start := len(out)
	for _, l := range strings.Split(strings.TrimSuffix(name, "."), ".") {
		if l == "" || len(l) > 63 || strings.ContainsAny(l, "\x00 \t\r\n") {
			return nil, fmt.Errorf("%q is not a domain name", name)
		}
		out = append(append(out, byte(len(l))), l...)
	}
	if out = append(out, 0); len(out)-start > 255 {
		return nil, fmt.Errorf("%q is longer than a domain name can be", name)
	}
	return out, nil
}

// encodeRoute writes "DESTINATION via ROUTER" as RFC 3442: the prefix length, the significant bytes, the router.
func encodeRoute(out []byte, v string) ([]byte, error) {
	dest, router, ok := strings.Cut(v, " via ")
	if strings.TrimSpace(dest) == "default" {
		dest = "0.0.0.0/0"
	}
	p, err := netip.ParsePrefix(strings.TrimSpace(dest))
	a, err2 := netip.ParseAddr(strings.TrimSpace(router))
	if !ok || err != nil || err2 != nil || !p.Addr().Is4() || !a.Is4() {
		return nil, fmt.Errorf("%q is not a route; write \"10.1.0.0/16 via 10.0.0.1\"", v)
	}
	if p != p.Masked() {
		return nil, fmt.Errorf("%q has bits of the host set; the network is %s", v, p.Masked())
	}
	b := p.Addr().As4()
	out = append(append(out, byte(p.Bits())), b[:(p.Bits()+7)/8]...)
	return append(out, a.AsSlice()...), nil
}
