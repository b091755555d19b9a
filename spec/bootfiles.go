package spec

import (
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"hostler/render/fact"
	"hostler/spec/kind"
	"hostler/spec/lang"
)

// header reads the spec block.
func (p *parser) header() {
	b := p.spec
	if b == nil && !p.whole {
		return // it may be in a file that could not be read
	}
	if b == nil {
		p.rep.add(Diagnostic{Severity: Error, Code: "missing-spec-block", Summary: "No spec block",
			Detail: "The spec does not say which version of the language it is written in. Add: spec { language = 1 }"})
		return
	}
	s := &scope{p: p, owner: "spec"}
	if n, ok := s.number(b, "language", 1, 1_000_000); ok && n != 1 {
		p.rep.err("unknown-language", spot{Range: b.attrs["language"].at()}, "Unknown language version",
			fmt.Sprintf("The spec is written in version %d of the language; this version of hostler knows version 1.", n))
	}
	p.strict, _ = s.flag(b, "strict_layers")
}

// bootFiles reads stores, images, loaders and templates.
func (p *parser) bootFiles() {
	for _, in := range p.all("store") {
		p.store(in)
	}
	for _, in := range p.all("image") {
		p.image(in)
	}
	for _, in := range p.all("template") {
		p.template(in)
	}
	for _, in := range p.all("loader") {
		p.loader(in)
	}
	p.builtinLoaders()
}

// all lists the instances of every declaration of a kind, by name.
func (p *parser) all(kind string) []*instance {
	var out []*instance
	for _, name := range sortedKeys(p.units[kind]) {
		out = append(out, p.units[kind][name].instances...)
	}
	slices.SortFunc(out, func(a, b *instance) int { return strings.Compare(a.name, b.name) })
	return out
}

// fileRef reads where a file is: store and key, or path.
func (in *instance) fileRef(b *body) (FileRef, bool) {
	f := FileRef{Place: in.spot(b.at).place()}
	var hasStore, hasKey, hasPath bool
	f.Store, hasStore = in.ref(b, "store", "store")
	f.Key, hasKey = in.str(b, "key")
	f.Path, hasPath = in.str(b, "path")
	sum, hasSum := in.str(b, "sha256")
	if hasSum {
		sum = strings.ToLower(sum)
		if raw, err := hex.DecodeString(sum); err != nil || len(raw) != 32 {
			in.p.rep.err("bad-digest", in.spot(b.attrs["sha256"].at()), "Not a SHA-256", fmt.Sprintf("sha256 is %q; it has 64 hexadecimal digits.", short(sum)))
			return f, false
		}
		f.SHA256 = fact.Digest(sum)
	}
	written := func(name string) bool { return b.attrs[name] != nil }
	switch {
	case written("path") && (written("store") || written("key")) || written("store") != written("key") || !written("path") && !written("store"):
		in.p.rep.err("file-place", in.spot(b.at), "File without a place", "A file is given by store and key, or by path alone.")
		return f, false
	case hasPath:
		if p := path.Clean(f.Path); p != f.Path || path.IsAbs(p) || p == "." || strings.HasPrefix(p, "..") {
			in.p.rep.err("bad-path", in.spot(b.attrs["path"].at()), "Path leaves the repository", fmt.Sprintf("%q is not the path of a file of the repository, relative to its root.", f.Path))
			return f, false
		}
		return f, true
	}
	return f, hasStore && hasKey && in.goodKey(b, "key", f.Key)
}

func (in *instance) goodKey(b *body, attr, key string) bool {
	if key == "" || strings.ContainsAny(key, "\r\n\t ") || slices.Contains(strings.Split(key, "/"), "..") {
		in.p.rep.err("bad-key", in.spot(b.attrs[attr].at()), "Bad key", fmt.Sprintf("The "+attr+" %q is empty, leaves the store or has white space in it.", key))
		return false
	}
	return true
}

// fileName is the last part of where a file is.
func (f FileRef) fileName() string {
	name, _, _ := strings.Cut(f.Key, "?")
	return path.Base(f.Path + name + f.Builtin)
}

func (p *parser) image(in *instance) {
	b := in.body
	in.common()
	img := Image{Name: in.name, Arch: "x86_64", Labels: in.labelList(b, "labels"), Place: in.spot(b.at).place()}
	img.Version, _ = in.str(b, "version")
	img.Description, _ = in.str(b, description)
	if a, ok := in.str(b, "arch"); ok {
		img.Arch = a
	}
	first := map[string]*body{}
	names := map[string]*body{}
	for _, n := range b.blocks["file"] {
		role := n.labels[0]
		if !p.goodName(role, "file role", in.spot(n.at)) {
			continue
		}
		if f := first[role]; f != nil && role != "initrd" {
			p.rep.err("duplicate-file", in.spot(n.at), "Duplicate file", fmt.Sprintf("image.%s has two files of role %q; only initrd may repeat.", in.name, role), related("The first is here.", in.spot(f.at)))
			continue
		}
		if first[role] == nil {
			first[role] = n
		}
		if f, ok := in.imageFile(n, names); ok {
			img.Files = append(img.Files, f)
		}
	}
	if first["kernel"] == nil && first["initrd"] != nil {
		p.rep.err("image-without-kernel", in.spot(b.at), "Image without a kernel", fmt.Sprintf("image.%s has an initrd, but no kernel to load it. Add file \"kernel\".", in.name))
	}
	rank := map[string]int{"kernel": -2, "initrd": -1}
	slices.SortStableFunc(img.Files, func(a, b ImageFile) int { return rank[a.Role] - rank[b.Role] })
	p.fleet.Images = append(p.fleet.Images, img)
}

