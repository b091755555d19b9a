package bootsim

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

func gateLines(old, now *render.Snapshot) []string {
	var lines []string
	for _, d := range Gate(old, now) {
		lines = append(lines, fmt.Sprintf("%s %s: %s", d.Severity, d.Code, d.Detail))
	}
	return lines
}

func TestGate(t *testing.T) {
	good := snapshot(t, lab())
	if got := gateLines(nil, good); got != nil {
		t.Errorf("the lab boots, or waits as it should, but: %v", got)
	}
	loaderless := func() *spec.Fleet {
		f := lab()
		f.Loaders = f.Loaders[1:]
		f.Loaders[0].ClientArch = []fact.Arch{11}
		f.Nodes[0].Firmware, f.Nodes[1].Firmware = "", "" // Render itself refuses a declared firmware without a loader
		return f
	}
	bad := snapshot(t, loaderless())
	want := []string{
		"error would-not-boot: node.bios1, started as x86_64-uefi, would not boot: the DHCP reply names no boot file.",
		"error would-not-boot: node.uefi1, started as x86_64-uefi, would not boot: the DHCP reply names no boot file.",
	}
	if d := cmp.Diff(want, gateLines(good, bad)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	// what was ordered or is installed, for a while, hides nothing of it
	for _, a := range []render.Assignment{
		{Override: render.Override{Order: "1", Boot: spec.BootDisk}}, {Hold: render.Hold{Reason: "dusty"}},
	} {
		as := render.Assignments{Nodes: map[fact.NodeName]*render.Assignment{"bios1": &a, "uefi1": &a}, Serial: 1}
		if d := cmp.Diff(want, gateLines(good.Assign(as), bad.Assign(as))); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	}
	// the same state again, with an unrelated change: it was broken before
	g := loaderless()
	g.Profiles[0].Settings.KernelArgs[1].Key = "verbose"
	want = []string{
		"warning would-not-boot: node.bios1, started as x86_64-uefi, would not boot: the DHCP reply names no boot file. It does not boot from what is served now, either.",
		"warning would-not-boot: node.uefi1, started as x86_64-uefi, would not boot: the DHCP reply names no boot file. It does not boot from what is served now, either.",
	}
	if d := cmp.Diff(want, gateLines(bad, snapshot(t, g))); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestGateTriesWhatChanged: a node that no change touches is not tried.
func TestGateTriesWhatChanged(t *testing.T) {
	f := lab()
	f.Profiles = append(f.Profiles, f.Profiles[0])
	f.Profiles[len(f.Profiles)-1].Settings.KernelArgs = append([]spec.Arg{}, kernelArg("only", "uefi1"))
	f.Nodes[1].Profile = len(f.Profiles) - 1
	old, now := snapshot(t, lab()), snapshot(t, f)
	g := gate{old: old, new: now, kinds: map[kindKey]*kind{}}
	g.collect()
	if len(g.order) != 1 || g.order[0].node.Name != "uefi1" {
		t.Errorf("tries %v", g.order)
	}
}

// TestGateShares: nodes that differ in name, address and the values of arguments share a walk.
func TestGateShares(t *testing.T) {
	f := lab()
	f.Nodes = f.Nodes[:0]
	for i := range 1000 {
		n := spec.Node{Name: fact.NodeName(fmt.Sprintf("c%d", i)), Firmware: "uefi", Own: &spec.Settings{KernelArgs: []spec.Arg{kernelArg("node", fmt.Sprint(i))}}}
		n.Address = "node." + string(n.Name)
		n.Interfaces = []spec.Interface{{Name: "boot", Subnet: "lab", Boot: true, MAC: fact.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}}}
		f.Nodes = append(f.Nodes, n)
	}
	now := snapshot(t, f)
	g := gate{new: now, kinds: map[kindKey]*kind{}}
	g.collect()
	if len(g.order) != 1 || g.order[0].count != 1000 {
		t.Errorf("%d kinds", len(g.order))
	}
}

func BenchmarkGate(b *testing.B) {
	f := lab()
	seed := f.Nodes[1]
	f.Nodes = make([]spec.Node, 100_000)
	for i := range f.Nodes {
		n := seed
		n.Name = fact.NodeName(fmt.Sprintf("c%d", i))
		n.Address = "node." + string(n.Name)
		n.Own = &spec.Settings{KernelArgs: []spec.Arg{kernelArg("node", fmt.Sprint(i))}}
		n.Interfaces = []spec.Interface{seed.Interfaces[0]}
		n.Interfaces[0].MAC = fact.MAC{2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)}
		f.Nodes[i] = n
	}
	s := snapshot(b, f)
	for b.Loop() {
		if ds := Gate(nil, s); ds != nil {
			b.Fatal(ds)
		}
	}
}

// TestGateOfTemplates: an author's own script may do what the simulation cannot; that must not keep a commit from machines.
func TestGateOfTemplates(t *testing.T) {
	const source = "#!ipxe\nmenu Choose\n"
	f := lab()
	f.Templates = []spec.Template{{Name: "own", Kind: "ipxe", Engine: "gotmpl", Source: source, File: "own.gotmpl"}}
	f.Nodes[1].Own = &spec.Settings{Script: "own"}
	f.Nodes[1].Texts = []spec.NodeText{{Template: "own", Digest: fact.Digest(fmt.Sprintf("%x", sha256.Sum256([]byte(source)))), Size: len(source)}}
	want := []string{"warning would-not-boot: node.uefi1, started as x86_64-uefi, would not boot: iPXE: menu: command not found." +
		" Its script is template.own, of which the simulation may not know every command."}
	if d := cmp.Diff(want, gateLines(nil, snapshot(t, f))); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
