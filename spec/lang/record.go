package lang

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

// A Record is a row of a table whose values are all text. It is a small part of the object that expressions see.
type Record struct {
	columns, fields []string
	Line            int
}

// IsZero reports whether it is no row at all.
func (r Record) IsZero() bool { return r.columns == nil }

// Field gives the value of a column.
func (r Record) Field(column string) (string, bool) {
	i := slices.Index(r.columns, column)
	if i < 0 {
		return "", false
	}
	return r.fields[i], true
}

// Value is the row as an object, without its place.
func (r Record) Value() cty.Value { return cty.ObjectVal(r.object()) }

func (r Record) object() map[string]cty.Value {
	vals := make(map[string]cty.Value, len(r.columns)+1)
	for i, name := range r.columns {
		vals[name] = cty.StringVal(r.fields[i])
	}
	return vals
}

// Equal reports whether two rows have the same values, wherever they stand.
func (r Record) Equal(other Record) bool {
	return slices.Equal(r.columns, other.columns) && slices.Equal(r.fields, other.fields)
}

// Records gives the rows that tabledecode(p) gives as objects, if p is a CSV or TSV file without mistakes.
func (t *Tree) Records(p string) ([]Record, bool) {
	if checkPath(p) != nil {
		return nil, false
	}
	clean := path.Clean(p)
	if rows, ok := t.records[clean]; ok {
		return rows, true
	}
	comma := delimiter(clean)
	if comma == 0 {
		return nil, false
	}
	src, err := t.text(p)
	if err != nil {
		return nil, false
	}
	rows, _, err := readDelimited(src, comma)
	if err != nil {
		return nil, false
	}
	t.records[clean] = rows
	return rows, true
}

func delimiter(file string) rune {
	switch strings.ToLower(path.Ext(file)) {
	case ".csv":
		return ','
	case ".tsv":
		return '\t'
	}
	return 0
}

// readDelimited reads comma or tab separated values with a header line.
func readDelimited(src string, comma rune) (rows []Record, header []string, err error) {
	if strings.HasPrefix(src, "\ufeff") {
		return nil, nil, errors.New("it begins with a byte order mark: save it as UTF-8 without one, or its first column has another name than it seems")
	}
	if err := noNUL(src); err != nil {
		return nil, nil, err
	}
	r := csv.NewReader(strings.NewReader(src))
	r.Comma, r.FieldsPerRecord, r.ReuseRecord = comma, -1, true
	first, err := r.Read()
	if err == io.EOF {
		return nil, nil, errors.New("it is empty: the first line must name the columns")
	} else if err != nil {
		return nil, nil, csvError(err)
	}
	header = normalized(first)
	if err := checkHeader(header); err != nil {
		return nil, nil, err
	}
	rows, err = readRows(r, header)
	return rows, header, err
}

// normalized copies texts as cty keeps them.
func normalized(texts []string) []string {
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = cty.NormalizeString(text)
	}
	return out
}

func readRows(r *csv.Reader, header []string) ([]Record, error) {
	var rows []Record
	for {
		rec, err := r.Read()
		if err == io.EOF {
			return rows, nil
		} else if err != nil {
			return nil, csvError(err)
		}
		line, _ := r.FieldPos(0)
		if len(rec) != len(header) {
			return nil, fmt.Errorf("line %d has %s, and line 1 names %d", line, count(len(rec), "column"), len(header))
		}
		if len(rows) == maxRows {
			return nil, fmt.Errorf("it has more than %d rows", maxRows)
		}
		rows = append(rows, Record{header, normalized(rec), line})
	}
}

// csvError says what encoding/csv says, as this package words it.
func csvError(err error) error {
	if e := (*csv.ParseError)(nil); errors.As(err, &e) {
		return fmt.Errorf("line %d, column %d: %w", e.Line, e.Column, e.Err)
	}
	return err
}
