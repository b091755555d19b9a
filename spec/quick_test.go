package spec

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"hostler/render/fact"
	"hostler/spec/lang"
)

// What is evaluated without hcl comes out as hcl makes it: the same spec, with expressions that are not taken for plain ones, gives the same
// nodes and the same mistakes.
func TestQuickEqualsHCL(t *testing.T) {
	text := `
spec {
  language = 1
}
subnet "s" {
  cidr = "10.0.0.0/24"
}
node "n" {
  for_each = { for r in tabledecode("TABLE") : r.name => r }
  subnet   = subnet.s
  mac      = each.value.mac
  address  = each.value.address
  labels   = { a = each.value.label }
}
`
	slow := strings.NewReplacer("=> r }", "=> r if true }", "each.value.mac", "[each.value.mac][0]", "each.value.address", "[each.value.address][0]", "each.value.label", "[each.value.label][0]").Replace(text)
	for name, table := range map[string]struct{ file, rows string }{
		"rows":          {"t.csv", "name,mac,address,label\nb,52:54:00:00:00:02,10.0.0.2,x\na,52:54:00:00:00:01,10.0.0.1,\n"},
		"same key":      {"t.csv", "name,mac,address,label\na,52:54:00:00:00:02,10.0.0.2,x\na,52:54:00:00:00:01,10.0.0.1,y\n"},
		"not normal":    {"t.csv", "name,mac,address,label\na,52:54:00:00:00:02,10.0.0.2,e\u0301\n"},
		"tabs":          {"t.tsv", "name\tmac\taddress\tlabel\na\t52:54:00:00:00:02\t10.0.0.2\t\"x\ty\"\n"},
		"mistake":       {"t.csv", "name,mac,address,label\na,52:54:00:00:00:02,10.0.0.2\n"},
		"no such row":   {"t.csv", "name,mac\na,52:54:00:00:00:02\n"},
		"no rows":       {"t.csv", "name,mac,address,label\n"},
		"null address":  {"t.json", `[{"name": "a", "mac": "52:54:00:00:00:02", "address": null, "label": "x"}]`},
		"number as key": {"t.json", `[{"name": 1, "mac": "52:54:00:00:00:02", "address": "10.0.0.1", "label": 5}]`},
		"null as key":   {"t.json", `[{"name": null, "mac": "52:54:00:00:00:02", "address": "10.0.0.1", "label": "x"}]`},
		"list as label": {"t.json", `[{"name": "a", "mac": "52:54:00:00:00:02", "address": "10.0.0.1", "label": ["x"]}]`},
		"mixed types":   {"t.json", `[{"name": "a", "mac": "52:54:00:00:00:02", "address": "10.0.0.1", "label": "x"}, {"name": "b", "mac": 7}]`},
	} {
		t.Run(name, func(t *testing.T) {
			parse := func(text string) (*Fleet, []string) {
				f, ds := Parse(Input{Files: fstest.MapFS{"a.boot.hcl": {Data: []byte(strings.Replace(text, "TABLE", table.file, 1))}, table.file: {Data: []byte(table.rows)}}})
				var mistakes []string
				for _, d := range ds {
					mistakes = append(mistakes, d.Summary)
				}
				if f != nil { // the places of longer expressions
					for i := range f.Nodes {
						f.Nodes[i].Trace = nil
					}
				}
				return f, mistakes
			}
			quick, quickMistakes := parse(text)
			hcl, hclMistakes := parse(slow)
			if diff := cmp.Diff(hclMistakes, quickMistakes); diff != "" {
				t.Errorf("(-hcl +quick)\n%s", diff)
			}
			if diff := cmp.Diff(hcl, quick, sameFleet...); diff != "" {
				t.Errorf("(-hcl +quick)\n%s", diff)
			}
		})
	}
}

// Each expression that is taken for a plain one has the value, type included, that hcl gives it.
func FuzzPlain(f *testing.F) {
	for _, text := range []string{
		`each.key`, `each.value.a`, `each["value"].a`, `each.value["a"]`, `each.value.number`, `each.value.null`, `each.value.list`, `each.value.none`, `each.value.a.b`, `each`,
		`self.name`, `self["mac"]`, `self.address`, `self.hostname`, `self.labels`, `self.name.x`,
		`"x-${each.value.a}-${self.name}"`, `"${each.value.a}"`, `"${each.value.number}"`, `"${each.value.number} x"`, `"${each.value.null}x"`, `"e\u0301${each.key}"`, `"%{ if true }x%{ endif }"`,
		`each.value.a == "x"`, `each.value.a != "" ? each.value.a : null`, `each.value.a == "" ? null : each.value.a`, `each.value.a == "" ? null : null`,
		`each.value.a == "" ? 1 : each.value.a`, `each.value.null == null`, `each.value.number == 1`, `each.value.null == "" ? "a" : "b"`, `(each.key == "k") ? "a" : each.value.none`,
		`self.name == each.key ? true : false`, `each.value.null ? 1 : 2`, `null ? 1 : 2`, `each.key == "k" ? each.value.null : null`, `1 == 1 ? each.value.number : null`,
		`each.key == "k" ? each.value.list : null`, `-1`, `true`, `null`,
	} {
		f.Add(text)
	}
	row := cty.ObjectVal(map[string]cty.Value{"a": cty.StringVal(""), "number": cty.NumberIntVal(7), "null": cty.NullVal(cty.String), "list": cty.ListVal([]cty.Value{cty.True})})
	s := &scope{p: newParser(Input{}, nil), elem: &element{key: "k", val: row}}
	s.self = &subject{p: s.p, n: &nodeSource{Node: &Node{Name: "n1", Interfaces: []Interface{{Name: "boot", MAC: fact.MAC{2, 1}}}}}}
	ctx := &hcl.EvalContext{Variables: map[string]cty.Value{"each": s.each(), "self": s.self.value()}}
	f.Fuzz(func(t *testing.T, text string) {
		if lang.Prescan([]byte(text)) != nil {
			return
		}
		expr, diags := hclsyntax.ParseExpression([]byte(text), "x", hcl.InitialPos)
		if diags.HasErrors() {
			return
		}
		got, ok := s.plain(expr)
		if !ok {
			return
		}
		if want, diags := expr.Value(ctx); diags.HasErrors() || !want.RawEquals(got) {
			t.Errorf("%s is %#v, and of hcl %#v, %v", text, got, want, diags)
		}
	})
}
