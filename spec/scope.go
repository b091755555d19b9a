package spec

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"hostler/spec/lang"
)

// scope is where expressions are evaluated: for a declaration, or for one element of its for_each.
type scope struct {
	p     *parser
	owner string   // address of the declaration, for messages
	elem  *element // of for_each; nil: there is none
	self  *subject // for evalSelf; nil where self may not be used
	ctx   *hcl.EvalContext
	table string // of the element of for_each
	row   int
}

func (s *scope) spot(r hcl.Range) spot { return spot{r, s.table, s.row} }

// element is one element of a for_each.
type element struct {
	key   string
	val   cty.Value
	rec   lang.Record // instead of val: a row, of which few expressions need the whole
	table string
	row   int
}

func (e *element) value() cty.Value {
	if e.rec.IsZero() {
		return e.val
	}
	return e.rec.Value()
}

func (e *element) equal(f *element) bool {
	if e.rec.IsZero() && f.rec.IsZero() {
		return e.val.RawEquals(f.val)
	}
	return e.rec.Equal(f.rec)
}

func (e *element) scope(p *parser, u *unit) *scope {
	return &scope{p: p, owner: fmt.Sprintf("%s[%q]", u, e.key), elem: e, table: e.table, row: e.row}
}

// each is what expressions see of the element.
func (s *scope) each() cty.Value {
	return cty.ObjectVal(map[string]cty.Value{"key": cty.StringVal(s.elem.key), "value": s.elem.value()})
}

// elements gives the elements of a declaration's for_each: nil when it has none, not ok after a mistake.
func (p *parser) elements(u *unit) (list []element, ok bool) {
	a := u.body.attrs["for_each"]
	if a == nil {
		return nil, true
	}
	s := &scope{p: p, owner: u.String()}
	if a.each {
		p.rep.err("each-outside-for-each", spot{Range: a.at()}, "No element here", "for_each cannot use each: it is what each is taken from.")
		return nil, false
	}
	if list, ok := p.rowsByKey(a); ok {
		return p.finishElements(a, list)
	}
	v := s.eval(a)
	if !v.IsKnown() {
		return nil, false
	}
	bad := func(why string) ([]element, bool) {
		p.rep.err("bad-for-each", spot{Range: a.at()}, "for_each cannot use this", why)
		return nil, false
	}
	t := v.Type()
	switch {
	case v.IsNull():
		return bad("The value is null. Write {} for no elements.")
	case t.IsTupleType() || t.IsListType():
		return bad("The value is a list, whose elements have no lasting names. Make it a map, for example { for r in LIST : r.name => r }, or a set with toset().")
	case t.IsSetType() && t.ElementType() != cty.String:
		return bad("The value is a set, but not of strings. Make it a map with a name for each element.")
	case !t.IsSetType() && !t.IsMapType() && !t.IsObjectType():
		return bad("The value is " + article(t.FriendlyName()) + "; it must be a map, or a set of strings.")
	}
	list = make([]element, 0, v.LengthInt())
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		if !k.IsKnown() {
			return nil, false
		}
		if k.IsNull() {
			return bad("An element is null.")
		}
		list = append(list, element{key: k.AsString(), val: e})
	}
	a.val, a.settled = cty.NilVal, false // as large as all elements, and not needed again
	return p.finishElements(a, list)
}

// finishElements takes the places of rows out of the elements.
func (p *parser) finishElements(a *attr, list []element) ([]element, bool) {
	for i := range list {
		x := &list[i]
		if strings.IndexByte(x.key, 0) >= 0 {
			p.rep.err("bad-for-each", spot{Range: a.at()}, "for_each cannot use this",
				"A key holds a value that is only known when a machine asks (url, self_url or bootserver).")
			return nil, false
		}
		var fromTable bool
		if !x.rec.IsZero() {
			continue
		}
		if x.table, x.row, fromTable = lang.RowOf(x.val); fromTable {
			x.val = withoutRow(x.val)
		}
	}
	return oneType(list), true
}

