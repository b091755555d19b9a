package bootsim

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler/render"
	"hostler/render/fact"
)

var update = flag.Bool("update", false, "rewrite testdata")

// TestWalk compares whole conversations with those in testdata, which are to be read like the tables of a manual.
func TestWalk(t *testing.T) {
	s := snapshot(t, lab())
	for _, x := range []struct {
		name string
		m    Machine
	}{
		{"bios", Machine{MAC: node(s, "bios1")}},
		{"bios-ipxe-rom", Machine{MAC: node(s, "bios1"), IPXE: true}},
		{"uefi", Machine{MAC: node(s, "uefi1"), Arch: 7}},
		{"uefi-http", Machine{MAC: node(s, "uefi1"), Arch: 16}},
		{"pxelinux", Machine{MAC: node(s, "pxe1")}},
		{"pxelinux-on-uefi", Machine{MAC: node(s, "pxe1"), Arch: 7}},
		{"held", Machine{MAC: node(s, "held1")}},
		{"disk-bios", Machine{MAC: node(s, "disk1")}},
		{"disk-uefi", Machine{MAC: node(s, "disk1"), Arch: 7}},
		{"off", Machine{MAC: node(s, "off1")}},
		{"no-image", Machine{MAC: node(s, "bare1")}},
		{"no-loader", Machine{MAC: node(s, "uefi1"), Arch: 27}},
		{"pxelinux-ipxe-rom", Machine{MAC: node(s, "pxe1"), IPXE: true}},
		{"grub", Machine{MAC: node(s, "grub1"), Arch: 7}},
		{"shim", Machine{MAC: node(s, "shim1"), Arch: 7}},
		{"shim-held", Machine{MAC: node(s, "shim2"), Arch: 7}},
		{"shim-disk", Machine{MAC: node(s, "shim3"), Arch: 7}},
		{"rpi", Machine{MAC: node(s, "pi1"), Arch: 41, Loaders: s}},
		{"rpi-disk", Machine{MAC: node(s, "pi2"), Arch: 41, Loaders: s}},
		{"stranger", Machine{MAC: mac("52:54:00:99:00:01")}},
	} {
		t.Run(x.name, func(t *testing.T) {
			compare(t, x.name, Walk(Offline(s, x.m.MAC), x.m).String())
		})
	}
}

func node(s *render.Snapshot, name string) fact.MAC {
	n, _ := s.Node(name)
	return n.MAC
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
