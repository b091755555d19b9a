package render

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"hostler/render/fact"
	"hostler/spec"
)

// Script assembles the iPXE script for a machine. retry counts how often this boot has asked before.
func (s *Snapshot) Script(q Query, retry int) Script {
	retry = max(retry, 0)
	i, ok := s.find(q)
	if !ok {
		return s.scriptUnknown(q, retry)
	}
	n := &s.fleet.Nodes[i]
	w := scriptWriter{s: s, target: s.targetOf(n), retry: retry, who: n.Address}
	t := &w.target
	sc := Script{Node: n.Name, MAC: t.mac}
	if t.mac.IsZero() {
		w.query = "name=" + plain(string(n.Name))
	}
	switch hold := s.hold(n); {
	case n.Disabled:
		sc.Reason = "disabled in the spec"
	case hold != "":
		sc.Reason = "held: " + hold
	case t.settings.Boot == spec.BootOff:
		sc.Reason = "boot = off: it has nothing to boot"
	case t.settings.Boot == spec.BootDisk:
		sc.Reason = "boot = disk"
		sc.Text = w.disk()
		return sc
	case t.settings.Script != "":
		sc.Text, sc.Reason = w.template(n)
	default:
		sc.Text, sc.Reason = w.image()
	}
	if sc.Reason != "" {
		sc.Text = w.wait(sc.Reason)
	}
	sc.Boots = sc.Reason == ""
	return sc
}

// find gives the node that a query means.
func (s *Snapshot) find(q Query) (int32, bool) {
	if p, ok := s.byMAC[q.MAC]; ok {
		return p.node, true
	}
	if i, ok := s.byName[fact.NodeName(q.Name)]; ok && q.MAC.IsZero() {
		return i, true
	}
	if i, ok := s.byID[spec.Label{Name: "xname", Value: q.Name}]; ok && q.MAC.IsZero() {
		return i, true
	}
	if i, ok := s.byID[spec.Label{Name: "nid", Value: q.NID}]; ok && q.MAC.IsZero() && q.Name == "" {
		return i, true
	}
	return 0, false
}

// scriptUnknown is for machines that nobody declared: what their subnet gives to strangers, or a polite wait.
func (s *Snapshot) scriptUnknown(q Query, retry int) Script {
	sc := Script{MAC: q.MAC}
	w := scriptWriter{s: s, target: target{mac: q.MAC}, retry: retry, who: "unknown machine"}
	if q.MAC.IsZero() { // a wrong name or nid: ask again by what the machine cannot have wrong
		w.query = "mac=${netX/mac}"
	} else {
		w.who += " " + q.MAC.String()
	}
	sc.Reason = "nobody declared it"
	if sn := s.subnetAt(q.Addr); sn != nil && !q.MAC.IsZero() {
		w.target = s.targetUnknown(sn, q.MAC)
		switch t := &w.target; {
		case t.settings.Boot == spec.BootOff:
			sc.Reason = "boot = off: it has nothing to boot"
		case t.settings.Boot == spec.BootDisk:
			sc.Reason, sc.Text = "boot = disk", w.disk()
			return sc
		case t.settings.Script != "":
			sc.Reason = "its script is a template, which needs a declared node"
		default:
			sc.Text, sc.Reason = w.image()
		}
	}
	if sc.Reason != "" {
		sc.Text = w.wait(sc.Reason)
	}
	sc.Boots = sc.Reason == ""
	return sc
}

// scriptWriter puts one script together.
type scriptWriter struct {
	s      *Snapshot
	target target
	retry  int
	who    string
	query  string // by which the machine asks again; empty: its MAC
}

// header is a comment, so it must not hold a line break, nor end in a backslash, which continues a line.
func (w *scriptWriter) header(what string) string {
	return "#!ipxe\n# " + plain(w.who) + ": " + plain(what) + "\n"
}

// image boots the image, or after too many attempts the fallback; reason says why it cannot.
func (w *scriptWriter) image() (text fact.Text, reason string) {
	t, m := &w.target, w.target.image
	if r := t.settings.Retry; r.Attempts > 0 && w.retry >= r.Attempts && r.Fallback != "" {
		m = w.s.images[r.Fallback]
	}
	if m == nil {
		return "", "it has no image"
	}
	lines := w.s.bootLines[m]
	if lines == nil {
		return "", fmt.Sprintf("image %s has no kernel", m.Name)
	}
	fallback := m != t.image
	t.image = m // from here on, also for what the arguments say of its files
	var b strings.Builder
	b.Grow(len(lines.head) + len(lines.kernel) + len(lines.initrds) + 512) // as much as most arguments and the end take
	b.WriteString("#!ipxe\n# ")
	b.WriteString(plain(w.who))
	b.WriteString(lines.head)
	if fallback {
		fmt.Fprintf(&b, ", after %d attempts", w.retry)
	}
	b.WriteString(lines.kernel)
	w.s.writeCmdline(&b, t)
	b.WriteString(lines.initrds)
	w.again(&b)
	return fact.Text(b.String()), ""
}

// bootLines is what all scripts that boot an image have in common: a rack asks for them at once.
type bootLines struct {
	head    string // after the machine's name
	kernel  string // up to the kernel's arguments
	initrds string // behind them
}

