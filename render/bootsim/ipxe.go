package bootsim

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// maxCommands bounds a script, which may loop for ever on a real machine.
const maxCommands = 1000

// maxChain bounds scripts that load scripts.
const maxChain = 8

// runIPXE plays iPXE from its own DHCP exchange on.
func (w *walker) runIPXE() string {
	w.ipxe = true
	if reason := w.dora(w.ipxeFacts()); reason != "" {
		return reason
	}
	switch file := w.lease.BootFile; {
	case file == "":
		return "the DHCP reply names no boot file for iPXE"
	case !strings.Contains(file, "://"):
		if err := w.load(file); err != nil {
			return fmt.Sprintf("boot file %v", err)
		}
		return w.runLoader(file)
	default:
		return w.chain(file, 0)
	}
}

// chain loads a script and runs it.
func (w *walker) chain(url string, depth int) string {
	f, err := w.get(url)
	if err != nil {
		return err.Error()
	}
	if depth == maxChain {
		return fmt.Sprintf("more than %d scripts load each other", maxChain)
	}
	if !strings.HasPrefix(f.Text, "#!ipxe\n") && !strings.HasPrefix(f.Text, "#!ipxe ") && !strings.HasPrefix(f.Text, "#!gpxe\n") {
		return fmt.Sprintf("%s: not an iPXE script", mask(url))
	}
	s := script{w: w, lines: parseScript(f.Text), depth: depth, url: url, labels: map[string]int{}}
	for i, l := range s.lines {
		if _, dup := s.labels[l.label]; l.label != "" && !dup {
			s.labels[l.label] = i
		}
	}
	return s.run()
}

// line is a line of a script, split as iPXE splits it (src/image/script.c).
type line struct {
	label    string
	commands []command
}

// command is one command with when it is run: "", "||", "&&" or ";" stood before it.
type command struct {
	when string
	args []string
}

