package spec

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// The two expressions that every inventory has are evaluated without the machinery of hcl, which makes contexts, paths and types for
// each row. Whatever is not plain is left to hcl, and so is every mistake.

// eachStep gives NAME of the expression each.value.NAME.
func eachStep(e hcl.Expression) string {
	t, ok := e.(*hclsyntax.ScopeTraversalExpr)
	if !ok || len(t.Traversal) != 3 || t.Traversal.RootName() != "each" {
		return ""
	}
	value, ok := t.Traversal[1].(hcl.TraverseAttr)
	name, ok2 := t.Traversal[2].(hcl.TraverseAttr)
	if !ok || !ok2 || value.Name != "value" {
		return ""
	}
	return name.Name
}

// eachValue evaluates each.value.NAME of a plain object.
func (s *scope) eachValue(a *attr) (cty.Value, bool) {
	if !s.hasEach || a.eachStep == "" {
		return cty.NilVal, false
	}
	return plainAttr(s.eachVal, a.eachStep)
}

// plainAttr gives an attribute of an object, if it is a known value of a primitive type without marks.
func plainAttr(obj cty.Value, name string) (cty.Value, bool) {
	if obj.IsMarked() || !obj.Type().IsObjectType() || !obj.IsKnown() || obj.IsNull() || !obj.Type().HasAttribute(name) {
		return cty.NilVal, false
	}
	v := obj.GetAttr(name)
	return v, v.Type().IsPrimitiveType() && !v.IsMarked() && v.IsKnown()
}

// rowsByKey gives the elements of { for r in LIST : r.NAME => r }, in the order of their keys.
func (p *parser) rowsByKey(s *scope, a *attr) ([]element, bool) {
	f, ok := a.expr.(*hclsyntax.ForExpr)
	if !ok || a.broken || f.KeyVar != "" || f.CondExpr != nil || f.Group || f.KeyExpr == nil {
		return nil, false
	}
	row, ok := f.ValExpr.(*hclsyntax.ScopeTraversalExpr)
	key, ok2 := f.KeyExpr.(*hclsyntax.ScopeTraversalExpr)
	if !ok || !ok2 || len(row.Traversal) != 1 || len(key.Traversal) != 2 || row.Traversal.RootName() != f.ValVar || key.Traversal.RootName() != f.ValVar {
		return nil, false
	}
	name, ok := key.Traversal[1].(hcl.TraverseAttr)
	if !ok {
		return nil, false
	}
	rows := s.eval(&attr{name: a.name, expr: f.CollExpr})
	if t := rows.Type(); rows.IsMarked() || !rows.IsKnown() || rows.IsNull() || !t.IsListType() || rows.LengthInt() == 0 {
		return nil, false
	}
	list := make([]element, 0, rows.LengthInt())
	for it := rows.ElementIterator(); it.Next(); {
		_, r := it.Element()
		k, ok := plainAttr(r, name.Name)
		if !ok || k.Type() != cty.String || k.IsNull() || r.IsMarked() {
			return nil, false
		}
		list = append(list, element{key: k.AsString(), val: r})
	}
	slices.SortFunc(list, func(x, y element) int { return strings.Compare(x.key, y.key) })
	for i := 1; i < len(list); i++ {
		if list[i].key == list[i-1].key { // hcl says which
			return nil, false
		}
	}
	return list, true
}
