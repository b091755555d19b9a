package spec

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLab(t *testing.T) {
	f, ds := Parse(Input{Files: os.DirFS("../examples/lab")})
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
			line += " " + a.Key
			for _, v := range a.Values {
				line += "=" + string(v)
			}
		}
		got = append(got, line)
	}
	want := []string{
		"bios1 console=ttyS0,115200n8 hugepages=64 machine=bios1 panic=60",
		"uefi1 console=ttyS0,115200n8 hugepages=64 machine=uefi1 panic=60",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
