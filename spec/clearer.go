package spec

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// clearer rewrites what the hcl library says of keys and attributes that do not exist, so that it names them and what is near.
func (p *parser) clearer(diags hcl.Diagnostics) hcl.Diagnostics {
	for i, d := range diags {
		if d.Summary == "Call to unknown function" && d.Subject != nil && p.textAt(*d.Subject) == "secret" {
			c := *d
			c.Summary, c.Detail = "Not in this version", "The language has secret(), but this version of hostler does not do it yet."
			diags[i] = &c
		}
		if d.EvalContext == nil {
			continue
		}
		switch e := d.Expression.(type) {
		case *hclsyntax.IndexExpr:
			if d.Summary == "Invalid index" {
				diags[i] = p.clearerIndex(d, e)
			}
		case *hclsyntax.ScopeTraversalExpr:
			if d.Summary == "Invalid index" || d.Summary == "Unsupported attribute" {
				diags[i] = p.clearerStep(d, e)
			}
		}
	}
	return diags
}

// clearerIndex is for group[each.value.role] with a role that is no group, and group.rack[each.key] without that element.
func (p *parser) clearerIndex(d *hcl.Diagnostic, e *hclsyntax.IndexExpr) *hcl.Diagnostic {
	coll, ok := e.Collection.(*hclsyntax.ScopeTraversalExpr)
	if !ok {
		return d
	}
	key, _ := e.Key.Value(d.EvalContext)
	of, _ := coll.Traversal.TraverseAbs(d.EvalContext)
	if !isString(key) || !of.Type().IsObjectType() {
		return d
	}
	c := *d
	r := e.Range()
	c.Subject = &r
	root, names := coll.Traversal.RootName(), sortedKeys(of.Type().AttributeTypes())
	if _, known := p.units[root]; known && len(coll.Traversal) == 1 {
		c.Summary = "Unknown " + root
		c.Detail = fmt.Sprintf("Nothing declares %s.%s.%s", root, key.AsString(), didYouMean(key.AsString(), names))
		return &c
	}
	c.Summary = "Unknown key"
	c.Detail = fmt.Sprintf("%s has no element %q.%s", p.textAt(coll.Range()), key.AsString(), didYouMean(key.AsString(), names))
	return &c
}

// clearerStep is for self.nmae, subnet.s.cdir and group.rack["r9"].
func (p *parser) clearerStep(d *hcl.Diagnostic, e *hclsyntax.ScopeTraversalExpr) *hcl.Diagnostic {
	i := slices.IndexFunc(e.Traversal, func(t hcl.Traverser) bool { return d.Subject != nil && t.SourceRange() == *d.Subject })
	if i < 1 {
		return d
	}
	name := ""
	switch t := e.Traversal[i].(type) {
	case hcl.TraverseAttr:
		name = t.Name
	case hcl.TraverseIndex:
		if t.Key.Type() == cty.String {
			name = t.Key.AsString()
		}
	}
	of, _ := e.Traversal[:i].TraverseAbs(d.EvalContext)
	if name == "" || !of.Type().IsObjectType() {
		return d
	}
	c := *d
	names := sortedKeys(of.Type().AttributeTypes())
	before := e.Range()
	before.End = d.Subject.Start
	c.Detail = fmt.Sprintf("%s has no %q.%s", p.textAt(before), name, didYouMean(name, names))
	return &c
}
