package render_test

import (
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// richFleet has every kind of thing, so that the tests that change each field meet all of them.
func richFleet(t testing.TB) *spec.Fleet {
	t.Helper()
	b, err := os.ReadFile("testdata/rich.txt")
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, f := range txtar.Parse(b).Files {
		files[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	f, ds := spec.Parse(spec.Input{Files: files})
	if f == nil {
		t.Fatalf("spec: %v", ds)
	}
	return f
}

// world is all that Render sees.
type world struct {
	Fleet       *spec.Fleet
	Artifacts   []artifact
	Assignments []assigned
}

type artifact struct {
	ID string
	render.Artifact
}

type assigned struct {
	Node string
	render.Assignment
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func richWorld(t testing.TB) *world {
	f := richFleet(t)
	w := &world{Fleet: f, Assignments: []assigned{
		{"plain", render.Assignment{Hold: render.Hold{Reason: "for a while", By: "alice", Since: noon, Until: noon.Add(time.Hour)}}},
		{"installed", render.Assignment{Installed: render.Installed{Digest: "x", MAC: fact.MAC{0x52, 0x54, 0, 0x77, 0, 8}, Image: "busybox", Boot: "01K", At: noon}}},
		{"once", render.Assignment{Installed: render.Installed{Digest: "x", MAC: fact.MAC{0x52, 0x54, 0, 0x77, 0, 9}, Image: "busybox", Boot: "01K", At: noon}}},
		{"diverted", render.Assignment{Override: render.Override{Order: "1", Image: "rescue", Once: true, Reason: "to look", By: "bob", Since: noon, Until: noon.Add(time.Hour)}}},
		{"local", render.Assignment{Override: render.Override{Order: "2", Boot: spec.BootDisk, By: "bob", Since: noon}}},
	}}
	for id, a := range observe(f, "") {
		w.Artifacts = append(w.Artifacts, artifact{id, a})
	}
	w.Artifacts[0].URL = ""
	s, ds := w.render()
	if s == nil {
		t.Fatal(ds)
	}
	w.Assignments[1].Installed.Digest = s.Script(render.Query{Name: "installed"}, 0).Terms.Install
	return w
}

func (w *world) render() (*render.Snapshot, spec.Diagnostics) {
	a, as := render.Artifacts{}, render.Assignments{Nodes: map[fact.NodeName]*render.Assignment{}}
	for _, x := range w.Artifacts {
		a[x.ID] = x.Artifact
	}
	for _, x := range w.Assignments {
		as.Nodes[fact.NodeName(x.Node)] = &x.Assignment
	}
	return render.Render(w.Fleet, a, as)
}

// TestDiffIsTotal changes every field of the fleet, of what was observed of the files and of the assignments, one at
// a time. What changes an answer must change the digest, and what changes the digest must be in the diff, both ways.
func TestDiffIsTotal(t *testing.T) {
	rich := richWorld(t)
	base, ds := rich.render()
	if base == nil {
		t.Fatalf("Render: %v", ds)
	}
	served := serve(base)
	n, changed := 0, 0
	for i := 0; ; i++ {
		w := clone(reflect.ValueOf(rich)).Interface().(*world)
		m := mutator{target: i}
		m.walk(reflect.ValueOf(w).Elem(), "")
		if m.path == "" {
			break
		}
		n++
		s, ds := w.render()
		if s == nil {
			if !ds.HasErrors() {
				t.Errorf("%s: no snapshot, and no error", m.path)
			}
			continue
		}
		diff, back := render.Diff(base, s), render.Diff(s, base)
		if s.Digest() == base.Digest() {
			if now := serve(s); now != served {
				t.Errorf("%s: other answers under the same digest:\n%s", m.path, gocmp.Diff(served, now))
			}
			if len(diff) > 0 {
				t.Errorf("%s: same digest, but a diff: %v", m.path, diff)
			}
			continue
		}
		changed++
		if len(diff) == 0 || len(back) == 0 {
			t.Errorf("%s: another digest, but no diff (%d changes there, %d back)", m.path, len(diff), len(back))
		}
		for _, c := range diff {
			if c.Action == "" || c.Subject == "" || c.Class == "" || c.Action == "~" && (c.Path == "" || c.Old == c.New) {
				t.Errorf("%s: incomplete change %+v", m.path, c)
			}
		}
	}
	if n < 300 || changed < 150 {
		t.Errorf("only %d fields were changed, and only %d of them changed the digest: the fleet is too poor", n, changed)
	}
}

// serve asks everything that machines can ask, and puts the answers into one text.
func serve(s *render.Snapshot) string {
	var b strings.Builder
	for i := range s.Fleet().Nodes {
		n := &s.Fleet().Nodes[i]
		for _, ifc := range n.Interfaces {
			serveMAC(&b, s, ifc.MAC)
		}
		fmt.Fprintln(&b, s.Script(render.Query{Name: string(n.Name)}, 0))
		for _, x := range n.Texts {
			f, err := s.Config(n.Name, x.Template)
			fmt.Fprintln(&b, f, err)
		}
	}
	for _, nid := range []string{"4", "5"} {
		fmt.Fprintln(&b, s.Script(render.Query{NID: nid}, 0))
	}
	for _, n := range s.Nodes() {
		if n.Place = (spec.Place{}); n.Assignment != nil {
			fmt.Fprintln(&b, *n.Assignment)
			n.Assignment = nil
		}
		fmt.Fprintln(&b, n)
	}
	n, ok := s.Node("00000000-0000-0000-0000-000000000001")
	fmt.Fprintln(&b, n.Name, ok)
	serveMAC(&b, s, fact.MAC{0x52, 0x54, 0, 0x99, 0, 1})
	for _, name := range []string{"undionly.kpxe", "ipxe.efi", "snp.efi", "lpxelinux.0", "ldlinux.c32", "custom.efi"} {
		f, ok := s.File(name, fact.MAC{})
		fmt.Fprintln(&b, name, f, ok)
	}
	return b.String()
}

func serveMAC(b *strings.Builder, s *render.Snapshot, m fact.MAC) {
	for _, retry := range []int{0, 1, 5} {
		fmt.Fprintln(b, s.Script(render.Query{MAC: m, Addr: netip.MustParseAddr("10.78.0.5")}, retry))
	}
	f, ok := s.File("pxelinux.cfg/01-"+m.Dashed(), fact.MAC{})
	fmt.Fprintln(b, f, ok)
	for _, on := range []string{"10.77.0.1/24", "10.78.0.1/24", "10.78.0.2/24"} {
		for _, arch := range []fact.Arch{fact.NoArch, 0, 7, 11, 16} {
			f := fact.Facts{Message: fact.Discover, MAC: m, Arch: arch}
			p := netip.MustParsePrefix(on)
			f.Ingress = fact.Ingress{Prefixes: []netip.Prefix{p}, Owned: []netip.Addr{p.Addr()}}
			serveDHCP(b, s, f)
			f.Params = "\x01\x06"
			f.GIAddr = netip.MustParseAddr("10.9.9.1")
			serveDHCP(b, s, f)
		}
	}
}

func serveDHCP(b *strings.Builder, s *render.Snapshot, f fact.Facts) {
	c := s.Select(&f)
	fmt.Fprintln(b, c)
	a := c.Claim.Fixed
	if len(c.Claim.Ranges) > 0 {
		a = c.Claim.Ranges[0].First
	}
	fmt.Fprintln(b, s.Answer(&f, &c, a))
}

// clone copies a value deeply.
func clone(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(clone(v.Elem()))
		}
	case reflect.Slice:
		if !v.IsNil() {
			out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				out.Index(i).Set(clone(v.Index(i)))
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				out.Field(i).Set(clone(v.Field(i)))
			}
		}
	}
	return out
}

// mutator changes the target-th field that it meets.
type mutator struct {
	target, met int
	path        string // of what it changed
}

func (m *mutator) site(path string, change func()) {
	if m.met == m.target {
		m.path = path
		change()
	}
	m.met++
}

func (m *mutator) walk(v reflect.Value, path string) {
	switch x := v.Interface().(type) {
	case spec.Place, []spec.Trace: // where things stand, and how they came about, is served to nobody
		return
	case netip.Addr:
		m.site(path, func() {
			if !x.IsValid() {
				x = netip.MustParseAddr("10.77.0.76")
			}
			v.Set(reflect.ValueOf(x.Next()))
		})
		return
	case time.Time:
		m.site(path, func() { v.Set(reflect.ValueOf(x.Add(7 * time.Minute))) })
		return
	case netip.Prefix:
		m.site(path, func() { v.Set(reflect.ValueOf(netip.PrefixFrom(x.Addr(), x.Bits()-1))) })
		return
	case fact.MAC:
		m.site(path, func() { x[5] ^= 0x80; v.Set(reflect.ValueOf(x)) })
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			m.walk(v.Elem(), path)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; !brokenReference(v, name) {
				m.walk(v.Field(i), path+"."+name)
			}
		}
	case reflect.Slice:
		m.walkSlice(v, path)
	case reflect.String:
		m.site(path, func() { v.SetString(v.String() + "x") })
	case reflect.Bool:
		m.site(path, func() { v.SetBool(!v.Bool()) })
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint8:
		m.number(v, path)
	}
}

// brokenReference reports a field that Parse derives from another one, so that a change of it alone is no fleet.
func brokenReference(v reflect.Value, field string) bool {
	_, ok := v.Interface().(spec.Profile)
	return ok && field == "Subnet"
}

func (m *mutator) walkSlice(v reflect.Value, path string) {
	_, nics := v.Interface().([]spec.Interface)
	if v.Len() > 0 && !(nics && v.Len() == 1) { // every node has an interface
		m.site(path+"[dropped]", func() { v.Set(v.Slice(0, v.Len()-1)) })
	}
	for i := range v.Len() {
		m.walk(v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

func (m *mutator) number(v reflect.Value, path string) {
	if strings.HasSuffix(path, ".Profile") || strings.HasSuffix(path, ".Unknown") || strings.HasSuffix(path, ".Default") && v.Kind() == reflect.Int {
		m.site(path, func() { v.SetInt(0) }) // an index, which must stay one
		return
	}
	m.site(path, func() {
		switch {
		case v.CanUint():
			v.SetUint(v.Uint() ^ 1)
		case v.Type().String() == "time.Duration":
			v.SetInt(v.Int() + 7e9)
		default:
			v.SetInt(v.Int() + 1)
		}
	})
}
