package fact

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Message is a DHCP message type, option 53 (RFC 2132 section 9.6); 0 is a BOOTP request.
type Message uint8

// The message types.
const (
	BOOTP    Message = 0
	Discover Message = 1
	Offer    Message = 2
	Request  Message = 3
	Decline  Message = 4
	Ack      Message = 5
	Nak      Message = 6
	Release  Message = 7
	Inform   Message = 8
)

var messageNames = [...]string{"BOOTP", "Discover", "Offer", "Request", "Decline", "ACK", "NAK", "Release", "Inform"}

// String gives the name that the RFCs and packet analysers use.
func (m Message) String() string {
	if int(m) < len(messageNames) {
		return messageNames[m]
	}
	return "message " + strconv.Itoa(int(m))
}

// Arch is a client system architecture, option 93 (RFC 4578 section 2.1 and the IANA registry). NoArch when absent.
type Arch int32

// NoArch means that the client sent no option 93.
const NoArch Arch = -1

// Facts are what one DHCP request said, and where it came in. Everything that a decision about the
// request may depend on is here; byte strings are copies that outlive the packet.
type Facts struct {
	Message     Message
	MAC         MAC
	Xid         uint32
	Arch        Arch          // the first of option 93, a list in the order of the client's preference
	MoreArch    []Arch        // the others
	UUID        string        // option 97, raw
	ClientID    string        // option 61, raw
	VendorClass string        // option 60
	UserClass   string        // option 77, the first class, in either encoding
	IPXE        bool          // one of the user classes is iPXE, gPXE or Tinkerbell, or option 175
	Params      string        // option 55, one byte a wanted option
	Hostname    string        // option 12
	Requested   netip.Addr    // option 50
	LeaseTime   time.Duration // option 51: how long the client would like the address; 0 when it does not say
	ServerID    netip.Addr    // option 54
	CIAddr      netip.Addr    // invalid when zero
	Broadcast   bool
	MaxSize     int        // option 57, 0 when absent
	GIAddr      netip.Addr // relay agent; invalid when zero
	Link        netip.Addr // the client's link, when a relay agent says so: option 82.5 (RFC 3527)
	Override    netip.Addr // what the relay agent wants to be called by the server: option 82.11 (RFC 5107)
	RelayPort   bool       // the relay agent wants replies at the port that it sends from: option 82.19 (RFC 8357)
	From        netip.Addr // source address; invalid when 0.0.0.0
	BootServer  bool       // asked on port 4011, where PXE firmware asks a boot server beside the site's DHCP server
	To          netip.Addr // the address of this host that it was sent to; invalid when it was sent to everybody
	Ingress     Ingress
}

// Ingress is the interface that a request came in by. The slices are shared between requests and read-only.
type Ingress struct {
	Interface string
	Prefixes  []netip.Prefix // addresses of the interface with their lengths
	Owned     []netip.Addr   // every IPv4 address of this host
}

// Client says which program sent the request.
func (f *Facts) Client() Client {
	switch {
	case f.IPXE:
		return ClientIPXE
	case f.Message == BOOTP || f.Arch != NoArch || strings.HasPrefix(f.VendorClass, "PXEClient") || strings.HasPrefix(f.VendorClass, "HTTPClient"):
		return ClientROM
	default:
		return ClientOS
	}
}

// architectures is the IANA registry of processor architecture types (RFC 4578, RFC 5970), under the names that specs use.
// Types 7 and 9 are both seen from x86-64 firmware, so they share a name.
var architectures = []struct {
	Arch Arch
	Name string
}{
	{0, "x86-bios"}, {1, "nec98"}, {2, "itanium"}, {3, "alpha"}, {4, "arc-x86"}, {5, "lean-client"},
	{6, "x86-uefi"}, {7, "x86_64-uefi"}, {8, "xscale-uefi"}, {9, "x86_64-uefi"}, {10, "arm32-uefi"}, {11, "arm64-uefi"},
	{12, "powerpc-open"}, {13, "powerpc-epapr"}, {14, "power-opal"}, {15, "x86-uefi-http"}, {16, "x86_64-uefi-http"},
	{17, "ebc-uefi-http"}, {18, "arm32-uefi-http"}, {19, "arm64-uefi-http"}, {20, "x86-bios-http"}, {21, "arm32-uboot"},
	{22, "arm64-uboot"}, {23, "arm32-uboot-http"}, {24, "arm64-uboot-http"}, {25, "riscv32-uefi"}, {26, "riscv32-uefi-http"},
	{27, "riscv64-uefi"}, {28, "riscv64-uefi-http"}, {29, "riscv128-uefi"}, {30, "riscv128-uefi-http"}, {31, "s390-basic"},
	{32, "s390-extended"}, {33, "mips32-uefi"}, {34, "mips64-uefi"}, {35, "sunway32-uefi"}, {36, "sunway64-uefi"},
	{37, "loongarch32-uefi"}, {38, "loongarch32-uefi-http"}, {39, "loongarch64-uefi"}, {40, "loongarch64-uefi-http"},
	{41, "arm-rpiboot"},
}

// String gives the architecture's name, "none" for NoArch, or its number when it has no name.
func (a Arch) String() string {
	if a == NoArch {
		return "none"
	}
	for _, x := range architectures {
		if x.Arch == a {
			return x.Name
		}
	}
	return strconv.Itoa(int(a))
}

// Architectures gives every option 93 number under a name, or nil for a name that is not known.
func Architectures(name string) []Arch {
	var as []Arch
	for _, x := range architectures {
		if x.Name == name {
			as = append(as, x.Arch)
		}
	}
	return as
}

// ArchitectureNames lists the distinct names in the order of their numbers.
func ArchitectureNames() []string {
	var names []string
	seen := map[string]bool{}
	for _, x := range architectures {
		if !seen[x.Name] {
			seen[x.Name] = true
			names = append(names, x.Name)
		}
	}
	return names
}

// UEFI reports whether the architecture is a UEFI one, by PXE or by HTTP boot.
func (a Arch) UEFI() bool { return strings.Contains(a.String(), "-uefi") }

// HTTPBoot reports whether firmware of this architecture boots by HTTP (option 60 HTTPClient) and wants a URL.
func (a Arch) HTTPBoot() bool { return strings.Contains(a.String(), "-http") }

// Firmware is the kind of firmware as specs name it: bios, uefi or rpi; empty for others.
func (a Arch) Firmware() string {
	switch name := a.String(); {
	case strings.Contains(name, "-bios"):
		return "bios"
	case a.UEFI():
		return "uefi"
	case name == "arm-rpiboot":
		return "rpi"
	}
	return ""
}

// Processor is the processor as images name theirs, empty when it cannot be told. A BIOS does not say whether its processor has 64 bits;
// today's have.
func (a Arch) Processor() string {
	name, _, found := strings.Cut(a.String(), "-")
	switch {
	case a.Firmware() == "bios":
		return "x86_64"
	case a.Firmware() == "rpi":
		return "arm64"
	case !found || a == NoArch:
		return ""
	}
	return name
}
