package render

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// client is a machine as Answer and Script see it: settings of a declared node, or those of unknown machines.
type client struct {
	node     *spec.Node      // nil for a machine that nobody declared
	iface    *spec.Interface // that asks; nil with node
	profile  int             // -1: none
	boot     spec.BootMode
	loader   string
	settings *spec.Settings // of the profile; without the node's own
}

// whom gives the machine for which a choice was made.
func (s *Snapshot) whom(c *Choice, sn *subnet) client {
	p, declared := s.byMAC[c.Claim.MAC]
	if !declared {
		m := client{profile: sn.Unknown, settings: s.settings(sn.Unknown)}
		m.boot, m.loader = m.settings.Boot, m.settings.Loader
		return m
	}
	n := &s.fleet.Nodes[p.node]
	m := client{node: n, iface: &n.Interfaces[p.iface], profile: n.Profile, settings: s.settings(n.Profile)}
	m.boot, m.loader = s.bootMode(n), m.settings.Loader
	if n.Own != nil && n.Own.Loader != "" {
		m.loader = n.Own.Loader
	}
	return m
}

func (s *Snapshot) bootMode(n *spec.Node) spec.BootMode {
	if n.Own != nil && n.Own.Boot != "" {
		return n.Own.Boot
	}
	if b := s.settings(n.Profile).Boot; b != "" {
		return b
	}
	return spec.BootNet
}

// Answer decides the reply to a DISCOVER, REQUEST or INFORM of a client for which Select made the choice and the
// leases hold the address. An invalid address is a pool that is exhausted.
func (s *Snapshot) Answer(f *fact.Facts, c *Choice, addr netip.Addr) Answer {
	if c.Ignore != "" {
		return Answer{Ignore: c.Ignore}
	}
	i, ok := s.bySubnet[c.Subnet]
	if !ok {
		return Answer{Ignore: fmt.Sprintf("subnet %s: no longer declared", c.Subnet)}
	}
	a := verdict(f, c, addr)
	if a.Ignore != "" || a.Message == fact.Nak {
		return a
	}
	sn := &s.subnets[i]
	m := s.whom(c, sn)
	r := reply{params: f.Params}
	for _, o := range s.networkOptions(sn, &m) {
		if o.always || r.wants(o.Code) {
			r.opts = append(r.opts, o.Option)
		}
	}
	if f.Message != fact.Inform { // RFC 2131 section 4.3.5: no lease times
		r.putTimes(c.Claim.For)
	}
	if m.node != nil && r.wants(optHostname) {
		r.put(optHostname, []byte(hostname(m.node, m.iface)))
	}
	s.boot(&a, &r, f, c, &m)
	a.Options = r.opts
	return a
}

func (s *Snapshot) networkOptions(sn *subnet, m *client) []option {
	switch {
	case m.node != nil && m.iface.Subnet == sn.Name:
		return s.optionsFor(sn, m.node)
	case sn.Unknown >= 0 && sn.Unknown < len(s.profiles):
		return s.profiles[sn.Unknown].options
	}
	return sn.options
}

// verdict is the kind of reply that RFC 2131 section 4.3 prescribes.
func verdict(f *fact.Facts, c *Choice, addr netip.Addr) Answer {
	switch f.Message {
	case fact.Discover:
		if !addr.IsValid() {
			return Answer{Ignore: exhausted(c)}
		}
		return Answer{Message: fact.Offer, YIAddr: addr, ServerID: c.Server}
	case fact.Request:
		return verdictRequest(f, c, addr)
	case fact.Inform:
		if !f.CIAddr.IsValid() {
			return Answer{Ignore: "inform: without a client address"}
		}
		return Answer{Message: fact.Ack, ServerID: c.Server}
	case fact.BOOTP:
		return Answer{Ignore: "bootp: has no message type"}
	}
	return Answer{Ignore: strings.ToLower(f.Message.String()) + ": has no reply"}
}

func exhausted(c *Choice) string {
	if c.Claim.Fixed.IsValid() {
		return fmt.Sprintf("address %s: in use by another machine", c.Claim.Fixed)
	}
	return fmt.Sprintf("pool %s: exhausted", c.Claim.Pool)
}

