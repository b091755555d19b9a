package kind

import (
	"bytes"
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	schemakind "github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// The schemas are those of the projects, unchanged; docs/notices.md says of which versions.
//
//go:embed schemas/*.json
var schemaFiles embed.FS

// schema compiles a schema, the first time that it is needed: of a file, or of one of the definitions in it.
func (c *Checker) schema(file, definition string) (*jsonschema.Schema, error) {
	url := "file:///" + file
	if c.compilers[file] == nil {
		doc, err := schemaDocument(file)
		if err != nil {
			return nil, err
		}
		compiler := jsonschema.NewCompiler()
		compiler.UseLoader(noLoader{})
		if err := compiler.AddResource(url, doc); err != nil {
			return nil, err
		}
		if c.compilers == nil {
			c.compilers = map[string]*jsonschema.Compiler{}
		}
		c.compilers[file] = compiler
	}
	if definition != "" {
		url += "#/$defs/" + definition
	}
	return c.compilers[file].Compile(url) // which remembers what it compiled
}

// schemaDocument reads a schema. Without its own name, so that it is found under ours, and its references stay inside it.
func schemaDocument(file string) (any, error) {
	text, err := schemaFiles.ReadFile("schemas/" + file)
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if m, ok := doc.(map[string]any); ok {
		delete(m, "$id")
	}
	return doc, err
}

// noLoader keeps a schema from fetching another.
type noLoader struct{}

// Load implements jsonschema.URLLoader.
func (noLoader) Load(url string) (any, error) { return nil, fmt.Errorf("%s is not embedded", url) }

// hold holds a document against a schema.
func (c *Checker) hold(d *document, file, definition string) []Problem {
	s, err := c.schema(file, definition)
	if err != nil {
		panic("kind: " + err.Error()) // the schemas are part of the program, and tested
	}
	invalid, ok := s.Validate(d.value).(*jsonschema.ValidationError)
	if !ok {
		return nil
	}
	var ps []Problem
	for _, l := range leaves(invalid) {
		ps = append(ps, Problem{d.line(l.at()), l.text()})
	}
	return ps
}

// leaf is one reason why a document does not fit: where, and what of it the schema says.
type leaf struct {
	path []string
	err  jsonschema.ErrorKind
}

// leaves are the reasons that an author can do something about. Where any of several forms is possible, those of the form that came nearest.
func leaves(e *jsonschema.ValidationError) []leaf {
	if len(e.Causes) == 0 {
		return []leaf{{e.InstanceLocation, e.ErrorKind}}
	}
	var forms [][]leaf
	for _, cause := range e.Causes {
		forms = append(forms, leaves(cause))
	}
	switch e.ErrorKind.(type) {
	case *schemakind.AnyOf, *schemakind.OneOf:
		return nearest(e, forms)
	}
	return slices.Concat(forms...)
}

// nearest picks the form whose first mistake is deepest inside the value, and among those the one with the fewest. Forms that all
// refuse the value's type are told together.
func nearest(e *jsonschema.ValidationError, forms [][]leaf) []leaf {
	var want []string
	for _, form := range forms {
		if t, ok := form[0].err.(*schemakind.Type); ok && len(form) == 1 && len(form[0].path) == len(e.InstanceLocation) {
			want = append(want, t.Want...)
		}
	}
	slices.Sort(want)
	if want = slices.Compact(want); len(want) >= 1 && len(forms) == countTypes(e, forms) {
		return []leaf{{e.InstanceLocation, &schemakind.Type{Got: forms[0][0].err.(*schemakind.Type).Got, Want: want}}}
	}
	return slices.MaxFunc(forms, func(a, b []leaf) int {
		if x, y := shallowest(a), shallowest(b); x != y {
			return x - y
		}
		return len(b) - len(a)
	})
}

func countTypes(e *jsonschema.ValidationError, forms [][]leaf) int {
	n := 0
	for _, form := range forms {
		if _, ok := form[0].err.(*schemakind.Type); ok && len(form) == 1 && len(form[0].path) == len(e.InstanceLocation) {
			n++
		}
	}
	return n
}

func shallowest(form []leaf) int {
	n := len(form[0].path)
	for _, l := range form {
		depth := 2 * len(l.path)
		if _, ok := l.err.(*schemakind.Type); !ok {
			depth++ // its type was right
		}
		n = min(max(n, depth), depth)
	}
	return n
}

// at is where a leaf's mistake stands: a key that must not be there, at itself.
func (l leaf) at() []string {
	if x, ok := l.err.(*schemakind.AdditionalProperties); ok && len(x.Properties) > 0 {
		return push(l.path, slices.Sorted(slices.Values(x.Properties))[0])
	}
	return l.path
}

func (l leaf) text() string {
	where := strings.Join(l.path, ".")
	if where == "" {
		where = "the document"
	}
	where = shorten(where)
	switch x := l.err.(type) {
	case *schemakind.AdditionalProperties:
		names := slices.Sorted(slices.Values(x.Properties))
		return fmt.Sprintf("%s has no key %s", where, shorten(quoteAll(names)))
	case *schemakind.Type:
		return fmt.Sprintf("%s is %s, not %s", where, article(x.Got), articles(x.Want))
	case *schemakind.Required:
		return fmt.Sprintf("%s lacks %s", where, quoteAll(x.Missing))
	case *schemakind.Enum:
		return fmt.Sprintf("%s is %s, which is none of %s", where, shorten(fmt.Sprintf("%q", fmt.Sprint(x.Got))), values(x.Want))
	}
	return cut(where+": "+l.err.LocalizedString(message.NewPrinter(language.English)), 160)
}

// push does not write into what others share.
func push(path []string, name string) []string { return append(path[:len(path):len(path)], name) }

func quoteAll(names []string) string {
	var out []string
	for _, n := range names {
		out = append(out, fmt.Sprintf("%q", n))
	}
	return strings.Join(out, ", ")
}

func values(list []any) string {
	var out []string
	for _, v := range list {
		out = append(out, fmt.Sprint(v))
	}
	return strings.Join(out, ", ")
}

func article(typ string) string {
	switch typ {
	case "null":
		return "empty"
	case "array":
		return "a list"
	case "object":
		return "a mapping"
	case "integer":
		return "a whole number"
	}
	return "a " + typ
}

func articles(types []string) string {
	var out []string
	for _, t := range types {
		out = append(out, article(t))
	}
	return strings.Join(out, " or ")
}
