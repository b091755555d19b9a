package spec

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"math/rand"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/rogpeppe/go-internal/txtar"
)

// tables gives every archive of testdata.
func tables(t testing.TB) map[string]*txtar.Archive {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal("no tables", err)
	}
	all := map[string]*txtar.Archive{}
	for _, name := range names {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = ar
	}
	return all
}

// sameAddr compares addresses and prefixes, which go-cmp cannot look into.
var sameAddr = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// TestOrderDoesNotMatter shuffles the blocks of every table's native files, and moves them to files of other names: the fleet must be
// the same but for places. Tables with mistakes must have the same kinds of mistakes.
func TestOrderDoesNotMatter(t *testing.T) {
	ignore := cmp.Options{sameAddr, cmpopts.IgnoreTypes(Place{})}
	for name, ar := range tables(t) {
		in, _ := inputOf(ar)
		want, wantDs := Parse(in)
		for seed := range int64(3) {
			got, gotDs := Parse(Input{Files: shuffled(t, ar, rand.New(rand.NewSource(seed))), Vars: in.Vars})
			if want == nil {
				if got != nil {
					t.Errorf("%s: the mistakes are gone in another order", name)
				}
				continue
			}
			if d := cmp.Diff(want, got, ignore); d != "" {
				t.Errorf("%s: %s\n%v", name, d, gotDs)
			}
			if len(wantDs) != len(gotDs) {
				t.Errorf("%s: %d diagnostics, %d in another order", name, len(wantDs), len(gotDs))
			}
		}
	}
}

func shuffled(t *testing.T, ar *txtar.Archive, r *rand.Rand) fstest.MapFS {
	tree := fstest.MapFS{}
	var blocks []string
	for _, f := range ar.Files {
		parsed, diags := hclsyntax.ParseConfig(f.Data, f.Name, hcl.InitialPos)
		if !strings.HasSuffix(f.Name, ".boot.hcl") || strings.Contains("/"+f.Name, "/_") || strings.Contains("/"+f.Name, "/.") || strings.HasPrefix(f.Name, "modules/") || diags.HasErrors() {
			tree[f.Name] = &fstest.MapFile{Data: f.Data}
			continue
		}
		for _, b := range parsed.Body.(*hclsyntax.Body).Blocks {
			rng := b.Range()
			blocks = append(blocks, string(rng.SliceBytes(f.Data)))
		}
	}
	r.Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
	for i, b := range blocks {
		name := fmt.Sprintf("f%d.boot.hcl", i%3)
		if tree[name] == nil {
			tree[name] = &fstest.MapFile{}
		}
		tree[name].Data = append(tree[name].Data, b+"\n"...)
	}
	return tree
}

// TestFleetIsPlainData writes every table's fleet as JSON and as gob, and reads it back.
func TestFleetIsPlainData(t *testing.T) {
	opts := cmp.Options{sameAddr, cmpopts.EquateEmpty()}
	for name, ar := range tables(t) {
		in, _ := inputOf(ar)
		want, _ := Parse(in)
		if want == nil {
			continue
		}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var viaJSON Fleet
		if err := json.Unmarshal(text, &viaJSON); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, &viaJSON, opts); d != "" {
			t.Errorf("%s through JSON: %s", name, d)
		}
		var buf bytes.Buffer
		var viaGob Fleet
		if err := gob.NewEncoder(&buf).Encode(want); err != nil {
			t.Fatal(err)
		}
		if err := gob.NewDecoder(&buf).Decode(&viaGob); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, &viaGob, opts); d != "" {
			t.Errorf("%s through gob: %s", name, d)
		}
	}
}

