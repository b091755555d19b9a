package spec

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEveryCodeHasATable holds the codes of diagnostics in the sources against the results in testdata: a check that no table
// triggers is not tested.
func TestEveryCodeHasATable(t *testing.T) {
	elsewhere := []string{"text-refused", "file-refused", "unknown-value-left"} // TestHostileText; cannot happen
	var results strings.Builder
	for name, ar := range tables(t) {
		in, want := inputOf(ar)
		_ = in
		if want == "" {
			t.Errorf("%s has no result", name)
		}
		results.WriteString(want)
	}
	literal := regexp.MustCompile(`rep\.(?:err|warn)\("([a-z0-9-]+)"|Code: "([a-z0-9-]+)"|\ssay\("([a-z0-9-]+)"|twice\(n, "[a-z]+", "([a-z0-9-]+)"`)
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range literal.FindAllStringSubmatch(string(src), -1) {
			code := m[1] + m[2] + m[3] + m[4]
			found++
			if !strings.Contains(results.String(), " "+code+": ") && !slices.Contains(elsewhere, code) {
				t.Errorf("%s: no table has %q", name, code)
			}
		}
	}
	if found < 60 {
		t.Errorf("found only %d codes in the sources", found)
	}
}

// TestSummaries holds every summary to six words.
func TestSummaries(t *testing.T) {
	for name, ar := range tables(t) {
		in, _ := inputOf(ar)
		_, ds := Parse(in)
		for _, d := range ds {
			if len(strings.Fields(d.Summary)) > 6 || !strings.HasSuffix(strings.TrimRight(d.Detail, "\"`}"), ".") && !strings.HasSuffix(d.Detail, "?") && d.Code != "missing-spec-block" {
				t.Errorf("%s: %s: %s", name, d.Summary, d.Detail)
			}
		}
	}
}

// TestSchema holds the table to what the documentation needs of it.
func TestSchema(t *testing.T) {
	classes := []string{"none", "next-boot", "next-renew", "server", "exposure", "address", "remove"}
	var walk func(path string, b *Block)
	walk = func(path string, b *Block) {
		path += "/" + b.Type
		if b.Doc == "" {
			t.Errorf("%s has no documentation", path)
		}
		seen := map[string]bool{}
		for _, a := range b.Attrs {
			if a.Doc == "" || a.Type == "" || !slices.Contains(classes, a.Class) {
				t.Errorf("%s: %s lacks documentation, type or impact class", path, a.Name)
			}
			if seen[a.Name] || slices.Contains(b.Later, a.Name) {
				t.Errorf("%s: %s twice", path, a.Name)
			}
			seen[a.Name] = true
		}
		for _, n := range b.Blocks {
			walk(path, n)
		}
	}
	for _, b := range Schema() {
		walk("", b)
	}
}
