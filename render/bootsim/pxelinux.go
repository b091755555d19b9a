package bootsim

import (
	"fmt"
	"strings"
)

// runPXELinux plays lpxelinux.0: its core module and its configuration over TFTP, kernel and initrd by what their
// names say. config is option 209, which stands before every other name.
func (w *walker) runPXELinux(config string) string {
	if _, err := w.tftp("ldlinux.c32"); err != nil {
		return fmt.Sprintf("ldlinux.c32: %v", err)
	}
	for _, name := range w.configNames(config) {
		f, err := w.tftp(name)
		if err == nil {
			return w.pxelinuxConfig(f.Text)
		}
	}
	return "pxelinux finds no configuration"
}

// configNames is the order of pxelinux: option 209, the MAC with its hardware type, the address in hexadecimal, one
// digit shorter each time, and "default". (A UUID would come before the MAC; a simulated machine has none.)
func (w *walker) configNames(config string) []string {
	var names []string
	if config != "" {
		names = append(names, config)
	}
	names = append(names, "pxelinux.cfg/01-"+w.machine.MAC.Dashed())
	for _, hex := range w.addressNames() {
		names = append(names, "pxelinux.cfg/"+hex)
	}
	return append(names, "pxelinux.cfg/default")
}

// addressNames is the machine's address in hexadecimal, as loaders ask for it: whole, and then one digit shorter each time.
func (w *walker) addressNames() []string {
	var names []string
	if w.lease.YIAddr.Is4() {
		for hex := fmt.Sprintf("%X", w.lease.YIAddr.AsSlice()); hex != ""; hex = hex[:len(hex)-1] {
			names = append(names, hex)
		}
	}
	return names
}

// pxelinuxConfig runs the default entry of a configuration.
func (w *walker) pxelinuxConfig(text string) string {
	labels := map[string]map[string]string{}
	var global, cur = map[string]string{}, map[string]string{}
	cur = global
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word = strings.ToUpper(word); word {
		case "", "#":
		case "LABEL":
			cur = map[string]string{}
			labels[rest] = cur
		case "LINUX", "APPEND", "LOCALBOOT", "CONFIG", "DEFAULT", "SAY", "PROMPT", "TIMEOUT", "SERIAL", "ONTIMEOUT", "ONERROR":
			cur[word] = strings.TrimSpace(rest)
		default:
			return fmt.Sprintf("pxelinux does not know the word %s", word)
		}
	}
	entry, ok := labels[global["DEFAULT"]]
	switch {
	case !ok:
		return "pxelinux has no default entry"
	case entry["LOCALBOOT"] != "":
		return "hands over to the next boot entry"
	case entry["CONFIG"] != "":
		w.row("-", "pxelinux waits", "prints: %s", global["SAY"])
		return strings.TrimPrefix(global["SAY"], "hostler: ")
	}
	return w.pxelinuxBoot(entry["LINUX"], entry["APPEND"])
}

func (w *walker) pxelinuxBoot(kernel, args string) string {
	urls := []string{kernel}
	for _, a := range strings.Fields(args) {
		if v, ok := strings.CutPrefix(a, "initrd="); ok {
			urls = append(urls, strings.Split(v, ",")...)
		}
	}
	for _, u := range urls {
		if reason := w.pxelinuxFetch(u); reason != "" {
			return reason
		}
	}
	w.boot("BOOT_IMAGE=" + kernel + " " + args)
	return ""
}

// load reads a whole file by TFTP; the error names it.
func (w *walker) load(name string) error {
	_, err := w.tftp(name)
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return err
}

// pxelinuxFetch gets a file by its URL, or by TFTP: the name stands behind two colons when no path prefix belongs before it.
func (w *walker) pxelinuxFetch(name string) string {
	var err error
	if strings.Contains(name, "://") {
		_, err = w.get(name)
	} else {
		err = w.load(strings.TrimPrefix(name, "::"))
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func (w *walker) boot(cmdline string) {
	w.t.Booted, w.t.Cmdline = true, mask(cmdline)
	w.row("-", "boot", "starts the kernel")
}
