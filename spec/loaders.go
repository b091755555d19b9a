package spec

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"hostler/render/fact"
)

// builtin are the loaders inside the binary, and the architectures that get them when the spec says nothing else.
func builtin() []Loader {
	return []Loader{
		{Name: "builtin-bios", FileName: "undionly.kpxe", ClientArch: []fact.Arch{0}},
		{Name: "builtin-x86_64-uefi", FileName: "ipxe.efi", ClientArch: []fact.Arch{7, 9, 16}},
		{Name: "builtin-arm64-uefi", FileName: "snp.efi", ClientArch: []fact.Arch{11, 19}},
	}
}

func builtinNames() []string {
	var names []string
	for _, l := range builtin() {
		names = append(names, l.FileName)
	}
	return names
}

func (p *parser) loader(in *instance) {
	b := in.body
	in.common()
	l := Loader{Name: in.name, Kind: LoaderIPXE, Place: in.spot(b.at).place()}
	if name, ok := in.str(b, "file"); ok {
		if !slices.Contains(builtinNames(), name) {
			p.rep.err("unknown-loader-file", in.spot(b.attrs["file"].at()), "Unknown built-in loader",
				fmt.Sprintf("%q is not one of the built-in loaders %s. A file of your own is given by path, or by store and key.%s", name, strings.Join(builtinNames(), ", "), didYouMean(name, builtinNames())))
		}
		for _, a := range []string{"path", "store", "key", "sha256"} {
			if b.attrs[a] != nil {
				p.rep.err("file-place", in.spot(b.attrs[a].nameAt), "Loader with two files", fmt.Sprintf("loader.%s is the built-in %s, so it has no %s of its own. Remove one of them.", in.name, name, a))
			}
		}
		l.File = FileRef{Builtin: name, Place: l.Place}
	} else if b.attrs["file"] == nil {
		l.File, ok = in.fileRef(b)
		if !ok {
			return
		}
	}
	l.FileName = l.File.fileName()
	if why := nameProblem(l.FileName); why != "" {
		p.rep.err("bad-name", in.spot(b.at), "Name is not allowed", fmt.Sprintf("%q as the name of a loader's file %s.", l.FileName, why))
		return
	}
	in.loaderKind(b, &l)
	l.ClientArch = in.architectures(b)
	for _, n := range b.blocks["file"] {
		name := n.labels[0]
		if slices.ContainsFunc(strings.Split(name, "/"), func(part string) bool { return nameProblem(part) != "" }) {
			p.rep.err("bad-name", in.spot(n.at), "Name is not allowed", fmt.Sprintf("%q as the name of a file beside a loader is no plain path.", name))
			continue
		}
		if f, ok := in.fileRef(n); ok {
			l.Extra = append(l.Extra, NamedFile{Name: name, File: f})
		}
	}
	slices.SortStableFunc(l.Extra, func(a, b NamedFile) int { return strings.Compare(a.Name, b.Name) })
	p.fleet.Loaders = append(p.fleet.Loaders, l)
}

// KindOf is what the name of a loader's file says of it.
func KindOf(file string) LoaderKind {
	name := strings.ToLower(path.Base(file))
	switch {
	case strings.Contains(name, "pxelinux") || strings.HasSuffix(name, ".0"):
		return LoaderPXELinux
	case strings.Contains(name, "grub") || strings.HasPrefix(name, "shim"):
		return LoaderGRUB
	case name == "bootcode.bin" || strings.HasPrefix(name, "start") && strings.HasSuffix(name, ".elf"):
		return LoaderRPi
	}
	return LoaderIPXE
}

// loaderKind reads what the loader is and how it fetches; both mostly show in the name of its file.
func (in *instance) loaderKind(b *body, l *Loader) {
	l.Kind = KindOf(l.FileName)
	if k, ok := in.choice(b, "kind", string(LoaderIPXE), string(LoaderPXELinux), string(LoaderGRUB), string(LoaderRPi)); ok {
		l.Kind = LoaderKind(k)
	}
	l.Transport = TransportHTTP
	if l.Kind == LoaderGRUB || l.Kind == LoaderPXELinux && strings.HasPrefix(strings.ToLower(l.FileName), "pxelinux") {
		l.Transport = TransportTFTP // Debian's signed GRUB has no http module, and pxelinux.0, unlike lpxelinux.0, no TCP
	}
	if t, ok := in.choice(b, "transport", string(TransportTFTP), string(TransportHTTP)); ok {
		l.Transport = Transport(t)
	}
	if embedded, ok := in.flag(b, "embedded_script"); ok && l.File.Builtin == "" {
		l.Autoexec = !embedded
	}
	if l.Kind == LoaderRPi {
		l.Transport = TransportTFTP // a Raspberry Pi boots by HTTP from the internet only
	}
}

// architectures reads client_arch: names of architectures, or numbers of DHCP option 93.
func (in *instance) architectures(b *body) []fact.Arch {
	vs, at, _ := in.items(b, "client_arch", "architectures")
	var out []fact.Arch
	for i, v := range vs {
		here := in.itemSpot(b.attrs["client_arch"], i, at)
		if v.Type() != cty.String && v.Type() != cty.Number {
			in.wrongType("client_arch", v, "names and numbers of architectures", here)
			continue
		}
		text, ok := in.asString("client_arch", v, here)
		if !ok {
			continue
		}
		as := fact.Architectures(text)
		if n, err := strconv.ParseUint(text, 10, 16); err == nil {
			as = []fact.Arch{fact.Arch(n)}
		}
		if len(as) == 0 {
			in.p.rep.err("unknown-architecture", here, "Unknown architecture", fmt.Sprintf("There is no architecture %q.%s The number of DHCP option 93 can be written, too.", text, didYouMean(text, fact.ArchitectureNames())))
		}
		out = append(out, as...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// builtinLoaders adds the loaders inside the binary for architectures that no declared loader has, and refuses two loaders
// for one architecture.
func (p *parser) builtinLoaders() {
	owner := map[fact.Arch]*Loader{}
	for i := range p.fleet.Loaders {
		l := &p.fleet.Loaders[i]
		for _, a := range l.ClientArch {
			if first := owner[a]; first != nil {
				at := p.units["loader"][l.Name].at
				p.rep.err("duplicate-architecture", spot{Range: at}, "Two loaders for one architecture",
					fmt.Sprintf("loader.%s and loader.%s are both for %s. A machine can get only one.", first.Name, l.Name, a), Related{Text: "The other is here.", Place: first.Place})
				continue
			}
			owner[a] = l
		}
	}
	for _, l := range builtin() {
		l.ClientArch = slices.DeleteFunc(l.ClientArch, func(a fact.Arch) bool { return owner[a] != nil })
		if len(l.ClientArch) == 0 {
			continue
		}
		l.Kind, l.Transport, l.File, l.Builtin = LoaderIPXE, TransportHTTP, FileRef{Builtin: l.FileName}, true
		if p.units["loader"][l.Name] != nil { // the author took the name; ours is nobody's to refer to
			l.Name += "-default"
		}
		p.fleet.Loaders = append(p.fleet.Loaders, l)
	}
	slices.SortFunc(p.fleet.Loaders, func(a, b Loader) int { return strings.Compare(a.Name, b.Name) })
}
