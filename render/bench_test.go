package render_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"testing/fstest"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// bigFleet is n nodes of one group, each with an argument of its own, in subnets of 250.
func bigFleet(t testing.TB, n int) *spec.Fleet {
	t.Helper()
	f, ds := spec.Parse(spec.Input{Files: fstest.MapFS{"big.boot.hcl": &fstest.MapFile{Data: []byte(`
spec {
  language = 1
}
store "s" {
  local {
    path = "/srv"
  }
}
image "busybox" {
  arch = "x86_64"
  file "kernel" {
    store = store.s
    key   = "vmlinuz"
  }
  file "initrd" {
    store = store.s
    key   = "initrd"
  }
}
group "compute" {
  image       = image.busybox
  kernel_args = { hugepages = 64, console = "ttyS0,115200n8", node = self.name }
}
subnet "lab" {
  cidr    = "10.0.0.0/8"
  gateway = "10.255.255.254"
}
node "seed" {
  subnet   = subnet.lab
  mac      = "52:54:00:00:00:00"
  address  = "10.0.0.1"
  firmware = "uefi"
  groups   = [group.compute]
}
`)}}})
	if f == nil {
		t.Fatal(ds)
	}
	seed := f.Nodes[0]
	f.Nodes = make([]spec.Node, 0, n)
	for i := range n {
		x := seed
		x.Name = fact.NodeName(fmt.Sprintf("c%06d", i))
		x.Address = "node." + string(x.Name)
		x.Interfaces = []spec.Interface{seed.Interfaces[0]}
		x.Interfaces[0].MAC = fact.MAC{0x52, 0x54, 0, byte(i >> 16), byte(i >> 8), byte(i)}
		x.Interfaces[0].Addr = netip.AddrFrom4([4]byte{10, byte(1 + i>>16), byte(i >> 8), byte(i)})
		own := *seed.Own
		own.KernelArgs = []spec.Arg{{Key: "node", Values: []fact.Text{fact.Text(x.Name)}, Place: seed.Place}}
		x.Own = &own
		f.Nodes = append(f.Nodes, x)
	}
	return f
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkRender(b *testing.B) {
	f := bigFleet(b, 100_000)
	a := observe(f, "")
	before := heap()
	var s *render.Snapshot
	for b.Loop() {
		s, _ = render.Render(f, a, render.Assignments{})
	}
	b.ReportMetric(float64(heap()-before)/1e6, "MB/snapshot")
	runtime.KeepAlive(s)
}

func BenchmarkDiff(b *testing.B) {
	f := bigFleet(b, 100_000)
	old, _ := render.Render(f, observe(f, ""), render.Assignments{})
	g := *f
	g.Profiles = append([]spec.Profile(nil), f.Profiles...)
	for i := range g.Profiles {
		args := append([]spec.Arg(nil), g.Profiles[i].Settings.KernelArgs...)
		for j := range args {
			if args[j].Key == "hugepages" {
				args[j].Values = []fact.Text{"128"}
			}
		}
		g.Profiles[i].Settings.KernelArgs = args
	}
	now, _ := render.Render(&g, observe(&g, ""), render.Assignments{})
	n := 0
	for b.Loop() {
		n = len(render.Diff(old, now))
	}
	if n != 100_000 {
		b.Fatalf("%d changes", n)
	}
}

func BenchmarkDHCP(b *testing.B) {
	s, f := benchSnapshot(b)
	for b.Loop() {
		c := s.Select(&f)
		if a := s.Answer(&f, &c, c.Claim.Fixed); a.Ignore != "" {
			b.Fatal(a.Ignore)
		}
	}
}

func BenchmarkScript(b *testing.B) {
	s, f := benchSnapshot(b)
	for b.Loop() {
		if sc := s.Script(render.Query{MAC: f.MAC}, 0); !sc.Boots {
			b.Fatal(sc.Reason)
		}
	}
}

func benchSnapshot(b *testing.B) (*render.Snapshot, fact.Facts) {
	fleet := bigFleet(b, 10_000)
	s, ds := render.Render(fleet, observe(fleet, ""), render.Assignments{})
	if s == nil {
		b.Fatal(ds)
	}
	p := netip.MustParsePrefix("10.0.0.2/8")
	return s, fact.Facts{
		Message: fact.Discover, MAC: fact.MAC{0x52, 0x54, 0, 0, 0x12, 0x34}, Arch: 7, VendorClass: "PXEClient:Arch:00007:UNDI:003016", Params: "\x01\x03\x06\x0c\x0f\x42\x43",
		Ingress: fact.Ingress{Interface: "eth1", Prefixes: []netip.Prefix{p}, Owned: []netip.Addr{p.Addr()}},
	}
}
