package render

import (
	"testing"

	"hostler/spec"
)

// When a change takes effect is the same in the reference documentation as in a plan.
func TestClassesAreDocumented(t *testing.T) {
	blocks := map[string]*spec.Block{}
	for _, b := range spec.Schema() {
		blocks[b.Type] = b
		for _, n := range b.Blocks {
			blocks[b.Type+"."+n.Type] = n
		}
	}
	used := 0
	for block, prefix := range map[string]string{
		"defaults": "", "defaults.lease": "lease.", "defaults.retry": "retry.", "defaults.option": "option.O.",
		"subnet": "", "subnet.pool": "pool.P.", "node": "", "node.interface": "interface.I.",
	} {
		if blocks[block] == nil {
			t.Errorf("there is no block %s", block)
			continue
		}
		for _, a := range blocks[block].Attrs {
			want := classOf(prefix + a.Name)
			if class, ok := otherwise[block+"."+a.Name]; ok {
				want = class
				used++
			}
			if a.Class != string(want) {
				t.Errorf("%s.%s is documented as %q, and a plan says %q", block, a.Name, a.Class, want)
			}
		}
	}
	if used != len(otherwise) {
		t.Errorf("%d of %d exceptions are of attributes that exist", used, len(otherwise))
	}
}

// otherwise has the attributes that no leaf is named after, with the class of what a plan shows instead.
var otherwise = map[string]Class{
	"subnet.description": ClassNone, "subnet.for_each": ClassNone, "subnet.vlan": ClassNone,
	"subnet.site":             ClassNone, // its settings have leaves
	"subnet.hostname_pattern": classOf("hostname"),
	"subnet.pool.exclude":     classOf("pool.P.range"),
	"node.description":        ClassNone, "node.for_each": ClassNone,
	"node.name":    subjectClass("node.N", false),
	"node.enabled": classOf("disabled"),
}
