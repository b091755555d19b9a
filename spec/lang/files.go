package lang

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// MaxFile is the largest file that a spec may be, or may read with a function, in bytes.
const MaxFile = 8 << 20

// Tree is the files of a revision as functions read them. It remembers them and the tables made of them, and belongs to one
// goroutine and to one evaluation.
type Tree struct {
	files   fs.FS
	texts   map[string]string
	tables  map[string]cty.Value
	records map[string][]Record
	before  *Tree
}

// NewTree makes a tree. Tables that are the same in before, the tree of another revision, are taken from there; it may be nil.
func NewTree(files fs.FS, before *Tree) *Tree {
	return &Tree{files: files, texts: map[string]string{}, tables: map[string]cty.Value{}, records: map[string][]Record{}, before: before}
}

// Forget lets go of the tree before this one.
func (t *Tree) Forget() { t.before = nil }

// Same reports whether a file has the text that it had in the tree before this one.
func (t *Tree) Same(p string) bool {
	if t.before == nil {
		return false
	}
	old, known := t.before.texts[path.Clean(p)]
	if !known {
		return false
	}
	text, err := t.read(p)
	return err == nil && text == old
}

func fileFunctions(t *Tree, pure map[string]function.Function) map[string]function.Function {
	return map[string]function.Function{
		"file":           early(stringFunc(func(a []string) (string, error) { return t.text(a[0]) }, "path")),
		"fileexists":     early(t.existsFunc()),
		"fileset":        early(t.setFunc()),
		"filesha256":     early(stringFunc(func(a []string) (string, error) { return t.sha256(a[0]) }, "path")),
		"tabledecode":    early(t.tableFunc()),
		"templatefile":   templateFunc("path", t.template, pure),
		"templatestring": templateFunc("template", templateSource, pure),
	}
}

// check refuses paths that are not plainly inside the tree.
func checkPath(p string) error {
	switch {
	case strings.HasPrefix(p, "/"):
		return fmt.Errorf("the path %q is absolute: files are named relative to the root of the spec", p)
	case strings.IndexByte(p, 0) >= 0:
		return errors.New("the path holds a NUL byte")
	case strings.Contains(p, `\`):
		return fmt.Errorf(`the path %q has a backslash: parts are separated by "/"`, p)
	}
	for _, part := range strings.Split(p, "/") {
		if part == ".." {
			return fmt.Errorf("the path %q leaves the spec: \"..\" is not possible", p)
		}
	}
	return nil
}

// read gives the bytes of a file.
func (t *Tree) read(p string) (string, error) {
	if err := checkPath(p); err != nil {
		return "", err
	}
	clean := path.Clean(p)
	if text, ok := t.texts[clean]; ok {
		return text, nil
	}
	text, err := readFile(t.files, clean)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", p, err)
	}
	t.texts[clean] = text
	return text, nil
}

// readFile reads a regular file within bounds. Its errors hold no path of the machine it runs on.
func readFile(files fs.FS, p string) (string, error) {
	f, err := files.Open(p)
	if errors.Is(err, fs.ErrNotExist) {
		return "", errors.New("there is no such file in the spec")
	} else if err != nil {
		return "", pathless(err)
	}
	defer f.Close()
	switch info, err := f.Stat(); {
	case err != nil:
		return "", pathless(err)
	case info.IsDir():
		return "", errors.New("it is a directory")
	case !info.Mode().IsRegular():
		return "", errors.New("it is not a regular file")
	case info.Size() > MaxFile:
		return "", fmt.Errorf("it has %d bytes, and %d is the most that a spec may read", info.Size(), MaxFile)
	}
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	switch {
	case err != nil:
		return "", pathless(err)
	case len(b) > MaxFile:
		return "", fmt.Errorf("it has more than %d bytes, the most that a spec may read", MaxFile)
	case strings.HasPrefix(string(b), "version https://git-lfs.github.com/spec/"):
		return "", errors.New("it is a git-lfs pointer, not the file: hostler does not fetch from git-lfs, commit the file itself")
	}
	return string(b), nil
}

func pathless(err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// text gives a file that is text.
func (t *Tree) text(p string) (string, error) {
	s, err := t.read(p)
	if err != nil {
		return "", err
	}
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("reading %s: it is not UTF-8 text", p)
	}
	if err := noNUL(s); err != nil {
		return "", fmt.Errorf("reading %s: %w", p, err)
	}
	return s, nil
}

func (t *Tree) sha256(p string) (string, error) {
	s, err := t.read(p)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:]), nil
}

func (t *Tree) existsFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{stringParam("path")},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			p := args[0].AsString()
			if err := checkPath(p); err != nil {
				return fail(err)
			}
			info, err := fs.Stat(t.files, path.Clean(p))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fail(fmt.Errorf("reading %s: %w", p, pathless(err)))
			}
			return cty.BoolVal(err == nil && info.Mode().IsRegular()), nil
		},
	})
}

// setFunc is fileset(path, pattern): the names of files below path that match, relative to path. "**" matches any folders.
func (t *Tree) setFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{stringParam("path"), stringParam("pattern")},
		Type:   function.StaticReturnType(cty.Set(cty.String)),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			names, err := t.glob(args[0].AsString(), args[1].AsString())
			if err != nil {
				return fail(err)
			}
			if len(names) == 0 {
				return cty.SetValEmpty(cty.String), nil
			}
			return cty.SetVal(names), nil
		},
	})
}

func (t *Tree) glob(dir, pattern string) ([]cty.Value, error) {
	if err := checkPath(dir); err != nil {
		return nil, err
	}
	parts := strings.Split(pattern, "/")
	if _, err := path.Match(pattern, ""); err != nil || len(parts) > 20 {
		return nil, fmt.Errorf("the pattern %q is not one: it has *, ?, [a-z] and ** between slashes", pattern)
	}
	root := path.Clean(dir)
	var names []cty.Value
	seen := 0
	err := fs.WalkDir(t.files, root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if seen++; seen > 100_000 {
			return fmt.Errorf("there are more than 100000 files below it")
		}
		if d.IsDir() && d.Name() == ".git" {
			return fs.SkipDir
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(p, root), "/")
		if root == "." {
			rel = p
		}
		if d.Type().IsRegular() && matchParts(parts, strings.Split(rel, "/")) {
			names = append(names, cty.StringVal(rel))
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("listing %s: %w", dir, pathless(err))
	}
	return names, nil
}

// matchParts matches a path with a pattern, part by part. The work is at most the product of their lengths.
func matchParts(pattern, name []string) bool {
	reach := make([]bool, len(name)+1) // reach[i]: the pattern so far matches the first i parts
	reach[0] = true
	for _, p := range pattern {
		next := make([]bool, len(name)+1)
		for i := range reach {
			switch {
			case p == "**":
				next[i] = reach[i] || i > 0 && next[i-1]
			case i > 0 && reach[i-1]:
				next[i], _ = path.Match(p, name[i-1])
			}
		}
		reach = next
	}
	return reach[len(name)]
}
