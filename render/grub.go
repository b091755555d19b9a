package render

import (
	"cmp"
	"strconv"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// grubConfig is the name of GRUB's configuration. It is looked for in the folder that is built into the image as its prefix
// (/grub in Debian's, /EFI/fedora or the image's own folder elsewhere), first with the UUID, the MAC and the address behind it
// (grub-core/net/net.c, grub_net_search_config_file). Debian's signed image looks for the plain name only.
const grubConfig = "grub.cfg"

// grubTries is how many attempts are told apart when the settings do not say.
const grubTries = 8

// grub answers the names of GRUB's configuration, in whatever folder. There are two kinds. What GRUB finds first only reads the other
// kind, again and again: GRUB has no jump, and a configuration that reads itself would nest until the stack ends. The other,
// grub.cfg-01-MAC/RETRY, makes one attempt, and ends when that did not work.
func (s *Snapshot) grub(name string, asking fact.MAC) (File, bool) {
	folder, base := splitName(name)
	retry := -1
	if n, err := strconv.ParseUint(base, 10, 16); err == nil {
		retry = int(n)
		_, base = splitName(folder)
	}
	cpu := ""
	if retry >= 0 && !strings.HasPrefix(base, grubConfig) { // GRUB's word for its processor
		folder, _ = splitName(folder)
		cpu = base
		_, base = splitName(folder)
	}
	rest, ok := strings.CutPrefix(base, grubConfig)
	id, dashed := strings.CutPrefix(rest, "-")
	if !ok || rest != "" && (!dashed || id == "") {
		return File{}, false
	}
	f := File{Name: name, Stage: fact.StageScript}
	m, ok := s.whose(id, asking)
	if !ok && id == "" && retry < 0 {
		// Nobody knows who asks, for another DHCP server or an address translator is in between. GRUB knows.
		f.Text = grubLoop("a machine that GRUB knows", "$net_default_mac", grubTries, false)
		return f, true
	}
	if !ok {
		return File{}, false
	}
	c, ok := s.menu(m, spec.LoaderGRUB, processorName(cpu), max(retry, 0))
	if !ok {
		return File{}, false
	}
	f.Node = c.node
	if retry < 0 {
		n := round(c.settings.Retry)
		id := m.Dashed()
		if c.byArch {
			id += "/$grub_cpu"
		}
		f.Text = grubLoop(c.who, id, cmp.Or(n, grubTries), n > 0)
	} else {
		f.Text, f.Terms = s.grubAttempt(&c), c.terms
	}
	return f, true
}

// splitName takes the last part of a name off.
func splitName(name string) (folder, base string) {
	i := strings.LastIndexByte(name, '/')
	return name[:max(i, 0)], name[i+1:]
}

// grubLoop reads the configuration of one attempt after the other. A round of attempts is repeated for ever; without one, its last. A
// GRUB that has no "true" reboots instead. mac may be a variable of GRUB's. GRUB cannot count, so that a round of more than mostTries
// attempts ends there.
func grubLoop(who, mac string, tries int, round bool) fact.Text {
	var each strings.Builder
	for i := range min(tries, mostTries) {
		each.WriteString(" " + strconv.Itoa(i))
	}
	read := "; do\n  source /" + grubConfig + "-01-" + mac + "/$retry\n  sleep 2\ndone\n"
	head, loop := "# "+plain(who)+"\n", "for retry in"+each.String()+read
	if round {
		return fact.Text(head + "while true; do\n" + loop + "done\nreboot\n")
	}
	return fact.Text(head + loop + "while true" + read + "reboot\n")
}

// mostTries bounds the length of a configuration.
const mostTries = 1000

// grubAttempt boots, or says why it does not, and waits before the next attempt.
func (s *Snapshot) grubAttempt(c *menu) fact.Text {
	var b strings.Builder
	b.WriteString("# " + plain(c.who) + "\n")
	if c.next {
		// On UEFI, the firmware goes on to its next boot entry when a program fails, and stops when it succeeds.
		b.WriteString("exit 1\n")
		return fact.Text(b.String())
	}
	words := kernelWords(string(s.cmdline(&c.target)))
	b.WriteString(grubConsole(words))
	problem := c.why
	if problem == "" {
		problem = "image " + c.image.Name + " could not be loaded"
		b.WriteString(c.grubLinux(words))
	}
	wait := strconv.Itoa(delay(c.settings.Retry, c.mac, c.retry))
	b.WriteString("echo " + grubQuote("hostler: "+plain(c.who)+": "+plain(problem)+"; next attempt in "+wait+" s") + "\nsleep " + wait + "\n")
	return fact.Text(b.String())
}

func (c *menu) grubLinux(words []string) string {
	linux := "if linux " + grubQuote(c.grubFile(c.kernel))
	for _, w := range words {
		linux += " " + grubQuote(w)
	}
	if len(c.initrds) == 0 {
		return linux + "; then\n  boot\nfi\n"
	}
	initrd := "  if initrd"
	for _, f := range c.initrds {
		initrd += " " + grubQuote(c.grubFile(f))
	}
	return linux + "; then\n" + initrd + "; then\n    boot\n  fi\nfi\n"
}

// grubFile is a file as GRUB names it: on the TFTP server that it came from, or (http,SERVER:PORT)/PATH.
func (c *menu) grubFile(f File) string {
	if c.loader.Transport == spec.TransportTFTP {
		return "/" + tftpName(f)
	}
	return string(fact.NewLate(fact.LateGRUB, "")) + filePath(f)
}

// grubQuote makes a word that GRUB's script language takes as it stands. Within single quotes nothing has a meaning but a
// single quote, which is written outside of them.
func grubQuote(w string) string {
	if w != "" && strings.IndexFunc(w, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-+.,:/=@%", r)
	}) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

// grubConsole tells GRUB to use the serial ports that the kernel is told to use: console=ttyS0,115200n8.
func grubConsole(words []string) string {
	unit, speed, screen, ok := serialConsole(words)
	if !ok {
		return ""
	}
	terminals := "serial"
	if screen {
		terminals += " console"
	}
	return "if serial --unit=" + unit + " --speed=" + speed + "; then\n  terminal_input " + terminals + "\n  terminal_output " + terminals + "\nfi\n"
}
