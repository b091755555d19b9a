package bootsim

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

func mac(s string) fact.MAC {
	m, err := fact.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

// lab is examples/lab, with a node that pxelinux boots and one of each kind that does not boot.
func lab() *spec.Fleet {
	f := &spec.Fleet{
		Loaders: []spec.Loader{
			{Name: "ipxe-bios", Kind: spec.LoaderIPXE, ClientArch: []fact.Arch{0}, FileName: "undionly.kpxe", File: spec.FileRef{Builtin: "undionly.kpxe"}, Builtin: true},
			{Name: "ipxe-uefi", Kind: spec.LoaderIPXE, ClientArch: []fact.Arch{7, 9}, FileName: "ipxe.efi", File: spec.FileRef{Builtin: "ipxe.efi"}, Builtin: true},
			{Name: "pxelinux", Kind: spec.LoaderPXELinux, FileName: "lpxelinux.0", File: spec.FileRef{Path: "lpxelinux.0"},
				Transport: spec.TransportHTTP, Extra: []spec.NamedFile{{Name: "ldlinux.c32", File: spec.FileRef{Path: "ldlinux.c32"}}}},
			{Name: "grub", Kind: spec.LoaderGRUB, Transport: spec.TransportTFTP, FileName: "grubnetx64.efi", File: spec.FileRef{Path: "grubnetx64.efi"}},
			{Name: "pi", Kind: spec.LoaderRPi, Transport: spec.TransportTFTP, FileName: "start4.elf", File: spec.FileRef{Path: "start4.elf"}, ClientArch: []fact.Arch{41}},
			{Name: "shim", Kind: spec.LoaderGRUB, Transport: spec.TransportTFTP, FileName: "shimx64.efi", File: spec.FileRef{Path: "shimx64.efi"},
				Extra: []spec.NamedFile{{Name: "grubx64.efi", File: spec.FileRef{Path: "grubx64.efi"}}}},
		},
		Images: []spec.Image{{Name: "busybox", Version: "1", Arch: "x86_64", Files: []spec.ImageFile{
			{Role: "kernel", Name: "vmlinuz", File: spec.FileRef{Store: "lab", Key: "vmlinuz"}},
			{Role: "initrd", Name: "initrd.gz", File: spec.FileRef{Store: "lab", Key: "initrd.gz"}},
		}}, {Name: "raspios", Arch: "arm64", Files: []spec.ImageFile{
			{Role: "kernel", Name: "kernel8.img", File: spec.FileRef{Store: "lab", Key: "kernel8.img"}},
			{Role: "initrd", Name: "initramfs8", File: spec.FileRef{Store: "lab", Key: "initramfs8"}},
		}}},
		Subnets: []spec.Subnet{{
			Name: "lab", CIDR: netip.MustParsePrefix("10.77.0.0/24"), Gateway: netip.MustParseAddr("10.77.0.254"), DHCP: "full", Unknown: -1, Default: -1,
			Pools: []spec.Pool{{Name: "boot", Serves: spec.ServesBoot, Ranges: []fact.Range{{First: netip.MustParseAddr("10.77.0.100"), Last: netip.MustParseAddr("10.77.0.199")}}}},
		}},
		Profiles: []spec.Profile{{Subnet: "lab", Image: "busybox", Settings: spec.Settings{
			KernelArgs: []spec.Arg{{Key: "console", Values: []fact.Text{"ttyS0,115200n8"}}, {Key: "quiet", Flag: true}},
			Lease:      spec.Lease{Default: 10 * time.Minute},
		}}, {Subnet: "lab"}, {Subnet: "lab", Image: "raspios"}},
	}
	for i, n := range []spec.Node{
		{Name: "bios1", Firmware: "bios"},
		{Name: "uefi1", Firmware: "uefi"},
		{Name: "pxe1", Firmware: "bios", Own: &spec.Settings{Loader: "pxelinux"}},
		{Name: "held1", Hold: "waiting for a disk"},
		{Name: "disk1", Own: &spec.Settings{Boot: spec.BootDisk}},
		{Name: "off1", Own: &spec.Settings{Boot: spec.BootOff}},
		{Name: "bare1", Profile: 1},
		{Name: "grub1", Firmware: "uefi", Own: &spec.Settings{Loader: "grub"}},
		{Name: "shim1", Firmware: "uefi", Own: &spec.Settings{Loader: "shim"}},
		{Name: "shim2", Firmware: "uefi", Hold: "waiting for a disk", Own: &spec.Settings{Loader: "shim"}},
		{Name: "pi1", Firmware: "rpi", Arch: "arm64", Profile: 2, IDs: []spec.Label{{Name: "serial", Value: "9ffefdef"}}},
		{Name: "pi2", Firmware: "rpi", Arch: "arm64", Profile: 2, Own: &spec.Settings{Boot: spec.BootDisk}},
		{Name: "shim3", Firmware: "uefi", Own: &spec.Settings{Loader: "shim", Boot: spec.BootDisk}},
	} {
		n.Address = "node." + string(n.Name)
		ifc := spec.Interface{Name: "boot", Subnet: "lab", Boot: true, MAC: fact.MAC{0x52, 0x54, 0, 0x77, 0, byte(i + 1)}}
		if i == 0 {
			ifc.Addr = netip.MustParseAddr("10.77.0.11")
		}
		n.Interfaces = []spec.Interface{ifc}
		f.Nodes = append(f.Nodes, n)
	}
	return f
}

func artifacts(f *spec.Fleet) render.Artifacts {
	a := render.Artifacts{}
	put := func(ref spec.FileRef) {
		sum := fmt.Sprintf("%x", sha256.Sum256([]byte(ref.ID())))
		a[ref.ID()] = render.Artifact{Digest: fact.Digest(sum), Size: int64(1000 * len(ref.ID()))}
	}
	for _, l := range f.Loaders {
		put(l.File)
		for _, x := range l.Extra {
			put(x.File)
		}
	}
	for _, m := range f.Images {
		for _, x := range m.Files {
			put(x.File)
		}
	}
	return a
}

func snapshot(t testing.TB, f *spec.Fleet) *render.Snapshot {
	t.Helper()
	s, ds := render.Render(f, artifacts(f), render.Assignments{})
	if s == nil {
		t.Fatalf("Render: %v", ds)
	}
	return s
}

func kernelArg(key, value string) spec.Arg {
	return spec.Arg{Key: key, Values: []fact.Text{fact.Text(value)}}
}
