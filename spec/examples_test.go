package spec

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestLab parses the example that people boot first.
func TestLab(t *testing.T) {
	wantCommandLines(t, Input{Files: os.DirFS("../examples/lab")}, []string{
		"bios1 console=ttyS0,115200n8 hugepages=64 machine=bios1 panic=60",
		"uefi1 console=ttyS0,115200n8 hugepages=64 machine=uefi1 panic=60",
	})
}

// TestWorkedExample holds the command lines against what the design of the language says they are.
func TestWorkedExample(t *testing.T) {
	ar, err := txtar.ParseFile("testdata/example.txtar")
	if err != nil {
		t.Fatal(err)
	}
	in, _ := inputOf(ar)
	wantCommandLines(t, in, []string{
		"c0001 console=tty0 console=ttyS1,115200n8 hugepages=512 intel_iommu=on net.ifnames=0 panic=60 rd.live.image root=live:<url:squashfs>",
		"c0002 console=tty0 console=ttyS1,115200n8 hugepages=512 intel_iommu=on net.ifnames=0 panic=60 rd.live.image root=live:<url:squashfs>",
		"g0001 console=tty0 console=ttyS1,115200n8 hugepages=512 iommu=pt modprobe.blacklist=nouveau net.ifnames=0 nvidia.NVreg_OpenRmEnable=1 panic=60 rd.driver.blacklist=nouveau rd.live.image root=live:<url:squashfs>",
		"k0001 console=tty0 console=ttyS0,115200n8 net.ifnames=0 panic=60 quiet slab_nomerge talos.platform=metal",
		"lhr1-build01 console=tty0 console=ttyS1,115200n8 hugepages=512 net.ifnames=0 nomodeset panic=60 rd.live.image root=live:<url:squashfs>",
		"lhr1-gpu01 console=tty0 console=ttyS1,115200n8 hugepages=1024 iommu=pt modprobe.blacklist=nouveau net.ifnames=0 nvidia.NVreg_OpenRmEnable=1 panic=60 rd.driver.blacklist=nouveau rd.live.image root=live:<url:squashfs>",
		"lhr1-k01 console=tty0 console=ttyS0,115200n8 net.ifnames=0 panic=60 quiet slab_nomerge talos.platform=metal",
	})
}

// wantCommandLines compares the kernel arguments of every node with literals.
func wantCommandLines(t *testing.T, in Input, want []string) {
	t.Helper()
	f, ds := Parse(in)
	for _, d := range ds {
		t.Error(d)
	}
	if f == nil {
		t.Fatal("no fleet")
	}
	var got []string
	for i := range f.Nodes {
		line := string(f.Nodes[i].Name)
		for _, a := range f.Effective(&f.Nodes[i]).KernelArgs {
			if a.Flag {
				line += " " + a.Key
			}
			for _, v := range a.Values {
				line += " " + a.Key + "=" + v.String()
			}
		}
		got = append(got, line)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