// oneType gives elements of equal types one type between them: each came with a type of its own, as large as itself.
func oneType(list []element) []element {
	vals := make([]cty.Value, len(list))
	for i := range list {
		if !list[i].rec.IsZero() {
			return list
		}
		if vals[i] = list[i].val; !vals[i].Type().Equals(vals[0].Type()) || !vals[i].Type().IsObjectType() {
			return list
		}
	}
	if len(list) == 0 {
		return list
	}
	i := 0
	for it := cty.ListVal(vals).ElementIterator(); it.Next(); i++ {
		_, list[i].val = it.Element()
	}
	return list
}

// withoutRow takes the place of a table's row off it: what is made of the row must not change when a line is added above.
func withoutRow(v cty.Value) cty.Value {
	if !v.Type().IsObjectType() {
		return lang.StripRows(v)
	}
	vals := v.AsValueMap()
	delete(vals, rowKey)
	return cty.ObjectVal(vals)
}

// article puts "a" or "an" before a noun.
func article(noun string) string {
	if noun != "" && strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

// selfName names the node that self stands for, if it stands for one.
func (s *scope) selfName(uses bool) string {
	if !uses || s.self.n == nil {
		return ""
	}
	return "node " + string(s.self.n.Name)
}

// context gives the names that an expression may use here.
func (s *scope) context(a *attr) *hcl.EvalContext {
	if s.p.ctx == nil { // not everything is evaluated yet
		ctx := s.p.needs(a.expr)
		if s.elem != nil {
			ctx.Variables["each"] = s.each()
		}
		return ctx
	}
	if s.ctx == nil {
		s.ctx = s.p.ctx
		if s.elem != nil {
			s.ctx = s.p.ctx.NewChild()
			s.ctx.Variables = map[string]cty.Value{"each": s.each()}
		}
	}
	if s.self != nil && a.self {
		child := s.ctx.NewChild()
		child.Variables = map[string]cty.Value{"self": s.self.value()}
		return child
	}
	return s.ctx
}

// eval gives the value of an attribute, unknown after a mistake, which is reported. What depends on neither each nor
// self is evaluated once.
func (s *scope) eval(a *attr) cty.Value { return s.evaluate(a, false) }

// evalSelf is eval where self may be used: the node, or every node at once.
func (s *scope) evalSelf(a *attr) cty.Value { return s.evaluate(a, s.self != nil) }

func (s *scope) evaluate(a *attr, self bool) cty.Value {
	switch {
	case a.broken:
		return cty.DynamicVal
	case a.settled:
		return a.val
	case a.each && s.elem == nil:
		s.p.rep.err("each-outside-for-each", s.spot(a.at()), "No element here",
			fmt.Sprintf("%s uses each, but %s has no for_each.", a.name, s.owner))
		a.broken = true
		return cty.DynamicVal
	case a.self && !self:
		s.p.rep.err("self-outside-settings", s.spot(a.at()), "No node here",
			fmt.Sprintf("%s uses self, which is only known in kernel_args, vars and templates.", a.name))
		return cty.DynamicVal
	}
	if a.each || a.self {
		if v, ok := s.plain(a.expr); ok {
			return v
		}
	}
	ctx := s.context(a)
	v, diags := a.expr.Value(ctx)
	failed := diags.HasErrors()
	if len(diags) > 0 {
		s.p.rep.hclFor(s.selfName(self && a.self), s.p.clearer(diags), s.spot(a.at()))
	}
	if failed {
		v = cty.DynamicVal
	} else if s.p.unknown == nil && !(a.self && s.anyNode()) && !v.IsWhollyKnown() {
		at := s.spot(a.at()) // because of a mistake elsewhere, which must have been reported: nothing is left out without one
		s.p.unknown = &at
	}
	if !a.each && !a.self {
		a.val, a.settled = v, true
	}
	return v
}
