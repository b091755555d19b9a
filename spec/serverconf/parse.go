package serverconf

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"hostler/spec"
	"hostler/spec/lang"
)

// Parse reads a server configuration; name stands in the diagnostics. Values are constants: there is nothing to refer to. The
// configuration is nil if, and only if, the diagnostics have errors.
func Parse(name string, src []byte) (*Config, spec.Diagnostics) {
	c := Default()
	p := &parser{name: name, src: src, config: &c}
	p.file()
	slices.SortStableFunc(p.ds, func(a, b spec.Diagnostic) int {
		if a.Place.Line != b.Place.Line {
			return a.Place.Line - b.Place.Line
		}
		return a.Place.Column - b.Place.Column
	})
	if p.ds.HasErrors() {
		return nil, p.ds
	}
	return &c, p.ds
}

type parser struct {
	name   string
	src    []byte
	config *Config
	ds     spec.Diagnostics
	broken bool // the text has a mistake of syntax, so that what seems to be missing may be there
}

func (p *parser) file() {
	start := hcl.Range{Filename: p.name, Start: hcl.InitialPos, End: hcl.InitialPos}
	if !utf8.Valid(p.src) {
		p.err("text-refused", start, "", "Text is refused", "The file is not UTF-8 text.")
		return
	}
	if err := lang.Prescan(p.src); err != nil {
		if scan := (*lang.ScanError)(nil); errors.As(err, &scan) {
			start.Start = hcl.Pos{Line: scan.Line, Column: scan.Column, Byte: scan.Offset}
			start.End = start.Start
			err = errors.New(scan.Reason)
		}
		p.err("text-refused", start, "", "Text is refused", fmt.Sprintf("The parser does not read this: %s.", err))
		return
	}
	f, diags := hclsyntax.ParseConfig(p.src, p.name, hcl.InitialPos)
	p.hcl(diags, start, "")
	p.broken = diags.HasErrors()
	if f != nil && f.Body != nil {
		p.body(fileBlock(), f.Body, start, "")
		p.secure(f.Body, start)
	}
}

// secure refuses half of what a TLS listener needs: it would not be there, and nobody would know.
func (p *parser) secure(body hcl.Body, at hcl.Range) {
	listens, shows := p.config.Listen.HTTPS.IsValid(), p.config.TLS.CertFile != ""
	if listens == shows || p.ds.HasErrors() {
		return
	}
	have, detail := "listen", `A listen block with https needs a tls block with cert_file and key_file.`
	if shows {
		have, detail = "tls", `A tls block needs a listener: https = "0.0.0.0:8443" in the listen block.`
	}
	if b, ok := body.(*hclsyntax.Body); ok {
		for _, block := range b.Blocks {
			if block.Type == have {
				at = block.DefRange()
			}
		}
	}
	p.err("missing-block", at, have, "Half a TLS listener", detail)
}

// body holds a block against the table and sets what it says. context is the block's header as written.
func (p *parser) body(b *block, body hcl.Body, at hcl.Range, context string) {
	content, diags := body.Content(b.hcl())
	p.shape(b, diags, at, context)
	for name, a := range content.Attributes {
		v, diags := a.Expr.Value(nil)
		p.hcl(diags, a.Expr.Range(), context)
		if diags.HasErrors() {
			continue
		}
		if v.IsNull() || p.broken && !v.IsWhollyKnown() { // as if it were not written
			continue
		}
		if err := p.set(b.setting(name), v); err != nil {
			p.err("bad-value", a.Expr.Range(), context, "Unsuitable value", fmt.Sprintf("The value of %s: %s.", name, err))
			if errors.Is(err, errPassword) {
				p.hideLine()
			}
		}
	}
	p.required(b, content, diags, at, context)
	first := map[string]hcl.Range{}
	for _, n := range content.Blocks {
		p.nested(b.block(n.Type), n, first)
	}
}

func (p *parser) set(s setting, v cty.Value) error {
	if !v.IsWhollyKnown() {
		return errors.New("a constant is required")
	}
	return s.set(p.config, v)
}

