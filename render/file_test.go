package render_test

import (
	"strings"
	"testing"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// FuzzFile: a name from the network finds one of the names of the tree, or nothing; what is generated is for the
// machine in the name.
func FuzzFile(f *testing.F) {
	s, ds := richWorld(f).render()
	if s == nil {
		f.Fatal(ds)
	}
	kernel := string(digest("store:s:vmlinuz"))
	for _, name := range []string{"undionly.kpxe", "/ipxe.efi", "pxelinux.cfg/01-52-54-00-77-00-01", "pxelinux.cfg/01-52-54-00-77-00-0A", "../../etc/passwd",
		"pxelinux.cfg/default", "", "/", "pxelinux.cfg/01-", "\x00", "pxelinux.cfg/01-01-52-54-00-77-00-01", "pxelinux.cfg/0A4D0001", "files/" + kernel + "/x",
		"grub/grub.cfg", "grub.cfg-01-52-54-00-77-00-01", "a/grub.cfg-0A4D0001/3", "grub.cfg-00112233-4455-6677-8899-aabbccddeeff", "grub.cfg-/7"} {
		f.Add(name, uint8(1))
	}
	f.Fuzz(func(t *testing.T, name string, last uint8) {
		asking := fact.MAC{0x52, 0x54, 0, 0x77, 0, last}
		file, ok := s.File(name, asking)
		if !ok {
			return
		}
		if blob, is := s.Blob(file.Digest); file.Text == "" && (!is || blob.Digest != file.Digest) {
			t.Fatalf("%q is served as %+v", name, file)
		}
		n, _ := s.Node(asking.String())
		if file.Node != "" && file.Node != n.Name || strings.Contains(string(file.Text), "\x00config") {
			t.Fatalf("%q is served to %s as %+v", name, n.Name, file)
		}
	})
}

// TestBlob finds what URLs in scripts name, and nothing that a machine must fetch elsewhere.
func TestBlob(t *testing.T) {
	w := richWorld(t)
	for i := range w.Artifacts {
		if w.Artifacts[i].ID == "store:web:root" {
			w.Artifacts[i].URL = "http://rgw.local/root"
		}
	}
	s, ds := w.render()
	if s == nil {
		t.Fatal(ds)
	}
	for _, id := range []string{"builtin:ipxe.efi", "path:ldlinux.c32", "store:s:vmlinuz", "store:s:b.gz"} {
		if f, ok := s.Blob(digest(id)); !ok || f.Digest != digest(id) || f.Size != int64(1000*len(id)) {
			t.Errorf("%s: %t %+v", id, ok, f)
		}
	}
	for _, d := range []fact.Digest{"", "x", digest("store:web:root"), digest("nobody")} {
		if f, ok := s.Blob(d); ok {
			t.Errorf("%q: %+v", d, f)
		}
	}
}

func TestConfig(t *testing.T) {
	s, ds := richWorld(t).render()
	if s == nil {
		t.Fatal(ds)
	}
	f, err := s.Config("plain", "motd")
	if want := (render.File{Name: "motd", Node: "plain", Stage: fact.StageConfig, Text: "plain blue\n", Size: 11}); err != nil || f != want {
		t.Errorf("%+v, %v", f, err)
	}
	for _, x := range []struct {
		node     fact.NodeName
		template string
		want     string
	}{
		{"nobody", "motd", "template motd for node nobody: no such node"},
		{"plain", "nothing", "template nothing for node plain: not one of its templates"},
		{"disk", "own", "template own for node disk: not one of its templates"},
	} {
		if _, err := s.Config(x.node, x.template); err == nil || err.Error() != x.want {
			t.Errorf("%v, want %s", err, x.want)
		}
	}
	// a text that is not the one that was reviewed is refused while rendering
	w := richWorld(t)
	for i := range w.Fleet.Nodes {
		for j := range w.Fleet.Nodes[i].Texts {
			w.Fleet.Nodes[i].Texts[j].Digest = digest("another text")
		}
	}
	if s, ds := w.render(); s != nil || !strings.Contains(ds.Error(), "Template cannot be rendered: Rendering again: template own for node scripted: its text differs from the one that was checked.") {
		t.Errorf("%v", ds)
	}
}

// TestDiffOfNothing: either snapshot may be absent.
func TestDiffOfNothing(t *testing.T) {
	s, _ := richWorld(t).render()
	if d := render.Diff(nil, nil); len(d) > 0 {
		t.Errorf("%v", d)
	}
	if d := render.Diff(s, s); len(d) > 0 {
		t.Errorf("%v", d)
	}
	for _, c := range render.Diff(nil, s) {
		if c.Action != "+" {
			t.Errorf("%+v", c)
		}
	}
	for _, c := range render.Diff(s, nil) {
		if c.Action != "-" {
			t.Errorf("%+v", c)
		}
	}
	if n := len(render.Diff(nil, s)); n != len(s.Fleet().Nodes)+len(s.Fleet().Subnets)+len(s.Fleet().Loaders)+len(s.Fleet().Images) {
		t.Errorf("%d subjects", n)
	}
}

// TestCmdlineLimit: the longest command line that kernels keep is rendered, one byte more is refused.
func TestCmdlineLimit(t *testing.T) {
	render1 := func(length int) (*render.Snapshot, spec.Diagnostics) {
		f := bigFleet(t, 1)
		f.Nodes[0].Own.KernelArgs[0].Values = []fact.Text{fact.Text(strings.Repeat("x", length))}
		return render.Render(f, observe(f, ""), render.Assignments{})
	}
	s, ds := render1(1)
	if s == nil {
		t.Fatal(ds)
	}
	n, _ := s.Node("c000000")
	used := len("kernel initrd=initrd ") + len(n.KernelArgs) - len("<boot>") + 64 // the room kept for a boot and its token
	if s, ds := render1(1 + 2047 - used); s == nil {
		t.Errorf("2047 bytes are refused: %v", ds)
	}
	_, ds = render1(1 + 2048 - used)
	if want := "Kernel command line is too long: The command line of node.c000000 has 2048 bytes; kernels keep 2047 and drop the rest."; !strings.HasSuffix(ds.Error(), want) {
		t.Errorf("%v, want %s", ds, want)
	}
}
