package render

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// arch is the client architecture: option 93, else what PXE firmware repeats in option 60 (PXEClient:Arch:00007:...).
func arch(f *fact.Facts) fact.Arch {
	if isRPi(f) {
		return archRPi
	}
	if f.Arch != fact.NoArch {
		return f.Arch
	}
	if fields := strings.Split(f.VendorClass, ":"); len(fields) > 2 && fields[1] == "Arch" {
		if n, err := strconv.ParseUint(fields[2], 10, 16); err == nil {
			return fact.Arch(n)
		}
	}
	return fact.NoArch
}

// loader chooses a machine's loader, and says why it is that one, or why there is none.
func (s *Snapshot) loader(a fact.Arch, setting string, n *spec.Node) (*spec.Loader, string) {
	if setting != "" {
		l := s.loaderByName(setting)
		if l == nil {
			return nil, fmt.Sprintf("loader %s: not declared", setting)
		}
		if why := misfit(l, a); why != "" {
			return nil, fmt.Sprintf("loader %s: %s", l.Name, why)
		}
		return l, "setting loader"
	}
	if a == fact.NoArch && n != nil {
		a = s.nodeArch(n, n.Firmware)
	}
	why := "client architecture " + a.String()
	for _, x := range []fact.Arch{a, sibling(a)} {
		for _, l := range s.loaders {
			if x == fact.NoArch || !slices.Contains(l.ClientArch, x) {
				continue
			}
			if not := misfit(l, a); not != "" {
				return nil, fmt.Sprintf("%s: loader %s: %s", why, l.Name, not)
			}
			return l, why
		}
	}
	return nil, fmt.Sprintf("client architecture %s: no loader", a)
}

// misfit says why a loader does not run on firmware of an architecture; empty: nothing is known against it.
func misfit(l *spec.Loader, a fact.Arch) string {
	name := strings.ToLower(l.FileName)
	switch {
	case a == fact.NoArch:
		return ""
	case a.UEFI() && (l.Kind == spec.LoaderPXELinux || strings.HasSuffix(name, "pxe")): // undionly.kpxe
		return "a program for a BIOS, not for " + a.String()
	case !a.UEFI() && strings.HasSuffix(name, ".efi"):
		return "a program for UEFI, not for " + a.String()
	case l.Kind == spec.LoaderRPi && a != archRPi:
		return "not for " + a.String()
	case a.HTTPBoot() && l.Kind == spec.LoaderGRUB && l.Transport == spec.TransportTFTP:
		return "fetches by TFTP only, which " + a.String() + " firmware does not set up"
	}
	return ""
}

// insteadOfScript reports whether iPXE is to load another loader, which the author set, and not its script. iPXE is the ROM of many
// network cards, and of QEMU's; it can be told apart from the loader that it was given if that is not iPXE, or is ours. Otherwise
// iPXE would load itself for ever.
func insteadOfScript(f *fact.Facts, m *client, l *spec.Loader) bool {
	if m.loader == "" || l == nil || m.boot == spec.BootDisk {
		return false
	}
	return l.Kind != spec.LoaderIPXE || l.File.Builtin != "" && f.UserClass != embeddedClass
}

// sibling is an architecture that runs the same loader, for when nothing is declared for the one asked for: HTTP boot
// firmware runs what PXE firmware does, and x86-64 UEFI announces itself as 7 or as 9.
func sibling(a fact.Arch) fact.Arch {
	switch a {
	case 7:
		return 9
	case 9, 16:
		return 7
	case 15:
		return 6
	case 18:
		return 10
	case 19:
		return 11
	case 20:
		return 0
	}
	return fact.NoArch
}

// httpBoot is what firmware announces when it boots by HTTP where it says a by PXE.
func httpBoot(a fact.Arch) fact.Arch {
	for b := range fact.Arch(64) {
		if b.HTTPBoot() && b.String() == a.String()+"-http" {
			return b
		}
	}
	return fact.NoArch
}

func (s *Snapshot) loaderByName(name string) *spec.Loader {
	for _, l := range s.loaders {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// LoaderKind says what program a boot file is; false when no loader has such a file. Only the last part of the name counts, of a URL
// too.
func (s *Snapshot) LoaderKind(file string) (spec.LoaderKind, bool) {
	_, name := splitName(file)
	for _, l := range s.loaders {
		if l.FileName == name {
			return l.Kind, true
		}
	}
	return "", false
}

// declaredArch is the option 93 value of firmware as the spec names it. An empty architecture is x86_64.
func declaredArch(firmware, arch string) fact.Arch {
	switch {
	case firmware == "bios" && (arch == "" || arch == "x86_64" || arch == "x86"):
		return 0
	case firmware == "uefi" && (arch == "" || arch == "x86_64"):
		return 7
	case firmware == "uefi" && arch == "x86":
		return 6
	case firmware == "uefi" && arch == "arm64":
		return 11
	case firmware == "rpi":
		return archRPi
	}
	return fact.NoArch
}
