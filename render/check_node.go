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

// lateLength is the room that is kept for a late value when a command line is measured: a boot's id with its token
// has 53 bytes, the base of a URL rarely more than 64.
const lateLength = 64

// checkNodes looks at each node. What depends on its profile alone was looked at before.
func (s *Snapshot) checkNodes(r *report) {
	lengths := make([]int, len(s.fleet.Profiles))
	for i := range s.fleet.Profiles {
		t := target{settings: &s.fleet.Profiles[i].Settings, image: s.image(i)}
		lengths[i] = s.lead(t.image) + printedLength(s.cmdline(&t))
	}
	boots, executed, loaders := map[bootKey]bool{}, map[string]bool{}, s.newLoaderCheck(r)
	for i := range s.fleet.Nodes {
		n := &s.fleet.Nodes[i]
		if n.Own != nil {
			s.checkOwn(r, n.Own, n)
		}
		s.checkHostnames(r, n)
		s.checkAddress(r, n)
		s.checkCmdline(r, n, lengths[n.Profile])
		if s.bootsBy(s.bootMode(n)) && !n.Disabled {
			loaders.check(n, s.checkBoot(r, n, boots))
		}
		s.checkTexts(r, n, executed)
	}
}

func nodeMistake(n *spec.Node, sev spec.Severity, code, summary, detail string, args ...any) spec.Diagnostic {
	d := diagnostic(sev, code, &n.Place, summary, detail, args...)
	d.Address = n.Address
	return d
}

// signatureLength is what stands behind the URL of an object in S3: some 300 bytes, the names of the access key and the region among them.
const signatureLength = 360

func printedLength(t fact.Text) int {
	return len(t.Fill(func(k fact.Late, arg string) string {
		if k == fact.LatePresign {
			return strings.Repeat("x", len(arg)+signatureLength)
		}
		return strings.Repeat("x", lateLength)
	}))
}

// lead is how much stands on the command line before the arguments: the names that iPXE gives the kernel, under UEFI, and
// its initrds.
func (s *Snapshot) lead(m *spec.Image) int {
	if m == nil {
		return 0
	}
	n := len("kernel ")
	_, initrds := s.bootFiles(m)
	for i := range initrds {
		n += len("initrd=" + initrdName(i) + " ")
	}
	return n
}

// checkCmdline measures the command line: what the kernel does not keep, it silently cuts off. Most nodes are
// cleared by the sum of their profile's and their own part.
func (s *Snapshot) checkCmdline(r *report, n *spec.Node, shared int) {
	if n.Own != nil {
		for i := range n.Own.KernelArgs {
			for _, v := range n.Own.KernelArgs[i].Values {
				shared += len(n.Own.KernelArgs[i].Key) + printedLength(v) + len(`="" `)
			}
			shared += len(n.Own.KernelArgs[i].Key) + 1
		}
		shared += len(n.Own.KernelArgsTail)
	}
	if shared <= maxCmdline {
		return
	}
	t := s.targetOf(n)
	if length := s.lead(t.image) + printedLength(s.cmdline(&t)); length > maxCmdline {
		r.add(fmt.Sprint(n.Profile), nodeMistake(n, spec.Error, "kernel-args-length", "Kernel command line is too long",
			"The command line of %s has %d bytes; kernels keep %d and drop the rest.", n.Address, length, maxCmdline))
	}
}

// checkHostnames holds names to what option 12 and resolvers take (RFC 1035 section 2.3.4).
func (s *Snapshot) checkHostnames(r *report, n *spec.Node) {
	for i := range n.Interfaces {
		name := hostname(n, &n.Interfaces[i])
		if len(name) <= 63 {
			continue
		}
		long := len(name) > maxOptionLength
		for label := range strings.SplitSeq(name, ".") {
			long = long || len(label) > 63
		}
		if long {
			r.add(name, nodeMistake(n, spec.Error, "hostname-length", "Host name is too long",
				"The host name %q of %s has a part of more than 63 bytes, or more than 255 in all.", name, n.Address))
		}
	}
}