func (in *instance) imageFile(n *body, names map[string]*body) (ImageFile, bool) {
	f := ImageFile{Role: n.labels[0]}
	var ok bool
	if f.File, ok = in.fileRef(n); !ok {
		return f, false
	}
	if size, ok := in.number(n, "size", 1, 1<<40); ok {
		f.File.Size = size
	}
	f.Name = f.File.fileName()
	if name, ok := in.str(n, "name"); ok {
		f.Name = name
	}
	if why := nameProblem(f.Name); why != "" {
		in.p.rep.err("bad-name", in.spot(n.at), "Name is not allowed", fmt.Sprintf("%q as the name of a file %s. Give it one with name = ...", f.Name, why))
		return f, false
	}
	if other := names[f.Name]; other != nil {
		in.p.rep.err("duplicate-file", in.spot(n.at), "Duplicate file", fmt.Sprintf("Two files of image.%s are named %q. Give one another name with name = ...", in.name, f.Name), related("The first is here.", in.spot(other.at)))
		return f, false
	}
	names[f.Name] = n
	return f, true
}

func (p *parser) template(in *instance) {
	b := in.body
	in.common()
	t := Template{Name: in.name, Kind: "text", Engine: "gotmpl", Deliveries: 3, ContentType: "text/plain; charset=utf-8", Place: in.spot(b.at).place()}
	if k, ok := in.str(b, "kind"); ok {
		if k == "grub" {
			p.rep.err("not-in-this-version", in.spot(b.attrs["kind"].at()), "Not in this version", fmt.Sprintf("The language has the kind %q, but this version of hostler does not check it yet. Use \"text\".", k))
		} else if k, ok := in.choice(b, "kind", append([]string{"text", "ipxe"}, kind.Names()...)...); ok {
			t.Kind = k
		}
	}
	if c, ok := in.str(b, "content_type"); ok {
		t.ContentType = c
	}
	if n, ok := in.number(b, "deliveries", 1, 1000); ok {
		t.Deliveries = int(n)
	}
	source, content := b.attrs["source"], b.attrs["content"]
	switch {
	case (source == nil) == (content == nil):
		p.rep.err("template-text", in.spot(b.at), "Template without a text", fmt.Sprintf("template.%s needs one of source, a file, and content, a text.", in.name))
	case content != nil:
		t.Source, _ = in.text(b, "content")
		t.File = "template." + in.name
	default:
		p.templateFile(in, &t)
	}
	for _, part := range in.mapParts(b, "vars") {
		if e, ok := in.setting(part, true); ok {
			var s Settings
			e.apply(&s)
			t.Vars = append(t.Vars, s.Vars...)
		}
	}
	parsed, err := lang.ParseTemplate(t.File, t.Kind, t.Engine, t.Source)
	if err != nil {
		p.rep.err("template-error", in.spot(b.at), "Template has a mistake", fmt.Sprintf("template.%s does not read: %s.", t.Name, err))
	}
	p.templates[t.Name] = parsed
	p.fleet.Templates = append(p.fleet.Templates, t)
}

// text gives a string that may hold late values.
func (in *instance) text(b *body, name string) (string, bool) {
	v, at, ok := in.value(b, name)
	if !ok || !isString(v) {
		return in.str(b, name)
	}
	if lateProblem(fact.Text(v.AsString())) != "" {
		in.tooEarly(name, v.AsString(), at)
		return "", false
	}
	return v.AsString(), true
}

func (p *parser) templateFile(in *instance, t *Template) {
	at := in.spot(in.body.attrs["source"].at())
	name, ok := in.str(in.body, "source")
	if !ok {
		return
	}
	switch path.Ext(name) {
	case ".gotmpl":
	case ".tmpl":
		t.Engine = "hcl"
	default:
		p.rep.err("template-engine", at, "Unknown template engine", fmt.Sprintf("The suffix of %q does not say how to read it: use .gotmpl for text/template, or .tmpl for an HCL template.", name))
		return
	}
	text, why := readBounded(p.in.Files, name)
	if why != "" {
		p.rep.err("template-file", at, "Template cannot be read", fmt.Sprintf("Reading %q: %s.", name, why))
		return
	}
	if strings.IndexByte(string(text), 0) >= 0 {
		p.rep.err("nul-character", at, "NUL character", fmt.Sprintf("The template %q holds a NUL character. Remove it.", name))
		return
	}
	p.rep.sources[name] = newSource(text)
	t.File, t.Source = name, string(text)
}
