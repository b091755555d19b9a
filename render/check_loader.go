package render

import (
	"fmt"
	"slices"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// loaderCheck looks at what loaders other than iPXE make of a node's boot. Most fleets have none.
type loaderCheck struct {
	s       *Snapshot
	r       *report
	needed  bool
	loaders map[bootKey][]*spec.Loader // that a node may get
}

func (s *Snapshot) newLoaderCheck(r *report) *loaderCheck {
	needed := slices.ContainsFunc(s.loaders, func(l *spec.Loader) bool { return l.Kind != spec.LoaderIPXE })
	return &loaderCheck{s, r, needed, map[bootKey][]*spec.Loader{}}
}

// check looks at a node, whose boot is like that of all others with the key but for its own kernel arguments.
func (c *loaderCheck) check(n *spec.Node, k bootKey) {
	if !c.needed {
		return
	}
	loaders, seen := c.loaders[k]
	if !seen {
		for _, a := range c.s.mayHave(n) {
			if l, _ := c.s.loader(a, k.loader, n); l != nil && l.Kind != spec.LoaderIPXE && !slices.Contains(loaders, l) {
				loaders = append(loaders, l)
			}
		}
		c.loaders[k] = loaders
	}
	if len(loaders) == 0 || seen && (n.Own == nil || len(n.Own.KernelArgs) == 0 && n.Own.KernelArgsTail == "") {
		return
	}
	t := c.s.targetOf(n)
	if t.image == nil {
		return
	}
	for _, l := range loaders {
		c.fetches(n, &t, l, k.script)
		c.cmdline(n, &t, l)
	}
}

// fetches looks at where the loader gets the image from.
func (c *loaderCheck) fetches(n *spec.Node, t *target, l *spec.Loader, script string) {
	if script != "" {
		c.r.add(l.Name+script, nodeMistake(n, spec.Warning, "script-ignored", "Script is not read",
			"The script of %s, template.%s, is for iPXE; loader.%s boots image.%s by a configuration of hostler's own.", n.Address, script, l.Name, t.image.Name))
	}
	for _, x := range t.image.Files {
		url := c.s.file(x.File, x.Name).URL
		switch {
		case url == "" || x.Role != "kernel" && x.Role != "initrd":
		case l.Transport == spec.TransportTFTP:
			c.r.add(l.Name+x.File.ID(), diagnostic(spec.Error, "file-transport", &x.File.Place, "File cannot be fetched by TFTP",
				"loader.%s fetches by TFTP, but file %q of image.%s is delivered directly from its store. Set deliver = \"mirror\" for the store.", l.Name, x.Role, t.image.Name))
		case l.Kind == spec.LoaderGRUB || shownURL(url) == "": // GRUB knows no query; pxelinux cuts a name off after 255 bytes, which a signature has alone
			c.r.add(l.Name+x.File.ID(), diagnostic(spec.Error, "file-transport", &x.File.Place, "File cannot be fetched by its URL",
				"loader.%s cannot fetch file %q of image.%s from its store: only iPXE takes such URLs. Set deliver = \"mirror\" or \"proxy\" for the store.", l.Name, x.Role, t.image.Name))
		}
	}
}

// cmdline looks at what comes of the command line. GRUB puts a backslash before quotes and backslashes within a word
// (grub-core/lib/cmdline.c), which the kernel does not take away; names of files come before the arguments.
func (c *loaderCheck) cmdline(n *spec.Node, t *target, l *spec.Loader) {
	cmdline := c.s.cmdline(t)
	if l.Kind == spec.LoaderGRUB {
		for _, w := range kernelWords(string(cmdline)) {
			if strings.ContainsAny(w, `'\`) {
				c.r.add(l.Name+w, nodeMistake(n, spec.Error, "kernel-argument", "Kernel argument cannot be passed",
					"The kernel argument %s of %s has a quote or a backslash, before which GRUB puts a backslash.", fact.Text(w), n.Address))
			}
		}
	}
	m := menu{target: *t, loader: l}
	kernel, initrds := c.s.bootFiles(t.image)
	if kernel == nil || l.Kind == spec.LoaderRPi {
		return
	}
	lead := "BOOT_IMAGE=" + m.pxelinuxFile(*kernel) + " "
	if l.Kind == spec.LoaderPXELinux {
		for _, f := range initrds {
			lead += "initrd=" + m.pxelinuxFile(f)
		}
	}
	if length := printedLength(fact.Text(lead) + cmdline); length > maxCmdline {
		c.r.add(fmt.Sprint(l.Name, n.Profile), nodeMistake(n, spec.Error, "kernel-args-length", "Kernel command line is too long",
			"The command line that loader.%s gives %s has %d bytes, of which %d are names of files; kernels keep %d and drop the rest.",
			l.Name, n.Address, length, printedLength(fact.Text(lead)), maxCmdline))
	}
}
