package render

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"hostler/render/fact"
	"hostler/spec"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func mac(s string) fact.MAC {
	m, err := fact.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

func span(first, last string) fact.Range { return fact.Range{First: addr(first), Last: addr(last)} }

func place(line int) spec.Place { return spec.Place{File: "lab.boot.hcl", Line: line, Column: 1} }

// lab is examples/lab as spec.Parse gives it, with a pxelinux loader beside the built-in ones.
func lab() *spec.Fleet {
	const digest = "1111111111111111111111111111111111111111111111111111111111111111"
	return &spec.Fleet{
		Language: 1,
		Loaders: []spec.Loader{
			{Name: "ipxe-bios", Kind: spec.LoaderIPXE, ClientArch: []fact.Arch{0}, FileName: "undionly.kpxe", File: spec.FileRef{Builtin: "undionly.kpxe"}, Builtin: true},
			{Name: "ipxe-uefi", Kind: spec.LoaderIPXE, ClientArch: []fact.Arch{7, 9, 16}, FileName: "ipxe.efi", File: spec.FileRef{Builtin: "ipxe.efi"}, Builtin: true},
			{Name: "pxelinux", Kind: spec.LoaderPXELinux, FileName: "lpxelinux.0", File: spec.FileRef{Path: "lpxelinux.0", Place: place(4)},
				Extra: []spec.NamedFile{{Name: "ldlinux.c32", File: spec.FileRef{Path: "ldlinux.c32", Place: place(5)}}}},
		},
		Stores: []spec.Store{{Name: "lab", Path: "/srv/lab", Deliver: spec.DeliverProxy}},
		Images: []spec.Image{{Name: "busybox", Version: "1", Arch: "x86_64", Files: []spec.ImageFile{
			{Role: "kernel", Name: "vmlinuz", File: spec.FileRef{Store: "lab", Key: "vmlinuz", Place: place(30)}},
			{Role: "initrd", Name: "initrd.gz", File: spec.FileRef{Store: "lab", Key: "initrd.gz", SHA256: digest, Place: place(34)}},
		}, Place: place(25)}},
		Subnets: []spec.Subnet{{
			Name: "lab", CIDR: netip.MustParsePrefix("10.77.0.0/24"), Gateway: addr("10.77.0.254"), DHCP: "full", Authoritative: true, Unknown: -1, Default: 1,
			Pools: []spec.Pool{
				{Name: "boot", Ranges: []fact.Range{span("10.77.0.100", "10.77.0.199")}, Serves: spec.ServesBoot, Place: place(60)},
				{Name: "reserved", Ranges: []fact.Range{span("10.77.0.10", "10.77.0.99")}, Serves: spec.ServesReserved, Place: place(56)},
			}, Place: place(50),
		}},
		Profiles: []spec.Profile{
			{Subnet: "lab", Image: "busybox", Groups: []string{"compute"}, Settings: spec.Settings{
				Boot: spec.BootNet, DNS: []netip.Addr{addr("10.77.0.53")}, Domain: "lab.example",
				KernelArgs: []spec.Arg{
					{Key: "console", Values: []fact.Text{"ttyS0,115200n8"}, Place: place(17)},
					{Key: "hugepages", Values: []fact.Text{"64"}, Place: place(44)},
					{Key: "machine", PerNode: true, Place: place(74)},
					{Key: "panic", Values: []fact.Text{"60"}, Place: place(18)},
				},
				Lease: spec.Lease{Default: 10 * time.Minute, Max: time.Hour},
				Retry: spec.Retry{Delay: 5 * time.Second, MaxDelay: time.Minute},
			}, Trace: []spec.Trace{
				{Path: "image", Steps: []spec.Step{{Layer: "group.compute", Action: spec.Set, Value: "busybox", Place: place(41)}}},
				{Path: "kernel_args.hugepages", Steps: []spec.Step{{Layer: "group.compute", Action: spec.Set, Value: "64", Place: place(44)}}},
				{Path: "kernel_args.panic", Steps: []spec.Step{{Layer: "defaults", Action: spec.Set, Value: "60", Place: place(18)}}},
				{Path: "kernel_args.quiet", Steps: []spec.Step{
					{Layer: "defaults", Action: spec.Set, Value: "true", Place: place(19)},
					{Layer: "group.compute", Action: spec.Removed, Place: place(43)}}},
			}},
			{Subnet: "lab", Settings: spec.Settings{Lease: spec.Lease{Default: 10 * time.Minute}}},
		},
		Nodes: []spec.Node{
			labNode("bios1", "52:54:00:77:00:01", "10.77.0.11", "bios", 2),
			labNode("uefi1", "52:54:00:77:00:02", "", "uefi", 3),
		},
	}
}

func labNode(name, m, a, firmware string, row int) spec.Node {
	ip, _ := netip.ParseAddr(a)
	at := place(67)
	at.Table, at.Row = "machines.csv", row
	return spec.Node{
		Name: fact.NodeName(name), Address: `node.lab["` + name + `"]`, Firmware: firmware, Place: at,
		Interfaces: []spec.Interface{{Name: "boot", MAC: mac(m), Subnet: "lab", Addr: ip, Boot: true, Place: at}},
		Own:        &spec.Settings{KernelArgs: []spec.Arg{{Key: "machine", Values: []fact.Text{fact.Text(name)}, Place: place(75)}}},
		Trace:      []spec.Trace{{Path: "kernel_args.machine", Steps: []spec.Step{{Layer: "node." + name, Action: spec.Set, Value: name, Place: place(75)}}}},
	}
}

// labArtifacts are what reconcile would observe of the lab's files.
func labArtifacts() Artifacts {
	return Artifacts{
		"builtin:undionly.kpxe": {Digest: digestOf("undionly"), Size: 70000},
		"builtin:ipxe.efi":      {Digest: digestOf("ipxe"), Size: 1000000},
		"path:lpxelinux.0":      {Digest: digestOf("lpxelinux"), Size: 90000},
		"path:ldlinux.c32":      {Digest: digestOf("ldlinux"), Size: 120000},
		"store:lab:vmlinuz":     {Digest: digestOf("kernel"), Size: 7000000},
		"store:lab:initrd.gz":   {Digest: digestOf("initrd"), Size: 900000},
	}
}

func mustRender(t testing.TB, f *spec.Fleet, a Artifacts, as Assignments) *Snapshot {
	t.Helper()
	s, ds := Render(f, a, as)
	if s == nil {
		t.Fatalf("Render: %v", ds)
	}
	return s
}

var labIngress = fact.Ingress{
	Interface: "br0",
	Prefixes:  []netip.Prefix{netip.MustParsePrefix("10.77.0.1/24")},
	Owned:     []netip.Addr{addr("127.0.0.1"), addr("10.77.0.1")},
}

func TestScriptOfLab(t *testing.T) {
	s := mustRender(t, lab(), labArtifacts(), Assignments{})
	got := s.Script(Query{MAC: mac("52-54-00-77-00-01")}, 0)
	want := strings.Join([]string{
		"#!ipxe",
		"# node.lab[\"bios1\"]: image busybox 1",
		"kernel --name kernel <base>/files/" + string(digestOf("kernel")) + "/vmlinuz initrd=initrd console=ttyS0,115200n8 hugepages=64 machine=bios1 panic=60 hostler.boot=<boot> || goto retry",
		"initrd --name initrd <base>/files/" + string(digestOf("initrd")) + "/initrd.gz || goto retry",
		"boot || goto retry",
		":retry",
		"imgfree",
		"sleep 6",
		"chain --replace <base>/boot/v1/bootscript?mac=52:54:00:77:00:01&retry=1 || goto retry",
		"",
	}, "\n")
	if got.Text.String() != want || !got.Boots || got.Node != "bios1" {
		t.Errorf("got %+v:\n%s\nwant:\n%s", got, got.Text, want)
	}
}

func TestDiscoverOfLab(t *testing.T) {
	s := mustRender(t, lab(), labArtifacts(), Assignments{})
	f := &fact.Facts{Message: fact.Discover, MAC: mac("52:54:00:77:00:01"), Arch: 0, VendorClass: "PXEClient:Arch:00000:UNDI:002001", Params: "\x01\x03\x06\x42\x43", Ingress: labIngress}
	c := s.Select(f)
	if c.Ignore != "" || c.Claim.Fixed != addr("10.77.0.11") || c.Server != addr("10.77.0.1") || c.Node != "bios1" || !c.Nak {
		t.Fatalf("Select: %+v", c)
	}
	a := s.Answer(f, &c, c.Claim.Fixed)
	if a.Message != fact.Offer || a.BootFile != "undionly.kpxe" || a.SIAddr != c.Server || a.YIAddr != c.Claim.Fixed {
		t.Errorf("Answer: %+v", a)
	}
	var codes []uint8
	for _, o := range a.Options {
		codes = append(codes, o.Code)
	}
	if want := "[1 3 6 43 51 58 59 60 66]"; want != strings.ReplaceAll(strings.TrimSpace(sprint(codes)), "  ", " ") {
		t.Errorf("options %v, want %s", codes, want)
	}
}

func sprint(v any) string { return fmt.Sprint(v) }
