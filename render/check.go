package render

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// report collects mistakes. The same mistake of many nodes is one diagnostic that counts them.
type report struct {
	byKey map[string]*mistake
	order []*mistake
	count int // of all that were added
}

type mistake struct {
	spec.Diagnostic
	more int // nodes beside the first
}

// add reports a mistake; key says which are the same.
func (r *report) add(key string, d spec.Diagnostic) {
	r.count++
	key = d.Code + " " + key
	if m, ok := r.byKey[key]; ok {
		m.more++
		return
	}
	m := &mistake{Diagnostic: d}
	r.byKey[key] = m
	r.order = append(r.order, m)
}

func (r *report) diagnostics() spec.Diagnostics {
	var ds spec.Diagnostics
	for _, m := range r.order {
		if m.more == 1 {
			m.Detail += " The same holds for 1 more node."
		} else if m.more > 1 {
			m.Detail += fmt.Sprintf(" The same holds for %d more nodes.", m.more)
		}
		ds = append(ds, m.Diagnostic)
	}
	slices.SortStableFunc(ds, func(a, b spec.Diagnostic) int {
		p, q := cmp.Or(a.Place, &spec.Place{}), cmp.Or(b.Place, &spec.Place{})
		return cmp.Or(cmp.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column))
	})
	return ds
}

// check finds what would keep machines from booting though the spec is right in itself.
func (s *Snapshot) check() spec.Diagnostics {
	r := &report{byKey: map[string]*mistake{}}
	s.checkFiles(r)
	s.checkLoaders(r)
	s.checkSettings(r)
	s.checkSubnets(r)
	s.checkNodes(r)
	return r.diagnostics()
}

func diagnostic(sev spec.Severity, code string, place *spec.Place, summary, detail string, args ...any) spec.Diagnostic {
	return spec.Diagnostic{Severity: sev, Code: code, Summary: summary, Detail: fmt.Sprintf(detail, args...), Place: place}
}

func (s *Snapshot) checkFiles(r *report) {
	for i := range s.fleet.Images {
		m := &s.fleet.Images[i]
		for j := range m.Files {
			x := &m.Files[j]
			what := fmt.Sprintf("file %q of image.%s", x.Role, m.Name)
			s.checkFile(r, &x.File, x.Name, what)
		}
	}
	for _, l := range s.loaders {
		s.checkFile(r, &l.File, l.FileName, "file of loader."+l.Name)
		if u := s.file(l.File, l.FileName).URL; u != "" && shownURL(u) == "" {
			r.add(l.Name, diagnostic(spec.Error, "file-transport", &l.File.Place, "Loader cannot be fetched by its URL",
				"Firmware fetches loader.%s from hostler, and has no use for a signed URL. Set deliver = \"mirror\" or \"proxy\" for store.%s.", l.Name, l.File.Store))
		}
		for j := range l.Extra {
			s.checkFile(r, &l.Extra[j].File, l.Extra[j].Name, fmt.Sprintf("file %q of loader.%s", l.Extra[j].Name, l.Name))
		}
	}
}

func (s *Snapshot) checkFile(r *report, ref *spec.FileRef, name, what string) {
	a := s.artifacts[ref.ID()]
	key := ref.ID() + what
	if a.Problem != "" {
		r.add(key, diagnostic(spec.Error, "file-unusable", &ref.Place, "File cannot be served", "The %s cannot be served: %s %s.", what, nameOf(ref), a.Problem))
	} else if ref.SHA256 != "" && a.Digest != "" && ref.SHA256 != a.Digest {
		r.add(key, diagnostic(spec.Error, "file-digest", &ref.Place, "File has another digest",
			"The %s was declared with sha256 %s, but has %s. Correct the one or the other.", what, ref.SHA256, a.Digest))
	}
	if a.ByETag {
		r.add(key, diagnostic(spec.Warning, "file-unverified", &ref.Place, "File is not verified",
			"The %s, %s, is known by its name and etag in S3 only, and nobody compares its content with what was reviewed. Declare its sha256, and deliver = \"mirror\" compares them.", what, nameOf(ref)))
	}
	for _, text := range []string{name, shownURL(a.URL)} {
		if why := badWords(text); why != "" {
			r.add(key, diagnostic(spec.Error, "file-name", &ref.Place, "Name cannot be fetched",
				"The %s would be fetched as %q, which %s. Rename the file.", what, text, why))
		}
		if strings.ContainsAny(text, " \t\r\n") {
			r.add(key, diagnostic(spec.Error, "file-name", &ref.Place, "Name cannot be fetched",
				"The %s would be fetched as %q, which has white space, where a boot script ends a URL. Rename the file.", what, text))
		}
	}
}

// shownURL is the part of a URL that an author chose: what is signed is encoded.
func shownURL(url string) string {
	if strings.IndexByte(url, 0) >= 0 {
		return ""
	}
	return url
}

func nameOf(ref *spec.FileRef) string {
	switch {
	case ref.Builtin != "":
		return "loader " + ref.Builtin
	case ref.Path != "":
		return ref.Path
	}
	return ref.Key + " in store." + ref.Store
}

// maxBootFile is what the file field of a DHCP reply holds beside its final NUL (RFC 2131 section 2).
const maxBootFile = 127

