package bootsim

import (
	"strings"
	"testing"

	"hostler/render/fact"
	"hostler/spec"
)

// TestStrangers boots machines that nobody declared where the image depends on the processor: by iPXE, whether DHCP told it its script or it
// asks by itself, and by GRUB, which nothing but its own word says the processor of.
func TestStrangers(t *testing.T) {
	f := lab()
	sn := &f.Subnets[0]
	sn.Pools[0].Serves = spec.ServesAny
	sn.Unknown, sn.Default = 1, 1
	sn.Discovery = []spec.Discovery{{Arch: "arm64", Group: "arm", Profile: 2}, {Arch: "x86_64", Group: "x86", Profile: 0}}
	f.Loaders = append(f.Loaders, spec.Loader{Name: "ipxe-arm", Kind: spec.LoaderIPXE, ClientArch: []fact.Arch{11, 27}, FileName: "snp.efi", File: spec.FileRef{Builtin: "snp.efi"}, Builtin: true})
	stranger := mac("52:54:00:99:00:01")
	for _, c := range []struct {
		name   string
		m      Machine
		loader string
		want   string // file, or reason
	}{
		{"BIOS", Machine{MAC: stranger}, "", "/vmlinuz"},
		{"x86-64 UEFI", Machine{MAC: stranger, Arch: 7}, "", "/vmlinuz"},
		{"arm64 UEFI", Machine{MAC: stranger, Arch: 11}, "", "/kernel8.img"},
		{"a processor without an image", Machine{MAC: stranger, Arch: 27}, "", "nobody declared it, and subnet lab has no image for riscv64"},
		{"GRUB on x86-64", Machine{MAC: stranger, Arch: 7}, "grub", "vmlinuz"},
		{"GRUB on arm64", Machine{MAC: stranger, Arch: 11}, "grub", "kernel8.img"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.Nodes = nil
			for i := range f.Profiles {
				f.Profiles[i].Settings.Loader = c.loader
			}
			s := snapshot(t, f)
			c.m.Loaders = s
			text := Walk(Offline(s, stranger), c.m).String()
			if boots := strings.HasPrefix(c.want, "/") || c.loader != ""; !strings.Contains(text, c.want) || boots == strings.Contains(text, "No kernel is started") {
				t.Errorf("want %s:\n%s", c.want, text)
			}
		})
	}
}
