package spec

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"hostler/spec/lang"
)

// evaluate gives every unit its value, each after those that it refers to, and then one context with all of them.
func (p *parser) evaluate() {
	p.unusedVars()
	for _, u := range p.order {
		if u.root != "node" {
			p.ensure(u, u.at)
		}
	}
	p.ctx = &hcl.EvalContext{Functions: p.funcs, Variables: map[string]cty.Value{}}
	for root, units := range p.units {
		if root == "node" {
			continue
		}
		vals := make(map[string]cty.Value, len(units))
		for name, u := range units {
			vals[name] = u.val
		}
		p.ctx.Variables[root] = cty.ObjectVal(vals)
	}
}

// ensure evaluates a unit unless it is evaluated. Coming back to one that is being evaluated is a cycle.
func (p *parser) ensure(u *unit, from hcl.Range) {
	switch u.state {
	case done:
		return
	case running:
		p.cycle(u, from)
		return
	}
	u.state, u.val = running, cty.DynamicVal
	p.stack = append(p.stack, u)
	switch u.root {
	case "local":
		if p.recall(u) {
			break
		}
		u.val = (&scope{p: p}).eval(u.local)
	case "var":
		u.val = p.variable(u)
	default:
		u.val = p.reference(u)
	}
	p.stack = p.stack[:len(p.stack)-1]
	u.state = done
}

func (p *parser) cycle(u *unit, from hcl.Range) {
	loop := p.stack[slices.Index(p.stack, u):]
	text := loop[0].String() + " needs itself"
	var places []Related
	if len(loop) > 1 {
		text = loop[0].String()
		for _, x := range append(loop[1:len(loop):len(loop)], loop[0]) {
			text += " needs " + x.String() + ", which"
		}
		text = strings.TrimSuffix(text, ", which")
		for _, x := range loop {
			places = append(places, related(x.String()+" is declared here.", spot{Range: x.at}))
		}
	}
	p.rep.err("dependency-cycle", spot{Range: from}, "Dependency cycle", text+". Break the circle: one of them must be written out.", places...)
}

// needs evaluates what an expression refers to, and gives a context that holds just that.
func (p *parser) needs(expr hcl.Expression) *hcl.EvalContext {
	found := map[string]map[string]cty.Value{}
	for _, t := range expr.Variables() {
		root := t.RootName()
		units, ok := p.units[root]
		if !ok {
			continue
		}
		if found[root] == nil {
			found[root] = map[string]cty.Value{}
		}
		if name, ok := stepName(t); ok {
			if u := units[name]; u != nil {
				p.ensure(u, t.SourceRange())
				found[root][name] = u.val
			}
			continue
		}
		for _, name := range sortedKeys(units) { // group[each.value.role] may be any of them
			p.ensure(units[name], t.SourceRange())
			found[root][name] = units[name].val
		}
	}
	ctx := &hcl.EvalContext{Functions: p.funcs, Variables: map[string]cty.Value{}}
	for root, vals := range found {
		ctx.Variables[root] = cty.ObjectVal(vals)
	}
	return ctx
}

func sortedKeys[V any](m map[string]V) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	sort.Strings(ks)
	return ks
}

// variable gives the value of a variable block: what was given, else its default, converted and validated.
func (p *parser) variable(u *unit) cty.Value {
	s, typ := &scope{p: p, owner: u.String()}, cty.DynamicPseudoType
	var defaults *typeexpr.Defaults
	if a := u.body.attrs["type"]; a != nil {
		var diags hcl.Diagnostics
		typ, defaults, diags = typeexpr.TypeConstraintWithDefaults(a.expr)
		if p.rep.hcl(diags, spot{Range: a.at()}); diags.HasErrors() {
			return cty.DynamicVal
		}
	}
	var v cty.Value
	at := spot{Range: u.at}
	if given, ok := p.in.Vars[u.name]; ok {
		v, ok = p.givenValue(u, given, typ)
		if !ok {
			return cty.DynamicVal
		}
	} else if a := u.body.attrs["default"]; a != nil {
		v, at = s.eval(a), spot{Range: a.at()}
	} else {
		p.rep.err("variable-without-value", at, "Variable has no value",
			fmt.Sprintf("var.%s has no default, and no value is given: use -var %s=VALUE, or add a default.", u.name, u.name))
		return cty.DynamicVal
	}
	if defaults != nil && !v.IsNull() && v.IsKnown() {
		v = defaults.Apply(v)
	}
	v, err := convert.Convert(v, typ)
	if err != nil {
		p.rep.err("wrong-type", at, "Wrong type", fmt.Sprintf("The value of var.%s is not %s: %s.", u.name, typeexpr.TypeString(typ), err))
		return cty.DynamicVal
	}
	p.validate(u, v)
	return v
}

