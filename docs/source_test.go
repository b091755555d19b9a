// Package docs holds the repository to its own rules: the architecture to the sources, the documents to what is there.
// It has no code but tests. They open every file that they judge, so that go test runs them again when one changes.
package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "hostler/"

// source is a parsed Go file.
type source struct {
	*ast.File
	path string // from the root of the repository, with slashes
	fset *token.FileSet
}

func (s source) dir() string          { return path.Dir(s.path) }
func (s source) test() bool           { return strings.HasSuffix(s.path, "_test.go") }
func (s source) line(p token.Pos) int { return s.fset.Position(p).Line }

func (s source) imports() (paths []string) {
	for _, i := range s.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		paths = append(paths, p)
	}
	return paths
}

// files lists the repository's files, without what git ignores and git's own.
func files(t *testing.T) (names []string) {
	t.Helper()
	skip := []string{".git", "bin", "dist"}
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel("..", name)
		if slices.Contains(skip, rel) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil // .git is a file in a linked working tree
		}
		if d.Type().IsRegular() {
			names = append(names, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func sources(t *testing.T) (all []source) {
	t.Helper()
	fset := token.NewFileSet()
	for _, name := range files(t) {
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, read(t, name), parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			continue
		}
		all = append(all, source{f, name, fset})
	}
	if len(all) < 10 {
		t.Fatalf("found %d Go files: this is not the repository", len(all))
	}
	return all
}

var (
	tableRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| .* \\| ([^|]+) \\|$")
	quoted   = regexp.MustCompile("`([^`]+)`")
)

// importTable reads the table in architecture.md: package to the patterns that it may import.
func importTable(t *testing.T) map[string][]string {
	t.Helper()
	_, section, ok := strings.Cut(read(t, "docs/architecture.md"), "\n## Packages\n")
	section, _, _ = strings.Cut(section, "\n## ")
	table := map[string][]string{}
	for _, row := range tableRow.FindAllStringSubmatch(section, -1) {
		allowed := []string{}
		switch row[2] {
		case "all":
			allowed = []string{"..."}
		case "none":
		default:
			for _, m := range quoted.FindAllStringSubmatch(row[2], -1) {
				allowed = append(allowed, m[1])
			}
			if len(allowed) == 0 {
				t.Errorf("architecture.md: row %s: %q names no package", row[1], row[2])
			}
		}
		table[row[1]] = allowed
	}
	if !ok || len(table) < 10 {
		t.Fatal("architecture.md has no table of packages")
	}
	return table
}

// matches reports whether a package is meant by a pattern: itself, or PREFIX/... for everything below.
func matches(pattern, pkg string) bool {
	prefix, below := strings.CutSuffix(pattern, "...")
	return pattern == pkg || below && strings.HasPrefix(pkg, prefix)
}

func TestImports(t *testing.T) {
	table := importTable(t)
	there := map[string]bool{}
	defer func() {
		for pkg := range table {
			if !there[pkg] {
				t.Errorf("docs/architecture.md has a row for %s, which is no package", pkg)
			}
		}
	}()
	for _, s := range sources(t) {
		there[s.dir()] = true
		allowed, known := table[s.dir()]
		if !known {
			t.Errorf("%s: package %s has no row in docs/architecture.md", s.path, s.dir())
			continue
		}
		for _, p := range s.imports() {
			ours, ok := strings.CutPrefix(p, module)
			if !ok || s.test() || slices.ContainsFunc(allowed, func(a string) bool { return matches(a, ours) }) {
				continue
			}
			t.Errorf("%s imports %s, which docs/architecture.md does not allow", s.path, ours)
		}
	}
}

func TestTopLevel(t *testing.T) {
	want := []string{"cmd", "docs", "examples", "reconcile", "render", "servers", "spec", "testdata"}
	for _, name := range files(t) {
		top, _, below := strings.Cut(name, "/")
		if below && !strings.HasPrefix(top, ".") && !slices.Contains(want, top) {
			t.Errorf("%s is in none of the folders %v", name, want)
		}
	}
}

// Rendering is pure: nothing in it can tell the time, throw a die, open a file or a socket, or log.
func TestRenderIsPure(t *testing.T) {
	forbidden := []string{"os", "os/exec", "net", "net/http", "log", "log/slog", "math/rand", "math/rand/v2", "crypto/rand", "io/ioutil", "syscall", "unsafe"}
	for _, s := range sources(t) {
		if s.test() || s.dir() != "render" && s.dir() != "render/fact" && s.dir() != "spec" {
			continue
		}
		for _, p := range s.imports() {
			if slices.Contains(forbidden, p) {
				t.Errorf("%s imports %s", s.path, p)
			}
		}
		for _, c := range calls(s, "time", "Now", "Since", "Until", "Sleep", "After", "NewTimer", "NewTicker") {
			t.Errorf("%s:%d reads the clock", s.path, s.line(c.Pos()))
		}
	}
}

// calls finds the uses of names of a package.
func calls(s source, pkg string, names ...string) (found []*ast.SelectorExpr) {
	ast.Inspect(s.File, func(n ast.Node) bool {
		if e, ok := n.(*ast.SelectorExpr); ok && slices.Contains(names, e.Sel.Name) {
			if x, ok := e.X.(*ast.Ident); ok && x.Name == pkg {
				found = append(found, e)
			}
		}
		return true
	})
	return found
}

// Only these may log: every other package returns what it has to say.
func TestWhoLogs(t *testing.T) {
	for _, s := range sources(t) {
		top, _, _ := strings.Cut(s.path, "/")
		if s.test() || slices.Contains([]string{"cmd", "reconcile", "servers"}, top) {
			continue
		}
		if p := s.imports(); slices.Contains(p, "log/slog") || slices.Contains(p, "log") {
			t.Errorf("%s logs", s.path)
		}
	}
}

func TestPackageComments(t *testing.T) {
	comments := map[string][]string{}
	for _, s := range sources(t) {
		if _, seen := comments[s.dir()]; !seen {
			comments[s.dir()] = nil
		}
		if s.Doc != nil && !strings.HasSuffix(s.Name.Name, "_test") {
			comments[s.dir()] = append(comments[s.dir()], s.path)
		}
	}
	for pkg, in := range comments {
		if len(in) != 1 {
			t.Errorf("package %s has %d package comments, want one: %v", pkg, len(in), in)
		}
	}
}

// The longest function may have a hundred lines; a table may have more.
const longestFunction = 100

func TestFunctions(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if f.Name.Name == "init" && f.Recv == nil {
				t.Errorf("%s has an init function: nothing happens only because a package is imported", s.path)
			}
			if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > longestFunction && !s.test() {
				t.Errorf("%s: %s has %d lines, more than %d", s.path, f.Name.Name, n, longestFunction)
			}
		}
	}
}

// A process ends in main, and nowhere else: everything above it has returned, and cleaned up. Packages that only help
// tests may start the test program again, and end that.
func TestExit(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() || slices.Contains(s.imports(), "testing") {
			continue
		}
		exits := calls(s, "os", "Exit")
		for _, d := range s.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.Name.Name == "main" && f.Name.Name == "main" {
				exits = slices.DeleteFunc(exits, func(e *ast.SelectorExpr) bool { return f.Pos() <= e.Pos() && e.End() <= f.End() })
			}
		}
		exits = append(exits, calls(s, "log", "Fatal", "Fatalf", "Fatalln", "Panic", "Panicf")...)
		for _, e := range exits {
			t.Errorf("%s:%d: %s.%s ends the process outside of func main", s.path, s.line(e.Pos()), e.X, e.Sel.Name)
		}
	}
}
