package render

import (
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"hostler/render/fact"
	"hostler/spec"
)

// layoutSpec has nodes whose own arguments come before, between, behind and in place of those of their profile.
const layoutSpec = `
spec {
  language = 1
}
store "s" {
  local {
    path = "/srv"
  }
}
image "one" {
  file "kernel" {
    store = store.s
    key   = "vmlinuz"
  }
  file "initrd" {
    store = store.s
    key   = "initrd"
  }
}
image "two" {
  file "kernel" {
    store = store.s
    key   = "vmlinuz2"
  }
  file "initrd" {
    store = store.s
    key   = "initrd2"
  }
}
subnet "lab" {
  cidr = "10.0.0.0/24"
  pool "boot" {
    range  = "10.0.0.10-10.0.0.99"
    serves = "boot"
  }
}
group "plain" {
  image = image.one
  kernel_args = {
    console = ["ttyS0", "tty0"]
    quiet   = true
    root    = url("initrd")
    BOOTIF  = bootif()
    zone    = "a b"
    machine = self.name
  }
  retry {
    attempts = 2
    fallback = image.two
  }
}
group "ordered" {
  inherits          = [group.plain]
  kernel_args_order = ["zone", "own", "quiet"]
}
node "none" {
  subnet = subnet.lab
  mac    = "52:54:00:00:00:01"
  groups = [group.plain]
}
node "sets" {
  for_each = toset(["a", "b"])
  subnet   = subnet.lab
  mac      = each.key == "a" ? "52:54:00:00:00:02" : "52:54:00:00:00:03"
  groups   = [each.key == "a" ? group.plain : group.ordered]
  kernel_args = {
    aaa   = each.key
    own   = ["1", "the ${each.key}"]
    quiet = each.key == "a" ? null : true
    zzz   = true
  }
  vars = { x = each.key }
}
node "resets" {
  subnet            = subnet.lab
  mac               = "52:54:00:00:00:04"
  groups            = [group.ordered]
  kernel_args_reset = true
  kernel_args       = { own = url("kernel") }
}
node "orders" {
  subnet            = subnet.lab
  mac               = "52:54:00:00:00:05"
  groups            = [group.plain]
  kernel_args_order = ["zone"]
}
node "off" {
  subnet = subnet.lab
  mac    = "52:54:00:00:00:06"
  groups = [group.plain]
  boot   = "off"
}
node "two" {
  subnet = subnet.lab
  groups = [group.plain]
  interface "a" {
    mac = "52:54:00:00:00:07"
  }
  interface "b" {
    mac  = "52:54:00:00:00:08"
    boot = true
  }
}
`

// TestLayouts: a script is the same whether it is put together by a layout or by folding the node's settings.
func TestLayouts(t *testing.T) {
	f, ds := spec.Parse(spec.Input{Files: fstest.MapFS{"a.boot.hcl": {Data: []byte(layoutSpec)}}})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	as := Artifacts{}
	for _, m := range f.Images {
		for i, x := range m.Files {
			as[x.File.ID()] = Artifact{Digest: fact.Digest(fmt.Sprintf("%064d", i)), Size: 1}
		}
	}
	for _, l := range f.Loaders {
		as[l.File.ID()] = Artifact{Digest: fact.Digest(fmt.Sprintf("%064d", 9)), Size: 1}
	}
	s, ds := Render(f, as, Assignments{})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	without := *s
	without.layouts = nil
	byLayout := 0
	for i := range f.Nodes {
		n := &f.Nodes[i]
		if s.layoutOf(int32(i), n) != nil {
			byLayout++
		}
		for _, q := range queries(n) {
			for retry := range 6 {
				if diff := cmp.Diff(without.Script(q, retry), s.Script(q, retry)); diff != "" {
					t.Errorf("%s, retry %d (-folded +by layout):\n%s", n.Name, retry, diff)
				}
			}
		}
	}
	if byLayout != 5 { // all but those that set an order, or what to boot
		t.Errorf("%d nodes have a layout, want 5", byLayout)
	}
}

func queries(n *spec.Node) []Query {
	qs := []Query{{Name: string(n.Name)}}
	for _, x := range n.Interfaces {
		qs = append(qs, Query{MAC: x.MAC})
	}
	return qs
}
