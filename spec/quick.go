package spec

import (
	"path"
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
	case t.RootName() != "each" || s.elem == nil:
	case name == "key" && len(t) == 2:
		return cty.StringVal(s.elem.key), true
	case name == "value" && len(t) == 3:
		if attr, ok := t[2].(hcl.TraverseAttr); ok {
			return s.elem.attr(attr.Name)
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

// attr gives an attribute of the element's value.
func (e *element) attr(name string) (cty.Value, bool) {
	if e.rec.IsZero() {
		return plainAttr(e.val, name)
	}
	text, ok := e.rec.Field(cty.NormalizeString(name))
	return cty.StringVal(text), ok
}

// plainAttr gives an attribute of an object, if it is a known value of a primitive type without marks.
func plainAttr(obj cty.Value, name string) (cty.Value, bool) {
	if obj.IsMarked() || !obj.Type().IsObjectType() || !obj.IsKnown() || obj.IsNull() || !obj.Type().HasAttribute(name) {
		return cty.NilVal, false
	}
	v := obj.GetAttr(name)
	return v, v.Type().IsPrimitiveType() && !v.IsMarked() && v.IsKnown()
}

// rowsByKey gives the elements of { for r in tabledecode("FILE") : r.NAME => r }, in the order of their keys.
func (p *parser) rowsByKey(a *attr) ([]element, bool) {
	f, ok := a.expr.(*hclsyntax.ForExpr)
	if !ok || a.broken || f.KeyVar != "" || f.CondExpr != nil || f.Group || f.KeyExpr == nil {
		return nil, false
	}
	row, ok := f.ValExpr.(*hclsyntax.ScopeTraversalExpr)
	key, ok2 := f.KeyExpr.(*hclsyntax.ScopeTraversalExpr)
	call, ok3 := f.CollExpr.(*hclsyntax.FunctionCallExpr)
	if !ok || !ok2 || !ok3 || len(row.Traversal) != 1 || len(key.Traversal) != 2 || row.Traversal.RootName() != f.ValVar || key.Traversal.RootName() != f.ValVar {
		return nil, false
	}
	name, ok := stepName(key.Traversal)
	if !ok || call.Name != "tabledecode" || len(call.Args) != 1 || call.ExpandFinal {
		return nil, false
	}
	file, diags := call.Args[0].Value(nil)
	if diags.HasErrors() || !isString(file) {
		return nil, false
	}
	return p.recordsByKey(file.AsString(), name)
}

func (p *parser) recordsByKey(file, column string) ([]element, bool) {
	rows, ok := p.tree.Records(file)
	if !ok || len(rows) == 0 {
		return nil, false
	}
	list := make([]element, len(rows))
	for i, r := range rows {
		key, ok := r.Field(cty.NormalizeString(column))
		if !ok {
			return nil, false
		}
		list[i] = element{key: key, rec: r, table: path.Clean(file), row: r.Line}
	}
	slices.SortFunc(list, func(x, y element) int { return strings.Compare(x.key, y.key) })
	for i := 1; i < len(list); i++ {
		if list[i].key == list[i-1].key { // hcl says which
			return nil, false
		}
	}
	return list, true
}
