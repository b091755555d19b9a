package dhcp

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"hostler/render/fact"
)

// Option codes by their numbers in the IANA registry, where the library's names would hide which one is meant.
const (
	optMask       = 1
	optRouter     = 3
	optHostname   = 12
	optVendorInfo = 43
	optRequested  = 50
	optLeaseTime  = 51
	optMessage    = 53
	optOverload   = 52
	optServerID   = 54
	optParams     = 55
	optReason     = 56
	optMaxSize    = 57
	optRenewal    = 58
	optRebinding  = 59
	optVendor     = 60
	optClientID   = 61
	optBootFile   = 67
	optUserClass  = 77
	optRelay      = 82
	optArch       = 93
	optUUID       = 97
	optEtherboot  = 175 // iPXE's own
	optConfigFile = 209 // RFC 5071
	optPathPrefix = 210
	subLink       = 5  // of option 82: RFC 3527
	subOverride   = 11 // RFC 5107
	subRelayPort  = 19 // RFC 8357
)

// factsOf says what a request said. Its strings are copies: decoding has copied them out of the datagram. The error
// is a request that nobody could answer, in words for the operator.
func factsOf(p *dhcpv4.DHCPv4, in fact.Ingress) (fact.Facts, error) {
	f := fact.Facts{
		Xid:         binary.BigEndian.Uint32(p.TransactionID[:]),
		Arch:        fact.NoArch,
		UUID:        string(p.Options[optUUID]),
		ClientID:    string(p.Options[optClientID]),
		VendorClass: trimNUL(p.Options[optVendor]),
		Params:      string(p.Options[optParams]),
		Hostname:    hostname(p.Options[optHostname]),
		Requested:   addrOf(p.Options[optRequested]),
		ServerID:    addrOf(p.Options[optServerID]),
		CIAddr:      addrOf(p.ClientIPAddr),
		Broadcast:   p.IsBroadcast(),
		GIAddr:      addrOf(p.GatewayIPAddr),
		Ingress:     in,
	}
	for b := p.Options[optArch]; len(b) >= 2; b = b[2:] { // RFC 4578 section 2.1
		if a := fact.Arch(binary.BigEndian.Uint16(b)); f.Arch == fact.NoArch {
			f.Arch = a
		} else if len(f.MoreArch) < mostArch {
			f.MoreArch = append(f.MoreArch, a)
		}
	}
	if b := p.Options[optLeaseTime]; len(b) == 4 {
		f.LeaseTime = time.Duration(binary.BigEndian.Uint32(b)) * time.Second
	}
	if b := p.Options[optMaxSize]; len(b) == 2 {
		f.MaxSize = int(binary.BigEndian.Uint16(b))
	}
	classes := userClasses(p.Options[optUserClass])
	f.UserClass = strings.Join(classes[:min(1, len(classes))], "")
	f.IPXE = p.Options.Has(dhcpv4.GenericOptionCode(optEtherboot)) || slices.ContainsFunc(classes, func(c string) bool {
		return c == "iPXE" || c == "gPXE" || c == "Tinkerbell"
	})
	relayed(p.Options[optRelay], &f)
	if err := hardware(p, &f.MAC); err != nil {
		return f, err
	}
	switch b, ok := p.Options[optMessage]; {
	case !ok:
		f.Message = fact.BOOTP
	case len(b) != 1 || b[0] == 0:
		return f, fmt.Errorf("malformed message type (option 53): % x", b)
	default:
		f.Message = fact.Message(b[0])
	}
	return f, nil
}

// hostname is the name that a client gives itself, which its lease keeps. No name of a host is longer (RFC 1035 section 2.3.4).
func hostname(b []byte) string {
	if len(b) > 255 {
		return ""
	}
	return trimNUL(b)
}

// hardware takes the client's Ethernet address. Other hardware types identify themselves by other means (RFC 4390 for
// InfiniBand), and a group address cannot be anybody's own.
func hardware(p *dhcpv4.DHCPv4, mac *fact.MAC) error {
	if p.HWType != iana.HWTypeEthernet || len(p.ClientHWAddr) != len(mac) {
		return fmt.Errorf("hardware type %d with %d address bytes: only Ethernet is served", p.HWType, len(p.ClientHWAddr))
	}
	copy(mac[:], p.ClientHWAddr)
	if mac.IsZero() || mac[0]&1 != 0 {
		return fmt.Errorf("%s is not the address of a machine", mac)
	}
	return nil
}

// mostArch is how many further architectures are looked at.
const mostArch = 8

// userClasses reads option 77. RFC 3004 says a list in which a length stands before each class; iPXE, gPXE and others send
// the bare text. No text is taken for a list: its first byte would have to be a length that fits.
func userClasses(b []byte) (classes []string) {
	for rest := b; len(rest) > 0; {
		n := int(rest[0])
		if n == 0 || n >= len(rest) {
			return []string{trimNUL(b)}
		}
		classes, rest = append(classes, trimNUL(rest[1:1+n])), rest[1+n:]
	}
	return classes
}

// relayed reads what a relay agent says for itself. Of a suboption that comes twice the first counts.
func relayed(b []byte, f *fact.Facts) {
	for ; len(b) >= 2 && 2+int(b[1]) <= len(b); b = b[2+int(b[1]):] {
		switch data := b[2 : 2+int(b[1])]; b[0] {
		case subLink:
			f.Link = cmp.Or(f.Link, addrOf(data))
		case subOverride:
			f.Override = cmp.Or(f.Override, addrOf(data))
		case subRelayPort:
			f.RelayPort = true
		}
	}
}

// addrOf is an IPv4 address, invalid when it is absent, malformed or 0.0.0.0.
func addrOf(b []byte) netip.Addr {
	if len(b) == net.IPv6len {
		b = net.IP(b).To4() // how the library holds addresses that it made itself
	}
	if len(b) != net.IPv4len {
		return netip.Addr{}
	}
	if a := netip.AddrFrom4([4]byte(b)); !a.IsUnspecified() {
		return a
	}
	return netip.Addr{}
}

// ip is the library's form of an address, four zero bytes for none.
func ip(a netip.Addr) net.IP {
	if !a.Is4() {
		return net.IP{0, 0, 0, 0}
	}
	b := a.As4()
	return b[:]
}

// trimNUL drops the terminating zeros that some clients count as part of a text (RFC 2132 section 2 forbids them).
func trimNUL(b []byte) string { return strings.TrimRight(string(b), "\x00") }
