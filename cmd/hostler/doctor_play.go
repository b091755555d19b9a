package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"

	"hostler/render"
	"hostler/render/bootsim"
	"hostler/render/bootsim/checkup"
	"hostler/render/bootsim/wire"
	"hostler/render/fact"
	"hostler/spec"
)

// examineSubnet plays a machine through a subnet.
func (d *doctor) examineSubnet(ctx context.Context, sn *spec.Subnet, declared int) {
	tell := func(r checkup.Result, check, text, advice string) {
		d.found(checkup.Finding{Subnet: sn.Name, Check: check, Result: r, Text: text, Advice: advice})
	}
	if sn.DHCP == "off" {
		tell(checkup.OK, "subnet", "dhcp is off here", "")
		return
	}
	d.pools(sn)
	c, err := d.ground(sn)
	if err != nil {
		tell(checkup.Warn, "subnet", err.Error(), "Run `hostler doctor -interface=NAME -spec=DIR "+sn.Name+"` on a host that is there.")
		return
	}
	m, held, err := d.patient(ctx, sn)
	if err != nil {
		tell(checkup.Warn, "subnet", err.Error(), "Name one with -node=NAME; with -force if it holds a lease.")
		return
	}
	c.MAC, c.Servers, c.Wait = m.MAC, d.servers(sn), d.wait
	s, err := wire.OpenStation(ctx, c)
	if err != nil {
		tell(checkup.Fail, "subnet", err.Error(), "Run it as root, on an interface that is up.")
		return
	}
	defer s.Close()
	if held {
		s.Keep()
	}
	tell(checkup.OK, "play", fmt.Sprintf("as %s, %s", d.who(m.MAC), whence(&c)), "")
	if d.client != nil {
		_ = d.client.Post(ctx, "/v1/play", map[string]string{"machine": m.MAC.String()}, nil) // without it, the play is listed as a boot
	}
	before := len(d.findings)
	booted := checkup.Run(ctx, checkup.Config{Snapshot: d.snapshot, Subnet: sn.Name, Machine: m, Station: s, Servers: c.Servers, Proxy: sn.DHCP == "proxy", Report: d.found})
	if !booted && slices.ContainsFunc(d.findings[before:], func(f checkup.Finding) bool { return f.Result == checkup.Fail }) {
		d.explain(context.WithoutCancel(ctx), sn.Name, m.MAC)
	}
}

func whence(c *wire.StationConfig) string {
	switch {
	case c.Relay.IsValid():
		return fmt.Sprintf("from %s as a relay agent, by way of %s", c.Relay, c.Interface)
	case c.Alone:
		return "from " + c.Interface + " with a card of its own"
	}
	return "from " + c.Interface
}

func (d *doctor) who(mac fact.MAC) string {
	if n, ok := d.snapshot.Node(mac.String()); ok {
		return string(n.Name) + " (" + mac.String() + ")"
	}
	return "a machine that nobody declared (" + mac.String() + ")"
}

// ground finds where a subnet can be asked from.
func (d *doctor) ground(sn *spec.Subnet) (c wire.StationConfig, err error) {
	names := []string{d.iface}
	if d.iface == "" {
		names = names[:0]
		for _, i := range d.status.DHCP.Interfaces {
			names = append(names, i.Name)
		}
	}
	own := map[string][]netip.Prefix{}
	for _, name := range names {
		own[name] = prefixesOf(name)
		for _, p := range own[name] {
			if sn.CIDR.Contains(p.Addr()) {
				return wire.StationConfig{Interface: name}, nil
			}
		}
	}
	// Who has an address in another subnet of the spec can speak as a relay agent of that one.
	for _, name := range names {
		for _, p := range own[name] {
			if server := d.serverOf(p.Addr()); server.IsValid() {
				return wire.StationConfig{Interface: name, Relay: p.Addr(), Link: sn.CIDR.Masked().Addr().Next(), Server: server}, nil
			}
		}
	}
	if d.iface != "" && len(own[d.iface]) == 0 {
		return wire.StationConfig{Interface: d.iface, Alone: true}, nil
	}
	return c, fmt.Errorf("no interface here has an address in %s, or in another subnet of the spec to speak as a relay agent from", sn.CIDR)
}

// serverOf is the server that a relay agent with an address of this host asks: this host, or the boot server of the subnet that the address
// is in.
func (d *doctor) serverOf(a netip.Addr) netip.Addr {
	for i := range d.snapshot.Fleet().Subnets {
		sn := &d.snapshot.Fleet().Subnets[i]
		switch {
		case !sn.CIDR.Contains(a) && !slices.Contains(sn.Relays, a):
		case d.status != nil:
			return a
		case len(sn.BootServers) > 0:
			return sn.BootServers[0]
		}
	}
	return netip.Addr{}
}

