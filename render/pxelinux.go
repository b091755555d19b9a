package render

import (
	"net/netip"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// pxelinuxFolder is where pxelinux looks for its configuration.
const pxelinuxFolder = "pxelinux.cfg/"

// pxelinuxName is the configuration's name that has the MAC in it: 01 is Ethernet's hardware type.
func pxelinuxName(m fact.MAC) string { return pxelinuxFolder + "01-" + m.Dashed() }

// pxelinux is the configuration of the machine with the MAC. Machines that nobody declared have one when their subnet
// gives strangers something to boot.
func (s *Snapshot) pxelinux(m fact.MAC, name string) (File, bool) {
	f := File{Name: name, Stage: fact.StageScript}
	p, declared := s.byMAC[m]
	if !declared {
		sn := s.subnetAt(netip.Addr{})
		if sn == nil {
			return File{}, false
		}
		t := s.targetUnknown(sn, m)
		f.Text = s.pxelinuxConfig(&t, "unknown machine "+m.String(), "")
		return f, true
	}
	n := &s.fleet.Nodes[p.node]
	f.Node = n.Name
	t := s.targetOf(n)
	why := ""
	switch hold := s.hold(n); {
	case n.Disabled:
		why = "disabled in the spec"
	case hold != "":
		why = "held: " + hold
	}
	f.Text = s.pxelinuxConfig(&t, n.Address, why)
	return f, true
}

func (s *Snapshot) pxelinuxConfig(t *target, who, why string) fact.Text {
	head := "# " + plain(who) + "\n"
	if why == "" && (t.settings.Boot == spec.BootDisk || t.settings.Boot == spec.BootOff) {
		// -1 returns to the BIOS, which goes on to its next boot entry.
		return fact.Text(head + "DEFAULT next\nPROMPT 0\nLABEL next\n  LOCALBOOT -1\n")
	}
	var kernel *File
	var initrds []File
	if t.image != nil {
		kernel, initrds = s.bootFiles(t.image)
	}
	if kernel == nil && why == "" {
		why = "it has no image"
	}
	if why != "" { // prints why, waits half a minute, and reads its configuration again
		return fact.Text(head + "SAY hostler: " + plain(who) + ": " + plain(why) +
			"\nDEFAULT again\nPROMPT 1\nTIMEOUT 300\nLABEL again\n  CONFIG " + pxelinuxName(t.mac) + "\n")
	}
	urls := make([]string, len(initrds))
	for i, f := range initrds {
		urls[i] = string(fileURL(f))
	}
	args := string(s.cmdline(t))
	if len(urls) > 0 {
		args = "initrd=" + strings.Join(urls, ",") + " " + args
	}
	return fact.Text(head + "DEFAULT hostler\nPROMPT 0\nTIMEOUT 0\nLABEL hostler\n  KERNEL " + string(fileURL(*kernel)) +
		"\n  APPEND " + args + "\n")
}
