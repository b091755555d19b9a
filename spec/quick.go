package spec

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// The expressions that every inventory has are evaluated without the machinery of hcl, which makes contexts, paths and types for
// each row. Whatever is not plain is left to hcl, and so is every mistake.

// plain evaluates each.key, each.value.NAME, self.NAME, literals, and templates and comparisons made of them. It gives what hcl gives,
// or not ok.
func (s *scope) plain(expr hcl.Expression) (cty.Value, bool) {
	switch e := expr.(type) {
	case *hclsyntax.LiteralValueExpr:
		return e.Val, true
	case *hclsyntax.ParenthesesExpr:
		return s.plain(e.Expression)
	case *hclsyntax.TemplateWrapExpr:
		return s.plain(e.Wrapped)
	case *hclsyntax.ScopeTraversalExpr:
		return s.plainName(e.Traversal)
	case *hclsyntax.TemplateExpr:
		return s.plainTemplate(e)
	case *hclsyntax.BinaryOpExpr:
		x, ok := s.plain(e.LHS)
		y, ok2 := s.plain(e.RHS)
		if ok && ok2 && isString(x) && isString(y) && (e.Op == hclsyntax.OpEqual || e.Op == hclsyntax.OpNotEqual) {
			return cty.BoolVal((x.AsString() == y.AsString()) == (e.Op == hclsyntax.OpEqual)), true
		}
	case *hclsyntax.ConditionalExpr:
		return s.plainChoice(e)
	}
	return cty.NilVal, false
}

func (s *scope) plainName(t hcl.Traversal) (cty.Value, bool) {
	name, ok := stepName(t)
	switch {
	case !ok:
	case t.RootName() == "self" && s.self != nil && len(t) == 2:
		return s.self.text(name)
	case t.RootName() != "each" || !s.hasEach:
	case name == "key" && len(t) == 2:
		return cty.StringVal(s.eachKey), true
	case name == "value" && len(t) == 3:
		if attr, ok := t[2].(hcl.TraverseAttr); ok {
			return plainAttr(s.eachVal, attr.Name)
		}
	}
	return cty.NilVal, false
}

func (s *scope) plainTemplate(e *hclsyntax.TemplateExpr) (cty.Value, bool) {
	var b strings.Builder
	for _, part := range e.Parts {
		v, ok := s.plain(part)
		if !ok || !isString(v) {
			return cty.NilVal, false
		}
		b.WriteString(v.AsString())
	}
	return cty.StringVal(b.String()), true
}

// plainChoice evaluates a condition whose results have one type. A null that is written out takes that of the other.
func (s *scope) plainChoice(e *hclsyntax.ConditionalExpr) (cty.Value, bool) {
	cond, ok := s.plain(e.Condition)
	yes, ok2 := s.plain(e.TrueResult)
	no, ok3 := s.plain(e.FalseResult)
	if !ok || !ok2 || !ok3 || cond.Type() != cty.Bool || cond.IsNull() {
		return cty.NilVal, false
	}
	if yes.Type() == cty.DynamicPseudoType {
		yes = cty.NullVal(no.Type())
	} else if no.Type() == cty.DynamicPseudoType {
		no = cty.NullVal(yes.Type())
	}
	if !yes.Type().IsPrimitiveType() || yes.Type() != no.Type() {
		return cty.NilVal, false
	}
	if cond.True() {
		return yes, true
	}
	return no, true
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