// newBootLines gives nil for an image without a kernel.
func (s *Snapshot) newBootLines(m *spec.Image) *bootLines {
	kernel, initrds := s.bootFiles(m)
	if kernel == nil {
		return nil
	}
	l := &bootLines{head: ": " + plain("image "+m.Name+" "+m.Version), kernel: "\nkernel --name kernel " + string(fileURL(*kernel)) + " ", initrds: " || goto retry\n"}
	for i, f := range initrds {
		// A UEFI kernel fetches the initrds that its command line names from iPXE, under the names that iPXE gave
		// them; a BIOS kernel is given them all, in order, and does not care.
		l.kernel += "initrd=" + initrdName(i) + " "
		l.initrds += "initrd --name " + initrdName(i) + " " + string(fileURL(f)) + " || goto retry\n"
	}
	l.initrds += "boot || goto retry\n"
	return l
}

func initrdName(i int) string {
	if i == 0 {
		return "initrd"
	}
	return "initrd" + strconv.Itoa(i+1)
}

// bootFiles are an image's kernel and its initrds in their order.
func (s *Snapshot) bootFiles(m *spec.Image) (kernel *File, initrds []File) {
	for _, x := range m.Files {
		switch f := s.file(x.File, x.Name); x.Role {
		case "kernel":
			kernel = &f
		case "initrd":
			initrds = append(initrds, f)
		}
	}
	return kernel, initrds
}

// again asks for the script once more. The label is also where every failed step goes; imgfree drops what
// a broken attempt left in memory, and --replace keeps a thousand retries from nesting a thousand scripts.
func (w *scriptWriter) again(b *strings.Builder) {
	b.WriteString(":retry\nimgfree\nsleep ")
	b.WriteString(strconv.Itoa(delay(w.target.settings.Retry, w.target.mac, w.retry)))
	b.WriteString("\nchain --replace ")
	b.WriteString(string(fact.NewLate(fact.LateBase, "")))
	b.WriteString("/boot/v1/bootscript?")
	if w.query != "" {
		b.WriteString(w.query)
	} else {
		b.WriteString("mac=")
		b.WriteString(w.target.mac.String())
	}
	b.WriteString("&retry=")
	b.WriteString(strconv.Itoa(w.retry + 1))
	b.WriteString(" || goto retry\n")
}

// wait says who the machine is and why it does not boot, and asks again: a machine is never left without a next step.
func (w *scriptWriter) wait(reason string) fact.Text {
	var b strings.Builder
	b.WriteString(w.header(reason) + "echo hostler: " + plain(w.who) + ": " + plain(reason) + "\n")
	if !w.target.mac.IsZero() {
		b.WriteString("echo hostler: boot interface " + w.target.mac.String() + "\n")
	}
	w.again(&b)
	return fact.Text(b.String())
}

// disk hands over to what is installed. A BIOS is told to boot its first disk. UEFI firmware goes on to its next boot
// entry when iPXE fails, and stops at iPXE when it succeeds: so it fails (tinkerbell/tinkerbell #984).
func (w *scriptWriter) disk() fact.Text {
	return fact.Text(w.header("boot = disk") + "iseq ${platform} efi && goto next ||\nsanboot --no-describe --drive 0x80 ||\n:next\nexit 1\n")
}

// template is the author's own script.
func (w *scriptWriter) template(n *spec.Node) (text fact.Text, reason string) {
	for _, x := range n.Texts {
		if x.Template == w.target.settings.Script {
			text, err := w.s.execute(n, x)
			if err != nil {
				return "", err.Error()
			}
			return w.s.resolve(&w.target, text), ""
		}
	}
	return "", fmt.Sprintf("template %s was not rendered for it", w.target.settings.Script)
}

// delay is how many seconds a machine waits before it asks again: the delay doubled for each retry, up to the maximum, less
// up to a quarter. The quarter depends on machine and retry only, so that a rack does not ask in step and the same
// question has the same answer.
func delay(r spec.Retry, mac fact.MAC, retry int) int {
	d, most := cmp.Or(r.Delay, 5*time.Second), cmp.Or(r.MaxDelay, time.Minute)
	for i := 0; i < retry && d < most; i++ {
		d *= 2
	}
	h := fnv.New64a()
	h.Write(mac[:])
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(retry)))
	d = min(d, most)
	d -= time.Duration(h.Sum64()%1000) * d / 4000
	return int(max(d.Round(time.Second)/time.Second, 1))
}

// plain makes text harmless in a line of a script that machines run: printable ASCII without what iPXE would interpret.
func plain(s string) string {
	if isPlain(s) {
		return s
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case isSpace(r):
			return ' '
		case r < ' ' || r > '~':
			return '?'
		case strings.ContainsRune(`${}\|&;#`, r):
			return '_'
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// isPlain reports whether plain would change nothing, as with almost every name.
func isPlain(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c > '~' || c < ' ' || strings.IndexByte(`${}\|&;#`, c) >= 0 || c == ' ' && (i == 0 || i == len(s)-1 || s[i+1] == ' ') {
			return false
		}
	}
	return true
}
