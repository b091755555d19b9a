package lang

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// rowAttr is the attribute that tabledecode adds to each row: "FILE:LINE". An attribute and not a cty mark, because marks
// spread to the whole collection when a row's value becomes a key, and every node would then come from every row.
const rowAttr = "_row"

// The bounds of a table.
const (
	maxColumns = 1000
	maxRows    = 500_000
)

// RowOf says which line of which table a row came from. It holds for a row object of tabledecode, and for what merge made of
// one; anything else gives false.
func RowOf(v cty.Value) (file string, row int, ok bool) {
	v, _ = v.Unmark()
	t := v.Type()
	if v.IsNull() || !v.IsKnown() {
		return "", 0, false
	}
	var at cty.Value
	switch {
	case t.IsObjectType() && t.HasAttribute(rowAttr):
		at = v.GetAttr(rowAttr)
	case t.IsMapType() && t.ElementType() == cty.String && v.HasIndex(cty.StringVal(rowAttr)).True():
		at = v.Index(cty.StringVal(rowAttr))
	default:
		return "", 0, false
	}
	at, _ = at.Unmark()
	if at.Type() != cty.String || at.IsNull() || !at.IsKnown() {
		return "", 0, false
	}
	file, line, found := cutLast(at.AsString(), ":")
	row, err := strconv.Atoi(line)
	return file, row, found && err == nil && row > 0
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// StripRows drops the places that tabledecode adds to rows, anywhere inside v: they are for diagnostics, and a value that is
// served must not change because a line was inserted above it.
func StripRows(v cty.Value) cty.Value {
	out, err := cty.Transform(v, func(_ cty.Path, v cty.Value) (cty.Value, error) {
		if v.IsMarked() || v.IsNull() || !v.IsKnown() {
			return v, nil
		}
		switch t := v.Type(); {
		case t.IsObjectType() && t.HasAttribute(rowAttr):
			m := v.AsValueMap()
			delete(m, rowAttr)
			return cty.ObjectVal(m), nil
		case t.IsMapType() && t.ElementType() == cty.String && v.HasIndex(cty.StringVal(rowAttr)).True():
			m := v.AsValueMap()
			delete(m, rowAttr)
			if len(m) == 0 {
				return cty.MapValEmpty(cty.String), nil
			}
			return cty.MapVal(m), nil
		}
		return v, nil
	})
	if err != nil { // a transformed collection does not fit together: keep what there was
		return v
	}
	return out
}

// tableFunc is tabledecode(path): the rows of a CSV, TSV, JSON or YAML file as a list of objects.
func (t *Tree) tableFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{stringParam("path")},
		Type: func(args []cty.Value) (cty.Type, error) {
			if !args[0].IsKnown() {
				return cty.DynamicPseudoType, nil
			}
			v, err := t.table(args[0].AsString())
			if err != nil {
				return cty.DynamicPseudoType, err
			}
			return v.Type(), nil
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return t.table(args[0].AsString()) },
	})
}

func (t *Tree) table(p string) (cty.Value, error) {
	if err := checkPath(p); err != nil {
		return cty.NilVal, err
	}
	clean := path.Clean(p)
	if v, ok := t.tables[clean]; ok {
		return v, nil
	}
	src, err := t.text(p)
	if err != nil {
		return cty.NilVal, err
	}
	if t.before != nil && t.before.texts[clean] == src {
		if v, ok := t.before.tables[clean]; ok {
			t.tables[clean] = v
			return v, nil
		}
	}
	v, err := decodeTable(clean, src)
	if err != nil {
		return cty.NilVal, fmt.Errorf("reading the table %s: %w", p, err)
	}
	t.tables[clean] = v
	return v, nil
}

// decodeTable reads a table; file names it in the rows and gives its format by its suffix.
func decodeTable(file, src string) (cty.Value, error) {
	switch ext := strings.ToLower(path.Ext(file)); ext {
	case ".csv", ".tsv":
		return decodeDelimited(src, delimiter(file), file)
	case ".json":
		return decodeJSONTable(file, src)
	case ".yaml", ".yml":
		return decodeYAMLTable(file, src)
	default:
		return cty.NilVal, fmt.Errorf("its suffix %q is none of .csv, .tsv, .json, .yaml and .yml", ext)
	}
}

// decodeDelimited makes objects of rows, which get their place if file is not empty.
func decodeDelimited(src string, comma rune, file string) (cty.Value, error) {
	records, header, err := readDelimited(src, comma)
	if err != nil {
		return cty.NilVal, err
	}
	if len(records) == 0 {
		return cty.ListValEmpty(rowType(header, file)), nil
	}
	rows := make([]cty.Value, len(records))
	for i, r := range records {
		vals := r.object()
		if file != "" {
			vals[rowAttr] = cty.StringVal(file + ":" + strconv.Itoa(r.Line))
		}
		rows[i] = cty.ObjectVal(vals)
	}
	return cty.ListVal(rows), nil
}

