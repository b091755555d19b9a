package bootsim

import (
	"net/netip"

	"hostler/render"
	"hostler/render/fact"
)

// sortOffers finds the first offer with an address, and the first of a proxy, which has none. At least one is there.
func sortOffers(offers []Reply) (offer, proxy *Reply) {
	for i := range offers {
		switch o := &offers[i]; {
		case o.YIAddr.IsValid() && offer == nil:
			offer = o
		case !o.YIAddr.IsValid() && proxy == nil:
			proxy = o
		}
	}
	return offer, proxy
}

// teller writes down what the server says that gives the address. If that is another than the proxy, it is the site's own, and
// nothing but the address matters of it.
func (w *walker) teller(offer, proxy *Reply) func(traffic string, r *Reply) {
	if proxy == nil || proxy.ServerID == offer.ServerID {
		return func(traffic string, r *Reply) { w.server(traffic, "%s", describe(*r)) }
	}
	return func(traffic string, r *Reply) { w.row("Site", traffic, "%s", r.YIAddr) }
}

// takeProxy takes what to load from a proxy, once there is an address. It returns why it cannot.
func (w *walker) takeProxy(f fact.Facts, proxy *Reply) string {
	ask, drop := w.readsProxy(proxy)
	if drop != "" {
		return drop
	}
	if ask {
		f.Message, f.BootServer, f.CIAddr, f.ServerID = fact.Request, true, w.lease.YIAddr, proxy.ServerID
		if proxy.SIAddr.IsValid() && !f.IPXE {
			f.ServerID = proxy.SIAddr // EDK2 prefers it (PxeBcDhcp4.c, PxeBcRetryBinlOffer)
		}
		w.client("DHCP Request", "asks %s on port 4011 what to load", f.ServerID)
		acks, err := w.net.DHCP(f)
		if err != nil || len(acks) == 0 || acks[0].Message != fact.Ack {
			return "no DHCP ACK from port 4011: the boot server does not answer"
		}
		w.server("DHCP ACK", "%s", describe(acks[0]))
		proxy = &acks[0]
	}
	w.lease.BootFile, w.lease.SIAddr = proxy.BootFile, proxy.SIAddr
	w.lease.Options = append(append([]render.Option{}, proxy.Options...), w.lease.Options...) // the first of a code is read
	return ""
}

// readsProxy says whether a machine asks the boot server's port after a proxy's offer, or what it has against that offer.
func (w *walker) readsProxy(proxy *Reply) (ask bool, drop string) {
	vendor, hasVendor := proxy.option(43)
	switch a := w.machine.Arch; {
	case w.ipxe && !proxy.echoes("PXEClient"), !w.ipxe && !a.HTTPBoot() && !proxy.echoes("PXEClient"):
		return false, "a proxy's offer without option 60 PXEClient is taken by no firmware"
	case w.ipxe: // src/net/udp/dhcp.c, dhcp_has_pxeopts
		return !proxy.SIAddr.IsValid() || proxy.BootFile == "", ""
	case a.HTTPBoot(): // EDK2 HttpBootDhcp4.c: the URL stands in the offer
		return false, ""
	case a.UEFI() && hasVendor: // EDK2 PxeBcDhcp4.c, PxeBcCacheDhcp4Offer
		return false, "UEFI firmware drops a proxy's offer with discovery options in option 43"
	case a.UEFI():
		return true, ""
	}
	return !skipsDiscovery(vendor) || proxy.BootFile == "", ""
}

// skipsDiscovery reports whether option 43 says to load the boot file of the offer: bit 3 of PXE_DISCOVERY_CONTROL,
// sub-option 6 (PXE 2.1 table 2-3).
func skipsDiscovery(b []byte) bool {
	for len(b) >= 2 && b[0] != 255 && 2+int(b[1]) <= len(b) {
		if b[0] == 6 && b[1] == 1 {
			return b[2]&8 != 0
		}
		b = b[2+int(b[1]):]
	}
	return false
}

// site is an example of the site's own DHCP server: it has the gateway's address, or else the first that is nobody's, and gives a
// machine the address that it was declared with, or else the lowest that nobody has.
func (m *Memory) site(f *fact.Facts, c *render.Choice) []Reply {
	var cidr netip.Prefix
	var self netip.Addr
	for i := range m.Snapshot.Fleet().Subnets {
		if sn := &m.Snapshot.Fleet().Subnets[i]; sn.Name == c.Subnet {
			cidr, self = sn.CIDR, sn.Gateway
		}
	}
	if m.leases == nil {
		m.leases = map[fact.MAC]netip.Addr{}
	}
	next := func(a netip.Addr) netip.Addr {
		for a = a.Next(); cidr.Contains(a); a = a.Next() {
			if _, declared := m.Snapshot.Node(a.String()); !declared && a != self && a != c.Server && !m.taken(a) {
				break
			}
		}
		return a
	}
	if !self.IsValid() {
		self = next(cidr.Masked().Addr())
	}
	if n, ok := m.Snapshot.Node(f.MAC.String()); ok && cidr.Contains(n.IP) {
		m.leases[f.MAC] = n.IP
	} else if _, ok := m.leases[f.MAC]; !ok {
		m.leases[f.MAC] = next(cidr.Masked().Addr())
	}
	r := Reply{Message: fact.Offer, YIAddr: m.leases[f.MAC], ServerID: self}
	if f.Message == fact.Request {
		r.Message = fact.Ack
		if f.ServerID != self || f.Requested != r.YIAddr {
			return nil
		}
	}
	return []Reply{r}
}
