package render

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// menu is what the configuration of a loader other than iPXE says to a machine: boot this, go on to the next boot entry, or
// wait and ask again.
type menu struct {
	target
	node    fact.NodeName
	who     string
	why     string // it waits, and for what; empty: it does not
	next    bool   // go on to the firmware's next boot entry
	kernel  File
	initrds []File
	loader  *spec.Loader
	retry   int
	byArch  bool // what it boots depends on its processor
	terms   fact.Terms
}

// menu decides what a machine's configuration says. Machines that nobody declared have one when their subnet gives strangers
// something to boot.
func (s *Snapshot) menu(m fact.MAC, kind spec.LoaderKind, cpu string, retry int) (menu, bool) {
	c := menu{who: "unknown machine " + m.String(), retry: retry}
	if p, declared := s.byMAC[m]; declared {
		n := &s.fleet.Nodes[p.node]
		c.node, c.who, c.target = n.Name, n.Address, s.targetOf(n)
		c.mac = m // the one of its interfaces that asks
		c.loader = s.loaderOfKind(kind, c.settings.Loader, n)
		switch hold := s.hold(n); {
		case n.Disabled:
			c.why = "disabled in the spec"
		case hold != "":
			c.why = "held: " + hold + ", " + s.unhold(n)
		}
	} else {
		sn := s.subnetAt(netip.Addr{})
		if sn == nil || m.IsZero() {
			return menu{}, false
		}
		c.target, _, c.why = s.targetUnknown(sn, m, cpu)
		c.byArch = len(sn.Discovery) > 0
		c.loader = s.loaderOfKind(kind, c.settings.Loader, nil)
	}
	if b := c.settings.Boot; c.why == "" && (b == spec.BootDisk || b == spec.BootOff) {
		c.next = true
		return c, true
	}
	r := c.settings.Retry
	switch p, _ := attempt(r, retry); {
	case p == tryFallback && s.images[r.Fallback] != nil:
		c.image = s.images[r.Fallback]
	case p == tryNothing && c.image != nil && c.why == "":
		c.why = givenUp(r, c.image.Name)
	}
	var kernel *File
	if c.image != nil {
		kernel, c.initrds = s.bootFiles(c.image)
	}
	if kernel != nil {
		c.kernel = *kernel
	} else if c.why == "" {
		c.why = "it has no image"
	}
	if p, declared := s.byMAC[m]; declared && c.why == "" {
		c.terms = s.terms(&s.fleet.Nodes[p.node], c.image)
	}
	return c, true
}

// loaderOfKind is the loader of a kind that a machine has in all likelihood: the request for its configuration does not
// say. It is never nil, since a loader may come from elsewhere, a card or a disk.
func (s *Snapshot) loaderOfKind(kind spec.LoaderKind, setting string, n *spec.Node) *spec.Loader {
	var candidates []*spec.Loader
	if setting != "" {
		candidates = append(candidates, s.loaderByName(setting))
	} else if n != nil {
		for _, firmware := range []string{"bios", "uefi", "rpi"} {
			l, _ := s.loader(s.nodeArch(n, firmware), "", n)
			candidates = append(candidates, l)
		}
	}
	for _, l := range append(candidates, s.loaders...) {
		if l != nil && l.Kind == kind {
			return l
		}
	}
	other := &spec.Loader{Kind: kind, Transport: spec.TransportHTTP}
	if kind == spec.LoaderGRUB || kind == spec.LoaderRPi {
		other.Transport = spec.TransportTFTP
	}
	return other
}

// whose says which machine's configuration a loader asks for. id is what loaders put behind the name of their configuration:
// the MAC after Ethernet's hardware type, 01-aa-bb-..., the UUID of the machine, or its address in hexadecimal. They go on
// with shorter and shorter beginnings of the address; those are nobody's, so that no machine is given another's
// configuration. An empty id is what they ask for in the end: the configuration of whoever asks.
func (s *Snapshot) whose(id string, asking fact.MAC) (fact.MAC, bool) {
	m := asking
	switch {
	case id == "":
		return m, !m.IsZero()
	case strings.HasPrefix(id, "01-"):
		var err error
		if m, err = fact.ParseMAC(id); err != nil || !strings.EqualFold(id[3:], m.Dashed()) && !strings.EqualFold(id[3:], m.String()) {
			return m, false
		}
	case len(id) == 8:
		b, err := hex.DecodeString(id)
		if err != nil {
			return m, false
		}
		if p, declared := s.byAddress[netip.AddrFrom4([4]byte(b))]; declared {
			m = s.fleet.Nodes[p.node].Interfaces[p.iface].MAC
		} // else it is the address that the asking machine leased
	default:
		i, ok := s.byUUID[strings.ToLower(id)]
		if !ok {
			i, ok = s.byUUID[swapUUID(strings.ToLower(id))]
		}
		if !ok {
			return m, false
		}
		m = bootPort(&s.fleet.Nodes[i]).MAC
	}
	return m, !m.IsZero() && s.mayAsk(asking, m)
}

// mayAsk reports whether the machine that asks, as far as it is known, is the one with the MAC.
func (s *Snapshot) mayAsk(asking, m fact.MAC) bool {
	if asking.IsZero() || asking == m {
		return true
	}
	a, known := s.byMAC[asking]
	b, declared := s.byMAC[m]
	return known && declared && a.node == b.node
}

// swapUUID turns a UUID as PXE firmware sends it in option 97, with its first three fields in little-endian order (SMBIOS 2.6
// section 7.2.1), into the form that dmidecode prints, and back. GRUB asks for the one, pxelinux for the other.
func swapUUID(id string) string {
	fields := strings.Split(id, "-")
	if len(fields) != 5 {
		return ""
	}
	for i, f := range fields[:3] {
		b, err := hex.DecodeString(f)
		if err != nil {
			return ""
		}
		slices.Reverse(b)
		fields[i] = hex.EncodeToString(b)
	}
	return strings.Join(fields, "-")
}
