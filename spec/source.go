package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/apparentlymart/go-textseg/v17/textseg"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/json"

	"hostler/spec/lang"
)

// Limits on what is read. The parser's stack is not bounded by itself, and it needs about fifty bytes of memory for a byte of text.
const (
	maxFile  = lang.MaxFile
	maxFiles = 10_000
	maxTotal = 64 << 20
)

// source is one file's text, for showing lines of it.
type source struct {
	text    []byte
	starts  []int    // offsets of line starts
	headers []header // of top-level blocks, ascending
}

type header struct {
	line    int
	text    string // node "web"
	address string // node.web
}

func newSource(text []byte) *source {
	s := &source{text: text, starts: []int{0}}
	for i, c := range text {
		if c == '\n' {
			s.starts = append(s.starts, i+1)
		}
	}
	return s
}

// line gives a line without its end, cut to what a terminal can show.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.starts) {
		return ""
	}
	rest := s.text[s.starts[n-1]:]
	if i := bytes.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i]
	}
	if len(rest) > 500 {
		rest = rest[:500]
	}
	return strings.ToValidUTF8(strings.TrimRight(string(rest), "\r"), "\uFFFD")
}

// context gives the header of the top-level block that a line is in.
func (s *source) context(line int) header {
	i, exact := slices.BinarySearchFunc(s.headers, line, func(h header, l int) int { return h.line - l })
	switch {
	case exact:
		return s.headers[i]
	case i == 0:
		return header{}
	default:
		return s.headers[i-1]
	}
}

// columnOffset turns a column, which counts grapheme clusters, into an offset of bytes.
func columnOffset(line string, column int) int {
	b := []byte(line)
	off := 0
	for c := 1; c < column && off < len(b); c++ {
		n, _, err := textseg.ScanGraphemeClusters(b[off:], true)
		if err != nil || n == 0 {
			break
		}
		off += n
	}
	return off
}

// read finds and parses every file of the spec, in the order of their names; whole says that none had a mistake.
func (p *parser) read() (files []*hcl.File, whole bool) {
	names := p.find()
	total := 0
	for _, name := range names {
		src, why := readBounded(p.in.Files, name)
		if why == "" {
			if total += len(src); total > maxTotal {
				why = fmt.Sprintf("the files of the spec are larger than %d MiB together; put inventory into tables", maxTotal>>20)
			}
		}
		if why != "" {
			p.rep.err("file-refused", fileSpot(name), "File cannot be read", fmt.Sprintf("Reading %s: %s.", name, why))
			continue
		}
		if f := p.parseFile(name, src); f != nil {
			files = append(files, f)
		}
	}
	if len(names) == 0 {
		p.rep.add(Diagnostic{Severity: Error, Code: "no-spec-files", Summary: "No spec files",
			Detail: "There is no file named *.boot.hcl or *.boot.json here or below. Every spec begins with one, for example spec.boot.hcl."})
	}
	return files, p.rep.errors == 0
}

// find lists the files of the spec: all below the root, except in modules and below names that begin with "." or "_".
func (p *parser) find() []string {
	var names []string
	err := fs.WalkDir(p.in.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			if name == "." {
				return err
			}
			p.rep.err("file-refused", fileSpot(name), "File cannot be read", fmt.Sprintf("Reading %s: %s.", name, reason(err)))
			return nil
		}
		base := path.Base(name)
		if name != "." && (base[0] == '.' || base[0] == '_') || name == "modules" {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !d.IsDir() && (strings.HasSuffix(base, ".boot.hcl") || strings.HasSuffix(base, ".boot.json")) {
			if names = append(names, name); len(names) > maxFiles {
				return fmt.Errorf("more than %d files", maxFiles)
			}
		}
		return nil
	})
	if err != nil {
		p.rep.add(Diagnostic{Severity: Error, Code: "file-refused", Summary: "Spec cannot be read", Detail: fmt.Sprintf("Reading the spec: %s.", reason(err))})
	}
	slices.Sort(names)
	return names
}

// readBounded reads a whole regular file, or says why it does not.
func readBounded(fsys fs.FS, name string) (text []byte, why string) {
	for dir := name; dir != "." && dir != "/"; dir = path.Dir(dir) { // a link could lead out of the repository
		if st, err := fs.Lstat(fsys, dir); err == nil && st.Mode()&fs.ModeSymlink != 0 {
			return nil, "it is, or lies below, a symbolic link"
		}
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return nil, reason(err)
	} else if !st.Mode().IsRegular() {
		return nil, "it is not a regular file"
	}
	text, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, reason(err)
	case len(text) > maxFile:
		return nil, fmt.Sprintf("it is larger than %d MiB", maxFile>>20)
	case !utf8.Valid(text):
		return nil, "it is not UTF-8 text"
	}
	return text, ""
}

// reason is an error without the path in front, which is the server's business.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

func fileSpot(name string) spot {
	pos := hcl.Pos{Line: 1, Column: 1}
	return spot{Range: hcl.Range{Filename: name, Start: pos, End: pos}}
}

// parseFile gives the file's syntax tree, or nil if it has none.
func (p *parser) parseFile(name string, text []byte) *hcl.File {
	s := newSource(text)
	p.rep.sources[name] = s
	if err := prescan(name, text); err != nil {
		p.refused(name, err)
		return nil
	}
	var f *hcl.File
	var diags hcl.Diagnostics
	if strings.HasSuffix(name, ".json") {
		f, diags = json.Parse(text, name)
	} else {
		f, diags = hclsyntax.ParseConfig(text, name, hcl.InitialPos)
	}
	p.rep.hcl(diags, fileSpot(name))
	if f == nil || f.Body == nil {
		return nil
	}
	if b, ok := f.Body.(*hclsyntax.Body); ok {
		for _, blk := range b.Blocks {
			s.headers = append(s.headers, header{blk.TypeRange.Start.Line, blockHeader(blk.Type, blk.Labels), strings.Join(append([]string{blk.Type}, blk.Labels...), ".")})
		}
	}
	return f
}

// refused reports text that the scan before parsing did not let through.
func (p *parser) refused(name string, err error) {
	at, why := fileSpot(name), err.Error()
	var scan *lang.ScanError
	if errors.As(err, &scan) {
		at.Start = hcl.Pos{Line: scan.Line, Column: scan.Column, Byte: scan.Offset}
		at.End, why = at.Start, scan.Reason
	}
	p.rep.err("text-refused", at, "Text is refused", fmt.Sprintf("The parser does not read this: %s.", why))
}

func blockHeader(typ string, labels []string) string {
	for _, l := range labels {
		typ += fmt.Sprintf(" %q", l)
	}
	return typ
}

// prescan refuses text that the parser's stack may not bear.
func prescan(name string, text []byte) error {
	if strings.HasSuffix(name, ".json") {
		return lang.PrescanJSON(text)
	}
	return lang.Prescan(text)
}
