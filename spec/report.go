package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"hostler/spec/lang"
)

// maxOfKind bounds how many diagnostics of one code are shown: one mistake repeated in every row of a table must not
// bury the others.
const maxOfKind = 50

// spot is where something stands while parsing: a range of a file and, if its values came from a table, the row.
type spot struct {
	hcl.Range
	table string
	row   int
}

func (s spot) place() Place {
	return Place{File: s.Filename, Line: s.Start.Line, Column: s.Start.Column, EndLine: s.End.Line, EndColumn: s.End.Column, Table: s.table, Row: s.row}
}

// report collects diagnostics, folds those with one cause, and gives them source lines.
type report struct {
	sources map[string]*source
	ds      []Diagnostic
	byPlace map[placeKey]int // index into ds of the first of a kind at a place
	more    map[int]int      // how many more there are of that one
	kinds   map[string]int   // how many of a code
	errors  int
}

type placeKey struct {
	code string
	Place
}

func newReport() *report {
	return &report{sources: map[string]*source{}, byPlace: map[placeKey]int{}, more: map[int]int{}, kinds: map[string]int{}}
}

// add records a diagnostic. The same mistake at the same place, as it is found again for each of many nodes, is counted,
// not repeated.
func (r *report) add(d Diagnostic) {
	if d.Severity == Error {
		r.errors++
	}
	key := placeKey{code: d.Code}
	if d.Place != nil {
		key.Place = *d.Place
	}
	if i, ok := r.byPlace[key]; ok && d.Place != nil {
		if r.ds[i].Detail == d.Detail && r.ds[i].Address == d.Address {
			return
		}
		if r.ds[i].Summary == d.Summary {
			r.more[i]++
			return
		}
	}
	if r.kinds[d.Code]++; r.kinds[d.Code] > maxOfKind {
		return
	}
	r.byPlace[key] = len(r.ds)
	r.ds = append(r.ds, d)
}

func (r *report) err(code string, at spot, summary, detail string, related ...Related) {
	p := at.place()
	r.add(Diagnostic{Severity: Error, Code: code, Summary: summary, Detail: detail, Place: &p, Related: related})
}

func (r *report) warn(code string, at spot, summary, detail string, related ...Related) {
	p := at.place()
	r.add(Diagnostic{Severity: Warning, Code: code, Summary: summary, Detail: detail, Place: &p, Related: related})
}

// hcl records diagnostics of the hcl library. Their code is their summary.
func (r *report) hcl(diags hcl.Diagnostics, at spot) {
	for _, d := range diags {
		out := Diagnostic{Severity: Error, Code: codeOf(d.Summary), Summary: d.Summary, Detail: d.Detail}
		if d.Severity == hcl.DiagWarning {
			out.Severity = Warning
		}
		here := at
		if d.Subject != nil {
			here.Range = *d.Subject
		}
		if here.Filename != "" {
			p := here.place()
			out.Place = &p
		}
		r.add(out)
	}
}

// codeOf makes a stable code of a summary: "Unsupported argument" is unsupported-argument.
func codeOf(summary string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(summary), func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9')
	}), "-")
}

// finish gives every diagnostic in the order of the places, with source lines and counts of what was folded.
func (r *report) finish() Diagnostics {
	for i := range r.ds {
		d := &r.ds[i]
		if n := r.more[i]; n > 0 {
			d.Detail += fmt.Sprintf(" The same for %d more.", n)
		}
		if d.Place != nil {
			d.Snippet = r.snippet(*d.Place)
		}
		for j := range d.Related {
			d.Related[j].Code, _ = r.line(d.Related[j].Place)
		}
	}
	for code, n := range r.kinds {
		if n > maxOfKind {
			r.ds = append(r.ds, r.overflow(code, n-maxOfKind))
		}
	}
	slices.SortStableFunc(r.ds, comparePlaces)
	return r.ds
}

func (r *report) overflow(code string, n int) Diagnostic {
	i := slices.IndexFunc(r.ds, func(d Diagnostic) bool { return d.Code == code })
	return Diagnostic{Severity: r.ds[i].Severity, Code: code, Summary: r.ds[i].Summary,
		Detail: fmt.Sprintf("And %d more of this kind, which are not shown.", n)}
}

func comparePlaces(a, b Diagnostic) int {
	if a.Place == nil || b.Place == nil { // without a place: at the end
		if (a.Place == nil) != (b.Place == nil) {
			if a.Place == nil {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.Detail, b.Detail))
	}
	p, q := a.Place, b.Place
	return cmp.Or(cmp.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column),
		cmp.Compare(p.Table, q.Table), cmp.Compare(p.Row, q.Row), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Detail, b.Detail))
}

// line gives the source line of a place: the table's row if there is one.
func (r *report) line(p Place) (string, bool) {
	if p.Row > 0 {
		if s := r.sources[p.Table]; s != nil {
			return s.line(p.Row), true
		}
	}
	if s := r.sources[p.File]; s != nil {
		return s.line(p.Line), true
	}
	return "", false
}

func (r *report) snippet(p Place) *Snippet {
	s := r.sources[p.File]
	if s == nil {
		return nil
	}
	out := &Snippet{Code: s.line(p.Line), Context: s.context(p.Line)}
	out.Start = columnOffset(out.Code, p.Column)
	out.End = len(out.Code)
	if p.EndLine == p.Line {
		out.End = max(columnOffset(out.Code, p.EndColumn), out.Start)
	}
	return out
}

// related gives another place that has to do with a mistake.
func related(text string, at spot) Related { return Related{Text: text, Place: at.place()} }

// didYouMean gives the end of a sentence that suggests the nearest of the names.
func didYouMean(name string, names []string) string {
	if best := lang.Suggest(name, names); best != "" {
		return fmt.Sprintf(" Did you mean %q?", best)
	}
	return ""
}

// placeSpot is the spot of a place.
func placeSpot(p Place) spot {
	return spot{hcl.Range{Filename: p.File, Start: hcl.Pos{Line: p.Line, Column: p.Column}, End: hcl.Pos{Line: p.EndLine, Column: p.EndColumn}}, p.Table, p.Row}
}