func prefixesOf(name string) (ps []netip.Prefix) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	addrs, _ := ifi.Addrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			ps = append(ps, p)
		}
	}
	return ps
}

// servers are the addresses by which the servers that are looked at may call themselves; none: nobody knows.
func (d *doctor) servers(sn *spec.Subnet) []netip.Addr {
	all := slices.Clone(sn.BootServers)
	if d.status != nil {
		for _, i := range d.status.DHCP.Interfaces {
			for _, p := range i.Addresses {
				all = append(all, p.Addr())
			}
		}
	}
	return all
}

// patient finds a machine to play: the one that was named, a declared one that was never seen, or a stranger where strangers are served.
// Held is one that keeps its lease.
func (d *doctor) patient(ctx context.Context, sn *spec.Subnet) (m bootsim.Machine, held bool, err error) {
	if d.node != "" {
		return d.named()
	}
	if d.client != nil {
		var nodes []nodeStatus
		for _, state := range []string{"unseen", "played"} {
			q := url.Values{"subnet": {sn.Name}, "state": {state}}
			if err := d.client.Get(ctx, "/v1/nodes?"+q.Encode(), &nodes); err != nil {
				return m, false, err
			}
			for i := range nodes {
				n := &nodes[i]
				boots := !slices.Contains([]string{"disk", "off", "hold"}, n.Next)
				if boots && (n.Lease == nil || n.Lease.State != fact.Bound) {
					return d.machineOf(n.MAC), false, nil
				}
			}
		}
	}
	if sn.Unknown >= 0 {
		return d.machineOf(playedMAC(sn.Name)), false, nil
	}
	return m, false, fmt.Errorf("there is no machine to play: every declared one that boots was seen, or none is, and strangers are not served")
}

func (d *doctor) named() (m bootsim.Machine, held bool, err error) {
	mac, err := fact.ParseMAC(d.node)
	if n, ok := d.snapshot.Node(d.node); ok {
		mac, err = n.MAC, nil
	}
	if err != nil {
		return m, false, fmt.Errorf("%q is neither a node nor a MAC address", d.node)
	}
	i := slices.IndexFunc(d.leases, func(l fact.Lease) bool { return l.MAC == mac && l.State == fact.Bound })
	if i >= 0 && !d.force {
		return m, false, fmt.Errorf("%s holds the lease of %s: it may be up", d.node, d.leases[i].Addr)
	}
	return d.machineOf(mac), i >= 0, nil
}

func (d *doctor) machineOf(mac fact.MAC) bootsim.Machine {
	firmware := ""
	if name, ok := d.snapshot.Node(mac.String()); ok {
		nodes := d.snapshot.Fleet().Nodes
		if i := slices.IndexFunc(nodes, func(n spec.Node) bool { return n.Name == name.Name }); i >= 0 {
			firmware = declaredFirmware(&nodes[i])
		}
	}
	m, _ := d.env.hardware(d.snapshot, mac, firmware)
	return m
}

// playedMAC is a MAC that is nobody's: locally administered, the same each time, so that the server remembers one and not a hundred.
func playedMAC(subnet string) fact.MAC {
	h := sha256.Sum256([]byte("hostler doctor " + subnet))
	return fact.MAC{0x02, 'h', 'd', h[0], h[1], h[2]}
}

// pools tells of those that are full.
func (d *doctor) pools(sn *spec.Subnet) {
	for i := range sn.Pools {
		p := &sn.Pools[i]
		if p.Serves == spec.ServesReserved || d.status == nil {
			continue
		}
		total, used := poolUse(d.snapshot, p, d.leases)
		f := checkup.Finding{Subnet: sn.Name, Check: "pool " + p.Name, Result: checkup.OK, Text: fmt.Sprintf("%d of %d addresses in use", used, total)}
		switch {
		case used >= total && total > 0:
			f.Result, f.Advice = checkup.Fail, "Widen the pool, or shorten `lease`; `hostler leases` shows who has the addresses."
		case used*10 >= total*9 && total > 0:
			f.Result, f.Advice = checkup.Warn, "It is nearly full: widen the pool, or shorten `lease`."
		}
		d.found(f)
	}
}

func poolUse(s *render.Snapshot, p *spec.Pool, leases []fact.Lease) (total, used int64) {
	in := func(a netip.Addr) bool {
		return slices.ContainsFunc(p.Ranges, func(r fact.Range) bool { return r.Contains(a) })
	}
	for _, r := range p.Ranges {
		total += span(r)
	}
	for i := range s.Fleet().Nodes {
		for _, ifc := range s.Fleet().Nodes[i].Interfaces {
			if ifc.Addr.IsValid() && in(ifc.Addr) {
				total--
			}
		}
	}
	for _, l := range leases {
		if (l.State == fact.Bound || l.State == fact.Offered || l.State == fact.Declined) && in(l.Addr) && !s.Declared(l.Addr) {
			used++
		}
	}
	return total, used
}
