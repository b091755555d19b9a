package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"hostler/spec"
)

// printDiagnostics writes mistakes for people, laid out as Terraform's: a rule at the left, the summary, the place with its
// source line and the part underlined, related places, and the detail wrapped to the width.
func printDiagnostics(w io.Writer, ds spec.Diagnostics, color bool, width int) {
	for _, d := range ds {
		p := &diagnosticPrinter{color: color, width: max(width-2, 20)}
		p.diagnostic(d)
		io.WriteString(w, p.ruled(d.Severity))
	}
}

// diagnosticPrinter collects the lines of one diagnostic.
type diagnosticPrinter struct {
	color bool
	width int // of what stands right of the rule
	lines []string
}

// The escapes of ECMA-48 that are used.
const (
	colorError     = "\x1b[31m"
	colorWarning   = "\x1b[33m"
	colorBold      = "\x1b[1m"
	colorUnderline = "\x1b[4m"
	colorReset     = "\x1b[0m"
)

func (p *diagnosticPrinter) paint(color, s string) string {
	if !p.color || s == "" {
		return s
	}
	return color + s + colorReset
}

func (p *diagnosticPrinter) line(format string, args ...any) {
	p.lines = append(p.lines, strings.TrimRight(fmt.Sprintf(format, args...), " "))
}

func (p *diagnosticPrinter) diagnostic(d spec.Diagnostic) {
	word, color := "Error", colorError
	if d.Severity == spec.Warning {
		word, color = "Warning", colorWarning
	}
	p.line("%s%s", p.paint(color, word+": "), p.paint(colorBold, clean(d.Summary)))
	p.line("")
	if d.Place != nil {
		p.place(*d.Place, d.Snippet)
	}
	for _, r := range d.Related {
		p.line("  %s", clean(r.Text))
		p.related(r)
	}
	if d.Detail == "" {
		return
	}
	if d.Place != nil || len(d.Related) > 0 {
		p.line("")
	}
	for _, l := range wrap(clean(d.Detail), p.width) {
		p.line("%s", l)
	}
}

// place writes where it is, and the source line with a second line that marks the part: colour alone says nothing to a file
// or to someone who does not see it.
func (p *diagnosticPrinter) place(at spec.Place, s *spec.Snippet) {
	line := at.Line
	where := fmt.Sprintf("  on %s line %d", clean(at.File), at.Line)
	if at.Row > 0 { // the snippet shows the row
		line = at.Row
		where = fmt.Sprintf("  on %s line %d, by %s line %d", clean(at.Table), at.Row, clean(at.File), at.Line)
	}
	if s != nil && s.Context != "" {
		where += ", in " + clean(s.Context)
	}
	p.line("%s:", where)
	if s == nil {
		return
	}
	number := fmt.Sprintf("%4d: ", line)
	start, end := bounds(s)
	before, part, after := clean(s.Code[:start]), clean(s.Code[start:end]), clean(s.Code[end:])
	p.line("%s%s%s%s", number, before, p.paint(colorUnderline, part), after)
	if marks := utf8.RuneCountInString(part); marks > 0 && strings.TrimSpace(before+after) != "" {
		p.line("%s%s", strings.Repeat(" ", len(number)+utf8.RuneCountInString(before)), strings.Repeat("^", marks))
	}
}

// bounds are the marked part, inside the line whatever the snippet says and without splitting characters.
func bounds(s *spec.Snippet) (start, end int) {
	start = min(max(s.Start, 0), len(s.Code))
	end = min(max(s.End, start), len(s.Code))
	for start > 0 && start < len(s.Code) && !utf8.RuneStart(s.Code[start]) {
		start--
	}
	for end < len(s.Code) && !utf8.RuneStart(s.Code[end]) {
		end++
	}
	return start, end
}

func (p *diagnosticPrinter) related(r spec.Related) {
	at := r.Place
	if at.Row > 0 {
		at = spec.Place{File: at.Table, Line: at.Row}
	}
	p.line("  on %s line %d:", clean(at.File), at.Line)
	if r.Code != "" {
		p.line("%4d: %s", at.Line, clean(r.Code))
	}
}

// ruled puts the rule at the left of the lines.
func (p *diagnosticPrinter) ruled(s spec.Severity) string {
	color := colorError
	if s == spec.Warning {
		color = colorWarning
	}
	rule := func(r string) string { return p.paint(color, r) }
	var b strings.Builder
	b.WriteString(rule("╷") + "\n")
	for _, l := range p.lines {
		b.WriteString(strings.TrimRight(rule("│")+" "+l, " ") + "\n")
	}
	b.WriteString(rule("╵") + "\n")
	return b.String()
}