func (p *parser) nested(b *block, n *hcl.Block, first map[string]hcl.Range) {
	header := strings.Join(append([]string{n.Type}, quoted(n.Labels)...), " ")
	key := strings.Join(append([]string{n.Type}, n.Labels...), "\x00")
	if at, again := first[key]; again {
		p.err("duplicate-block", n.DefRange, header, "Duplicate block", fmt.Sprintf("There is a block %s already.", header),
			spec.Related{Text: "The first is here.", Place: place(at), Code: p.line(at)})
		return
	}
	first[key] = n.DefRange
	if b.begin != nil {
		if err := b.begin(p.config, n.Labels[0]); err != nil {
			p.err("bad-value", n.LabelRanges[0], header, "Unsuitable label", fmt.Sprintf("The label: %s.", err))
		}
	}
	before := len(p.ds)
	p.body(b, n.Body, n.DefRange, header)
	if b.end == nil || len(p.ds) > before {
		return
	}
	if err := b.end(p.config); err != nil {
		p.err("bad-block", n.DefRange, header, "Unsuitable block", fmt.Sprintf("The block: %s.", err))
	}
}

func quoted(labels []string) []string {
	var out []string
	for _, l := range labels {
		out = append(out, fmt.Sprintf("%q", l))
	}
	return out
}

// required reports what is missing, unless the block has a name that may be it, misspelt.
func (p *parser) required(b *block, content *hcl.BodyContent, diags hcl.Diagnostics, at hcl.Range, context string) {
	if diags.HasErrors() || p.broken {
		return
	}
	for _, a := range b.attrs {
		if a.required && content.Attributes[a.name] == nil {
			p.err("missing-attribute", at, context, "Missing attribute", fmt.Sprintf("A block %s needs %s.", b.name, a.name))
		}
	}
}

// shape reports names that the table does not have; those that are refused are told why.
func (p *parser) shape(b *block, diags hcl.Diagnostics, at hcl.Range, context string) {
	for _, d := range diags {
		name := ""
		if d.Subject != nil {
			name = string(d.Subject.SliceBytes(p.src))
		}
		why, refused := b.refused[name]
		switch {
		case refused && strings.HasPrefix(why, later):
			p.err("not-in-this-version", *d.Subject, context, "Not in this version", fmt.Sprintf("%q is refused. %s", name, why))
		case refused:
			p.err("refused-setting", *d.Subject, context, "Refused setting", fmt.Sprintf("%q is refused. %s", name, why))
			if strings.HasPrefix(why, secrets) {
				p.hideLine()
			}
		default:
			p.hcl(hcl.Diagnostics{d}, at, context)
		}
	}
}

// hcl records what the library found; at is used where it names no place.
func (p *parser) hcl(diags hcl.Diagnostics, at hcl.Range, context string) {
	for _, d := range diags {
		where := at
		if d.Subject != nil {
			where = *d.Subject
		}
		code := strings.ReplaceAll(strings.ToLower(d.Summary), " ", "-")
		p.err(code, where, context, d.Summary, d.Detail)
	}
}

func (p *parser) err(code string, at hcl.Range, context, summary, detail string, related ...spec.Related) {
	where := place(at)
	p.ds = append(p.ds, spec.Diagnostic{
		Severity: spec.Error, Code: code, Summary: summary, Detail: detail,
		Place: &where, Snippet: p.snippet(at, context), Related: related,
	})
}

// hideLine keeps the source line of the last diagnostic, which holds a secret, off terminals and logs.
func (p *parser) hideLine() { p.ds[len(p.ds)-1].Snippet = nil }

func place(r hcl.Range) spec.Place {
	return spec.Place{File: r.Filename, Line: r.Start.Line, Column: r.Start.Column, EndLine: r.End.Line, EndColumn: r.End.Column}
}

// line is the source line that a range begins in.
func (p *parser) line(r hcl.Range) string {
	start, end := p.bounds(r)
	return string(p.src[start:end])
}

func (p *parser) bounds(r hcl.Range) (start, end int) {
	at := min(r.Start.Byte, len(p.src))
	start = bytes.LastIndexByte(p.src[:at], '\n') + 1
	if end = bytes.IndexByte(p.src[at:], '\n'); end < 0 {
		return start, len(p.src)
	}
	return start, at + end
}

func (p *parser) snippet(r hcl.Range, context string) *spec.Snippet {
	start, end := p.bounds(r)
	if end-start > 500 || !utf8.Valid(p.src[start:end]) { // not a line that helps anyone
		return nil
	}
	s := &spec.Snippet{Context: context, Code: string(p.src[start:end]), Start: min(r.Start.Byte, end) - start, End: end - start}
	if r.End.Byte >= r.Start.Byte {
		s.End = max(min(r.End.Byte, end)-start, s.Start)
	}
	return s
}
