package render

import (
	"cmp"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostler/render/fact"
	"hostler/spec"
)

// leaf is one value that a machine is served, or that is shown of it. Digest and Diff both see a snapshot as leaves and
// nothing else, so that what changes the one is in the other.
type leaf struct {
	path    string
	raw     string // what is compared and hashed
	show    string // for people; empty: raw, with late values as <kind>
	removed bool   // of a node: the profile's leaf does not hold
	layer   string
	place   *spec.Place
	file    *spec.FileRef // of a file of an image
}

func (l *leaf) String() string {
	switch {
	case l == nil || l.removed:
		return ""
	case l.show != "":
		return l.show
	}
	return fact.Text(l.raw).String()
}

// leaves collects leaves; empty values are left out.
type leaves []leaf

func (ls *leaves) add(path, raw, layer string, place *spec.Place) {
	if raw != "" {
		*ls = append(*ls, leaf{path: path, raw: raw, layer: layer, place: place})
	}
}

func (ls leaves) sorted() leaves {
	slices.SortStableFunc(ls, func(a, b leaf) int { return cmp.Compare(a.path, b.path) })
	return ls
}

func (ls leaves) find(path string) *leaf {
	i, ok := slices.BinarySearchFunc(ls, path, func(l leaf, p string) int { return cmp.Compare(l.path, p) })
	if !ok {
		return nil
	}
	return &ls[i]
}

// hash writes every leaf that holds with its length, so that no two lists have the same bytes.
func (ls leaves) hash(h hash.Hash) {
	var b []byte
	for i := range ls {
		if ls[i].removed {
			continue
		}
		b = append(strconv.AppendInt(b[:0], int64(len(ls[i].path)), 10), ' ')
		b = append(strconv.AppendInt(b, int64(len(ls[i].raw)), 10), ' ')
		b = append(append(b, ls[i].path...), ls[i].raw...)
		h.Write(b)
	}
}

// profileLeaves are the settings, image and files that the nodes of a profile share.
func (s *Snapshot) profileLeaves(i int) leaves {
	p := &s.fleet.Profiles[i]
	ls := settingsLeaves(&p.Settings, false)
	ls.add("groups", strings.Join(p.Groups, ", "), "", nil)
	if m := s.image(i); m != nil {
		ls.add("image", m.Name, "image."+m.Name, &m.Place)
		ls.add("image.version", m.Version, "image."+m.Name, &m.Place)
		ls.addFiles(s, "file.", m)
	}
	if m := s.images[p.Settings.Retry.Fallback]; m != nil {
		ls.addFiles(s, "fallback_file.", m)
	}
	for j := range ls {
		if t := trace(p.Trace, ls[j].path); t != nil {
			st := &t.Steps[len(t.Steps)-1]
			ls[j].layer, ls[j].place = st.Layer, &st.Place
		}
	}
	return ls.sorted()
}

func (ls *leaves) addFiles(s *Snapshot, prefix string, m *spec.Image) {
	n := map[string]int{}
	for i := range m.Files {
		x := &m.Files[i]
		path := prefix + x.Role
		if n[x.Role]++; n[x.Role] > 1 {
			path += "." + strconv.Itoa(n[x.Role])
		}
		ls.addFile(path, s.file(x.File, x.Name), "image."+m.Name, &x.File.Place)
		(*ls)[len(*ls)-1].file = &x.File
	}
}

func (ls *leaves) addFile(path string, f File, layer string, place *spec.Place) {
	var version []string
	if f.Digest != "" && !f.ByETag {
		version = append(version, "sha256:"+string(f.Digest[:min(12, len(f.Digest))]))
	}
	if f.ETag != "" {
		version = append(version, "etag "+f.ETag)
	}
	if version == nil {
		version = []string{"(digest unknown here)"}
	}
	show := f.Name + " " + strings.Join(version, ", ")
	if f.Size > 0 {
		show += fmt.Sprintf(", %d bytes", f.Size)
	}
	raw := strings.Join([]string{f.Name, string(f.Digest), strconv.FormatInt(f.Size, 10), f.URL}, "\n")
	if f.ETag != "" || f.ByETag {
		raw += "\n" + f.ETag + "\n" + strconv.FormatBool(f.ByETag)
	}
	*ls = append(*ls, leaf{path: path, raw: raw, show: show, layer: layer, place: place})
}

