package kind

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the problems in testdata")

// TestTables checks each text of an archive, which is named after the kind. A section is named by what the text is for, and followed by
// the problems in it; cloud-init's have what they are fetched as before the colon.
func TestTables(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal("no tables", err)
	}
	for _, name := range names {
		kind := strings.TrimSuffix(filepath.Base(name), ".txtar")
		t.Run(kind, func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want := string(txtar.Format(a))
			got := string(txtar.Format(checked(kind, a)))
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("problems differ (-want +got):\n%s", diff)
			}
		})
	}
}

func checked(kind string, a *txtar.Archive) *txtar.Archive {
	out := &txtar.Archive{Comment: a.Comment}
	var c Checker
	for _, f := range a.Files {
		if f.Name == "problems" {
			continue
		}
		use, _, _ := strings.Cut(f.Name, ":")
		var b strings.Builder
		for _, p := range c.Check(kind, use, string(f.Data)) {
			fmt.Fprintf(&b, "%d: %s\n", p.Line, p.Text)
		}
		out.Files = append(out.Files, f, txtar.File{Name: "problems", Data: []byte(b.String())})
	}
	return out
}

// TestNames holds the kinds against the tables: a kind without one is not tested.
func TestNames(t *testing.T) {
	var tables []string
	names, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range names {
		tables = append(tables, strings.TrimSuffix(filepath.Base(name), ".txtar"))
	}
	if diff := cmp.Diff(Names(), slices.Sorted(slices.Values(tables))); diff != "" {
		t.Errorf("kinds and tables differ (-kinds +tables):\n%s", diff)
	}
}

// TestSchemasCompile compiles every schema and definition that a text can be held against.
func TestSchemasCompile(t *testing.T) {
	var c Checker
	files := map[string][]string{"cloud-config.json": {""}, "network-config-v1.json": {"network_config_version1"}, "network-config-v2.json": {"network_config_version2"}, "talos.json": {"v1alpha1.Config"}}
	for _, definition := range c.talosKinds() {
		files["talos.json"] = append(files["talos.json"], definition)
	}
	if len(files["talos.json"]) < 30 {
		t.Errorf("only %d documents of Talos", len(files["talos.json"]))
	}
	for file, definitions := range files {
		for _, d := range definitions {
			if _, err := c.schema(file, d); err != nil {
				t.Error(file, d, err)
			}
		}
	}
}

// FuzzCheck looks for a text that makes a checker panic, or say nothing sensible.
func FuzzCheck(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, x := range a.Files {
			use, _, _ := strings.Cut(x.Name, ":")
			f.Add(strings.TrimSuffix(filepath.Base(name), ".txtar"), use, string(x.Data))
		}
	}
	var c Checker
	f.Fuzz(func(t *testing.T, kind, use, text string) {
		if len(text) > 64<<10 {
			return
		}
		lines := strings.Count(text, "\n") + 2
		for _, p := range c.Check(kind, use, text) {
			if p.Line < 0 || p.Line > lines || p.Text == "" {
				t.Errorf("problem %+v of a text with %d lines", p, lines)
			}
			if strings.ContainsAny(p.Text, "\n\x00") {
				t.Errorf("problem %+v is more than a line", p)
			}
		}
	})
}
