package render

import (
	"slices"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// archRPi is what newer Raspberry Pis announce in option 93. Older ones say 0, as a BIOS does, and are known by their card.
const archRPi fact.Arch = 41

// piCards are the first bytes of the Ethernet addresses of Raspberry Pis (IEEE's registry: Raspberry Pi Foundation, Raspberry Pi Trading).
var piCards = [...][3]byte{
	{0xb8, 0x27, 0xeb}, {0xdc, 0xa6, 0x32}, {0xe4, 0x5f, 0x01}, {0x28, 0xcd, 0xc1}, {0xd8, 0x3a, 0xdd}, {0x2c, 0xcf, 0x67}, {0x88, 0xa2, 0x9e},
}

// isRPi reports whether the firmware of a Raspberry Pi asks. Its REQUEST has no option 60 (raspberrypi/rpi-eeprom #69), so what is not an
// operating system's, by a host name or a vendor class of its own, may be its.
func isRPi(f *fact.Facts) bool {
	if f.Arch == archRPi {
		return true
	}
	known := slices.Contains(piCards[:], [3]byte(f.MAC[:3])) || strings.HasPrefix(f.UUID, "\x00RPi")
	return known && f.Arch <= 0 && !f.IPXE && f.Hostname == "" && (f.VendorClass == "" || strings.HasPrefix(f.VendorClass, "PXEClient"))
}

// optRPi is option 43 as a Raspberry Pi wants it: a boot menu with one entry named "Raspberry Pi Boot", without padding in it
// (raspberrypi/rpi-eeprom #82), in the bytes that dnsmasq sends for pxe-service=0,"Raspberry Pi Boot".
const optRPi = "\x06\x01\x03\x0a\x04\x00PXE\x09\x14\x00\x00\x11Raspberry Pi Boot\xff"

// loadRPi answers a Raspberry Pi. It does not look at option 67: it knows which files it wants. Where the server is, it reads in the
// next-server field or in option 66, depending on the age of its firmware (raspberrypi/firmware #801, #1850).
func (r *reply) loadRPi(a *Answer, l *spec.Loader) {
	a.BootFile = fact.Text(l.FileName)
	r.force(optVendorClass, []byte("PXEClient"))
	r.force(optVendor, []byte(optRPi))
	r.force(optServerName, []byte(a.SIAddr.String()))
}

// rpi answers the names that a Raspberry Pi asks for: files of its loader and its own configuration, in a folder that is named by its
// serial number (ids.serial) or its MAC, and once more without the folder.
func (s *Snapshot) rpi(name string, asking fact.MAC) (File, bool) {
	m := asking
	rest := name
	if folder, below, cut := strings.Cut(name, "/"); cut {
		if owner, ok := s.piFolder(folder, asking); ok {
			m, rest = owner, below
		}
	}
	p, declared := s.byMAC[m]
	if !declared {
		return File{}, false
	}
	n := &s.fleet.Nodes[p.node]
	l, _ := s.loader(archRPi, s.fleet.Effective(n).Loader, n)
	if l == nil || l.Kind != spec.LoaderRPi {
		return File{}, false
	}
	if f, ok := s.tftp[rest]; ok && (rest == l.FileName || slices.ContainsFunc(l.Extra, func(x spec.NamedFile) bool { return x.Name == rest })) {
		f.Name, f.Node = name, n.Name
		return f, true
	}
	c, ok := s.menu(bootPort(n).MAC, spec.LoaderRPi, "arm64", 0)
	c.loader = l
	if !ok || c.why != "" || c.next {
		return File{}, false // it goes on to its next boot device, and comes again when its BOOT_ORDER says so
	}
	return s.piFile(&c, name, rest)
}

// piFolder says whose folder it is. The folder of a Raspberry Pi whose serial number nobody declared is that of whoever asks.
func (s *Snapshot) piFolder(folder string, asking fact.MAC) (fact.MAC, bool) {
	if m, err := fact.ParseMAC(folder); err == nil && s.mayAsk(asking, m) {
		return m, true
	}
	if i, ok := s.byID[spec.Label{Name: "serial", Value: folder}]; ok {
		m := bootPort(&s.fleet.Nodes[i]).MAC
		return m, s.mayAsk(asking, m)
	}
	_, err := fact.ParseMAC("0000" + folder)
	return asking, err == nil && len(folder) == 8 && !asking.IsZero()
}

// pinLength is how much of a digest a Raspberry Pi's configuration repeats: its lines may have 98 characters.
const pinLength = 32

func pin(d fact.Digest) string {
	if d == "" {
		return unknownDigest
	}
	return string(d[:pinLength])
}

// piFile is one of the files that are made for the machine, or of its image. The names of those that config.txt names begin with
// their digest, so that a boot that began with one revision never gets the kernel or the command line of the next.
func (s *Snapshot) piFile(c *menu, name, rest string) (File, bool) {
	cmdline := s.cmdline(&c.target) + "\n"
	folder := pin(digestOf(string(cmdline)))
	switch rest {
	case "config.txt":
		return File{Name: name, Node: c.node, Stage: fact.StageScript, Text: s.piConfig(c, folder), Terms: c.terms}, true
	case "cmdline.txt", folder + "/cmdline.txt":
		return File{Name: name, Node: c.node, Stage: fact.StageScript, Text: cmdline, Pinned: rest != "cmdline.txt", Terms: c.terms}, true
	}
	for _, f := range append([]File{c.kernel}, c.initrds...) {
		if rest == pin(f.Digest)+"/"+f.Name {
			f.Node, f.Pinned = c.node, true
			return f, true
		}
	}
	return File{}, false
}

// piConfig is config.txt. What else belongs into it stands in usercfg.txt, a file of the loader.
func (s *Snapshot) piConfig(c *menu, cmdline string) fact.Text {
	var b strings.Builder
	b.WriteString("# " + plain(c.who) + "\n")
	if c.image.Arch == "arm64" {
		b.WriteString("arm_64bit=1\n")
	}
	for _, w := range kernelWords(string(s.cmdline(&c.target))) {
		if strings.HasPrefix(w, "console=serial") || strings.HasPrefix(w, "console=ttyS") || strings.HasPrefix(w, "console=ttyAMA") {
			b.WriteString("enable_uart=1\n")
			break
		}
	}
	b.WriteString("kernel=" + pin(c.kernel.Digest) + "/" + c.kernel.Name + "\n")
	if len(c.initrds) > 0 {
		names := make([]string, len(c.initrds))
		for i, f := range c.initrds {
			names[i] = pin(f.Digest) + "/" + f.Name
		}
		b.WriteString("initramfs " + strings.Join(names, ",") + " followkernel\n")
	}
	b.WriteString("cmdline=" + cmdline + "/cmdline.txt\n")
	if slices.ContainsFunc(c.loader.Extra, func(x spec.NamedFile) bool { return x.Name == "usercfg.txt" }) {
		b.WriteString("include usercfg.txt\n")
	}
	return fact.Text(b.String())
}
