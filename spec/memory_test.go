package spec

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"weak"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// edited is a repository that is edited at random: most edits are the ones people make, some are mistakes.
type edited struct {
	rand    *rand.Rand
	rows    []string // of the table: name, mac, address, role
	next    int
	lines   int // in front of everything
	arg     int
	self    string // an expression of a group that uses self
	own     string // of the single node
	gateway int
	pattern string
	pool    string
	tmpl    string
	extra   string
	broken  string
	file    int
}

func newEdited(seed uint64) *edited {
	e := &edited{rand: rand.New(rand.NewPCG(seed, 1)), self: `"x-${self.name}"`, own: "1", gateway: 1, pattern: "{name}", tmpl: "of {{.self.name}} {{.v}}", pool: "10.200.0.0-10.200.0.9"}
	for range 6 {
		e.insert(len(e.rows))
	}
	return e
}

func (e *edited) insert(at int) {
	e.next++
	row := fmt.Sprintf("c%d,52:54:00:00:%02x:%02x,10.0.1.%d,%s", e.next, e.next>>8, e.next&255, 2+e.next%250, []string{"compute", "gpu"}[e.rand.IntN(2)])
	e.rows = append(e.rows[:at:at], append([]string{row}, e.rows[at:]...)...)
}

// edit changes one thing, or takes the last mistake back.
func (e *edited) edit() {
	n := e.rand.IntN(1000)
	e.broken = ""
	switch e.rand.IntN(18) {
	case 0, 1:
		e.insert(e.rand.IntN(len(e.rows) + 1))
	case 2:
		if len(e.rows) > 1 {
			at := e.rand.IntN(len(e.rows))
			e.rows = append(e.rows[:at:at], e.rows[at+1:]...)
		}
	case 3:
		at := e.rand.IntN(len(e.rows))
		e.rows[at] = strings.Replace(e.rows[at], "compute", "gpu", 1)
	case 4: // a rename
		at := e.rand.IntN(len(e.rows))
		e.rows[at] = "r" + e.rows[at][1:]
	case 5:
		e.lines = n % 3
	case 6, 7:
		e.arg = n
	case 8:
		e.self = fmt.Sprintf(`"%d-${self.%s}"`, n%3, []string{"name", "mac", "address", "subnet.gateway"}[n%4])
	case 9:
		e.own = fmt.Sprint(n)
	case 10:
		e.gateway = 1 + n%2
	case 11:
		e.pattern = []string{"{name}", "h-{name}", "h-{address}"}[n%3]
	case 12:
		e.pool = fmt.Sprintf("10.0.1.%d-10.0.1.%d", n%250, n%250+1) // may give away a node's address
	case 13:
		e.tmpl = fmt.Sprintf("%d {{.self.name}} {{.v}}", n%3)
	case 14:
		e.extra = []string{"", "group \"more\" {\n  inherits = [group.gpu]\n}\n", "template \"b\" {\n  content = \"x\"\n}\n", "subnet \"u\" {\n  cidr = \"192.168.0.0/24\"\n}\n"}[n%4]
	case 15:
		e.broken = []string{"nod \"x\" {\n}\n", "locals {\n  a = local.b\n  b = local.a\n}\n", "group \"x\" {\n  inherits = [group.nope]\n}\n", "{"}[n%4]
	case 16:
		e.rows[0] = strings.Replace(e.rows[0], "52:54", []string{"zz:54", "52:54"}[n%2], 1) // no MAC at all
	case 17:
		e.file = n
	}
}

func (e *edited) files() fstest.MapFS {
	text := strings.Repeat("# a line\n", e.lines) + fmt.Sprintf(`
spec {
  language = 1
}
locals {
  rows  = tabledecode("nodes.csv")
  fixed = { a = "one", file = file("fixed.txt") }
}
subnet "s" {
  cidr             = "10.0.0.0/8"
  gateway          = "10.0.0.%d"
  hostname_pattern = %q
  pool "p" {
    range  = %q
    serves = "boot"
  }
}
template "a" {
  content = %q
  vars    = { v = "0" }
}
group "compute" {
  kernel_args = { arg = %d }
  vars        = { v = "c%d" }
}
group "gpu" {
  inherits    = [group.compute]
  kernel_args = { me = %s }
  config      = template.a
}
%s
node "single" {
  subnet      = subnet.s
  mac         = "52:54:00:99:00:01"
  groups      = [group.compute]
  kernel_args = { own = %s, fixed = local.fixed.file }
}
node "n" {
  for_each = { for r in local.rows : r.name => r }
  name     = each.key
  subnet   = subnet.s
  mac      = each.value.mac
  address  = each.value.address
  groups   = [group[each.value.role]]
  labels   = { role = each.value.role }
}
node "t" {
  for_each    = { for r in tabledecode("more.csv") : r.name => r }
  subnet      = subnet.s
  mac         = each.value.mac
  kernel_args = { own = each.value.name }
}
%s
`, e.gateway, e.pattern, e.pool, e.tmpl, e.arg, e.arg%3, e.self, e.extra, e.own, e.broken)
	return fstest.MapFS{
		"a.boot.hcl": {Data: []byte(text)},
		"nodes.csv":  {Data: []byte("name,mac,address,role\n" + strings.Join(e.rows, "\n") + "\n")},
		"more.csv":   {Data: []byte("name,mac\nt1,52:54:00:88:00:01\nt2,52:54:00:88:00:02\n")},
		"fixed.txt":  {Data: []byte(fmt.Sprint("file", e.file%3))},
	}
}