// TestHostileText is what must become a diagnostic instead of ending the process.
func TestHostileText(t *testing.T) {
	deep := func(open string) string { return strings.Repeat(open, 200_000/len(open)) }
	for name, c := range map[string]struct{ file, text, code string }{
		"brackets":        {"a.boot.hcl", "locals {\n a = " + deep("["), "text-refused"},
		"templates":       {"a.boot.hcl", "locals {\n a = " + deep(`"${`), "text-refused"},
		"blocks":          {"a.boot.hcl", deep("a {\n"), "text-refused"},
		"negations":       {"a.boot.hcl", "locals {\n a = " + deep("!") + "true\n}\n", "text-refused"},
		"json arrays":     {"a.boot.json", `{"locals": {"a": ` + deep("["), "text-refused"},
		"json template":   {"a.boot.json", `{"locals": {"a": "${` + deep("[") + `"}}`, "text-refused"},
		"json escaped":    {"a.boot.json", `{"locals": {"a": "\u0024{` + deep(`\u005b`) + `"}}`, "text-refused"},
		"nul":             {"a.boot.hcl", "locals {\n a = \"\x00\"\n}\n", "text-refused"},
		"escaped nul":     {"a.boot.hcl", "locals {\n a = \"\\u0000\"\n}\n", "text-refused"},
		"not utf-8":       {"a.boot.hcl", "# \xff\n", "file-refused"},
		"too large":       {"a.boot.hcl", strings.Repeat("#\n", maxFile/2+1), "file-refused"},
		"json nul":        {"a.boot.json", `{"spec": {"language": 1}, "subnet": {"s": {"cidr": "10.0.0.0/24"}}, "group": {"g": {"kernel_args": {"a": "\u0000boot:\u0000"}}}}`, "text-refused"},
		"forged late":     {"a.boot.hcl", "defaults {\n kernel_args = { a = format(\"%cboot:%c\", 0, 0) }\n}\n", ""},
		"unclosed string": {"a.boot.json", `{"a": "` + "\n" + `"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			fleet, ds := Parse(Input{Files: fstest.MapFS{c.file: {Data: []byte(c.text)}}})
			if fleet != nil || !ds.HasErrors() {
				t.Fatal("accepted")
			}
			if c.code != "" && ds[0].Code != c.code {
				t.Errorf("%s, want %s", ds[0], c.code)
			}
			if len(ds[0].Detail) > 1000 {
				t.Errorf("the detail has %d bytes", len(ds[0].Detail))
			}
		})
	}
}

var loop = regexp.MustCompile(`\bfor\b|range|hostlist|setproduct`)

// TestSymbolicLinks holds that neither spec files nor templates are read through links, which could lead out of the repository.
func TestSymbolicLinks(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		outside + "/x.boot.hcl": "group \"outside\" {\n}\n",
		outside + "/x.gotmpl":   "secret",
		dir + "/a.boot.hcl":     "spec {\n language = 1\n}\ntemplate \"t\" {\n source = \"link/x.gotmpl\"\n}\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for to, from := range map[string]string{outside + "/x.boot.hcl": "b.boot.hcl", outside: "link"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	_, ds := Parse(Input{Files: os.DirFS(dir)})
	var got []string
	for _, d := range ds {
		got = append(got, d.String())
	}
	want := []string{
		`a.boot.hcl:5: Template cannot be read: Reading "link/x.gotmpl": it is, or lies below, a symbolic link.`,
		`b.boot.hcl:1: File cannot be read: Reading b.boot.hcl: it is, or lies below, a symbolic link.`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// FuzzParse looks for text that panics, or for an outcome that is neither a fleet nor a diagnostic.
func FuzzParse(f *testing.F) {
	for _, ar := range tables(f) {
		for _, x := range ar.Files {
			if strings.HasSuffix(x.Name, ".boot.hcl") {
				f.Add(string(x.Data), false)
			}
			if strings.HasSuffix(x.Name, ".boot.json") {
				f.Add(string(x.Data), true)
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string, isJSON bool) {
		if len(text) > 10_000 || len(loop.FindAllString(text, 3)) > 2 {
			return // expressions are not bounded in time; the child process that evaluates them is
		}
		name := "a.boot.hcl"
		if isJSON {
			name = "a.boot.json"
		}
		fleet, ds := Parse(Input{Files: fstest.MapFS{name: {Data: []byte(text)}, "a.csv": {Data: []byte("name,mac\na,52:54:00:00:00:01\n")}}})
		if (fleet == nil) != ds.HasErrors() {
			t.Fatalf("fleet %v, diagnostics %v", fleet, ds)
		}
		if fleet == nil {
			return
		}
		for i := range fleet.Nodes {
			fleet.Effective(&fleet.Nodes[i])
		}
	})
}

// inventory is a table of n machines in 16 subnets' worth of addresses.
func inventory(n int) fstest.MapFS {
	var b strings.Builder
	b.WriteString("name,mac,address,rack,role,firmware\n")
	for i := range n {
		fmt.Fprintf(&b, "c%06d,52:54:%02x:%02x:%02x:%02x,10.%d.%d.%d,r%03d,%s,uefi\n", i, i>>24, i>>16&255, i>>8&255, i&255, 1+i/60000, i/250%240, i%250+2, i/40, []string{"compute", "gpu"}[i%2])
	}
	return fstest.MapFS{
		"inventory.csv": {Data: []byte(b.String())},
		"a.boot.hcl": {Data: []byte(`
spec {
  language = 1
}
defaults {
  kernel_args = { console = ["tty0", "ttyS0,115200n8"], panic = 60, quiet = true }
}
subnet "s" {
  cidr    = "10.0.0.0/8"
  gateway = "10.0.0.1"
}
group "compute" {
  kernel_args = { hugepages = 512, quiet = null }
}
group "gpu" {
  inherits    = [group.compute]
  kernel_args = { iommu = "pt" }
}
node "n" {
  for_each = { for r in tabledecode("inventory.csv") : r.name => r }
  name     = each.key
  subnet   = subnet.s
  mac      = each.value.mac
  address  = each.value.address
  firmware = each.value.firmware
  groups   = [group[each.value.role]]
  labels   = { rack = each.value.rack }
}
`)},
	}
}

// BenchmarkParse100k parses 100,000 nodes of one table.
func BenchmarkParse100k(b *testing.B) { benchmarkParse(b, inventory(100_000), 100_000) }

// BenchmarkParse100kSelf is the same with one kernel argument that each node has of its own.
func BenchmarkParse100kSelf(b *testing.B) {
	files := inventory(100_000)
	files["b.boot.hcl"] = &fstest.MapFile{Data: []byte("site \"unused\" {\n}\n")}
	files["a.boot.hcl"].Data = bytes.Replace(files["a.boot.hcl"].Data, []byte("hugepages = 512"), []byte("hugepages = 512, host = self.name"), 1)
	benchmarkParse(b, files, 100_000)
}

func benchmarkParse(b *testing.B, files fstest.MapFS, nodes int) {
	b.ReportAllocs()
	for b.Loop() {
		f, ds := Parse(Input{Files: files})
		if ds.HasErrors() {
			b.Fatal(ds)
		}
		if len(f.Nodes) != nodes {
			b.Fatal(len(f.Nodes))
		}
	}
}

// TestEffectiveDropsMarks holds that a mark of a profile is never taken for a value, whatever the node has of its own.
func TestEffectiveDropsMarks(t *testing.T) {
	f := &Fleet{Profiles: []Profile{{Settings: Settings{KernelArgs: []Arg{{Key: "a", Flag: true}, {Key: "b", PerNode: true}}, Vars: []Var{{Name: "v", PerNode: true}}}}}}
	for _, own := range []*Settings{nil, {}, {KernelArgs: []Arg{{Key: "c", Remove: true}}}} {
		got := f.Effective(&Node{Own: own})
		if d := cmp.Diff(Settings{KernelArgs: []Arg{{Key: "a", Flag: true}}}, got, cmpopts.EquateEmpty()); d != "" {
			t.Error(d)
		}
	}
}
