package render_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

var plainFleet = []cmp.Option{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})}

// growing is a spec that is edited at random.
type growing struct {
	rand     *rand.Rand
	rows     []string
	next     int
	arg      int
	self     string
	own      int
	cidr     string
	image    string
	assigned map[fact.NodeName]*render.Assignment
}

func (g *growing) edit() {
	n := g.rand.IntN(1000)
	switch at := g.rand.IntN(len(g.rows)); g.rand.IntN(10) {
	case 0, 1:
		g.next++
		row := fmt.Sprintf("c%d,52:54:00:00:%02x:%02x,g%d", g.next, g.next>>8, g.next&255, n%2)
		g.rows = append(g.rows[:at:at], append([]string{row}, g.rows[at:]...)...)
	case 2:
		if len(g.rows) > 2 {
			g.rows = append(g.rows[:at:at], g.rows[at+1:]...)
		}
	case 3:
		g.rows[at] = g.rows[at][:len(g.rows[at])-1] + fmt.Sprint(n%2)
	case 4:
		g.arg = n
	case 5:
		g.self = []string{"self.name", "self.mac", `"same"`}[n%3]
	case 6:
		g.own = n % 3
	case 7:
		g.cidr = []string{"10.0.0.0/16", "10.0.0.0/17"}[n%2]
	case 8:
		g.image = []string{"a", "b"}[n%2]
	case 9:
		g.assigned = map[fact.NodeName]*render.Assignment{fact.NodeName(g.rows[at][:2]): {Hold: render.Hold{Reason: "broken"}}}
	}
}

func (g *growing) files() fstest.MapFS {
	text := fmt.Sprintf(`
spec {
  language = 1
}
store "s" {
  local {
    path = "/srv"
  }
}
image "a" {
  file "kernel" {
    store = store.s
    key   = "vmlinuz"
  }
}
image "b" {
  file "kernel" {
    store = store.s
    key   = "vmlinuz"
  }
}
subnet "s" {
  cidr = %q
  pool "p" {
    range  = "10.0.1.0-10.0.1.255"
    serves = "boot"
  }
}
group "g0" {
  image       = image.a
  kernel_args = { arg = %d, both = 1 }
}
group "g1" {
  image       = image.%s
  kernel_args = { me = %s, both = null }
}
node "n" {
  for_each    = { for r in tabledecode("nodes.csv") : r.name => r }
  subnet      = subnet.s
  name        = each.key
  mac         = each.value.mac
  groups      = [group[each.value.group]]
}
node "own" {
  subnet      = subnet.s
  mac         = "52:54:00:77:00:01"
  groups      = [group.g0]
  kernel_args = { own = %d, both = null }
}
`, g.cidr, g.arg, g.image, g.self, g.own)
	table := "name,mac,group\n"
	for _, r := range g.rows {
		table += r + "\n"
	}
	return fstest.MapFS{"a.boot.hcl": {Data: []byte(text)}, "nodes.csv": {Data: []byte(table)}}
}

// A snapshot made after another is the one made from nothing, bit by bit and in every difference; and what changed is among what Changed
// gives, but not much more.
func TestRenderNextEqualsRender(t *testing.T) {
	tried, all := 0, 0
	for seed := range uint64(10) {
		var warm spec.Evaluator
		g := &growing{rand: rand.New(rand.NewPCG(seed, 1)), cidr: "10.0.0.0/16", image: "b", self: "self.name",
			rows: []string{"a1,52:54:00:01:00:01,g0", "a2,52:54:00:01:00:02,g0", "a3,52:54:00:01:00:03,g1"}}
		var old *render.Snapshot
		for step := range 50 {
			f, ds := warm.Parse(spec.Input{Files: g.files()})
			if f == nil {
				t.Fatal(ds)
			}
			a, as := observe(f, ""), render.Assignments{Nodes: g.assigned, Serial: uint64(step)}
			want, wantDiags := render.Render(f, a, as)
			got, gotDiags := render.RenderNext(old, f, a, as)
			if want.Digest() != got.Digest() || len(render.Diff(want, got)) > 0 {
				t.Fatalf("seed %d step %d: %v", seed, step, render.Diff(want, got))
			}
			if diff := cmp.Diff(wantDiags, gotDiags); diff != "" {
				t.Fatalf("seed %d step %d: %s", seed, step, diff)
			}
			if diff := cmp.Diff(want.Nodes(), got.Nodes(), plainFleet...); diff != "" {
				t.Fatalf("seed %d step %d: %s", seed, step, diff)
			}
			bare, _ := render.Render(f, a, render.Assignments{})
			if x := bare.Assign(as); x.Digest() != want.Digest() || len(render.Diff(want, x)) > 0 {
				t.Fatalf("seed %d step %d: assigned afterwards: %v", seed, step, render.Diff(want, x))
			}
			if x := got.Assign(render.Assignments{}); x.Digest() != bare.Digest() || len(render.Diff(bare, x)) > 0 {
				t.Fatalf("seed %d step %d: assigned nothing: %v", seed, step, render.Diff(bare, x))
			}
			changed := got.Changed(old)
			for _, c := range render.Diff(old, got) {
				for i := range f.Nodes {
					if f.Nodes[i].Name == c.Node && c.Action != "-" && !changed(i) {
						t.Fatalf("seed %d step %d: %+v, but Changed does not give the node", seed, step, c)
					}
				}
			}
			for i := range f.Nodes {
				all++
				if changed(i) {
					tried++
				}
			}
			old = got
			g.edit()
		}
	}
	if tried > all/2 {
		t.Errorf("%d of %d nodes changed by small edits", tried, all)
	}
}

// spec.Same looks at every field: two nodes that differ in any are not the same.
func TestSameIsTotal(t *testing.T) {
	base := spec.Node{}
	for i := range reflect.TypeFor[spec.Node]().NumField() {
		other := base
		f := reflect.ValueOf(&other).Elem().Field(i)
		name := reflect.TypeFor[spec.Node]().Field(i).Name
		switch f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Int:
			f.SetInt(1)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
		case reflect.Struct:
			f.FieldByName("Line").SetInt(1)
		default:
			t.Fatalf("%s: what is a different %s?", name, f.Kind())
		}
		if spec.Same(&base, &other) {
			t.Errorf("nodes with different %s are taken for the same", name)
		}
	}
}