var sameFleet = []cmp.Option{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})}

// What an Evaluator gives after any sequence of edits is what Parse gives: the fleet, to the last place, and every diagnostic.
func TestEvaluatorEqualsParse(t *testing.T) {
	kept, refused := 0, 0
	for seed := range uint64(15) {
		var warm Evaluator
		e := newEdited(seed)
		good := *e
		for step := range 60 {
			in := Input{Files: e.files()}
			want, wantDiags := Parse(in)
			before := warm.last
			got, gotDiags := warm.Parse(in)
			if diff := cmp.Diff(want, got, sameFleet...); diff != "" {
				t.Fatalf("seed %d step %d: (-from scratch +remembered)\n%s", seed, step, diff)
			}
			if diff := cmp.Diff(wantDiags, gotDiags); diff != "" {
				t.Fatalf("seed %d step %d: (-from scratch +remembered)\n%s", seed, step, diff)
			}
			if got == nil {
				refused++
				*e = good
			} else if before != nil {
				for i := range got.Nodes {
					if j := before.fleet.index(got.Nodes[i].Name); j >= 0 && Same(&got.Nodes[i], &before.fleet.Nodes[j]) {
						kept++
					}
				}
			}
			good = *e
			good.rows = slices.Clone(e.rows)
			e.edit()
		}
	}
	if kept < 2000 || refused < 50 {
		t.Errorf("%d nodes were kept, %d specs refused: this shows little", kept, refused)
	}
}

func (f *Fleet) index(name any) int {
	for i := range f.Nodes {
		if f.Nodes[i].Name == name {
			return i
		}
	}
	return -1
}

// The edits that are made most leave every node where it is: the fleet has the same slice of them.
func TestEvaluatorShares(t *testing.T) {
	for name, change := range map[string]func(*edited){
		"nothing":             func(*edited) {},
		"argument of a group": func(e *edited) { e.arg = 3 },
		"pool":                func(e *edited) { e.pool = "10.200.0.0-10.200.0.5" },
	} {
		t.Run(name, func(t *testing.T) {
			var warm Evaluator
			e := newEdited(1)
			e.self = `"fixed"`
			first, ds := warm.Parse(Input{Files: e.files()})
			if first == nil {
				t.Fatal(ds)
			}
			change(e)
			second, ds := warm.Parse(Input{Files: e.files()})
			if second == nil {
				t.Fatal(ds)
			}
			if &first.Nodes[0] != &second.Nodes[0] {
				t.Errorf("the nodes were made again:\n%s", cmp.Diff(first.Nodes, second.Nodes, sameFleet...))
			}
		})
	}
}

// What an Evaluator keeps does not grow: of the spec before the last, nothing stays.
func TestEvaluatorForgets(t *testing.T) {
	var warm Evaluator
	e := newEdited(1)
	var old weak.Pointer[memory]
	for i := range 4 {
		e.arg = i
		if f, ds := warm.Parse(Input{Files: e.files()}); f == nil {
			t.Fatal(ds)
		}
		if i == 1 {
			old = weak.Make(warm.last)
		}
	}
	runtime.GC()
	if old.Value() != nil {
		t.Error("the memory of an earlier spec is still there")
	}
	runtime.KeepAlive(&warm)
}

// BenchmarkEvaluator100k is a change of one argument, after a parse of 100,000 nodes of one table.
func BenchmarkEvaluator100k(b *testing.B) {
	files := inventory(100_000)
	var e Evaluator
	for i := 0; b.Loop(); i++ {
		text := maps.Clone(files)
		text["a.boot.hcl"] = &fstest.MapFile{Data: []byte(strings.Replace(string(files["a.boot.hcl"].Data), "hugepages = 512", fmt.Sprint("hugepages = ", 100+i%800), 1))}
		if f, ds := e.Parse(Input{Files: text}); f == nil {
			b.Fatal(ds)
		}
	}
}
