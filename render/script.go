package render

import (
	"fmt"
	"strconv"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// Script assembles the iPXE script for a machine. retry counts how often this boot has asked before.
func (s *Snapshot) Script(q Query, retry int) Script {
	retry = max(retry, 0)
	p, ok := s.find(q)
	if !ok {
		return s.scriptUnknown(q, retry)
	}
	n := &s.fleet.Nodes[p.node]
	w := scriptWriter{s: s, retry: retry, who: n.Address, profile: n.Profile, node: n, index: p.node}
	w.target, w.layout = s.boots(p.node, n)
	t := &w.target
	if t.mac = q.MAC; p.iface != 0 { // the first one is what it boots from
		t.mac = bootPort(n).MAC
	}
	sc := Script{Node: n.Name, MAC: t.mac}
	if !q.MAC.IsZero() { // the one of its interfaces that asks
		t.mac = q.MAC
	}
	w.resume(q)
	if t.mac.IsZero() {
		w.query = "name=" + plain(string(n.Name))
	}
	var advice []string
	switch hold := s.hold(n); {
	case n.Disabled:
		sc.Reason = "disabled in the spec"
	case hold != "":
		sc.Reason, advice = "held: "+hold, []string{s.unhold(n)}
		w.retry, w.holds, w.gave = retry, true, "hold" // once it is released it starts over, however often it asked meanwhile
	case t.settings.Boot == spec.BootOff:
		sc.Reason = "boot = off: it has nothing to boot"
	case t.settings.Boot == spec.BootDisk:
		sc.Reason = s.whyDisk(n)
		sc.Text = w.disk(sc.Reason)
		return sc
	case t.settings.Script != "":
		sc.Text, sc.Reason = w.template(n)
	default:
		w.image(&sc)
	}
	if sc = w.finish(sc, advice...); sc.Boots {
		sc.Terms = s.terms(n, t.image)
	}
	return sc
}

// finish tells a machine that boots nothing why.
func (w *scriptWriter) finish(sc Script, advice ...string) Script {
	if sc.Boots = sc.Reason == ""; !sc.Boots {
		sc.Text = w.wait(sc.Reason, advice...)
	}
	return sc
}

// find gives the node that a query means, and the interface if it names one, else -1.
func (s *Snapshot) find(q Query) (port, bool) {
	if !q.MAC.IsZero() {
		p, ok := s.byMAC[q.MAC]
		return p, ok
	}
	if i, ok := s.byName[fact.NodeName(q.Name)]; ok {
		return port{i, -1}, true
	}
	if i, ok := s.byID[spec.Label{Name: "xname", Value: q.Name}]; ok {
		return port{i, -1}, true
	}
	i, ok := s.byID[spec.Label{Name: "nid", Value: q.NID}]
	return port{i, -1}, ok && q.Name == ""
}

// Wait is the script for a machine that cannot be told more than why: there is no snapshot yet, or its question cannot be read.
func Wait(q Query, retry int, reason string) Script {
	w := scriptWriter{target: target{settings: &spec.Settings{}, mac: q.MAC}, retry: max(retry, 0), who: "this machine"}
	if q.MAC.IsZero() {
		w.query = ownMAC
	}
	return Script{MAC: q.MAC, Reason: reason, Text: w.wait(reason)}
}

// ownMAC has iPXE say which machine it is: netX is the interface that it used last; net0 need not be the one that has a link.
const ownMAC = "mac=${netX/mac}"

// scriptUnknown is for machines that nobody declared: what their subnet gives to strangers, or a polite wait.
func (s *Snapshot) scriptUnknown(q Query, retry int) Script {
	sc := Script{MAC: q.MAC}
	w := scriptWriter{s: s, target: target{settings: s.settings(-1), mac: q.MAC}, retry: retry, who: "unknown machine", index: -1}
	if q.MAC.IsZero() { // a wrong name or nid: ask again by what the machine cannot have wrong
		w.query = ownMAC
	} else {
		w.who += " " + q.MAC.String()
	}
	sc.Reason = "nobody declared it"
	if sn := s.subnetAt(q.Addr); sn != nil && !q.MAC.IsZero() {
		cpu := processorName(q.Arch)
		target, profile, why := s.targetUnknown(sn, q.MAC, cpu)
		w.target, w.profile = target, profile
		w.resume(q)
		if cpu != "" {
			w.query = "mac=" + q.MAC.String() + "&arch=" + plain(cpu)
		}
		switch t := &w.target; {
		case cpu == "" && len(sn.Discovery) > 0:
			sc.Reason, sc.Text = why, w.askArch()
			return sc
		case why != "":
			sc.Reason = why
		case t.settings.Boot == spec.BootOff:
			sc.Reason = "boot = off: it has nothing to boot"
		case t.settings.Boot == spec.BootDisk:
			sc.Reason, sc.Text = "boot = disk", w.disk("boot = disk")
			return sc
		case t.settings.Script != "":
			sc.Reason = "its script is a template, which needs a declared node"
		default:
			sc.Reason = ""
			w.image(&sc)
		}
	}
	return w.finish(sc)
}

// scriptWriter puts one script together.
type scriptWriter struct {
	s      *Snapshot
	target target
	retry  int
	who    string
	query  string // by which the machine asks again; empty: its MAC
	holds  bool   // it is given up on
	gave   string // why, when that is nothing that it boots

	profile int
	node    *spec.Node // nil for a machine that nobody declared
	index   int32      // of the node, or -1
	layout  *layout    // of its arguments; nil: they are in the target's settings
}

// tried is what the machine boots now, as it is named when it is given up on.
func (w *scriptWriter) tried() string {
	if w.gave != "" {
		return w.gave
	}
	return w.s.tried(w.profile, w.index)
}

// resume starts over when what the machine gave up on has changed.
func (w *scriptWriter) resume(q Query) {
	if q.Tried != "" && q.Tried != w.tried() {
		w.retry = 0
	}
}

// header is a comment, so it must not hold a line break, nor end in a backslash, which continues a line.
func (w *scriptWriter) header(what string) string {
	return "#!ipxe\n# " + plain(w.who) + ": " + plain(what) + "\n"
}

// image boots the image, or after too many attempts the fallback, or gives up for a while.
func (w *scriptWriter) image(sc *Script) {
	m := w.choose(sc)
	if m == nil {
		return
	}
	t, lines := &w.target, w.s.bootLines[m]
	t.image = m // from here on, also for what the arguments say of its files
	var b strings.Builder
	b.Grow(len(lines.head) + len(lines.kernel) + len(lines.initrds) + 512) // as much as most arguments and the end take
	b.WriteString("#!ipxe\n")
	if !w.bss() {
		b.WriteString("# ")
		b.WriteString(plain(w.who))
		b.WriteString(lines.head)
		if sc.Note != "" {
			b.WriteString(": " + plain(sc.Note))
		}
		b.WriteByte('\n')
	}
	b.WriteString(lines.kernel)
	w.args(&b)
	if !w.bss() {
		writeBoot(&b)
	}
	writeTail(&b, t)
	b.WriteString(lines.initrds)
	w.again(&b, w.bss())
	sc.Text = fact.Text(b.String())
}

// choose gives the image to boot, or nil and the reason.
func (w *scriptWriter) choose(sc *Script) *spec.Image {
	r, m := w.target.settings.Retry, w.target.image
	p, _ := attempt(r, w.retry)
	if p == tryFallback {
		m = w.s.images[r.Fallback]
		sc.Note = fmt.Sprintf("the fallback, after %d attempts", r.Attempts)
	}
	switch {
	case m == nil:
		sc.Reason = "it has no image"
	case w.s.bootLines[m] == nil:
		sc.Reason = fmt.Sprintf("image %s has no kernel", m.Name)
	case p == tryNothing:
		w.holds, sc.Reason = true, givenUp(r, m.Name)
	default:
		return m
	}
	return nil
}

// bss reports whether the script has the lines of a Boot Script Service and no others.
func (w *scriptWriter) bss() bool { return w.target.settings.ScriptForm == spec.ScriptBSS }

// bootLines is what all scripts that boot an image have in common: a rack asks for them at once.
type bootLines struct {
	head    string // after the machine's name
	kernel  string // up to the author's arguments
	initrds string // behind them
}

// newBootLines gives nil for an image without a kernel.
func (s *Snapshot) newBootLines(m *spec.Image) *bootLines {
	kernel, initrds := s.bootFiles(m)
	if kernel == nil {
		return nil
	}
	l := &bootLines{head: ": " + plain("image "+m.Name+" "+m.Version), kernel: "kernel --name kernel " + string(fileURL(*kernel)), initrds: " || goto boot_retry\n"}
	for i, f := range initrds {
		// A UEFI kernel fetches the initrds that its command line names from iPXE, under the names that iPXE gave
		// them; a BIOS kernel is given them all, in order, and does not care.
		l.kernel += " initrd=" + initrdName(i)
		l.initrds += "initrd --name " + initrdName(i) + " " + string(fileURL(f)) + " || goto boot_retry\n"
	}
	l.initrds += "boot || goto boot_retry\n"
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
// a broken attempt left in memory, and --replace keeps a thousand retries from nesting a thousand scripts. A Boot Script Service
// has neither, and ends when it cannot be reached.
func (w *scriptWriter) again(b *strings.Builder, bss bool) {
	label, chain, end := ":boot_retry\nimgfree\nsleep ", "\nchain --replace "+string(fact.Base), " || goto boot_retry\n"
	if bss {
		label, chain, end = ":boot_retry\nsleep ", "\nchain "+string(fact.Base), "\n"
	}
	b.WriteString(label)
	b.WriteString(strconv.Itoa(delay(w.target.settings.Retry, w.target.mac, w.retry)))
	b.WriteString(chain)
	b.WriteString("/boot/v1/bootscript?")
	if w.query != "" {
		b.WriteString(w.query)
	} else {
		b.WriteString("mac=")
		b.WriteString(w.target.mac.String())
	}
	b.WriteString("&retry=")
	b.WriteString(strconv.Itoa(w.retry + 1))
	if w.holds {
		b.WriteString("&tried=" + w.tried())
	}
	b.WriteString(end)
}

// wait says who the machine is, why it does not boot and what can be done, and asks again: a machine is never left without a next step.
func (w *scriptWriter) wait(reason string, advice ...string) fact.Text {
	var b strings.Builder
	b.WriteString(w.header(reason) + "echo hostler: " + plain(w.who) + ": " + plain(reason) + "\n")
	for _, line := range advice {
		b.WriteString("echo hostler: " + plain(line) + "\n")
	}
	if !w.target.mac.IsZero() {
		b.WriteString("echo hostler: boot interface " + w.target.mac.String() + "\n")
	}
	fmt.Fprintf(&b, "echo hostler: asking again in %d s\n", delay(w.target.settings.Retry, w.target.mac, w.retry))
	w.again(&b, false)
	return fact.Text(b.String())
}

// disk hands over to what is installed. A BIOS is told to boot its first disk. UEFI firmware goes on to its next boot
// entry when iPXE fails, and stops at iPXE when it succeeds: so it fails (tinkerbell/tinkerbell #984).
func (w *scriptWriter) disk(why string) fact.Text {
	return fact.Text(w.header(why) + "iseq ${platform} efi && goto next ||\nsanboot --no-describe --drive 0x80 ||\n:next\nexit 1\n")
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
		switch c {
		case '$', '{', '}', '\\', '|', '&', ';', '#':
			return false
		case ' ':
			if i == 0 || i == len(s)-1 || s[i+1] == ' ' {
				return false
			}
		}
		if c > '~' || c < ' ' {
			return false
		}
	}
	return true
}