func (s *Snapshot) checkAddress(r *report, n *spec.Node) {
	ifc := bootPort(n)
	i, ok := s.bySubnet[ifc.Subnet]
	if !ok || ifc.Addr.IsValid() || ifc.MAC.IsZero() {
		return
	}
	if sn := &s.subnets[i]; sn.DHCP == "full" && sn.boot.name == "" {
		r.add(sn.Name, nodeMistake(n, spec.Error, "no-pool", "Node can have no address",
			"%s has no address of its own, and subnet.%s has no pool that serves boot or any. Give it an address, or the subnet such a pool.", n.Address, sn.Name))
	}
}

// bootKey is what checkBoot depends on.
type bootKey struct {
	profile                        int
	firmware, arch, script, loader string
}

// checkBoot makes sure that a node that boots from the network has something to boot, and a loader that runs on it. boots has what was
// found good.
func (s *Snapshot) checkBoot(r *report, n *spec.Node, boots map[bootKey]bool) bootKey {
	script, loader := s.settings(n.Profile).Script, s.settings(n.Profile).Loader
	if n.Own != nil {
		script, loader = cmp.Or(n.Own.Script, script), cmp.Or(n.Own.Loader, loader)
	}
	k := bootKey{n.Profile, n.Firmware, n.Arch, script, loader}
	if !boots[k] {
		before := r.count
		s.checkBootOf(r, n, k)
		boots[k] = r.count == before
	}
	return k
}

func (s *Snapshot) checkBootOf(r *report, n *spec.Node, k bootKey) {
	m, script, loader := s.image(n.Profile), k.script, k.loader
	key := fmt.Sprintf("%d %s %s", n.Profile, n.Firmware, n.Arch)
	if m == nil && script == "" {
		r.add(key, nodeMistake(n, spec.Warning, "no-image", "Node has nothing to boot",
			"No layer gives %s an image, so it waits at its boot script. Set image, or boot = \"disk\" or \"off\".", n.Address))
		return
	}
	if m != nil && n.Arch != "" && m.Arch != "" && n.Arch != m.Arch {
		r.add(key, nodeMistake(n, spec.Error, "arch-mismatch", "Image is for another architecture",
			"%s is %s, but image.%s is for %s.", n.Address, n.Arch, m.Name, m.Arch))
		return
	}
	if n.Firmware == "" {
		return
	}
	a := s.nodeArch(n, n.Firmware)
	if a == fact.NoArch {
		r.add(key, nodeMistake(n, spec.Error, "no-loader", "No loader for the firmware",
			"%s has %s firmware, for which and its architecture there is no loader.", n.Address, n.Firmware))
		return
	}
	l, why := s.loader(a, loader, n)
	switch {
	case l == nil && loader != "":
		r.add(key, nodeMistake(n, spec.Error, "loader-mismatch", "Loader is for other firmware", "%s has %s firmware (%s): %s.", n.Address, n.Firmware, a, why))
	case l == nil:
		r.add(key, nodeMistake(n, spec.Error, "no-loader", "No loader for the firmware", "%s, with %s firmware: %s.", n.Address, n.Firmware, why))
	case loader != "" && len(l.ClientArch) > 0 && !slices.Contains(l.ClientArch, a):
		r.add(key, nodeMistake(n, spec.Error, "loader-mismatch", "Loader is for other firmware",
			"%s has %s firmware (%s), on which loader.%s does not run.", n.Address, n.Firmware, a, l.Name))
	}
}

// checkTexts executes each template for one node of each profile: a text that was checked by another version of
// hostler must come out the same, or nobody knows what is served.
func (s *Snapshot) checkTexts(r *report, n *spec.Node, executed map[string]bool) {
	for _, x := range n.Texts {
		key := fmt.Sprintf("%d %s", n.Profile, x.Template)
		if executed[key] {
			continue
		}
		executed[key] = true
		if _, err := s.execute(n, x); err != nil {
			r.add(key, nodeMistake(n, spec.Error, "template-differs", "Template cannot be rendered", "Rendering again: %v.", err))
		}
	}
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
