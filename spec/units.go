package spec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// unit is something that expressions can name: a variable, a local, or a declaration such as group.compute.
type unit struct {
	root, name string
	body       *body // nil for a local
	local      *attr
	at         hcl.Range
	state      unitState
	val        cty.Value
	same       sameness
	text       string      // of the block, and where it stands; empty when that is not known
	instances  []*instance // of a declaration: one, or one for each element of for_each
}

type unitState uint8

const (
	waiting unitState = iota
	running
	done
)

func (u *unit) String() string { return u.root + "." + u.name }

// instance is a declaration, or one element of a declaration with for_each.
type instance struct {
	*scope
	unit *unit
	name string // in the fleet
	body *body
	seen cty.Value // what self.subnet is, once it was asked for
}

// declare takes the blocks out of the files. A name that is declared twice keeps its first declaration.
func (p *parser) declare(files []*hcl.File) {
	top := &Block{Blocks: Schema()}
	for _, b := range top.Blocks {
		if len(b.Labels) > 0 && b.readable || b.Type == "node" {
			p.units[b.Type] = map[string]*unit{}
		}
	}
	p.units["var"], p.units["local"] = map[string]*unit{}, map[string]*unit{}
	for _, f := range files {
		content, diags := f.Body.Content(top.hcl())
		p.shapeErrors(top, diags)
		for _, blk := range content.Blocks {
			p.declareBlock(p.body(top.nested(blk.Type), blk), blk)
		}
	}
	for _, u := range p.order {
		p.analyseUnit(u)
	}
	for _, b := range []*body{p.spec, p.defaults} {
		p.analyse(b)
	}
}

func (p *parser) declareBlock(b *body, blk *hcl.Block) {
	switch typ := b.schema.Type; typ {
	case "spec":
		p.once(&p.spec, b)
	case "defaults":
		p.once(&p.defaults, b)
	case "locals":
		for _, a := range b.order {
			p.addUnit(&unit{root: "local", name: a.name, local: a, at: a.nameAt})
		}
	case "variable":
		p.addUnit(&unit{root: "var", name: b.labels[0], body: b, at: blk.DefRange})
	default:
		if p.goodName(b.labels[0], typ, spot{Range: blk.LabelRanges[0]}) {
			u := &unit{root: typ, name: b.labels[0], body: b, at: blk.DefRange}
			if x, ok := blk.Body.(*hclsyntax.Body); ok {
				u.text = blk.DefRange.String() + p.textAt(x.Range())
			}
			p.addUnit(u)
		}
	}
}

func (p *parser) once(to **body, b *body) {
	if *to != nil {
		p.rep.err("duplicate-block", spot{Range: b.at}, "Duplicate block",
			fmt.Sprintf("A spec has one %s block; this is another.", b.schema.Type), related("The first is here.", spot{Range: (*to).at}))
		return
	}
	*to = b
}

func (p *parser) addUnit(u *unit) {
	if first := p.units[u.root][u.name]; first != nil {
		p.rep.err("duplicate-name", spot{Range: u.at}, "Duplicate name",
			fmt.Sprintf("%s is declared twice. Names are unique in the whole spec: rename one.", u), related("The first is here.", spot{Range: first.at}))
		return
	}
	p.units[u.root][u.name] = u
	p.order = append(p.order, u)
}

// goodName refuses names that would not survive in a URL or a file name.
func (p *parser) goodName(name, what string, at spot) bool {
	if nameProblem(name) == "" {
		return true
	}
	p.rep.err("bad-name", at, "Name is not allowed", fmt.Sprintf("%q as the name of a %s %s.", name, what, nameProblem(name)))
	return false
}

func nameProblem(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > 63:
		return "is longer than 63 characters"
	case strings.Trim(name, ".") == "":
		return "is a directory's name"
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return fmt.Sprintf("holds %q; use letters, digits, dots, dashes and underscores", c)
		}
	}
	return ""
}

// analyseUnit finds what each expression of a unit refers to, and reports names that nothing declares.
func (p *parser) analyseUnit(u *unit) {
	if u.local != nil {
		p.analyseAttr(u.local)
		return
	}
	p.analyse(u.body)
}

func (p *parser) analyse(b *body) {
	if b == nil {
		return
	}
	for _, a := range b.order {
		if b.schema.Type == "variable" && a.name == "type" {
			continue // string, list(number), ...: keywords, not references
		}
		p.analyseAttr(a)
	}
	for _, nested := range b.blocks {
		for _, n := range nested {
			p.analyse(n)
		}
	}
}

func (p *parser) analyseAttr(a *attr) {
	for _, t := range a.expr.Variables() {
		switch root := t.RootName(); root {
		case "each":
			a.each = true
		case "self":
			a.self = true
		case "node":
			p.rep.err("node-reference", spot{Range: t.SourceRange()}, "Nodes cannot be referenced",
				"Expressions cannot read other nodes in this version. Put the value into a local, and use it in both places.")
			a.broken = true
		default:
			if named, ok := p.units[root]; ok && !p.declared(named, t) {
				a.broken = true
			}
		}
	}
	p.checkEarly(a)
}

// declared reports whether a reference names something, and says so if it does not.
func (p *parser) declared(named map[string]*unit, t hcl.Traversal) bool {
	name, ok := stepName(t)
	if !ok || named[name] != nil {
		return true
	}
	kind, names := t.RootName(), make([]string, 0, len(named))
	for n := range named {
		names = append(names, n)
	}
	slices.Sort(names)
	what := map[string]string{"var": "variable", "local": "local value"}[kind]
	if what == "" {
		what = kind
	}
	detail := fmt.Sprintf("Nothing declares %s.%s.%s", kind, name, didYouMean(name, names))
	if len(names) == 0 {
		detail = fmt.Sprintf("Nothing declares %s.%s; the spec has no %s at all.", kind, name, what)
	}
	p.rep.err("unknown-reference", spot{Range: t.SourceRange()}, "Unknown "+what, detail)
	return false
}

// stepName gives the second step of a reference, if it is written out: compute in group.compute and group["compute"].
func stepName(t hcl.Traversal) (string, bool) {
	if len(t) < 2 {
		return "", false
	}
	switch s := t[1].(type) {
	case hcl.TraverseAttr:
		return s.Name, true
	case hcl.TraverseIndex:
		if s.Key.Type() == cty.String && s.Key.IsKnown() && !s.Key.IsNull() {
			return s.Key.AsString(), true
		}
	}
	return "", false
}
