package dhcp

import (
	"bytes"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render/fact"
)

// TestFirmwareFacts holds what is known of firmware and what it needs of a DHCP reply, one case a fact, each with where it was seen. What
// firmware does with proxyDHCP is in TestProxy, with relay agents in TestRelayAgents, that a ROM, iPXE and a system have three client
// identifiers in TestOneAddress; TFTP and HTTP are the business of the servers of those.
func TestFirmwareFacts(t *testing.T) {
	uuid := append([]byte{0}, bytes.Repeat([]byte{7}, 16)...)
	uefi := func(arch byte) []byte {
		return opts(opt(55, 1, 3, 43, 60, 66, 67, 97), opt(93, 0, arch), opt(94, 1, 3, 16), opt(97, uuid...), text(60, "PXEClient:Arch:0000"+string('0'+arch)+":UNDI:003016"))
	}
	for _, c := range []struct {
		fact  string // and where it was seen
		p     wirePacket
		wants func(c *rawClient, p *dhcpv4.DHCPv4) bool
	}{
		{"old ROMs drop replies of less than 300 bytes (smee, dnsmasq)",
			wirePacket{options: message(fact.Discover, opt(55, 255))},
			func(c *rawClient, p *dhcpv4.DHCPv4) bool { return c.length == 300 }},
		{"PXE ROMs ignore a reply without their UUID (PXE 2.1; pixiecore)",
			wirePacket{options: message(fact.Discover, biosROM)},
			func(c *rawClient, p *dhcpv4.DHCPv4) bool { return bytes.Equal(p.Options[97], uuid) }},
		{"the UUID may be missing, and is not made up (pixiecore)",
			wirePacket{options: message(fact.Discover, opt(93, 0, 0), text(60, "PXEClient:Arch:00000:UNDI:002001"))},
			func(c *rawClient, p *dhcpv4.DHCPv4) bool {
				_, ok := p.Options[97]
				return !ok && p.BootFileName == "undionly.kpxe"
			}},
		{"a client compares the client identifier with its own (RFC 6842)",
			wirePacket{options: message(fact.Discover, opt(61, 0xff, 1, 2, 3))},
			func(c *rawClient, p *dhcpv4.DHCPv4) bool { return string(p.Options[61]) == "\xff\x01\x02\x03" }},
		{"UEFI goes to port 4011 unless discovery control says that the boot file is here (PXE 2.1 section 2.2.3; EDK2 PxeBcDhcp4)",
			wirePacket{options: message(fact.Discover, uefi(7))},
			func(c *rawClient, p *dhcpv4.DHCPv4) bool {
				return string(p.Options[60]) == "PXEClient" && string(p.Options[43]) == "\x06\x01\x08\xff" && p.BootFileName == "ipxe.efi"
			}},
		{"x86-64 UEFI calls itself architecture 7 or 9 (RFC 4578 erratum 4625)",
			wirePacket{options: message(fact.Discover, uefi(9))},
			func(c *rawClient, p *dhcpv4.DHCPv4) bool { return p.BootFileName == "ipxe.efi" }},
		{"UEFI HTTP boot wants HTTPClient echoed and an absolute URL (smee #210, #229)",
			wirePacket{options: message(fact.Discover, opt(55, 1, 3, 60, 67), opt(93, 0, 16), opt(97, uuid...), text(60, "HTTPClient:Arch:00016:UNDI:003001"))},
			func(c *rawClient, p *dhcpv4.DHCPv4) bool {
				return string(p.Options[60]) == "HTTPClient" && strings.HasPrefix(bootFile(p), "http://10.77.0.1:8080/") && p.Options[43] == nil
			}},
		{"a ROM may send a user class and option 175 of gPXE's, in bare text",
			wirePacket{options: message(fact.Discover, opt(55, 67), text(77, "gPXE"), opt(93, 0, 0))},
			func(c *rawClient, p *dhcpv4.DHCPv4) bool {
				return strings.HasSuffix(bootFile(p), "/boot/v1/bootscript?mac="+n1.String())
			}},
		{"iPXE waits for a proxyDHCP server unless told that there is none (iPXE src/net/udp/dhcp.c)",
			wirePacket{options: message(fact.Discover, ipxe)},
			func(c *rawClient, p *dhcpv4.DHCPv4) bool { return string(p.Options[175]) == "\xb0\x01\x01" }},
		{"ROMs look at next-server and file, others at options 66 and 67",
			wirePacket{options: message(fact.Discover, biosROM)},
			func(c *rawClient, p *dhcpv4.DHCPv4) bool {
				return addrOf(p.ServerIPAddr) == addr("10.77.0.1") && p.BootFileName == "undionly.kpxe" &&
					string(p.Options[66]) == "10.77.0.1" && string(p.Options[67]) == "undionly.kpxe"
			}},
		{"some UEFI cannot be reached by unicast before it has an address, and says so",
			wirePacket{flags: 0x8000, options: message(fact.Discover, uefi(7))},
			func(c *rawClient, p *dhcpv4.DHCPv4) bool { return c.to == broadcastAddr && p.IsBroadcast() }},
		{"others take only unicast to the hardware address (RFC 2131 section 4.1)",
			wirePacket{options: message(fact.Discover, biosROM)},
			func(c *rawClient, p *dhcpv4.DHCPv4) bool {
				return c.to == addr("10.77.0.11") && c.toHW.String() == n1.String()
			}},
		{"a ROM checks that ACKs have the server identifier of the offer, and come from there (coredhcp sendEthernet.go)",
			wirePacket{options: message(fact.Request, opt(50, 10, 77, 0, 11), opt(54, 10, 77, 0, 1), biosROM)},
			func(c *rawClient, p *dhcpv4.DHCPv4) bool {
				return p.MessageType() == dhcpv4.MessageTypeAck && addrOf(p.Options[54]) == c.server && c.server == addr("10.77.0.1")
			}},
		{"some ROMs append NULs to texts (RFC 2132 section 2)",
			wirePacket{options: message(fact.Discover, opt(55, 67), opt(93, 0, 7), text(60, "PXEClient:Arch:00007:UNDI:003016\x00"), text(77, "iPXE\x00"))},
			func(c *rawClient, p *dhcpv4.DHCPv4) bool { return strings.HasPrefix(bootFile(p), "http://") }},
	} {
		t.Run(c.fact, func(t *testing.T) {
			seg := newSegment(t, "10.77.0.1/24")
			serve(t, nil, seg.server)
			client := seg.raw(t)
			c.p.mac, c.p.xid = n1, 1
			if p := client.ask(c.p); !c.wants(client, p) {
				t.Errorf("%d bytes %s: %s", client.length, client, p.Summary())
			}
		})
	}
}
