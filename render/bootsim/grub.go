package bootsim

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// grubPrefix is the folder that is built into Debian's network images.
const grubPrefix = "grub/"

// runGRUB plays GRUB from its configuration on. A shim first loads it, from the folder that it came from itself.
func (w *walker) runGRUB(file string) string {
	signed := !strings.Contains(path.Base(file), "grub")
	if signed {
		second := path.Join(path.Dir(file), "grubx64.efi")
		if strings.HasPrefix(w.machine.Arch.String(), "arm64") {
			second = path.Join(path.Dir(file), "grubaa64.efi")
		}
		if err := w.load(second); err != nil {
			return "shim finds no GRUB: " + err.Error()
		}
	}
	for _, name := range w.grubNames(signed) {
		f, err := w.tftp(name)
		if err == nil {
			g := &grub{w: w, vars: map[string]string{"net_default_mac": w.machine.MAC.String(), "prefix": "/" + strings.TrimSuffix(grubPrefix, "/")}}
			if w.machine.Arch.UEFI() {
				g.vars["grub_platform"] = "efi"
			}
			g.vars["grub_cpu"] = (&script{w: w}).setting("buildarch") // GRUB's words are iPXE's
			return g.config(f.Text)
		}
	}
	return "GRUB finds no configuration, and stands at its prompt"
}

// grubNames is the order of GRUB: its configuration for the MAC, the address in hexadecimal, one digit shorter each time, and the
// one for all (grub-core/net/net.c, grub_net_search_config_file). Debian's signed image has an order of its own.
func (w *walker) grubNames(signed bool) []string {
	plain := grubPrefix + "grub.cfg"
	if signed {
		return []string{grubPrefix + "x86_64-efi/grub.cfg", plain}
	}
	names := []string{plain + "-01-" + w.machine.MAC.Dashed()}
	for _, hex := range w.addressNames() {
		names = append(names, plain+"-"+hex)
	}
	return append(names, plain)
}

// grub is a GRUB that runs.
type grub struct {
	w        *walker
	vars     map[string]string
	kernel   []string // its name, and its arguments
	commands int
	failed   string // the first step that failed
	echoed   string
	reason   string
	done     bool
}

// config runs the configuration that GRUB found first; it returns why nothing was booted.
func (g *grub) config(text string) string {
	g.source(text)
	if g.w.t.Booted {
		return ""
	}
	for _, why := range []string{g.reason, g.failed, g.echoed} {
		if why != "" {
			return why
		}
	}
	return "the configuration of GRUB ends without booting"
}

// source runs a text; it reports success of the last command, as GRUB does.
func (g *grub) source(text string) bool {
	p := grubParser{words: grubWords(text)}
	list := p.list()
	if p.problem == "" && len(p.words) > 0 {
		p.problem = "unexpected " + p.words[0]
	}
	if p.problem != "" {
		g.fail("GRUB: syntax error: " + p.problem)
		return false
	}
	return g.run(list)
}

func (g *grub) fail(why string) {
	if g.failed == "" {
		g.failed = mask(why)
	}
}

func (g *grub) end(reason string) {
	g.done, g.reason = true, mask(reason)
	g.w.row("-", "GRUB", "%s", reason)
}

// run runs statements one after the other.
func (g *grub) run(list []grubStatement) bool {
	ok := true
	for i := range list {
		if g.done {
			break
		}
		ok = g.statement(&list[i])
	}
	return ok
}

func (g *grub) statement(s *grubStatement) bool {
	if g.commands++; g.commands > maxCommands {
		g.end("the configuration of GRUB does not end")
		return false
	}
	switch s.keyword {
	case "if":
		if g.run(s.condition) {
			return g.run(s.body)
		}
		return g.run(s.other)
	case "for":
		for _, w := range s.words[1:] {
			g.vars[s.words[0]] = g.expand(w)
			if g.run(s.body); g.done {
				break
			}
		}
	case "while":
		for g.run(s.condition) && !g.done {
			g.run(s.body)
		}
	default:
		args := make([]string, len(s.words))
		for i, w := range s.words {
			args[i] = g.expand(w)
		}
		return g.command(args[0], args[1:])
	}
	return true
}