// checkLoaders finds names that the TFTP tree would hold twice.
func (s *Snapshot) checkLoaders(r *report) {
	owner := map[string]string{}
	ids := map[string]string{}
	claim := func(l *spec.Loader, name string, ref *spec.FileRef) {
		if was, taken := owner[name]; taken && ids[name] != ref.ID() && !l.Builtin {
			r.add(name, diagnostic(spec.Error, "loader-name", &ref.Place, "Name is served twice",
				"Both loader.%s and loader.%s serve a file named %q over TFTP. Give one of them another name.", was, l.Name, name))
		}
		if _, taken := owner[name]; !taken {
			owner[name], ids[name] = l.Name, ref.ID()
		}
	}
	for _, l := range s.loaders {
		if len(l.FileName) > maxBootFile {
			r.add(l.Name, diagnostic(spec.Error, "loader-name", &l.Place, "Loader's name is too long",
				"The file name of loader.%s has %d bytes; a DHCP reply has room for %d.", l.Name, len(l.FileName), maxBootFile))
		}
		claim(l, l.FileName, &l.File)
		for i := range l.Extra {
			claim(l, l.Extra[i].Name, &l.Extra[i].File)
		}
	}
}

// checkSettings looks at what the nodes of a profile share, once.
func (s *Snapshot) checkSettings(r *report) {
	for i := range s.fleet.Profiles {
		p := &s.fleet.Profiles[i]
		s.checkOwn(r, &p.Settings, nil)
		if m := s.image(i); m != nil && s.bootsBy(p.Settings.Boot) {
			s.checkImage(r, m)
		}
		if m := s.images[p.Settings.Retry.Fallback]; m != nil {
			s.checkImage(r, m)
		}
	}
}

func (s *Snapshot) bootsBy(b spec.BootMode) bool {
	return b == "" || b == spec.BootNet || b.Installs()
}

func (s *Snapshot) checkImage(r *report, m *spec.Image) {
	if kernel, _ := s.bootFiles(m); kernel == nil {
		r.add(m.Name, diagnostic(spec.Error, "no-kernel", &m.Place, "Image has no kernel", "image.%s has no file \"kernel\", so nothing can boot it.", m.Name))
	}
}

// checkOwn looks at kernel arguments and options as they would be written, of a profile or of a node.
func (s *Snapshot) checkOwn(r *report, st *spec.Settings, n *spec.Node) {
	for i := range st.KernelArgs {
		a := &st.KernelArgs[i]
		for _, v := range a.Values {
			if why := badArg(v.String()); why != "" {
				d := diagnostic(spec.Error, "kernel-argument", &a.Place, "Kernel argument cannot be passed",
					"The value %q of kernel argument %s %s.", v.String(), a.Key, why)
				d.Address = addressOf(n)
				r.add(a.Place.String()+a.Key+why, d)
			}
		}
	}
	if why := badWords(st.KernelArgsTail); why != "" {
		r.add(st.KernelArgsTail, diagnostic(spec.Error, "kernel-argument", placeOf(n), "Kernel argument cannot be passed", "kernel_args_tail %q %s.", st.KernelArgsTail, why))
	}
	if len(st.Domain) > maxOptionLength {
		r.add(st.Domain, diagnostic(spec.Error, "option-length", placeOf(n), "DHCP option is too long", "The domain %q is longer than %d bytes.", st.Domain, maxOptionLength))
	}
}

func addressOf(n *spec.Node) string {
	if n == nil {
		return ""
	}
	return n.Address
}

func placeOf(n *spec.Node) *spec.Place {
	if n == nil {
		return nil
	}
	return &n.Place
}

// checkSubnets finds pools that serve nobody, or cannot serve all.
func (s *Snapshot) checkSubnets(r *report) {
	for i := range s.subnets {
		sn := &s.subnets[i]
		if st := s.settings(sn.Unknown); sn.Unknown >= 0 && st.Boot.Installs() {
			r.add(sn.Name, diagnostic(spec.Error, "unknown-installs", &sn.Place, "Unknown machines would install themselves",
				"Machines that nobody declared on subnet.%s have boot = %q, but cannot be told apart once they are installed: they would do so at each boot. Set boot = \"netboot\" in their group.", sn.Name, st.Boot))
		}
		for j := range sn.Pools {
			p := &sn.Pools[j]
			if sn.DHCP == "proxy" {
				r.add(sn.Name+p.Name, diagnostic(spec.Warning, "pool-unused", &p.Place, "Pool serves nobody",
					"Pool %q of subnet.%s gives out nothing: with dhcp = \"proxy\" the site's own DHCP server gives the addresses.", p.Name, sn.Name))
				continue
			}
			if p.Serves == spec.ServesUnknown && sn.Unknown < 0 {
				r.add(sn.Name+p.Name, diagnostic(spec.Warning, "pool-unused", &p.Place, "Pool serves nobody",
					"Pool %q of subnet.%s serves unknown machines, but the subnet has no unknown group, so it does not answer them.", p.Name, sn.Name))
			}
		}
		if n, free := s.waiting[sn.Name], count(sn.boot.free); sn.boot.name != "" && n > free && sn.DHCP == "full" {
			r.add(sn.Name, diagnostic(spec.Warning, "pool-small", &sn.Place, "Pool is too small",
				"subnet.%s has %d free addresses for its %d nodes without an address of their own.", sn.Name, free, n))
		}
	}
}

// count is how many addresses ranges hold, as far as an int goes.
func count(rs []fact.Range) int {
	n := 0
	for _, r := range rs {
		if r.First.Is4() && r.Last.Is4() {
			n += int(number(r.Last)-number(r.First)) + 1
		}
	}
	return n
}
