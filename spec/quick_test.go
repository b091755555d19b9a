package spec

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
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
	slow := strings.NewReplacer("=> r }", "=> r if true }", "each.value.mac", "(each.value.mac)", "each.value.address", "(each.value.address)", "each.value.label", "(each.value.label)").Replace(text)
	for name, table := range map[string]struct{ file, rows string }{
		"rows":          {"t.csv", "name,mac,address,label\nb,52:54:00:00:00:02,10.0.0.2,x\na,52:54:00:00:00:01,10.0.0.1,\n"},
		"same key":      {"t.csv", "name,mac,address,label\na,52:54:00:00:00:02,10.0.0.2,x\na,52:54:00:00:00:01,10.0.0.1,y\n"},
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
