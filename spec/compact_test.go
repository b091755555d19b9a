package spec

import (
	"bytes"
	"encoding/gob"
	"net/netip"
	"testing"
	"testing/fstest"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

const compactSpec = `
spec {
  language = 1
}
subnet "lab" {
  cidr = "10.0.0.0/24"
}
group "compute" {
  vars = { rack = { row = 7, lights = ["red", "green"] } }
}
node "n" {
  for_each = toset(["c1", "c2", "c3"])
  name     = each.key
  subnet   = subnet.lab
  groups   = [group.compute]
  labels   = { rack = "r1", host = each.key }
  ids      = { xname = "x-${each.key}" }
  hold     = each.key == "c2" ? "waits for a disk" : null

  kernel_args = {
    machine = self.name
    console = ["ttyS0", "tty0", "the ${self.name}"]
    quiet   = each.key == "c3" ? true : null
  }
  vars = { own = each.key }
  option "root-path" {
    value = "/srv/${each.key}"
  }
  interface "boot" {
    mac  = "52:54:00:00:00:0${substr(each.key, 1, 1)}"
    boot = true
  }
  interface "data" {
    mac      = "52:54:00:00:01:0${substr(each.key, 1, 1)}"
    hostname = "${each.key}-data"
  }
}
`

// decodedNodes are nodes as they come from a stream: every text and list by itself.
func decodedNodes(t testing.TB) (nodes, again []Node) {
	t.Helper()
	f, ds := Parse(Input{Files: fstest.MapFS{"a.boot.hcl": {Data: []byte(compactSpec)}}})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	for _, to := range []*[]Node{&nodes, &again} {
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).Encode(f.Nodes); err != nil {
			t.Fatal(err)
		}
		if err := gob.NewDecoder(&b).Decode(to); err != nil {
			t.Fatal(err)
		}
	}
	return nodes, again
}

func TestCompact(t *testing.T) {
	nodes, want := decodedNodes(t)
	if len(nodes) != 3 || nodes[0].Own == nil || len(nodes[0].Interfaces) != 2 || len(nodes[0].Own.Options) == 0 || len(nodes[0].Trace) == 0 {
		t.Fatalf("the nodes do not have what is to be moved: %+v", nodes)
	}
	Compact(nodes)
	if diff := cmp.Diff(want, nodes, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("the nodes are not what they were (-want +got):\n%s", diff)
	}
	a, b := &nodes[0], &nodes[1]
	if unsafe.StringData(a.Place.File) != unsafe.StringData(b.Interfaces[1].Place.File) || unsafe.StringData(string(a.Name)) != unsafe.StringData(a.Interfaces[0].Hostname) {
		t.Error("equal texts stand in memory twice")
	}
	if &a.Interfaces[:2][1] != (*Interface)(unsafe.Add(unsafe.Pointer(&b.Interfaces[0]), -int(unsafe.Sizeof(Interface{})))) {
		t.Error("the interfaces of two nodes do not follow each other")
	}
	if cap(a.Interfaces) != 2 || cap(a.Own.KernelArgs) != len(a.Own.KernelArgs) {
		t.Error("who appends to a list of one node would write into that of the next")
	}
	Compact(nil)
}
