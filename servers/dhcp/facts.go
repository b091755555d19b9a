package dhcp

import (
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
	optSubnet     = 118 // RFC 3011
	optEtherboot  = 175 // iPXE's own
	optConfigFile = 209 // RFC 5071
	optPathPrefix = 210
	subLinkSelect = 5 // of option 82, RFC 3527
)

// factsOf says what a request said. Its strings are copies: decoding has copied them out of the datagram. The error
// is a request that nobody could answer, in words for the operator.
func factsOf(p *dhcpv4.DHCPv4, in fact.Ingress) (fact.Facts, error) {
	f := fact.Facts{
		Xid:         binary.BigEndian.Uint32(p.TransactionID[:]),
		Arch:        archOf(p.Options[optArch]),
		UUID:        string(p.Options[optUUID]),
		ClientID:    string(p.Options[optClientID]),
		VendorClass: trimNUL(p.Options[optVendor]),
		UserClass:   userClass(p.Options[optUserClass]),
		Params:      string(p.Options[optParams]),
		Hostname:    trimNUL(p.Options[optHostname]),
		Requested:   addrOf(p.Options[optRequested]),
		ServerID:    addrOf(p.Options[optServerID]),
		CIAddr:      addrOf(p.ClientIPAddr),
		Broadcast:   p.IsBroadcast(),
		GIAddr:      addrOf(p.GatewayIPAddr),
		Link:        linkOf(p.Options),
		Ingress:     in,
	}
	if b := p.Options[optLeaseTime]; len(b) == 4 {
		f.LeaseTime = time.Duration(binary.BigEndian.Uint32(b)) * time.Second
	}
	if b := p.Options[optMaxSize]; len(b) == 2 {
		f.MaxSize = int(binary.BigEndian.Uint16(b))
	}
	f.IPXE = p.Options.Has(dhcpv4.GenericOptionCode(optEtherboot)) ||
		slices.Contains([]string{"iPXE", "gPXE", "Tinkerbell"}, f.UserClass)
	if err := hardware(p, &f.MAC); err != nil {
		return f, err
	}
	switch b := p.Options[optMessage]; {
	case b == nil:
		f.Message = fact.BOOTP
	case len(b) != 1 || b[0] == 0:
		return f, fmt.Errorf("malformed message type (option 53): % x", b)
	default:
		f.Message = fact.Message(b[0])
	}
	return f, nil
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

// archOf reads the first architecture of option 93: a list, in order of preference (RFC 4578 section 2.1).
func archOf(b []byte) fact.Arch {
	if len(b) < 2 {
		return fact.NoArch
	}
	return fact.Arch(binary.BigEndian.Uint16(b))
}

// userClass reads the first class of option 77. RFC 3004 says a list in which a length stands before each class; iPXE
// and others send the bare text. No text is taken for a list: its first byte would have to be a length that fits.
func userClass(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	for rest := b; ; {
		n := int(rest[0])
		if n == 0 || n >= len(rest) {
			return trimNUL(b)
		}
		if rest = rest[1+n:]; len(rest) == 0 {
			return trimNUL(b[1 : 1+int(b[0])])
		}
	}
}

// linkOf is the link that the client is on, as a relay agent (RFC 3527) or the client itself (RFC 3011) names it.
func linkOf(o dhcpv4.Options) netip.Addr {
	for b := o[optRelay]; len(b) >= 2 && 2+int(b[1]) <= len(b); b = b[2+int(b[1]):] {
		if b[0] == subLinkSelect {
			return addrOf(b[2 : 2+int(b[1])])
		}
	}
	return addrOf(o[optSubnet])
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
