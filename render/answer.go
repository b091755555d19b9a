package render

import (
	"cmp"
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
	cpu      string         // of a machine that nobody declared; empty: it did not say
}

// whom gives the machine for which a choice was made.
func (s *Snapshot) whom(c *Choice, sn *subnet) client {
	p, declared := s.byMAC[c.Claim.MAC]
	if !declared {
		profile, _ := s.stranger(sn, c.cpu)
		m := client{profile: profile, settings: s.settings(profile), cpu: c.cpu}
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

// Answer decides the reply to a DISCOVER, REQUEST, INFORM or BOOTP request of a client for which Select made the choice and
// the leases hold the address; the choice takes over from it which of several pools that is in. An invalid address is a
// pool that is exhausted, unless the choice needs none.
func (s *Snapshot) Answer(f *fact.Facts, c *Choice, addr netip.Addr) Answer {
	if c.Ignore != "" {
		return Answer{Ignore: c.Ignore}
	}
	c.settle(addr)
	i, ok := s.bySubnet[c.Subnet]
	if !ok {
		return Answer{Ignore: fmt.Sprintf("subnet %s: no longer declared", c.Subnet)}
	}
	sn := &s.subnets[i]
	if c.Proxy {
		return s.answerProxy(f, c, sn)
	}
	if f.Message == fact.Inform && f.CIAddr.IsValid() && !sn.CIDR.Contains(f.CIAddr) {
		// RFC 2131 section 4.3.5 has the address checked for consistency: the reply goes there, wherever that is.
		return Answer{Ignore: fmt.Sprintf("inform: %s is not an address of subnet %s", f.CIAddr, c.Subnet)}
	}
	a := verdict(f, c, addr)
	if a.Notice.Kind == ForeignServer && !s.Alone(c.Subnet) {
		a.Notice = Notice{}
	}
	if a.Ignore != "" || a.Message == fact.Nak {
		return a
	}
	m := s.whom(c, sn)
	r := reply{params: f.Params, all: s.networkOptions(sn, &m)}
	r.opts = make([]Option, 0, len(r.all)+8) // with those of booting
	for _, o := range r.all {
		if o.always || r.wants(o.Code) {
			r.opts = append(r.opts, o.Option)
		}
	}
	if f.Message != fact.Inform && f.Message != fact.BOOTP { // RFC 2131 section 4.3.5, RFC 1534 section 2: no lease times
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
	case m.node == nil && m.profile >= 0 && m.profile < len(s.profiles):
		return s.profiles[m.profile].options
	case sn.Unknown >= 0 && sn.Unknown < len(s.profiles):
		return s.profiles[sn.Unknown].options
	}
	return sn.options
}

// boot says what the client loads next, and where from.
func (s *Snapshot) boot(a *Answer, r *reply, f *fact.Facts, c *Choice, m *client) {
	if f.Client() == fact.ClientOS && !isRPi(f) || m.boot == spec.BootOff || m.node == nil && m.profile < 0 ||
		m.node != nil && m.iface != bootPort(m.node) {
		return
	}
	a93 := arch(f)
	if f.Message == fact.BOOTP { // older than option 93, and than UEFI
		a93 = s.nodeArch(m.node, cmp.Or(m.node.Firmware, "bios"))
	}
	l, _ := s.loader(a93, m.loader, m.node)
	for i := 0; l == nil && i < len(f.MoreArch); i++ { // what the client runs, too
		if l, _ = s.loader(f.MoreArch[i], m.loader, m.node); l != nil {
			g := *f
			g.Arch, f = g.MoreArch[i], &g
		}
	}
	if l != nil && l.Kind == spec.LoaderRPi && m.boot == spec.BootDisk {
		return // without option 43 it goes on in its BOOT_ORDER
	}
	if f.IPXE && !c.Proxy {
		// Without this, iPXE waits two to three seconds in each of its DHCP rounds for the offer of a proxyDHCP server
		// (iPXE src/net/udp/dhcp.c, no-pxedhcp). There is none to wait for: the script, or the loader, is here.
		r.force(optIPXE, []byte{subNoProxy, 1, 1})
	}
	disk := a93.UEFI() && s.bootsDisk(m)
	if f.IPXE && (disk || !insteadOfScript(f, m, l)) {
		a.BootFile, a.Loader, a.SIAddr = scriptURL(s.base(f, m), f.MAC, m.cpu), "script", c.Server
		if c.Proxy {
			// iPXE takes an offer without an address for a proxy's only if it says PXEClient. With next-server and file in it,
			// iPXE does not ask on port 4011 (src/net/udp/dhcp.c, dhcp_has_pxeopts).
			r.force(optVendorClass, []byte("PXEClient"))
		}
		r.putServer(c.Server)
		return
	}
	if disk {
		a.Loader = "disk"
		r.nextBootEntry(a, f)
		return
	}
	if l != nil {
		a.Loader, a.SIAddr = l.Name, c.Server
		s.load(a, r, f, l)
		if c.Proxy && l.Kind != spec.LoaderRPi {
			proxyLoad(r, f)
		}
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
	if arch(f) == archRPi {
		r.loadRPi(a, l)
		return
	}
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
		// lpxelinux takes its parameters from the ROM's copy of this reply, whatever the ROM asked for (RFC 5071).
		for _, o := range r.all {
			if o.Code >= optMagic && o.Code <= optRebootTime {
				r.put(o.Code, o.Data)
			}
		}
		r.put(optConfigFile, []byte(pxelinuxName(f.MAC)))
		if strings.ContainsRune(l.FileName, '/') { // else its modules are looked for beside the loader
			r.put(optPathPrefix, []byte("/"))
		}
	}
}

// DiskURLPath is a path at which there is nothing: UEFI HTTP boot goes on to its next boot entry when it is told so.
const DiskURLPath = "/boot-from-disk"

// localDisk is a PXE menu of one entry, whose type is 0, the local disk, with a prompt that does not wait (PXE 2.1 table 2-1,
// sub-options 9 and 10; EDK2 PxeBcDxe, PxeBcDiscoverBootFile; dnsmasq's --pxe-service with type 0).
const localDisk = "\x09\x07\x00\x00\x04disk\x0a\x05\x00disk\xff"

// bootsDisk says whether the machine shall boot what is installed; a machine that is held waits in its loader.
func (s *Snapshot) bootsDisk(m *client) bool {
	return m.boot == spec.BootDisk && (m.node == nil || !m.node.Disabled && s.hold(m.node) == "")
}

// nextBootEntry makes UEFI firmware go on to its next boot entry, which is the disk's, at once. A loader could not: firmware stops at a
// program that ends without an error, as the built-in loaders and GRUB do, and without any answer it asks for a minute.
func (r *reply) nextBootEntry(a *Answer, f *fact.Facts) {
	if arch(f).HTTPBoot() || strings.HasPrefix(f.VendorClass, "HTTPClient") {
		a.BootFile = fact.NewLate(fact.LateBase, "") + DiskURLPath
		r.force(optVendorClass, []byte("HTTPClient"))
		return
	}
	r.force(optVendorClass, []byte("PXEClient"))
	r.force(optVendor, []byte(localDisk))
}

// force adds an option or replaces it: the client's firmware would not boot with another value.
func (r *reply) force(code uint8, data []byte) {
	r.opts = slices.DeleteFunc(r.opts, func(o Option) bool { return o.Code == code })
	r.put(code, data)
}

// scriptURL is where a machine's iPXE finds its script. Colons need no escape in a query (RFC 3986 section 3.4).
func scriptURL(base fact.Late, m fact.MAC, cpu string) fact.Text {
	url := fact.NewLate(base, "") + fact.Text("/boot/v1/bootscript?mac="+m.String())
	if cpu != "" { // of a machine of which nothing else says it
		url += fact.Text("&arch=" + cpu)
	}
	return url
}

// base is how an iPXE reaches the boot HTTP server. Over TLS only where it is the loader inside this program: that one is told at its
// delivery which certificate to trust, and any other trusts what it was built with. The BIOS program is compressed, and cannot be told.
func (s *Snapshot) base(f *fact.Facts, m *client) fact.Late {
	if f.UserClass != embeddedClass || arch(f) == 0 || arch(f) == fact.NoArch {
		return fact.LateBase
	}
	if l, _ := s.loader(arch(f), m.loader, m.node); l == nil || l.File.Builtin == "" {
		return fact.LateBase
	}
	return fact.LateSecure
}

// embeddedClass is the user class (option 77) of the iPXE programs inside this one.
const embeddedClass = "Tinkerbell"
