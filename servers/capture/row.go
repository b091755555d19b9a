package capture

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render/fact"
)

// Row is a packet in the columns in which people write boots down. `hostler boot` shows the same ones beforehand.
type Row struct {
	Traffic     string `json:"traffic"`
	Description string `json:"description"`
	Sender      string `json:"sender"` // Client or Server
}

// Describe reads packets, in their order. What a machine sent is shown with everything in it that is not printable replaced.
func Describe(packets []fact.Packet) []Row {
	rows := make([]Row, len(packets))
	blocks := map[[2]netip.AddrPort]int{} // block size of each TFTP transfer, by machine and server
	for i := range packets {
		p := &packets[i]
		r := &rows[i]
		r.Sender = "Client"
		if p.Sent {
			r.Sender = "Server"
		}
		switch p.Proto {
		case fact.ProtoDHCP:
			r.dhcp(p)
		case fact.ProtoTFTP:
			r.tftp(p, blocks)
		case fact.ProtoHTTP:
			r.http(p)
		}
		r.Traffic, r.Description = fact.Printable(r.Traffic), fact.Printable(r.Description)
	}
	return rows
}

func (r *Row) dhcp(p *fact.Packet) {
	m, err := dhcpv4.FromBytes(p.Payload)
	if err != nil {
		r.Traffic, r.Description = "DHCP", "unreadable: "+err.Error()
		return
	}
	typ := fact.Message(m.MessageType())
	r.Traffic = "DHCP " + typ.String()
	switch typ {
	case fact.Discover:
		r.Description = fmt.Sprintf("%s of %s asks for an address", program(m), p.MAC)
	case fact.Request:
		r.Description = request(m)
	case fact.Decline:
		r.Description = fmt.Sprintf("somebody else uses %s", m.RequestedIPAddress())
	case fact.Release:
		r.Description = fmt.Sprintf("gives %s back", m.ClientIPAddr)
	case fact.Inform:
		r.Description = fmt.Sprintf("has %s, and asks for options", m.ClientIPAddr)
	case fact.Offer, fact.Ack:
		r.Description = answer(m)
	case fact.Nak:
		r.Description = "refuses"
		if text := string(m.Options[56]); text != "" {
			r.Description += ": " + text
		}
	default:
		r.Description = "from " + p.MAC.String()
	}
	if !m.GatewayIPAddr.IsUnspecified() && len(m.GatewayIPAddr) > 0 {
		r.Description += ", through relay " + m.GatewayIPAddr.String()
	}
}

// program says which program sent a request.
func program(m *dhcpv4.DHCPv4) string {
	f := fact.Facts{Arch: fact.NoArch, VendorClass: string(m.Options[60])}
	class := string(m.Options[77])
	f.IPXE = m.Options[175] != nil || strings.Contains(class, "iPXE") || strings.Contains(class, "gPXE") || strings.Contains(class, "Tinkerbell")
	if b := m.Options[93]; len(b) >= 2 {
		f.Arch = fact.Arch(binary.BigEndian.Uint16(b))
	}
	switch {
	case f.Client() == fact.ClientIPXE:
		return "iPXE"
	case f.Arch != fact.NoArch:
		return f.Arch.String() + " firmware"
	case f.Client() == fact.ClientROM:
		return "firmware"
	}
	if v := f.VendorClass; v != "" {
		return "an operating system (" + v + ")"
	}
	return "an operating system"
}

// request says which of the four states of RFC 2131 section 4.3.2 a client is in.
func request(m *dhcpv4.DHCPv4) string {
	asked := m.RequestedIPAddress()
	server, ok := netip.AddrFromSlice(m.Options[54])
	switch {
	case ok:
		return fmt.Sprintf("takes %s from %s", asked, server)
	case asked != nil && !asked.IsUnspecified():
		return fmt.Sprintf("asks whether it still has %s", asked)
	}
	return fmt.Sprintf("renews %s", m.ClientIPAddr)
}

// answer says what a machine is told.
func answer(m *dhcpv4.DHCPv4) string {
	parts := []string{m.YourIPAddr.String()}
	if m.YourIPAddr.IsUnspecified() {
		parts = []string{"options only"}
	}
	if name := string(m.Options[12]); name != "" {
		parts = append(parts, "host name "+name)
	}
	if b := m.Options[51]; len(b) == 4 {
		parts = append(parts, fmt.Sprintf("for %d s", binary.BigEndian.Uint32(b)))
	}
	if s := m.ServerIPAddr; len(s) > 0 && !s.IsUnspecified() {
		parts = append(parts, "next-server "+s.String())
	}
	file := m.BootFileName
	if file == "" {
		file = strings.TrimRight(string(m.Options[67]), "\x00")
	}
	if file != "" {
		parts = append(parts, "boot file "+file)
	}
	return strings.Join(parts, ", ")
}

// http reads the head of a request or an answer.
func (r *Row) http(p *fact.Packet) {
	line, _, _ := strings.Cut(string(p.Payload), "\r\n")
	if p.Sent {
		_, status, _ := strings.Cut(line, " ")
		r.Traffic = "HTTP " + status
		r.Description = "sends " + strconv.Itoa(max(p.Size-len(p.Payload), 0)) + " bytes"
		return
	}
	method, rest, _ := strings.Cut(line, " ")
	target, _, _ := strings.Cut(rest, " ")
	r.Traffic = "HTTP " + method
	r.Description = "http://" + p.To.String() + target
}