// trace finds the history of a path; nil when there is none.
func trace(ts []spec.Trace, path string) *spec.Trace {
	i, ok := slices.BinarySearchFunc(ts, path, func(t spec.Trace, p string) int { return cmp.Compare(t.Path, p) })
	if !ok || len(ts[i].Steps) == 0 {
		return nil
	}
	return &ts[i]
}

// settingsLeaves are the values of settings. Of a node's own settings, those that remove something are leaves too.
func settingsLeaves(st *spec.Settings, own bool) leaves {
	var ls leaves
	add := func(path, raw string) { ls.add(path, raw, "", nil) }
	add("boot", string(st.Boot))
	add("hold", st.Hold)
	add("loader", st.Loader)
	add("script", st.Script)
	add("script_form", st.ScriptForm)
	add("config", st.ConfigText())
	add("domain", st.Domain)
	add("dns", list(st.DNS))
	add("ntp", list(st.NTP))
	add("kernel_args_order", strings.Join(st.KernelArgsOrder, " "))
	add("kernel_args_tail", st.KernelArgsTail)
	if st.KernelArgsReset && own {
		add("kernel_args_reset", "true")
	}
	for i := range st.KernelArgs {
		if a := &st.KernelArgs[i]; own || !a.PerNode && !a.Remove {
			ls = append(ls, leaf{path: "kernel_args." + a.Key, raw: argValue(a), removed: a.Remove || a.PerNode, place: &a.Place})
		}
	}
	for i := range st.Vars {
		if v := &st.Vars[i]; own || !v.PerNode && !v.Remove {
			ls = append(ls, leaf{path: "vars." + v.Name, raw: v.JSON, show: v.String(), removed: v.Remove || v.PerNode, place: &v.Place})
		}
	}
	for i := range st.Options {
		if o := &st.Options[i]; own || !o.Remove {
			raw := fmt.Sprintf("%d %x %t", o.Code, o.Data, o.Force)
			show := cmp.Or(o.Text, raw)
			if o.Force {
				show += " (forced)"
			}
			ls = append(ls, leaf{path: "option." + o.Name, raw: raw, show: show, removed: o.Remove, place: &o.Place})
		}
	}
	ls.addTimes(st)
	return ls
}

func (ls *leaves) addTimes(st *spec.Settings) {
	for _, x := range []struct {
		path string
		d    time.Duration
	}{
		{"lease.default", st.Lease.Default}, {"lease.max", st.Lease.Max}, {"lease.min", st.Lease.Min},
		{"retry.delay", st.Retry.Delay}, {"retry.max_delay", st.Retry.MaxDelay}, {"retry.hold", st.Retry.Hold}, {"loop.within", st.Loop.Within},
	} {
		if x.d != 0 {
			ls.add(x.path, duration(x.d), "", nil)
		}
	}
	for _, x := range []struct {
		path string
		n    int
	}{{"retry.attempts", st.Retry.Attempts}, {"retry.jitter", st.Retry.Jitter}} {
		if x.n != 0 {
			ls.add(x.path, strconv.Itoa(max(x.n, 0)), "", nil)
		}
	}
	if st.Loop.Boots != 0 {
		ls.add("loop.boots", strconv.Itoa(max(st.Loop.Boots, 0)), "", nil)
	}
	ls.add("retry.fallback", st.Retry.Fallback, "", nil)
}

