package render

import (
	"strconv"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// pxelinuxFolder is where pxelinux looks for its configuration.
const pxelinuxFolder = "pxelinux.cfg/"

// pxelinuxName is the configuration's name that has the MAC in it: 01 is Ethernet's hardware type.
func pxelinuxName(m fact.MAC) string { return pxelinuxFolder + "01-" + m.Dashed() }

// pxelinux answers the names that pxelinux, and U-Boot after it, ask for one after the other: UUID, MAC, address, ever shorter
// beginnings of the address, "default". Behind the name with the MAC may stand how often the machine asked before: what pxelinux reads
// first says that it shall read that next.
func (s *Snapshot) pxelinux(name, id string, asking fact.MAC) (File, bool) {
	if id == "" {
		return File{}, false
	}
	retry := 0
	if rest, count := splitName(id); rest != "" {
		n, err := strconv.ParseUint(count, 10, 16)
		if err != nil || !strings.HasPrefix(rest, "01-") {
			return File{}, false
		}
		id, retry = rest, int(n)
	}
	if id == "default" {
		id = ""
	}
	m, ok := s.whose(id, asking)
	if !ok {
		return File{}, false
	}
	c, ok := s.menu(m, spec.LoaderPXELinux, "x86_64", retry)
	return File{Name: name, Stage: fact.StageScript, Node: c.node, Text: s.pxelinuxConfig(&c), Terms: c.terms}, ok
}

func (s *Snapshot) pxelinuxConfig(c *menu) fact.Text {
	if c.loader == nil {
		return ""
	}
	head := "# " + plain(c.who) + "\n"
	if c.next {
		// -1 returns to the BIOS, which goes on to its next boot entry.
		return fact.Text(head + "DEFAULT next\nPROMPT 0\nLABEL next\n  LOCALBOOT -1\n")
	}
	args := string(s.cmdline(&c.target))
	// The first line, or what comes before it is not on the port.
	if unit, speed, _, ok := serialConsole(kernelWords(args)); ok && len(unit) == 1 && unit <= "3" {
		head = "SERIAL " + unit + " " + speed + "\n" + head
	}
	tenths := strconv.Itoa(min(10*delay(c.settings.Retry, c.mac, c.retry), mostTimeout))
	again := "LABEL again\n  CONFIG ::" + pxelinuxName(c.mac) + "/" + strconv.Itoa((c.retry+1)%mostRetries) + "\n"
	if c.why != "" { // prints why, waits, and reads its configuration again
		return fact.Text(head + "SAY hostler: " + plain(c.who) + ": " + plain(c.why) +
			"\nDEFAULT again\nPROMPT 1\nTIMEOUT " + tenths + "\n" + again)
	}
	names := make([]string, len(c.initrds))
	for i, f := range c.initrds {
		names[i] = c.pxelinuxFile(f)
	}
	if len(names) > 0 {
		args = "initrd=" + strings.Join(names, ",") + " " + args
	}
	// When an attempt fails, pxelinux stands at its prompt: TIMEOUT and ONTIMEOUT leave it, and read the configuration again.
	return fact.Text(head + "DEFAULT hostler\nPROMPT 0\nTIMEOUT " + tenths + "\nONTIMEOUT again\nLABEL hostler\n  LINUX " + c.pxelinuxFile(c.kernel) +
		"\n  APPEND " + args + "\n" + again)
}

const (
	mostTimeout = 35996   // tenths of a second that pxelinux waits at most (syslinux doc/syslinux.txt)
	mostRetries = 1 << 16 // told apart
)

// pxelinuxFile is a file as pxelinux names it. Two colons keep it from putting its path prefix before the name.
func (c *menu) pxelinuxFile(f File) string {
	if c.loader.Transport == spec.TransportTFTP {
		return "::" + tftpName(f)
	}
	return string(fileURL(f))
}