// givenValue reads a value from outside the spec: text for a string, else an expression of constants.
func (p *parser) givenValue(u *unit, given string, typ cty.Type) (cty.Value, bool) {
	if typ.IsPrimitiveType() || typ == cty.DynamicPseudoType {
		return cty.StringVal(given), true
	}
	at := spot{Range: u.at}
	if err := lang.Prescan([]byte(given)); err != nil {
		p.rep.err("text-refused", at, "Text is refused", fmt.Sprintf("The value given for var.%s is not read: %s.", u.name, err))
		return cty.DynamicVal, false
	}
	expr, diags := hclsyntax.ParseExpression([]byte(given), u.String(), hcl.InitialPos)
	if !diags.HasErrors() {
		var v cty.Value
		if v, diags = expr.Value(nil); !diags.HasErrors() {
			return v, true
		}
	}
	p.rep.err("wrong-type", at, "Wrong type", fmt.Sprintf("The value given for var.%s does not read as %s: %s", u.name, typeexpr.TypeString(typ), diags[0].Detail))
	return cty.DynamicVal, false
}

func (p *parser) validate(u *unit, v cty.Value) {
	u.val, u.state = v, done // a condition reads var.NAME
	s := &scope{p: p, owner: u.String()}
	for _, b := range u.body.blocks["validation"] {
		ok, known := s.flag(b, "condition")
		if !known || ok {
			continue
		}
		message, _ := s.str(b, "error_message")
		p.rep.err("invalid-variable", spot{Range: b.attrs["condition"].at()}, "Variable is not valid", message,
			related("The variable is declared here.", spot{Range: u.at}))
	}
}

func (p *parser) unusedVars() {
	for _, name := range sortedKeys(p.in.Vars) {
		if p.units["var"][name] == nil {
			p.rep.add(Diagnostic{Severity: Error, Code: "undeclared-variable", Summary: "Variable is not declared",
				Detail: fmt.Sprintf("A value is given for %q, but the spec has no such variable block.%s", name, didYouMean(name, sortedKeys(p.units["var"])))})
		}
	}
}

// reference gives the value of a declaration: an object with its kind, name and readable attributes; with for_each, an object of
// those by key.
func (p *parser) reference(u *unit) cty.Value {
	elements, ok := p.elements(u)
	if !ok {
		return cty.DynamicVal
	}
	if elements == nil {
		in := &instance{scope: &scope{p: p, owner: u.String()}, unit: u, name: u.name, body: u.body}
		u.instances = []*instance{in}
		return in.object()
	}
	vals := map[string]cty.Value{}
	for _, e := range elements {
		in := &instance{scope: e.scope(p, u), unit: u, name: u.name + "." + e.key, body: u.body}
		if !p.goodName(in.name, u.root, in.spot(u.body.attrs["for_each"].at())) {
			continue
		}
		u.instances = append(u.instances, in)
		vals[e.key] = in.object()
	}
	return cty.ObjectVal(vals)
}

// object is what expressions see of a declaration. All of a kind have the same type, so that a condition can choose between them.
func (in *instance) object() cty.Value {
	vals := map[string]cty.Value{"kind": cty.StringVal(in.unit.root), "name": cty.StringVal(in.name)}
	for _, a := range in.body.schema.Attrs {
		if !a.Read {
			continue
		}
		typ := a.readType()
		vals[a.Name] = cty.NullVal(typ)
		if x := in.body.attrs[a.Name]; x != nil {
			v, err := convert.Convert(in.eval(x), typ)
			if err != nil {
				v = cty.UnknownVal(typ) // reported where the attribute is decoded
			}
			vals[a.Name] = v
		}
	}
	return cty.ObjectVal(vals)
}

// readType is the type that others see of an attribute.
func (a Attr) readType() cty.Type {
	switch a.Type {
	case "number":
		return cty.Number
	case "list(ip)":
		return cty.List(cty.String)
	case "map(string)":
		return cty.Map(cty.String)
	default:
		return cty.String
	}
}

// common checks what no one else reads of a declaration.
func (in *instance) common() {
	in.str(in.body, description)
	in.labelList(in.body, "labels")
}
