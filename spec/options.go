package spec

import (
	"fmt"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"hostler/spec/option"
)

// option decodes an option block into an entry.
func (s *scope) option(b *body) (entry, bool) {
	name := b.labels[0]
	known, ok := s.optionType(b)
	if !ok {
		return entry{}, false
	}
	e := entry{path: "option." + known.Name, action: Set, at: s.spot(b.at)}
	a := b.attrs["value"]
	if a == nil {
		return e, false
	}
	e.at = s.spot(a.at())
	v := s.eval(a)
	if !v.IsWhollyKnown() {
		return e, false
	}
	o := Option{Name: known.Name, Code: known.Code, Place: s.spot(b.at).place()}
	if v.IsNull() {
		o.Remove, e.action = true, Removed
		e.apply = func(t *Settings) { t.Options = append(t.Options, o) }
		return e, true
	}
	texts, ok := s.optionValues(name, v, e.at)
	if !ok {
		return e, false
	}
	data, err := option.Encode(known.Type, texts)
	if err != nil {
		s.p.rep.err("bad-option-value", e.at, "Bad option value", fmt.Sprintf("Option %s is of type %s: %s.", name, known.Type, err))
		return e, false
	}
	o.Data, o.Text = data, strings.Join(texts, " ")
	o.Force, _ = s.flag(b, "force")
	e.text = o.Text
	e.apply = func(t *Settings) { t.Options = append(t.Options, o) }
	return e, true
}

// optionType gives number and type of an option: by its name, or as the block says.
func (s *scope) optionType(b *body) (option.Option, bool) {
	name, at := b.labels[0], s.spot(b.at)
	known, found := option.Lookup(name)
	code, hasCode := s.number(b, "code", 0, 255)
	typ, hasType := s.choice(b, "type", option.OwnTypes()...)
	switch {
	case found && hasCode && code != int64(known.Code):
		s.p.rep.err("option-code", s.spot(b.attrs["code"].at()), "Wrong option code", fmt.Sprintf("%s is option %d. Remove code, or give your own option another name.", name, known.Code))
		return known, false
	case found:
		if hasType {
			known.Type = option.Type(typ)
		}
		return known, true
	case b.attrs["code"] == nil:
		s.p.rep.err("unknown-option", at, "Unknown option", fmt.Sprintf("There is no DHCP option named %q.%s An own option needs code and type.", name, didYouMean(name, option.Names())))
		return known, false
	case !hasCode || b.attrs["type"] != nil && !hasType:
		return known, false
	case option.Owned(int(code)) != "":
		s.p.rep.err("reserved-option", s.spot(b.attrs["code"].at()), "Option is not yours to set", fmt.Sprintf("Option %d cannot be set: %s.", code, option.Owned(int(code))))
		return known, false
	case !hasType:
		s.p.rep.err("missing-attribute", at, "Missing attribute", fmt.Sprintf("The own option %q needs a type: %s.", name, strings.Join(option.OwnTypes(), ", ")))
		return known, false
	}
	return option.Option{Code: uint8(code), Name: name, Type: option.Type(typ)}, s.p.goodName(name, "option", at)
}

// optionValues gives the value of an option as a list of texts.
func (s *scope) optionValues(name string, v cty.Value, at spot) ([]string, bool) {
	vs := []cty.Value{v}
	if t := v.Type(); t.IsTupleType() || t.IsListType() || t.IsSetType() {
		vs = v.AsValueSlice()
	}
	var texts []string
	for _, x := range vs {
		if x.Type().IsPrimitiveType() && !x.IsNull() && x.IsKnown() {
			t, _ := convert.Convert(x, cty.String)
			text, ok := s.asString("option "+name, t, at)
			if !ok {
				return nil, false
			}
			texts = append(texts, text)
			continue
		}
		s.wrongType("option "+name, x, "a string, a number, true, false or a list of them", at)
		return nil, false
	}
	return texts, true
}
