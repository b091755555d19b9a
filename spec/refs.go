package spec

import (
	"fmt"

	"github.com/zclconf/go-cty/cty"
)

// isRef reports whether a value is a reference to a declaration.
func isRef(v cty.Value) bool {
	t := v.Type()
	return t.IsObjectType() && t.HasAttribute("kind") && t.HasAttribute("name") && v.IsKnown() && !v.IsNull() &&
		isString(v.GetAttr("kind")) && isString(v.GetAttr("name"))
}

// ref gives the name of the declaration that an attribute refers to.
func (s *scope) ref(b *body, name, kind string) (string, bool) {
	a := b.attrs[name]
	if a != nil && a.names != nil {
		return a.names[0], true
	}
	v, at, ok := s.value(b, name)
	if !ok {
		return "", false
	}
	text, ok := s.asRef(name, kind, v, at)
	if ok && a.settled {
		a.names = []string{text}
	}
	return text, ok
}

func (s *scope) asRef(name, kind string, v cty.Value, at spot) (string, bool) {
	if isRef(v) && v.GetAttr("kind").AsString() == kind {
		return v.GetAttr("name").AsString(), true
	}
	want := fmt.Sprintf("%s takes %s: %s.NAME", name, article(kind), kind)
	switch {
	case isRef(v):
		s.p.rep.err("wrong-kind", at, "Wrong kind of reference", fmt.Sprintf("%s, but this is %s, %s.", want, s.describe(v), article(v.GetAttr("kind").AsString())))
		return "", false
	case isString(v):
		text := v.AsString()
		if s.p.units[kind][text] != nil && nameProblem(text) == "" {
			s.p.rep.err("wrong-kind", at, "Not a reference", fmt.Sprintf("%s, not a string. Write %s.%s without quotes.", want, kind, text))
			return "", false
		}
	case v.Type().IsObjectType():
		s.p.rep.err("wrong-kind", at, "Not a reference", fmt.Sprintf("%s, but this is an object. Of one with for_each, pick an element: %s.NAME[\"KEY\"].", want, kind))
		return "", false
	}
	s.p.rep.err("wrong-kind", at, "Not a reference", fmt.Sprintf("%s, but this is %s.", want, s.describe(v)))
	return "", false
}

// refs gives the names in a list of references; an absent list is an empty one.
func (s *scope) refs(b *body, name, kind string) ([]string, bool) {
	a := b.attrs[name]
	switch {
	case a == nil:
		return nil, true
	case a.names != nil:
		return a.names, true
	}
	vs, at, ok := s.items(b, name, kind+" references")
	var out []string
	for i, v := range vs {
		if v.IsNull() {
			continue
		}
		n, good := s.asRef(name, kind, v, s.itemSpot(a, i, at))
		ok = ok && good
		out = append(out, n)
	}
	if ok && a.settled {
		a.names = out
	}
	return out, ok
}
