package spec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// body is a block whose shape was held against the table: it has only attributes and blocks that the table knows.
type body struct {
	schema *Block
	labels []string
	at     hcl.Range // the block's header
	attrs  map[string]*attr
	order  []*attr // as written
	blocks map[string][]*body
	odd    bool // it holds something that the table does not have, which is reported

	// Of a node block, once it was looked at: whether it has settings, whether they are the same for all its nodes, and which.
	settingsKnown, hasSettings, fixedSettings bool
	ownLayer                                  *layer
}

// attr is an attribute, its expression and what the expression needs.
type attr struct {
	name    string
	expr    hcl.Expression
	nameAt  hcl.Range
	each    bool // the expression uses each
	self    bool // the expression uses self
	broken  bool // a mistake in it was reported already
	settled bool // val is its value, for every instance
	val     cty.Value
	parts   [][2]*attr // of a map written out: keys and values
	names   []string   // what it refers to, when it is settled and was looked at
}

// body holds a block against its schema.
func (p *parser) body(schema *Block, blk *hcl.Block) *body {
	b := &body{schema: schema, labels: blk.Labels, at: blk.DefRange, attrs: map[string]*attr{}, blocks: map[string][]*body{}}
	if schema.Open {
		attrs, diags := blk.Body.JustAttributes()
		p.rep.hcl(diags, spot{Range: blk.DefRange})
		for _, a := range attrs {
			b.add(a)
		}
		b.sort()
		return b
	}
	content, diags := blk.Body.Content(schema.hcl())
	p.shapeErrors(schema, diags)
	b.odd = diags.HasErrors()
	for _, a := range content.Attributes {
		b.add(a)
	}
	b.sort()
	for _, n := range content.Blocks {
		nested := schema.nested(n.Type)
		if nested.Once && len(b.blocks[n.Type]) > 0 {
			p.rep.err("duplicate-block", spot{Range: n.DefRange}, "Duplicate block",
				fmt.Sprintf("A %s block holds one %s block; this is another.", schema.Type, n.Type),
				related("The first is here.", spot{Range: b.blocks[n.Type][0].at}))
			continue
		}
		b.blocks[n.Type] = append(b.blocks[n.Type], p.body(nested, n))
	}
	p.checkRequired(b)
	return b
}

func (b *body) add(a *hcl.Attribute) {
	x := &attr{name: a.Name, expr: a.Expr, nameAt: a.NameRange}
	b.attrs[a.Name] = x
	b.order = append(b.order, x)
}

// sort puts the attributes in the order of the text, which a map has lost.
func (b *body) sort() {
	slices.SortFunc(b.order, func(x, y *attr) int {
		if x.nameAt.Start.Byte != y.nameAt.Start.Byte {
			return x.nameAt.Start.Byte - y.nameAt.Start.Byte
		}
		return strings.Compare(x.name, y.name)
	})
}

// checkRequired reports attributes that the table demands. A block with a misspelt name gets the one error about that.
func (p *parser) checkRequired(b *body) {
	if b.odd {
		return
	}
	for _, a := range b.schema.Attrs {
		if a.Required && b.attrs[a.Name] == nil {
			p.rep.err("missing-attribute", spot{Range: b.at}, "Missing attribute",
				fmt.Sprintf("%s block needs %s. %s", capital(article(b.schema.Type)), a.Name, a.Doc))
		}
	}
}

// shapeErrors reports attributes and blocks that the table does not have; those of a later version are named as such.
func (p *parser) shapeErrors(schema *Block, diags hcl.Diagnostics) {
	for _, d := range diags {
		if d.Subject != nil {
			name := strings.Trim(p.textAt(*d.Subject), `"`)
			later := schema.Later
			if schema.Type == "" {
				later = laterBlocks()
			}
			if slices.Contains(schema.Secret, name) {
				p.rep.err(codeSecret, spot{Range: *d.Subject}, "Secret in a spec",
					fmt.Sprintf("%s is no part of a spec, which many can read and git keeps for ever: remove it here, and if it was pushed, replace it there. The server's configuration has a block s3 for it.", name))
				continue
			}
			if slices.Contains(later, name) {
				where := "a spec"
				if schema.Type != "" {
					where = article(schema.Type) + " block"
				}
				p.rep.err("not-in-this-version", spot{Range: *d.Subject}, "Not in this version",
					fmt.Sprintf("The language has %q in %s, but this version of hostler does not do it yet. Remove it.", name, where))
				continue
			}
		}
		if d.Subject != nil && !strings.Contains(d.Detail, "Did you mean") {
			c := *d
			c.Detail += didYouMean(strings.Trim(p.textAt(*d.Subject), `"`), schema.names())
			d = &c
		}
		p.rep.hcl(hcl.Diagnostics{d}, spot{})
	}
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (p *parser) textAt(r hcl.Range) string {
	s := p.rep.sources[r.Filename]
	if s == nil || r.End.Byte > len(s.text) || r.Start.Byte > r.End.Byte {
		return ""
	}
	return string(s.text[r.Start.Byte:r.End.Byte])
}

// only gives the nested block of a type that may occur once.
func (b *body) only(typ string) *body {
	if bs := b.blocks[typ]; len(bs) > 0 {
		return bs[0]
	}
	return nil
}

// at is where the value of an attribute stands.
func (a *attr) at() hcl.Range { return a.expr.Range() }
