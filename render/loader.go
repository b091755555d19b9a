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

// siblings are architectures that run the same loader when nothing is declared for them: HTTP boot firmware runs what
// PXE firmware does.
var siblings = map[fact.Arch]fact.Arch{15: 6, 16: 7, 18: 10, 19: 11, 20: 0, 9: 7, 7: 9}

// loader chooses a machine's loader, and says why it is that one, or why there is none.
func (s *Snapshot) loader(a fact.Arch, setting string, n *spec.Node) (*spec.Loader, string) {
	if setting != "" {
		if l := s.loaderByName(setting); l != nil {
			return l, "setting loader"
		}
		return nil, fmt.Sprintf("loader %s: not declared", setting)
	}
	if a == fact.NoArch && n != nil {
		a = s.nodeArch(n, n.Firmware)
	}
	why := "client architecture " + a.String()
	for _, x := range []fact.Arch{a, sibling(a)} {
		for _, l := range s.loaders {
			if x != fact.NoArch && slices.Contains(l.ClientArch, x) {
				return l, why
			}
		}
	}
	return nil, fmt.Sprintf("client architecture %s: no loader", a)
}

func sibling(a fact.Arch) fact.Arch {
	if x, ok := siblings[a]; ok {
		return x
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
	}
	return fact.NoArch
}