// parseScript splits a script as iPXE does: a backslash at the end continues a line, a line may begin with a label,
// white space separates words, quotes mean nothing (src/core/exec.c).
func parseScript(text string) []line {
	var lines []line
	var partial string
	for _, raw := range strings.Split(text, "\n") {
		raw = partial + strings.TrimSuffix(raw, "\r")
		if cut, ok := strings.CutSuffix(raw, `\`); ok {
			partial = cut
			continue
		}
		partial = ""
		var l line
		raw = strings.TrimLeftFunc(raw, isSpace)
		if rest, ok := strings.CutPrefix(raw, ":"); ok {
			i := strings.IndexFunc(rest, isSpace)
			if i < 0 {
				i = len(rest)
			}
			l.label, raw = rest[:i], rest[i:]
		}
		l.commands = parseCommands(strings.FieldsFunc(raw, isSpace))
		lines = append(lines, l)
	}
	return lines
}

// parseCommands splits words at ||, && and ;. A word that begins with # ends the line.
func parseCommands(words []string) []command {
	cs := []command{{}}
	for _, word := range words {
		switch c := &cs[len(cs)-1]; {
		case strings.HasPrefix(word, "#"):
			return cs
		case word == "||" || word == "&&" || word == ";":
			cs = append(cs, command{when: word})
		default:
			c.args = append(c.args, word)
		}
	}
	return cs
}

func isSpace(r rune) bool { return r == ' ' || r >= '\t' && r <= '\r' }

// script is a script that runs.
type script struct {
	w      *walker
	lines  []line
	labels map[string]int
	depth  int
	url    string
	next   int  // line
	jumped bool // by the last command, which leaves its line
	echoed string
	failed string   // the first step that failed
	kernel []string // its name, and its arguments
	vars   map[string]string
	done   bool
	reason string
}

// run returns why the script booted nothing.
func (s *script) run() string {
	commands := 0
	for s.next < len(s.lines) && !s.done {
		l := s.lines[s.next]
		s.next++
		ok := true
		for _, c := range l.commands {
			if c.when == "||" && ok || c.when == "&&" && !ok {
				continue
			}
			if commands++; commands > maxCommands {
				return "the script does not end"
			}
			s.jumped = false
			if ok = s.command(c.args); s.done || s.jumped {
				break
			}
		}
		if !ok && !s.done { // a line that fails ends the script
			break
		}
	}
	if s.w.t.Booted {
		return ""
	}
	for _, why := range []string{s.reason, s.failed, s.echoed} {
		if why != "" {
			return why
		}
	}
	return "the script ends without booting"
}

// command runs one command; it reports success.
func (s *script) command(words []string) bool {
	args := make([]string, len(words))
	for i, word := range words {
		args[i] = s.expand(word)
	}
	if len(args) == 0 {
		return true
	}
	switch name, rest := args[0], args[1:]; name {
	case "echo", "prompt":
		s.echo(rest)
	case "kernel", "imgselect", "imgload":
		return s.load(rest, true)
	case "initrd", "module", "imgfetch":
		return s.load(rest, false)
	case "imgargs":
		return s.arguments(rest)
	case "set", "clear":
		return s.set(rest)
	case "isset":
		return len(rest) == 1 && rest[0] != ""
	case "iseq":
		return len(rest) == 2 && rest[0] == rest[1]
	case "goto":
		return s.jump(rest)
	case "sleep":
		return s.sleep(rest)
	case "boot", "imgexec":
		return s.boot(rest)
	case "chain":
		return s.chain(rest)
	default:
		return s.leave(name)
	}
	return true
}

// leave runs the commands that end a script, or change nothing that a boot depends on here.
func (s *script) leave(name string) bool {
	switch name {
	case "sanboot":
		s.finish("boots from disk: iPXE hands over to drive 0x80")
	case "exit":
		s.finish(nextEntry)
	case "reboot", "poweroff", "shell":
		s.finish("the script ends with " + name)
	case "imgfree", "imgstat", "imgtrust", "imgverify", "imgmem", "ifopen", "ifclose", "ifstat", "ifconf", "iflinkwait", "dhcp",
		"route", "console", "colour", "cpair", "cpuid", "sync", "time", "ntp", "show", "params", "param", "ping", "nslookup":
	default:
		s.fail("iPXE: " + name + ": command not found")
		return false
	}
	return true
}

func (s *script) echo(args []string) {
	text := strings.Join(args, " ")
	if s.echoed == "" {
		s.echoed = strings.TrimPrefix(text, "hostler: ")
	}
	s.w.row("-", "iPXE echo", "%s", text)
}

// set stores a setting: set NAME[:TYPE] VALUE..., or removes it.
func (s *script) set(args []string) bool {
	if len(args) == 0 {
		return false
	}
	name, _, _ := strings.Cut(args[0], ":")
	if s.vars == nil {
		s.vars = map[string]string{}
	}
	s.vars[name] = strings.Join(args[1:], " ")
	return true
}

// arguments replaces what the kernel is told: imgargs NAME ARGUMENT...
func (s *script) arguments(args []string) bool {
	if len(args) == 0 || s.kernel == nil || s.kernel[0] != args[0] {
		s.fail("iPXE: imgargs: no such image")
		return false
	}
	s.kernel = append([]string{}, args...)
	return true
}

func (s *script) finish(reason string) {
	s.done, s.reason = true, reason
	s.w.row("-", "iPXE", "%s", reason)
}

func (s *script) fail(why string) {
	if s.failed == "" {
		s.failed = why
	}
}

func (s *script) jump(args []string) bool {
	if len(args) != 1 {
		s.fail("iPXE: goto needs one label")
		return false
	}
	i, ok := s.labels[args[0]]
	if !ok {
		s.fail("iPXE: no label " + args[0])
		return false
	}
	s.next, s.jumped = i, true
	return true
}

func (s *script) sleep(args []string) bool {
	if len(args) != 1 {
		return false
	}
	n, err := strconv.ParseUint(args[0], 10, 31)
	if err != nil {
		s.fail("iPXE: sleep " + args[0] + ": not a number")
		return false
	}
	s.w.row("-", "iPXE sleep", "waits %d s", n)
	return true
}

// load fetches a kernel or an initrd: [--name NAME] URL ARGUMENT...
func (s *script) load(args []string, kernel bool) bool {
	name := ""
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch {
		case (args[0] == "--name" || args[0] == "-n") && len(args) > 1:
			name, args = args[1], args[2:]
		case args[0] == "--autofree" || args[0] == "-a" || args[0] == "--replace" || args[0] == "-r":
			args = args[1:]
		default:
			s.fail("iPXE: unknown option " + args[0])
			return false
		}
	}
	if len(args) == 0 {
		s.fail("iPXE: no URL")
		return false
	}
	f, err := s.w.get(args[0])
	if err != nil {
		s.fail(err.Error())
		return false
	}
	if f.Text != "" {
		s.fail(mask(args[0]) + ": a text, not an image")
		return false
	}
	if name == "" {
		name = args[0][strings.LastIndexByte(args[0], '/')+1:]
	}
	if kernel {
		s.kernel = append([]string{name}, args[1:]...)
	}
	return true
}

// boot starts the kernel. iPXE puts the image's name before the arguments of a UEFI kernel (src/image/efi_image.c).
func (s *script) boot(args []string) bool {
	if s.kernel == nil || len(args) > 0 && args[0] != s.kernel[0] {
		s.fail("iPXE: boot: no image is loaded")
		return false
	}
	words := s.kernel
	if !s.w.machine.Arch.UEFI() {
		words = words[1:]
	}
	s.done = true
	s.w.boot(strings.Join(words, " "))
	return true
}

// chain loads another script. One that asks again for what this one was is the end of what there is to see.
func (s *script) chain(args []string) bool {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		args = args[1:]
	}
	if len(args) == 0 {
		s.fail("iPXE: no URL")
		return false
	}
	s.done = true
	if again(s.url, args[0]) {
		s.w.row("-", "iPXE chain", "asks again: %s", args[0])
		return true
	}
	s.reason = s.w.chain(args[0], s.depth+1)
	return true
}

// again reports whether two URLs are the same script for another try.
func again(was, now string) bool {
	a, err := url.Parse(was)
	b, err2 := url.Parse(now)
	return err == nil && err2 == nil && a.Host == b.Host && a.Path == b.Path && b.Query().Has("retry")
}

// expand replaces settings in a word, from the innermost to the outermost, as iPXE does (src/core/settings.c). What is
// not set is empty.
func (s *script) expand(word string) string {
	for range 16 {
		end := -1
		start := -1
		for i := range len(word) {
			if strings.HasPrefix(word[i:], "${") {
				start = i
			}
			if start >= 0 && word[i] == '}' {
				end = i
				break
			}
		}
		if end < 0 {
			return word
		}
		word = word[:start] + s.setting(word[start+2:end]) + word[end+1:]
	}
	return word
}

func (s *script) setting(name string) string {
	bare, _, _ := strings.Cut(name, ":")
	if v, ok := s.vars[bare]; ok {
		return v
	}
	m := s.w.machine
	switch name {
	case "platform":
		if m.Arch.UEFI() {
			return "efi"
		}
		return "pcbios"
	case "buildarch":
		if strings.HasPrefix(m.Arch.String(), "arm64") {
			return "arm64"
		}
		if m.Arch.UEFI() {
			return "x86_64"
		}
		return "i386"
	case "mac", "netX/mac", "net0/mac":
		return m.MAC.String()
	case "mac:hexhyp", "netX/mac:hexhyp", "net0/mac:hexhyp":
		return m.MAC.Dashed()
	case "ip", "netX/ip", "net0/ip":
		return s.w.lease.YIAddr.String()
	case "next-server":
		return s.w.lease.SIAddr.String()
	}
	return ""
}
