package lang

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/zclconf/go-cty/cty"

	"hostler/render/fact"
)

var update = flag.Bool("update", false, "rewrite the expected results in testdata")

// TestFunctions evaluates the expressions of testdata/*.txtar against the files that stand beside them.
func TestFunctions(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal("no cases", err)
	}
	called := map[string]bool{}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files := fstest.MapFS{}
			for _, f := range a.Files[1:] {
				files[f.Name] = &fstest.MapFile{Data: f.Data}
			}
			var got strings.Builder
			for _, line := range strings.Split(string(a.Files[0].Data), "\n") {
				if src, ok := strings.CutPrefix(line, "> "); ok {
					fmt.Fprintf(&got, "> %s\n%s\n", src, eval(t, files, src, called))
				}
			}
			if *update {
				a.Files[0].Data = []byte(got.String())
				if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(string(a.Files[0].Data), got.String()); d != "" {
				t.Error(d)
			}
		})
	}
	for name := range Functions(NewTree(fstest.MapFS{}, nil)) {
		if !called[name] {
			t.Errorf("no case calls %s", name)
		}
	}
}

// eval gives the value of an expression as JSON with late values visible, or its error.
func eval(t testing.TB, files fstest.MapFS, src string, called map[string]bool) string {
	t.Helper()
	expr, diags := hclsyntax.ParseExpression([]byte(src), "x", hcl.InitialPos)
	if diags.HasErrors() {
		return "syntax: " + diags[0].Detail
	}
	_ = hclsyntax.VisitAll(expr, func(n hclsyntax.Node) hcl.Diagnostics {
		if c, ok := n.(*hclsyntax.FunctionCallExpr); ok {
			called[c.Name] = true
		}
		return nil
	})
	v, diags := expr.Value(&hcl.EvalContext{Functions: Functions(NewTree(files, nil))})
	if diags.HasErrors() {
		return "error: " + fact.Text(diags[0].Detail).String()
	}
	return show(t, v)
}

func show(t testing.TB, v cty.Value) string {
	t.Helper()
	s, err := encodeJSON(v)
	if err != nil {
		t.Fatal(err)
	}
	return fact.Text(s).String()
}
