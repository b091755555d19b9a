package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler/spec"
	"hostler/spec/lang"
)

const generatedMark = "<!-- made from the schema: go test ./cmd/hostler -run TestLanguageReference -update -->\n"

// TestLanguageReference holds docs/language.md against the schema that drives decoding: nothing is documented that does not exist,
// and nothing exists undocumented.
func TestLanguageReference(t *testing.T) {
	const path = "../../docs/language.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	intro, _, ok := strings.Cut(string(text), generatedMark)
	if !ok {
		t.Fatalf("%s has no line %q", path, generatedMark)
	}
	want := intro + generatedMark + languageReference()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, string(text)); diff != "" && !*update {
		t.Errorf("docs/language.md is not what the schema says (-want +got):\n%s", diff)
	}
}

func languageReference() string {
	var b strings.Builder
	var names []string
	for name := range lang.Functions(lang.NewTree(os.DirFS("."), nil)) {
		names = append(names, "`"+name+"`")
	}
	slices.Sort(names)
	fmt.Fprintf(&b, "\n## Functions\n\nAll are pure; those that read files read only files of the revision. Where Terraform has a function of the same name, it does the same.\n\n%s.\n\n## Blocks\n", strings.Join(names, ", "))
	schema := spec.Schema()
	settings := schema[slices.IndexFunc(schema, func(x *spec.Block) bool { return x.Type == "defaults" })]
	for _, block := range schema {
		writeBlock(&b, withoutSettings(block, settings), "")
	}
	return b.String()
}

// withoutSettings leaves out what a layer has in common with the block defaults, and says so.
func withoutSettings(block, settings *spec.Block) *spec.Block {
	shared := map[string]bool{}
	for _, a := range settings.Attrs {
		shared[a.Name] = true
	}
	has := func(a spec.Attr) bool { return shared[a.Name] }
	if block == settings || !slices.ContainsFunc(block.Attrs, has) || !slices.ContainsFunc(block.Blocks, func(x *spec.Block) bool { return x.Type == "retry" }) {
		return block
	}
	c := *block
	c.Doc += " A layer: it also has the attributes and blocks of [defaults](#defaults)."
	c.Attrs = slices.DeleteFunc(slices.Clone(block.Attrs), has)
	c.Blocks = slices.DeleteFunc(slices.Clone(block.Blocks), func(x *spec.Block) bool {
		return slices.ContainsFunc(settings.Blocks, func(y *spec.Block) bool { return y.Type == x.Type })
	})
	return &c
}

func writeBlock(b *strings.Builder, block *spec.Block, within string) {
	path := strings.TrimSpace(within + " " + block.Type)
	fmt.Fprintf(b, "\n### %s\n\n%s\n", strings.TrimSpace(path+" "+strings.Join(block.Labels, " ")), block.Doc)
	if len(block.Attrs) > 0 {
		b.WriteString("\n| attribute | type | default | takes effect | |\n|---|---|---|---|---|\n")
	}
	for _, a := range block.Attrs {
		value := a.Default
		if a.Required {
			value = "required"
		} else if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", a.Name, a.Type, value, a.Class, strings.ReplaceAll(a.Doc, "|", "\\|"))
	}
	for _, inner := range block.Blocks {
		writeBlock(b, inner, path)
	}
}
