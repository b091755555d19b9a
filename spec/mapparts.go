package spec

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// mapPart is one element of kernel_args or vars.
type mapPart struct {
	key   string
	val   cty.Value
	attr  *attr  // what to evaluate
	pick  string // the element of attr's value to take; empty: attr's value itself
	late  bool   // uses self, and the node is not known
	at    spot   // of the value
	keyAt spot   // of the key
}

// mapParts gives the elements of a map in the order of its keys. Of a map that is written out, each element is evaluated
// by itself.
func (s *scope) mapParts(b *body, name string) []mapPart {
	a := b.attrs[name]
	if a == nil || a.broken {
		return nil
	}
	if pairs, diags := hcl.ExprMap(a.expr); !diags.HasErrors() {
		return s.writtenParts(a, pairs)
	}
	v := s.evalSelf(a)
	late := a.self && s.anyNode()
	if !v.IsKnown() {
		if late && !a.broken {
			s.p.rep.err("self-in-keys", s.spot(a.at()), "Keys depend on the node",
				fmt.Sprintf("The keys of %s must be the same for every node; only its values may use self.", name))
		}
		return nil
	}
	if v.IsNull() {
		return nil
	}
	if t := v.Type(); !t.IsObjectType() && !t.IsMapType() {
		s.wrongType(name, v, "a map", s.spot(a.at()))
		return nil
	}
	var parts []mapPart
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		if k.AsString() == rowKey {
			continue
		}
		parts = append(parts, mapPart{key: k.AsString(), val: e, attr: a, pick: k.AsString(), late: late && !e.IsWhollyKnown(), at: s.spot(a.at()), keyAt: s.spot(a.at())})
	}
	return parts
}

// writtenParts gives the elements of a map written as { key = value, ... }.
func (s *scope) writtenParts(a *attr, pairs []hcl.KeyValuePair) []mapPart {
	if a.parts == nil {
		for _, kv := range pairs {
			key, val := &attr{name: a.name, expr: kv.Key}, &attr{name: a.name, expr: kv.Value}
			s.p.analyseAttr(key)
			s.p.analyseAttr(val)
			a.parts = append(a.parts, [2]*attr{key, val})
		}
	}
	var parts []mapPart
	seen := map[string]hcl.Range{}
	for _, kv := range a.parts {
		k := s.eval(kv[0])
		if !k.IsKnown() {
			continue
		}
		key, ok := s.asString("a key of "+a.name, k, s.spot(kv[0].at()))
		if !ok {
			continue
		}
		if first, dup := seen[key]; dup {
			s.p.rep.err("duplicate-key", s.spot(kv[0].at()), "Duplicate key", fmt.Sprintf("%s has the key %q twice; a repeated argument is a list: %s = [A, B].", a.name, key, key),
				related("The first is here.", s.spot(first)))
			continue
		}
		seen[key] = kv[0].at()
		parts = append(parts, mapPart{key: key, val: s.evalSelf(kv[1]), attr: kv[1], late: kv[1].self && s.anyNode(), at: s.spot(kv[1].at()), keyAt: s.spot(kv[0].at())})
	}
	return parts
}

// anyNode reports whether self stands for every node at once.
func (s *scope) anyNode() bool { return s.self != nil && s.self.n == nil }

func pick(v cty.Value, key string) cty.Value {
	t := v.Type()
	switch {
	case t.IsObjectType() && t.HasAttribute(key):
		return v.GetAttr(key)
	case t.IsMapType():
		return v.Index(cty.StringVal(key))
	}
	return cty.DynamicVal
}