// clean makes text from a repository harmless to a terminal: control characters would move its cursor or change its title.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError:
			return '\uFFFD'
		}
		return r
	}, s)
}

// wrap breaks text into lines of at most width characters. Lines that begin with a space are kept as they are.
func wrap(text string, width int) []string {
	var out []string
	for _, l := range strings.Split(text, "\n") {
		if strings.HasPrefix(l, " ") || utf8.RuneCountInString(l) <= width {
			out = append(out, l)
			continue
		}
		line := ""
		for _, word := range strings.Fields(l) {
			if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
				out = append(out, line)
				line = ""
			}
			line = strings.TrimPrefix(line+" "+word, " ")
		}
		out = append(out, line)
	}
	return out
}

// jsonDiagnostics is the shape of `terraform validate -json`, which editors and continuous integration read already; code,
// address and related are ours.
type jsonDiagnostics struct {
	FormatVersion string           `json:"format_version"`
	Valid         bool             `json:"valid"`
	ErrorCount    int              `json:"error_count"`
	WarningCount  int              `json:"warning_count"`
	Diagnostics   []jsonDiagnostic `json:"diagnostics"`
}

type jsonDiagnostic struct {
	Severity spec.Severity `json:"severity"`
	Summary  string        `json:"summary"`
	Detail   string        `json:"detail"`
	Range    *jsonRange    `json:"range,omitempty"`
	Snippet  *jsonSnippet  `json:"snippet,omitempty"`
	Code     string        `json:"code,omitempty"`
	Address  string        `json:"address,omitempty"`
	Related  []jsonRelated `json:"related,omitempty"`
}

type jsonRange struct {
	Filename string  `json:"filename"`
	Start    jsonPos `json:"start"`
	End      jsonPos `json:"end"`
	Table    string  `json:"table,omitempty"` // the value came from this line of a table
	Row      int     `json:"row,omitempty"`
}

type jsonPos struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

type jsonSnippet struct {
	Context   *string    `json:"context"`
	Code      string     `json:"code"`
	StartLine int        `json:"start_line"`
	Start     int        `json:"highlight_start_offset"`
	End       int        `json:"highlight_end_offset"`
	Values    []struct{} `json:"values"`
}

type jsonRelated struct {
	Message string    `json:"message"`
	Range   jsonRange `json:"range"`
}

func printDiagnosticsJSON(w io.Writer, ds spec.Diagnostics) {
	out := jsonDiagnostics{FormatVersion: "1.0", Valid: !ds.HasErrors(), Diagnostics: make([]jsonDiagnostic, 0, len(ds))}
	for _, d := range ds {
		if d.Severity == spec.Error {
			out.ErrorCount++
		} else {
			out.WarningCount++
		}
		out.Diagnostics = append(out.Diagnostics, newJSONDiagnostic(d))
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(out) // only writing can go wrong, and there is nowhere else to say so
}

// diagnosticMessage writes a diagnostic as one line of the event stream of `plan -json`.
func (env *environment) diagnosticMessage(d spec.Diagnostic) {
	word, level := "Error", "error"
	if d.Severity == spec.Warning {
		word, level = "Warning", "warn"
	}
	env.message(level, "diagnostic", word+": "+d.Summary, map[string]any{"diagnostic": newJSONDiagnostic(d)})
}

func newJSONDiagnostic(d spec.Diagnostic) jsonDiagnostic {
	j := jsonDiagnostic{Severity: d.Severity, Summary: d.Summary, Detail: d.Detail, Code: d.Code, Address: d.Address}
	if d.Place != nil {
		r := newJSONRange(*d.Place)
		j.Range = &r
		if s := d.Snippet; s != nil {
			start, end := bounds(s)
			j.Snippet = &jsonSnippet{Code: s.Code, StartLine: d.Place.Line, Start: start, End: end, Values: []struct{}{}}
			if s.Context != "" {
				j.Snippet.Context = &s.Context
			}
		}
	}
	for _, r := range d.Related {
		j.Related = append(j.Related, jsonRelated{Message: r.Text, Range: newJSONRange(r.Place)})
	}
	return j
}

func newJSONRange(p spec.Place) jsonRange {
	return jsonRange{
		Filename: p.File, Table: p.Table, Row: p.Row,
		Start: jsonPos{p.Line, p.Column},
		End:   jsonPos{cmp.Or(p.EndLine, p.Line), cmp.Or(p.EndColumn, p.Column)},
	}
}
