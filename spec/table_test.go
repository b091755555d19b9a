package spec

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the expected results in testdata")

// TestTables parses the spec in each archive of testdata and compares the whole outcome, diagnostics and fleet, with the file
// "want" in it. The archive's comment says why the case exists.
func TestTables(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal("no tables", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) { runTable(t, name) })
	}
}

func runTable(t *testing.T, name string) {
	ar, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(strings.TrimSpace(string(ar.Comment))) < 20 {
		t.Error("the archive does not begin with a comment that says why it exists")
	}
	in, want := inputOf(ar)
	fleet, ds := Parse(in)
	if (fleet == nil) != ds.HasErrors() {
		t.Errorf("fleet is nil: %v, errors: %v", fleet == nil, ds.HasErrors())
	}
	got := dump(fleet, ds)
	if *update {
		i := slices.IndexFunc(ar.Files, func(f txtar.File) bool { return f.Name == "want" })
		if i < 0 {
			ar.Files = append(ar.Files, txtar.File{Name: "want"})
			i = len(ar.Files) - 1
		}
		ar.Files[i].Data = []byte(got)
		if err := os.WriteFile(name, txtar.Format(ar), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("want, got:\n%s", d)
	}
}

// inputOf takes the spec out of an archive. The file "vars" holds NAME=VALUE lines, in which \0 stands for NUL.
func inputOf(ar *txtar.Archive) (in Input, want string) {
	tree := fstest.MapFS{}
	in.Files = tree
	for _, f := range ar.Files {
		switch f.Name {
		case "want":
			want = string(f.Data)
		case "vars":
			in.Vars = map[string]string{}
			for _, line := range strings.Split(strings.TrimSpace(string(f.Data)), "\n") {
				k, v, _ := strings.Cut(line, "=")
				in.Vars[k] = strings.ReplaceAll(v, `\0`, "\x00")
			}
		default:
			tree[f.Name] = &fstest.MapFile{Data: f.Data}
		}
	}
	return in, want
}

// dump writes an outcome for people to review.
func dump(f *Fleet, ds Diagnostics) string {
	var b strings.Builder
	for _, d := range ds {
		dumpDiagnostic(&b, d)
	}
	if f != nil {
		dumpFleet(&b, f)
	}
	return b.String()
}

func dumpDiagnostic(b *strings.Builder, d Diagnostic) {
	fmt.Fprintf(b, "%s %s: %s\n", d.Severity, d.Code, d.Summary)
	if d.Place != nil {
		fmt.Fprintf(b, "  at %s:%d:%d %s", d.Place.File, d.Place.Line, d.Place.Column, d.Address)
		if d.Place.Row > 0 {
			fmt.Fprintf(b, " row %s:%d", d.Place.Table, d.Place.Row)
		}
		b.WriteString("\n")
	}
	if s := d.Snippet; s != nil {
		if s.Context != "" {
			fmt.Fprintf(b, "  in %s\n", s.Context)
		}
		fmt.Fprintf(b, "    %s\n    %s%s\n", strings.ReplaceAll(s.Code, "\t", " "), strings.Repeat(" ", s.Start), strings.Repeat("^", s.End-s.Start))
	}
	fmt.Fprintf(b, "  %s\n", strings.ReplaceAll(d.Detail, "\n", "\n  "))
	for _, r := range d.Related {
		fmt.Fprintf(b, "  + %s:%d: %s\n      %s\n", r.Place.File, r.Place.Line, r.Text, strings.ReplaceAll(r.Code, "\t", " "))
	}
}

func dumpFleet(b *strings.Builder, f *Fleet) {
	for _, l := range f.Loaders {
		if l.Builtin && len(f.Loaders) == 3 { // the spec says nothing about loaders
			continue
		}
		fmt.Fprintf(b, "loader %s %s %v %s %s", l.Name, l.Kind, l.ClientArch, l.FileName, l.File.ID())
		for _, x := range l.Extra {
			fmt.Fprintf(b, " +%s=%s", x.Name, x.File.ID())
		}
		b.WriteString("\n")
	}
	for _, s := range f.Stores {
		fmt.Fprintf(b, "store %s %s%s %s\n", s.Name, s.Path, s.URL, s.Deliver)
	}
	for _, i := range f.Images {
		fmt.Fprintf(b, "image %s %s %s %v\n", i.Name, i.Version, i.Arch, i.Labels)
		for _, x := range i.Files {
			fmt.Fprintf(b, "  %s %s %s %.8s %d\n", x.Role, x.Name, x.File.ID(), x.File.SHA256, x.File.Size)
		}
	}
	for _, t := range f.Templates {
		fmt.Fprintf(b, "template %s %s %s %s %q vars %v\n", t.Name, t.Kind, t.Engine, t.File, t.ContentType, varTexts(t.Vars))
	}
	for _, s := range f.Subnets {
		fmt.Fprintf(b, "subnet %s site=%s %s gateway=%s relays=%v servers=%v dhcp=%s authoritative=%v exclude=%v unknown=%d %s%s default=%d vlan=%d\n", s.Name, s.Site, s.CIDR, s.Gateway,
			s.Relays, s.BootServers, s.DHCP, s.Authoritative, s.Exclude, s.Unknown, s.UnknownGroup, discoveryText(s.Discovery), s.Default, s.VLAN)
		if s.Quarantine != 0 {
			fmt.Fprintf(b, "  quarantine %s\n", s.Quarantine)
		}
		for _, p := range s.Pools {
			fmt.Fprintf(b, "  pool %s %s %v %v\n", p.Name, p.Serves, p.Ranges, p.Lease)
		}
	}
	for i, p := range f.Profiles {
		fmt.Fprintf(b, "profile %d: subnet=%s groups=%v image=%s\n", i, p.Subnet, p.Groups, p.Image)
		dumpSettings(b, &p.Settings)
		dumpTrace(b, p.Trace)
	}
	for i := range f.Nodes {
		dumpNode(b, f, &f.Nodes[i])
	}
}

func dumpNode(b *strings.Builder, f *Fleet, n *Node) {
	fmt.Fprintf(b, "node %s (%s) profile=%d labels=%v ids=%v", n.Name, n.Address, n.Profile, n.Labels, n.IDs)
	for _, x := range []struct{ name, value string }{{"firmware", n.Firmware}, {"arch", n.Arch}, {"uuid", n.UUID}, {"hold", n.Hold}} {
		if x.value != "" {
			fmt.Fprintf(b, " %s=%s", x.name, x.value)
		}
	}
	if n.Disabled {
		b.WriteString(" disabled")
	}
	fmt.Fprintf(b, " at %s\n", n.Place)
	for _, i := range n.Interfaces {
		fmt.Fprintf(b, "  interface %s %s subnet=%s %s %s boot=%v\n", i.Name, i.MAC, i.Subnet, i.Addr, i.Hostname, i.Boot)
	}
	if n.Own != nil {
		b.WriteString("  own:\n")
		dumpSettings(b, n.Own)
		dumpTrace(b, n.Trace)
		b.WriteString("  effective:\n")
		s := f.Effective(n)
		dumpSettings(b, &s)
	}
	for _, x := range n.Texts {
		text, err := f.Execute(x.Template, n)
		fmt.Fprintf(b, "  text %s %d bytes %.8s: %q %v\n", x.Template, x.Size, x.Digest, text.String(), err)
	}
}

func dumpSettings(b *strings.Builder, s *Settings) {
	fmt.Fprintf(b, "    boot=%s loader=%s script=%s config=%s domain=%s dns=%v ntp=%v lease=%v retry=%v\n", s.Boot, s.Loader, s.Script, s.ConfigText(), s.Domain, s.DNS, s.NTP, s.Lease, s.Retry)
	fmt.Fprintf(b, "    args:")
	for _, a := range s.KernelArgs {
		fmt.Fprintf(b, " %s%s", a.Key, mark(a.Remove, a.PerNode))
		for _, v := range a.Values {
			fmt.Fprintf(b, "=%s", v)
		}
	}
	fmt.Fprintf(b, " order=%v tail=%q reset=%v\n", s.KernelArgsOrder, s.KernelArgsTail, s.KernelArgsReset)
	if len(s.Vars) > 0 {
		fmt.Fprintf(b, "    vars: %v\n", varTexts(s.Vars))
	}
	for _, o := range s.Options {
		fmt.Fprintf(b, "    option %d %s %q %x force=%v%s\n", o.Code, o.Name, o.Text, o.Data, o.Force, mark(o.Remove, false))
	}
}

func mark(remove, perNode bool) string {
	switch {
	case remove:
		return "(removed)"
	case perNode:
		return "(per node)"
	}
	return ""
}

func varTexts(vs []Var) []string {
	var out []string
	for _, v := range vs {
		out = append(out, v.Name+mark(v.Remove, v.PerNode)+"="+v.JSON)
	}
	return out
}

func dumpTrace(b *strings.Builder, ts []Trace) {
	for _, t := range ts {
		fmt.Fprintf(b, "    %s:", t.Path)
		for _, s := range t.Steps {
			fmt.Fprintf(b, " [%s %s %q %s]", s.Layer, s.Action, s.Value, s.Place)
		}
		b.WriteString("\n")
	}
}

func discoveryText(ds []Discovery) (text string) {
	for _, d := range ds {
		text += fmt.Sprintf(" %s:%s=%d", d.Arch, d.Group, d.Profile)
	}
	return text
}