func (g *grub) command(name string, args []string) bool {
	switch name {
	case "source", "configfile":
		return g.read(args)
	case "linux":
		return g.linux(args)
	case "initrd":
		return g.initrd(args)
	case "boot":
		return g.boot()
	case "echo":
		text := strings.Join(args, " ")
		if g.echoed == "" {
			g.echoed = strings.TrimPrefix(text, "hostler: ")
		}
		g.w.row("-", "GRUB echo", "%s", text)
		g.again(text)
	case "sleep":
		g.w.row("-", "GRUB sleep", "waits %s s", strings.Join(args, " "))
	case "exit":
		g.end(nextEntry)
	case "reboot":
		g.end("GRUB reboots the machine")
	case "true", "set", "serial", "terminal_input", "terminal_output", "insmod":
	default:
		g.fail("GRUB: can't find command " + name)
		return false
	}
	return true
}

// again ends the play where an attempt has ended without booting: the next is the same.
func (g *grub) again(text string) {
	if strings.Contains(text, "next attempt in") {
		why, _, _ := strings.Cut(strings.TrimPrefix(text, "hostler: "), "; next attempt")
		g.done, g.reason = true, why
		if g.failed != "" {
			g.reason = g.failed
		}
	}
}

// read reads another configuration and runs it. GRUB goes on when there is none.
func (g *grub) read(args []string) bool {
	if len(args) != 1 {
		return false
	}
	f, err := g.w.tftp(strings.TrimPrefix(args[0], "/"))
	if err != nil {
		g.fail(args[0] + ": " + err.Error())
		return false
	}
	return g.source(f.Text)
}

// fetch gets a file, from the server that GRUB came from, or from (http,SERVER)/PATH.
func (g *grub) fetch(name string) bool {
	var err error
	if rest, ok := strings.CutPrefix(name, "(http,"); ok {
		host, file, _ := strings.Cut(rest, ")")
		_, err = g.w.get("http://" + host + file)
	} else {
		err = g.w.load(strings.TrimPrefix(name, "/"))
	}
	if err != nil {
		g.fail(err.Error())
	}
	return err == nil
}

func (g *grub) linux(args []string) bool {
	if len(args) == 0 || !g.fetch(args[0]) {
		return false
	}
	g.kernel = args
	return true
}

func (g *grub) initrd(args []string) bool {
	if g.kernel == nil {
		g.fail("GRUB: you need to load the kernel first")
		return false
	}
	return !slices.ContainsFunc(args, func(a string) bool { return !g.fetch(a) })
}

// boot starts the kernel. A word with a space comes to it in double quotes, and quotes and backslashes have a backslash before
// them (grub-core/lib/cmdline.c, grub_create_loader_cmdline).
func (g *grub) boot() bool {
	if g.kernel == nil {
		g.fail("GRUB: you need to load the kernel first")
		return false
	}
	words := slices.Clone(g.kernel)
	for i, w := range words {
		w = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `'`, `\'`).Replace(w)
		if strings.Contains(w, " ") {
			w = `"` + w + `"`
		}
		words[i] = w
	}
	g.done = true
	g.w.boot("BOOT_IMAGE=" + strings.Join(words, " "))
	return true
}

// expand takes a word's quotes away, and puts the values of variables in.
func (g *grub) expand(word string) string {
	var b strings.Builder
	for i := 0; i < len(word); i++ {
		switch c := word[i]; {
		case c == '\'':
			end := strings.IndexByte(word[i+1:], '\'')
			if end < 0 {
				return fmt.Sprintf("%s: no closing quote", word)
			}
			b.WriteString(word[i+1 : i+1+end])
			i += end + 1
		case c == '"':
		case c == '\\' && i+1 < len(word):
			i++
			b.WriteByte(word[i])
		case c == '$':
			end := i + 1
			for end < len(word) && (word[end] == '_' || word[end] >= 'a' && word[end] <= 'z' || word[end] >= '0' && word[end] <= '9') {
				end++
			}
			b.WriteString(g.vars[word[i+1:end]])
			i = end - 1
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