// verdictRequest follows RFC 2131 section 4.3.2: a client selects our offer (option 54 is there), or verifies an address that
// it remembers (option 50 alone), or renews or rebinds (ciaddr).
func verdictRequest(f *fact.Facts, c *Choice, addr netip.Addr) Answer {
	if f.ServerID.IsValid() && f.ServerID != c.Server {
		return Answer{Ignore: fmt.Sprintf("request: selects server %s", f.ServerID)}
	}
	want := wanted(f)
	refuse := func(why string) Answer {
		if !c.Nak {
			return Answer{Ignore: why}
		}
		return Answer{Message: fact.Nak, Reason: why, ServerID: c.Server}
	}
	switch {
	case !want.IsValid():
		return Answer{Ignore: "request: names no address"}
	case !addr.IsValid():
		return refuse(exhausted(c))
	case want != addr:
		return refuse(fmt.Sprintf("address %s: not leased to %s", want, f.MAC))
	}
	return Answer{Message: fact.Ack, YIAddr: addr, ServerID: c.Server}
}

// boot says what the client loads next, and where from.
func (s *Snapshot) boot(a *Answer, r *reply, f *fact.Facts, c *Choice, m *client) {
	if f.Client() == fact.ClientOS || m.boot == spec.BootOff || m.node == nil && m.profile < 0 ||
		m.node != nil && m.iface != bootPort(m.node) {
		return
	}
	if f.IPXE {
		a.BootFile, a.Loader, a.SIAddr = scriptURL(f.MAC), "script", c.Server
		// Without this, iPXE waits two to three seconds in each of its DHCP rounds for the offer of a proxyDHCP server
		// (iPXE src/net/udp/dhcp.c, no-pxedhcp). There is none to wait for: the script is here.
		r.force(optIPXE, []byte{subNoProxy, 1, 1})
		r.putServer(c.Server)
		return
	}
	if l, _ := s.loader(arch(f), m.loader, m.node); l != nil {
		a.Loader, a.SIAddr = l.Name, c.Server
		s.load(a, r, f, l)
	}
}

// putServer names the boot server in option 66, for clients that do not look at the next-server field.
func (r *reply) putServer(server netip.Addr) {
	if r.wants(optServerName) {
		r.put(optServerName, []byte(server.String()))
	}
}

// load tells firmware where its loader is, in the way that this firmware understands.
func (s *Snapshot) load(a *Answer, r *reply, f *fact.Facts, l *spec.Loader) {
	if arch(f).HTTPBoot() || strings.HasPrefix(f.VendorClass, "HTTPClient") {
		// EDK2 takes only offers that echo HTTPClient, and wants an absolute URL; it follows no redirect.
		a.BootFile = fileURL(s.tftp[l.FileName])
		r.force(optVendorClass, []byte("HTTPClient"))
		return
	}
	a.BootFile = fact.Text(l.FileName)
	r.putServer(a.SIAddr)
	if strings.HasPrefix(f.VendorClass, "PXEClient") {
		// An offer that says PXEClient makes firmware look for a boot server on port 4011 first, unless sub-option 6
		// (PXE_DISCOVERY_CONTROL) has bit 3: use the boot file of this offer (PXE 2.1 section 2.2.3; EDK2 PxeBcDhcp4).
		r.force(optVendorClass, []byte("PXEClient"))
		r.force(optVendor, []byte{6, 1, 8, 255})
	}
	if l.Kind == spec.LoaderPXELinux {
		// lpxelinux takes its parameters from the ROM's copy of this reply, whatever the ROM asked for.
		r.force(optConfigFile, []byte(pxelinuxName(f.MAC)))
		if strings.ContainsRune(l.FileName, '/') { // else its modules are looked for beside the loader
			r.force(optPathPrefix, []byte("/"))
		}
	}
}

// force adds an option or replaces it: the client's firmware would not boot with another value.
func (r *reply) force(code uint8, data []byte) {
	r.opts = slices.DeleteFunc(r.opts, func(o Option) bool { return o.Code == code })
	r.put(code, data)
}

// scriptURL is where a machine's iPXE finds its script. Colons need no escape in a query (RFC 3986 section 3.4).
func scriptURL(m fact.MAC) fact.Text {
	return fact.NewLate(fact.LateBase, "") + fact.Text("/boot/v1/bootscript?mac="+m.String())
}