// duration writes a duration as an author would: 10m, not 10m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// argValue is how a kernel argument prints: a flag is "true", as in the spec.
func argValue(a *spec.Arg) string {
	if a.Remove {
		return ""
	}
	if a.Flag {
		return "true"
	}
	if len(a.Values) == 1 {
		return string(a.Values[0])
	}
	vs := make([]string, len(a.Values))
	for i, v := range a.Values {
		vs[i] = strconv.Quote(string(v))
	}
	return "[" + strings.ReplaceAll(strings.Join(vs, ", "), `\x00`, "\x00") + "]"
}

func list[T fmt.Stringer](xs []T) string {
	ss := make([]string, len(xs))
	for i, x := range xs {
		ss[i] = x.String()
	}
	return strings.Join(ss, ", ")
}

// nodeLeaves are what is a node's own: what the spec says of it alone, and settings that it lays over its profile's.
func (s *Snapshot) nodeLeaves(n *spec.Node) leaves {
	ls := make(leaves, 0, 16)
	if n.Own != nil {
		ls = append(ls, s.ownLeaves(n)...)
	}
	s.lifeLeaves(&ls, n)
	add := func(path, raw string) { ls.add(path, raw, "", &n.Place) }
	add("name", string(n.Name))
	add("firmware", n.Firmware)
	add("arch", n.Arch)
	add("uuid", n.UUID)
	add("hold", n.Hold)
	if n.Disabled {
		add("disabled", "true")
	}
	for _, l := range n.Labels {
		add("labels."+l.Name, l.Value)
	}
	for _, l := range n.IDs {
		add("ids."+l.Name, l.Value)
	}
	for _, x := range n.Texts {
		l := leaf{path: "text." + x.Template, raw: string(x.Digest), show: "sha256:" + string(x.Digest[:min(12, len(x.Digest))]), place: &n.Place}
		if t := s.template(x.Template); t != nil {
			l.layer, l.place = "template."+t.Name, &t.Place
			if len(x.Secrets) > 0 {
				with := fmt.Sprintf(", %d times with %s", t.Deliveries, strings.Join(x.Secrets, ", "))
				l.raw, l.show = l.raw+with, l.show+with
			}
		}
		ls = append(ls, l)
	}
	boot := bootPort(n)
	for i := range n.Interfaces {
		ifc := &n.Interfaces[i]
		prefix := "interface." + ifc.Name + "."
		if ifc == boot {
			prefix = ""
		}
		ls.addInterface(prefix, ifc)
	}
	return ls.sorted()
}

func (s *Snapshot) template(name string) *spec.Template {
	i := slices.IndexFunc(s.fleet.Templates, func(t spec.Template) bool { return t.Name == name })
	if i < 0 {
		return nil
	}
	return &s.fleet.Templates[i]
}

// ownLeaves are the settings that a node lays over its profile's, and those of a layer's expressions that use self.
func (s *Snapshot) ownLeaves(n *spec.Node) leaves {
	ls := settingsLeaves(n.Own, true)
	for i := range ls {
		ls[i].layer = n.Address
		t := trace(n.Trace, ls[i].path)
		if t == nil {
			t = trace(s.traces(n), ls[i].path)
		}
		if t != nil {
			st := &t.Steps[len(t.Steps)-1]
			ls[i].layer, ls[i].place = st.Layer, &st.Place
		} else if ls[i].place == nil {
			ls[i].place = &n.Place
		}
	}
	return ls
}

func (ls *leaves) addInterface(prefix string, ifc *spec.Interface) {
	ls.add(prefix+"mac", ifc.MAC.String(), "", &ifc.Place)
	ls.add(prefix+"subnet", ifc.Subnet, "", &ifc.Place)
	ls.add(prefix+"hostname", ifc.Hostname, "", &ifc.Place)
	if ifc.Addr.IsValid() {
		ls.add(prefix+"address", ifc.Addr.String(), "", &ifc.Place)
	}
}
