package bootsim

import (
	"net/netip"
	"strings"
	"testing"

	"hostler/render"
	"hostler/render/fact"
)

// TestWalkProxy compares conversations beside a site's own DHCP server.
func TestWalkProxy(t *testing.T) {
	f := lab()
	f.Subnets[0].DHCP, f.Subnets[0].Pools = "proxy", nil
	s := snapshot(t, f)
	for _, x := range []struct {
		name string
		m    Machine
	}{
		{"proxy-bios", Machine{MAC: node(s, "bios1")}},
		{"proxy-bios-ipxe-rom", Machine{MAC: node(s, "bios1"), IPXE: true}},
		{"proxy-uefi", Machine{MAC: node(s, "uefi1"), Arch: 7}},
		{"proxy-uefi-http", Machine{MAC: node(s, "uefi1"), Arch: 16}},
		{"proxy-pxelinux", Machine{MAC: node(s, "pxe1")}},
		{"proxy-off", Machine{MAC: node(s, "off1")}},
		{"proxy-stranger", Machine{MAC: mac("52:54:00:99:00:01")}},
	} {
		t.Run(x.name, func(t *testing.T) {
			compare(t, x.name, Walk(Offline(s, x.m.MAC), x.m).String())
		})
	}
}

// TestProxyFirmware changes what a proxy says, and tells what firmware makes of it.
func TestProxyFirmware(t *testing.T) {
	f := lab()
	f.Subnets[0].DHCP, f.Subnets[0].Pools = "proxy", nil
	s := snapshot(t, f)
	vendor := func(data ...byte) func(*Reply) {
		return func(r *Reply) {
			if !r.YIAddr.IsValid() && r.Message == fact.Offer {
				r.Options = append([]render.Option{{Code: 43, Data: data}}, r.Options...)
			}
		}
	}
	for _, c := range []struct {
		name  string
		arch  fact.Arch
		reply func(*Reply)
		port  bool   // 4011 is asked
		want  string // why nothing boots; empty: it boots
	}{
		{"UEFI drops an offer with discovery options", 7, vendor(6, 1, 8, 255), false, "UEFI firmware drops a proxy's offer with discovery options in option 43"},
		{"a BIOS is told to look for a boot server", 0, vendor(6, 1, 0, 255), true, ""},
		{"a BIOS reads a broken option 43", 0, vendor(6, 9), true, ""},
		{"a BIOS is told to skip it, and has no file", 0, func(r *Reply) {
			if r.Message == fact.Offer {
				r.BootFile = ""
			}
		}, true, ""},
		{"no PXEClient", 7, func(r *Reply) {
			if !r.YIAddr.IsValid() {
				r.Options = nil
			}
		}, false, "a proxy's offer without option 60 PXEClient is taken by no firmware"},
		{"an ACK without a file", 7, func(r *Reply) {
			if r.Message == fact.Ack {
				r.BootFile = ""
			}
		}, true, "the DHCP reply names no boot file"},
		{"a proxy alone", 7, func(r *Reply) { r.YIAddr = netip.Addr{} }, false,
			"no DHCP offer with an address: the site's own DHCP server does not answer this machine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := Machine{MAC: node(s, "bios1"), Arch: c.arch}
			tr := Walk(silent{Network: Offline(s, m.MAC), message: fact.Decline, reply: c.reply}, m)
			if tr.Reason != c.want || tr.Booted != (c.want == "") || strings.Contains(tr.String(), "on port 4011") != c.port {
				t.Errorf("booted %t, reason %q, want %q, port 4011 %t:\n%s", tr.Booted, tr.Reason, c.want, c.port, tr)
			}
		})
	}
}

// TestSiteAddress gives each machine an address that nobody has.
func TestSiteAddress(t *testing.T) {
	f := lab()
	f.Subnets[0].DHCP, f.Subnets[0].Pools, f.Subnets[0].Gateway = "proxy", nil, netip.Addr{}
	f.Subnets[0].BootServers = []netip.Addr{netip.MustParseAddr("10.77.0.1")}
	f.Nodes[0].Interfaces[0].Addr = netip.MustParseAddr("10.77.0.3")
	s := snapshot(t, f)
	m := Offline(s, node(s, "uefi1"))
	seen := map[netip.Addr]bool{}
	for _, name := range []string{"bios1", "uefi1", "pxe1"} {
		rs, err := m.DHCP(fact.Facts{Message: fact.Discover, MAC: node(s, name), Arch: 0, VendorClass: "PXEClient"})
		if err != nil || len(rs) != 2 || seen[rs[0].YIAddr] || rs[0].ServerID != netip.MustParseAddr("10.77.0.2") {
			t.Fatalf("%s: %v, %v", name, rs, err)
		}
		seen[rs[0].YIAddr] = true
	}
	if !seen[netip.MustParseAddr("10.77.0.3")] {
		t.Errorf("the declared address is not among %v", seen)
	}
}
