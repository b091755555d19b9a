package render

import (
	"fmt"
	"net/netip"
	"slices"

	"hostler/render/fact"
)

// selectProxy says whether a request on a subnet whose addresses the site's own DHCP server gives is ours to answer: the
// DISCOVER of a machine that boots, and what it asks on the boot server's port (PXE 2.1 section 2.2.1).
func (s *Snapshot) selectProxy(c *Choice, sn *subnet, f *fact.Facts) {
	c.Proxy, c.None = true, "the site's own DHCP server gives the address"
	c.Claim = fact.Claim{MAC: f.MAC, Node: c.Node, Subnet: sn.Name}
	switch {
	case f.Client() == fact.ClientOS:
		c.Ignore = "not a machine that boots: the site's own DHCP server answers it"
	case f.Message != fact.Discover && !f.BootServer:
		c.Ignore = "for the site's own DHCP server"
		if f.ServerID.IsValid() {
			c.Ignore += " at " + f.ServerID.String()
		}
	}
}

// answerProxy tells a machine what to load, and leaves all else to the site's own DHCP server. There is no NAK.
func (s *Snapshot) answerProxy(f *fact.Facts, c *Choice, sn *subnet) Answer {
	p, declared := s.byMAC[f.MAC]
	switch {
	case declared && s.fleet.Nodes[p.node].Interfaces[p.iface].Subnet != sn.Name && sn.Unknown < 0:
		return Answer{Ignore: fmt.Sprintf("node %s: declared on subnet %s, asking on %s", c.Node, s.fleet.Nodes[p.node].Interfaces[p.iface].Subnet, sn.Name)}
	case !declared && sn.Unknown < 0:
		return Answer{Ignore: fmt.Sprintf("unknown machine: subnet %s has no unknown group", sn.Name)}
	}
	a := Answer{ServerID: c.Server}
	switch f.Message {
	case fact.Discover:
		a.Message = fact.Offer
	case fact.Request, fact.Inform:
		a.Message = fact.Ack
	default:
		return Answer{Ignore: f.Message.String() + ": not for a boot server"}
	}
	m := s.whom(c, sn)
	r := reply{params: f.Params, all: s.networkOptions(sn, &m)}
	for _, o := range r.all {
		if proxyOption(o.Code) && (o.always || r.wants(o.Code)) {
			r.opts = append(r.opts, o.Option)
		}
	}
	s.boot(&a, &r, f, c, &m)
	if a.BootFile == "" { // an offer without one would only keep the machine from looking elsewhere
		return Answer{Ignore: fmt.Sprintf("nothing to load: boot is %s, client architecture %s", m.boot, arch(f))}
	}
	a.Options = r.opts
	return a
}

// proxyOption reports whether an option is about booting. What a machine needs to use its network is for the server
// that gives it the address.
func proxyOption(code uint8) bool {
	switch {
	case code == optVendor, code == optServerName:
		return true
	case code >= 128 && code <= 135: // PXE 2.1 table 2-1: loaders' own
		return true
	}
	return code >= optMagic && code <= optRebootTime
}

// proxyLoad makes the reply to firmware one that it takes from a proxy.
func proxyLoad(r *reply, f *fact.Facts) {
	if slices.ContainsFunc(r.opts, func(o Option) bool { return o.Code == optVendorClass && string(o.Data) == "HTTPClient" }) {
		return // UEFI HTTP boot takes the URL from the offer (EDK2 HttpBootDhcp4.c)
	}
	r.force(optVendorClass, []byte("PXEClient"))
	if arch(f).UEFI() {
		// EDK2 drops a proxy's offer whose option 43 is about discovery (PxeBcDhcp4.c, PxeBcCacheDhcp4Offer). One without
		// it sends the firmware to port 4011, where it takes the boot file from the ACK.
		r.opts = slices.DeleteFunc(r.opts, func(o Option) bool { return o.Code == optVendor })
		return
	}
	r.force(optVendor, []byte{6, 1, 8, 255}) // a BIOS takes this offer's boot file, without port 4011
}

// Proxies reports whether the addresses of some subnet are given by the site's own DHCP server.
func (s *Snapshot) Proxies() bool {
	return slices.ContainsFunc(s.subnets, func(sn subnet) bool { return sn.DHCP == "proxy" })
}

// Within reports whether an address is one of a subnet's.
func (s *Snapshot) Within(subnet string, a netip.Addr) bool {
	i, ok := s.bySubnet[subnet]
	return ok && s.subnets[i].CIDR.Contains(a)
}