func rowType(header []string, file string) cty.Type {
	attrs := map[string]cty.Type{}
	for _, h := range header {
		attrs[h] = cty.String
	}
	if file != "" {
		attrs[rowAttr] = cty.String
	}
	return cty.Object(attrs)
}

func checkHeader(header []string) error {
	if len(header) > maxColumns {
		return fmt.Errorf("line 1 names %d columns, and %d is the most", len(header), maxColumns)
	}
	at := map[string]int{}
	for i, h := range header {
		switch {
		case h == "":
			return fmt.Errorf("line 1: column %d has no name", i+1)
		case h != strings.TrimSpace(h):
			return fmt.Errorf("line 1: the name of column %d, %q, has spaces around it", i+1, h)
		case h == rowAttr:
			return fmt.Errorf("line 1: the name of column %d, %q, is taken: rows carry their own place under it", i+1, h)
		case at[h] > 0:
			return fmt.Errorf("line 1: columns %d and %d are both named %q", at[h], i+1, h)
		}
		at[h] = i + 1
	}
	return nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// decodeJSONTable reads an array of objects. The places of rows are the lines on which their objects begin.
func decodeJSONTable(file, src string) (cty.Value, error) {
	if err := jsonNesting(src); err != nil {
		return cty.NilVal, err
	}
	d := json.NewDecoder(strings.NewReader(src))
	if tok, err := d.Token(); err != nil || tok != json.Delim('[') {
		return cty.NilVal, errors.New("it is not a JSON array of objects")
	}
	var rows []cty.Value
	var lines []int
	lineAt := lineCounter(src)
	for d.More() {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return cty.NilVal, fmt.Errorf("line %d: %w", lineAt(int(d.InputOffset())), err)
		}
		line := lineAt(int(d.InputOffset()) - len(raw))
		v, err := decodeJSON(string(raw))
		if err != nil {
			return cty.NilVal, fmt.Errorf("line %d: %w", line, err)
		}
		rows, lines = append(rows, v), append(lines, line)
	}
	if _, err := d.Token(); err != nil {
		return cty.NilVal, fmt.Errorf("line %d: the array does not end", lineAt(len(src)))
	}
	if _, err := d.Token(); err != io.EOF {
		return cty.NilVal, fmt.Errorf("line %d: there is something after the array", lineAt(int(d.InputOffset())))
	}
	return placeRows(file, rows, func(i int) int { return lines[i] })
}

// decodeYAMLTable reads a sequence of mappings.
func decodeYAMLTable(file, src string) (cty.Value, error) {
	v, err := decodeYAML(src)
	if err != nil {
		return cty.NilVal, err
	}
	n, err := yamlNode(src)
	if err != nil {
		return cty.NilVal, err
	}
	if v.IsNull() || !v.Type().IsTupleType() {
		return cty.NilVal, errors.New("it is not a YAML sequence of mappings")
	}
	items := n.Content[0].Content // of the document's only value
	return placeRows(file, v.AsValueSlice(), func(i int) int {
		if i < len(items) {
			return items[i].Line
		}
		return 0
	})
}

// placeRows makes a list of rows, or a tuple when their types differ, and gives each its place.
func placeRows(file string, rows []cty.Value, line func(int) int) (cty.Value, error) {
	same := true
	for i, r := range rows {
		if r.IsNull() || !r.Type().IsObjectType() {
			return cty.NilVal, fmt.Errorf("item %d is not an object", i+1)
		}
		m := r.AsValueMap()
		if m == nil {
			m = map[string]cty.Value{}
		}
		if _, taken := m[rowAttr]; taken {
			return cty.NilVal, fmt.Errorf("item %d has the attribute %q, which is taken: rows carry their own place under it", i+1, rowAttr)
		}
		if n := line(i); n > 0 {
			m[rowAttr] = cty.StringVal(file + ":" + strconv.Itoa(n))
		}
		rows[i] = cty.ObjectVal(m)
		same = same && rows[i].Type().Equals(rows[0].Type())
	}
	switch {
	case len(rows) == 0:
		return cty.EmptyTupleVal, nil
	case same:
		return cty.ListVal(rows), nil
	}
	return cty.TupleVal(rows), nil
}

// lineCounter gives the line of an offset; offsets must not go back.
func lineCounter(src string) func(offset int) int {
	line, seen := 1, 0
	return func(offset int) int {
		offset = min(max(offset, seen), len(src))
		line += strings.Count(src[seen:offset], "\n")
		seen = offset
		return line
	}
}
