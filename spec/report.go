package spec

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"hostler/spec/lang"
)

// Bounds on what is shown: one mistake repeated in every row of a table, or for every node of a group, must not bury the
// others.
const (
	maxOfKind  = 50 // of one code
	maxAtPlace = 3  // of one code at one place
)

// codeSecret is the one mistake whose source line is not shown.
const codeSecret = "secret-in-spec"

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
	files   fs.FS
	sources map[string]*source
	ds      []Diagnostic
	byPlace map[placeKey][]int // indexes into ds of those of a kind at a place
	more    map[int]int        // how many more there are of that one
	kinds   map[string]int     // how many of a code
	errors  int
}

type placeKey struct {
	code string
	Place
}

func newReport(files fs.FS) *report {
	return &report{files: files, sources: map[string]*source{}, byPlace: map[placeKey][]int{}, more: map[int]int{}, kinds: map[string]int{}}
}

// add records a diagnostic. Mistakes of one kind at one place, as they are found again for each of many nodes, are shown
// maxAtPlace times and then counted.
func (r *report) add(d Diagnostic) { r.addUpTo(maxAtPlace, d) }

func (r *report) addUpTo(most int, d Diagnostic) {
	if d.Severity == Error {
		r.errors++
	}
	key := placeKey{code: d.Code}
	if d.Place != nil {
		key.Place = *d.Place
	}
	same := r.byPlace[key]
	if d.Place != nil && slices.ContainsFunc(same, func(i int) bool { return r.ds[i].Detail == d.Detail }) {
		return
	}
	if d.Place != nil && len(same) >= most {
		r.more[same[len(same)-1]]++
		return
	}
	if r.kinds[d.Code]++; r.kinds[d.Code] > maxOfKind {
		return
	}
	r.byPlace[key] = append(same, len(r.ds))
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
func (r *report) hcl(diags hcl.Diagnostics, at spot) { r.hclFor("", diags, at) }

// hclFor is hcl for an expression that is evaluated for a node, and may go wrong in the same way for every other one.
func (r *report) hclFor(node string, diags hcl.Diagnostics, at spot) {
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
		if node == "" {
			r.add(out)
			continue
		}
		out.Detail += " That is so for " + node + "."
		r.addUpTo(1, out)
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
			if d.Code != codeSecret {
				d.Snippet = r.snippet(*d.Place)
			}
			if s := r.sources[d.Place.File]; s != nil {
				d.Address = s.context(d.Place.Line).address
			}
		}
		for j := range d.Related {
			if s, line := r.source(d.Related[j].Place); s != nil {
				d.Related[j].Code = s.line(line)
			}
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

// source gives the text that a place is about, and its line there: the row of the table if there is one.
func (r *report) source(p Place) (*source, int) {
	if p.Row > 0 {
		if s := r.load(p.Table); s != nil {
			return s, p.Row
		}
	}
	return r.sources[p.File], p.Line
}

// load gives the text of a table. It was decoded before, so that reading it again is as safe.
func (r *report) load(name string) *source {
	if s, ok := r.sources[name]; ok {
		return s
	}
	r.sources[name] = nil
	if text, why := readBounded(r.files, name); why == "" {
		r.sources[name] = newSource(text)
	}
	return r.sources[name]
}

// snippet gives the line of a place: of a row of a table the whole row, in the block that asked for it.
func (r *report) snippet(p Place) *Snippet {
	s, line := r.source(p)
	if s == nil {
		return nil
	}
	out := &Snippet{Code: s.line(line)}
	out.End = len(out.Code)
	if file := r.sources[p.File]; file != nil {
		out.Context = file.context(p.Line).text
		if file == s {
			out.Start = columnOffset(out.Code, p.Column)
			if p.EndLine == p.Line {
				out.End = max(columnOffset(out.Code, p.EndColumn), out.Start)
			}
		}
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
