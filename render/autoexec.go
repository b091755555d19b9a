package render

import (
	"hostler/render/fact"
	"hostler/spec"
)

// autoexecName is what every newer iPXE for UEFI asks for, in its own folder, before it does anything else.
const autoexecName = "autoexec.ipxe"

// autoexec sends an iPXE that has no script of its own to the node's, in whatever folder it asks. One that has a script would pass
// autoexec.ipxe on to the kernel as an initrd (ipxe/ipxe #1327): it is told that there is none.
func (s *Snapshot) autoexec(name string, asking fact.MAC) (File, bool) {
	p, declared := s.byMAC[asking]
	if _, base := splitName(name); base != autoexecName || !declared {
		return File{}, false
	}
	n := &s.fleet.Nodes[p.node]
	a := s.nodeArch(n, "uefi")
	for _, a := range []fact.Arch{a, httpBoot(a)} {
		l, _ := s.loader(a, s.fleet.Effective(n).Loader, n)
		if a == fact.NoArch || l == nil || l.Kind != spec.LoaderIPXE || !l.Autoexec {
			continue
		}
		// The firmware's address is iPXE's, too, if iPXE found it; else it asks DHCP itself.
		text := fact.Text("#!ipxe\n# "+plain(n.Address)+"\n:hostler\nisset ${netX/ip} && ifopen || dhcp || goto again\nchain --replace ") +
			scriptURL(fact.LateBase, bootPort(n).MAC, "") + " ||\n:again\nsleep 5\ngoto hostler\n"
		return File{Name: name, Node: n.Name, Stage: fact.StageLoader, Text: text}, true
	}
	return File{}, false
}
