package spec

import (
	"os"
	"testing"
	"testing/fstest"

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

// A node needs no group.
func TestNodeWithoutGroups(t *testing.T) {
	f, ds := Parse(Input{Files: fstest.MapFS{"spec.boot.hcl": {Data: []byte(`
spec {
  language = 1
}
subnet "lab" {
  cidr = "10.0.0.0/24"
}
node "n1" {
  subnet = subnet.lab
  mac    = "52:54:00:00:00:01"
}
`)}}})
	if ds.HasErrors() || len(f.Nodes) != 1 {
		t.Errorf("%v %+v", ds, f)
	}
}
