package lang

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/zclconf/go-cty/cty"

	"hostler/render/fact"
)

var templateSelf = map[string]any{
	"name": "n1", "address": "10.0.0.5", "mac": "52:54:00:00:00:01", "ids": map[string]any{"nid": "4"}, "labels": map[string]any{},
	"subnet": map[string]any{"name": "lab", "vlan": 7},
}

// templateVars are JSON, as a fleet keeps them; the late value is escaped in it as any NUL is.
var templateVars = map[string]string{
	"mirror": `"http://m"`, "n": `3`, "big": `1000000`, "half": `0.5`, "on": `true`, "none": `null`, "list": `["a", "b"]`,
	"late": `"x \u0000url:kernel\u0000 y"`, "map": `{"k": "v", "late": "\u0000config:seed\u0000"}`,
	"mac": `"AA"`, "deep": strings.Repeat("[", 150) + strings.Repeat("]", 150),
}

// render parses and executes a template, and shows late values as <kind:argument>, or the error.
func render(kind, engine, src string) string {
	t, err := ParseTemplate("seed", kind, engine, src)
	if err != nil {
		return "parse: " + err.Error()
	}
	out, err := t.Execute(templateVars, templateSelf)
	if err != nil {
		return "error: " + err.Error()
	}
	return out.String()
}

func TestTemplates(t *testing.T) {
	for _, c := range []struct{ engine, src, want string }{
		{"gotmpl", `{{.self.name}} {{.self.ids.nid}} {{.self.subnet.vlan}} {{.mirror}}`, "n1 4 7 http://m"},
		{"gotmpl", `{{.big}} {{.half}} {{.on}}`, "1000000 0.5 true"},
		{"gotmpl", `{{range $i, $x := .list}}{{$i}}{{$x}},{{else}}-{{end}}`, "0a,1b,"},
		{"gotmpl", `{{if eq .n 3}}three{{else if .on}}x{{end}}{{with .none}}{{.}}{{end}}`, "three"},
		{"gotmpl", `{{define "t"}}<{{.}}>{{end}}{{template "t" .mirror}}`, "<http://m>"},
		{"gotmpl", `{{.missing}}`, `error: seed:1:2: executing "seed" at <.missing>: map has no entry for key "missing"`},
		{"gotmpl", `{{.self.missing}}`, `error: seed:1:7: executing "seed" at <.self.missing>: map has no entry for key "missing"`},
		{"gotmpl", `{{if has .self.labels "x"}}a{{else}}b{{end}} {{default "d" .none}}`, "b d"},
		{"gotmpl", "a\n{{", `parse: seed:2: unclosed action`},
		{"gotmpl", `{{nofunc}}`, `parse: seed:1: function "nofunc" not defined`},
		{"gotmpl", `{{bootif}} {{seed_url}}`, "<bootif> <seed>"},
		{"gotmpl", `{{.late}} {{url "initrd"}} {{self_url "seed"}} {{bootserver}}`, "x <url:kernel> y <url:initrd> <config:seed> <server>"},
		{"gotmpl", `{{url "a b"}}`, `error: seed:1:2: executing "seed" at <url "a b">: error calling url: the role "a b" has the character ' ': only letters, digits, '.', '_' and '-' are possible`},
		{"gotmpl", `{{json .map}} {{quote .late}} {{shellquote .late}}`, `{"k":"v","late":"<config:seed>"} "x <url:kernel> y" 'x <url:kernel> y'`},
		{"gotmpl", `{{shellquote "it's"}} {{quote "a\"b\n"}}`, `'it'\''s' "a\"b\n"`},
		{"gotmpl", `{{upper .late}}`, `error: seed:1:2: executing "seed" at <upper .late>: error calling upper: ` + errLate.Error()},
		{"gotmpl", `{{printf "%s|%5d|%v|%%" .mirror .n .late}}`, "http://m|    3|x <url:kernel> y|%"},
		{"gotmpl", `{{printf "%q" .late}}`, `error: seed:1:2: executing "seed" at <printf "%q" .late>: error calling printf: %q: ` + errLate.Error()},
		{"gotmpl", `{{printf "%.3s" .late}}`, "error: seed: a late value was taken apart"},
		{"gotmpl", `{{slice .late 0 5}}`, "error: seed: a late value was taken apart"},
		{"gotmpl", `{{printf "%9999d" 1}}`, `error: seed:1:2: executing "seed" at <printf "%9999d" 1>: error calling printf: printf has no argument numbers, no *, and widths of at most three digits`},
		{"gotmpl", `{{printf "%[1]s" "a"}}`, `error: seed:1:2: executing "seed" at <printf "%[1]s" "a">: error calling printf: printf has no argument numbers, no *, and widths of at most three digits`},
		{"gotmpl", `{{printf "%s"}}`, `error: seed:1:2: executing "seed" at <printf "%s">: error calling printf: printf has no argument for %s`},
		{"gotmpl", `{{printf "a" 1}}`, `error: seed:1:2: executing "seed" at <printf "a" 1>: error calling printf: printf has 1 arguments too many`},
		{"gotmpl", `{{print "a" 1 .late}}{{println "b" 2}}`, "a1x <url:kernel> yb 2\n"},
		{"gotmpl", `{{join "," .list}} {{join "," (split "." "a.b")}} {{lower "A"}} {{trim " a "}} {{replace "a" "b" "aa"}}`, "a,b a,b a a bb"},
		{"gotmpl", `{{replace "u" "v" .late}}`, `error: seed:1:2: executing "seed" at <replace "u" "v" .late>: error calling replace: ` + errLate.Error()},
		{"gotmpl", `{{split "u" .late}}`, `error: seed:1:2: executing "seed" at <split "u" .late>: error calling split: ` + errLate.Error()},
		{"gotmpl", `{{hasPrefix .late "u"}}`, `error: seed:1:2: executing "seed" at <hasPrefix .late "u">: error calling hasPrefix: ` + errLate.Error()},
		{"gotmpl", `{{hasPrefix "ab" "a"}} {{ipxequote "a b"}}`, "true a b"},
		{"gotmpl", `{{join "," .n}}`, `error: seed:1:2: executing "seed" at <join "," .n>: error calling join: join wants a list, not int64`},
		{"gotmpl", "{{indent 2 \"a\\nb\"}}", "a\n  b"},
		{"gotmpl", `{{indent 200 "a"}}`, `error: seed:1:2: executing "seed" at <indent 200 "a">: error calling indent: indent 200 is not between 0 and 100`},
		{"gotmpl", `{{html "a"}}`, `error: seed:1:2: executing "seed" at <html "a">: error calling html: there is no html: boot files are not HTML`},
		{"hcl", `${self.name} ${self.ids.nid} ${mirror} ${big}`, "n1 4 http://m 1000000"},
		{"hcl", "%{ for x in list ~}\n${upper(x)}\n%{ endfor ~}\n", "A\nB\n"},
		{"hcl", `%{ if on }a%{ else }b%{ endif }`, "a"},
		{"hcl", `${late} ${url("initrd")} ${bootserver()}`, "x <url:kernel> y <url:initrd> <server>"},
		{"hcl", `${jsonencode(map)}`, `{"k":"v","late":"<config:seed>"}`},
		{"hcl", `${missing}`, `error: seed:1: Unknown variable: There is no variable named "missing"`},
		{"hcl", "a\n${", `parse: seed:2: Missing expression: Expected the start of an expression, but found the end of the file`},
		{"hcl", `${file("x")}`, `error: seed:1: Call to unknown function: There is no function named "file". Did you mean "title"?`},
		{"hcl", `${none}`, "error: seed: the result: it is null, not text"},
		{"hcl", `${n}`, "3"},
		{"hcl", `${upper(late)}`, `error: seed:1: Invalid function argument: Invalid value for "str" parameter: ` + errLate.Error()},
		{"jinja", ``, `parse: seed: there is no template engine "jinja"`},
		{"hcl", "a\x00b", "parse: seed: there is a NUL byte at offset 1"},
	} {
		if d := cmp.Diff(c.want, render("text", c.engine, c.src)); d != "" {
			t.Errorf("%s: %s", c.src, d)
		}
	}
}

func TestTemplateKinds(t *testing.T) {
	if got := render("ipxe", "gotmpl", "#!ipxe\nkernel {{url \"kernel\"}}\n"); got != "#!ipxe\nkernel <url:kernel>\n" {
		t.Error(got)
	}
	want := `error: seed: the result begins with "kernel <x>", and an iPXE script must begin with "#!ipxe"`
	if got := render("ipxe", "hcl", "kernel <x>\n#!ipxe"); got != want {
		t.Error(got)
	}
}

// TestTemplatesEnd executes templates that would run for hours or fill the memory. Each must end; a minute leaves room for the race
// detector on a busy machine.
func TestTemplatesEnd(t *testing.T) {
	steps, output, work := errSteps.Error(), errOutput.Error(), errWork.Error()
	loop := strings.Repeat(`{{range 1000}}`, 5) + strings.Repeat(`{{end}}`, 5)
	for name, c := range map[string]struct{ engine, src, want string }{
		"a long range":            {"gotmpl", `{{range 1000000000}}{{end}}`, "error: seed: " + steps},
		"nested ranges":           {"gotmpl", loop, "error: seed: " + steps},
		"much output":             {"gotmpl", `{{range 90000}}0123456789abcdef{{end}}`, "error: seed: " + output},
		"itself":                  {"gotmpl", `{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`, "parse: seed: the template calls itself: a -> a"},
		"the whole":               {"gotmpl", `{{template "seed"}}`, "parse: seed: the template calls itself: seed -> seed"},
		"templates that double":   {"gotmpl", doubling(40), "error: seed: " + steps},
		"text that doubles":       {"gotmpl", `{{$x := "0123456789"}}{{range 90000}}{{$x = print $x $x}}{{end}}`, "error: seed: " + work},
		"a format that doubles":   {"gotmpl", `{{$x := "0123456789"}}{{range 90000}}{{$x = printf "%s%s" $x $x}}{{end}}`, "error: seed: " + work},
		"replaced again":          {"gotmpl", `{{$x := "00000000"}}{{range 90000}}{{$x = replace "0" "00000000" $x}}{{end}}`, "error: seed: " + work},
		"actions without end":     {"gotmpl", strings.Repeat("{{if 1}}", 100_000), "parse: seed: it has 100000 actions, and 10000 is the most"},
		"parentheses":             {"gotmpl", "{{" + strings.Repeat("(", 1_000_000), "parse: seed:1: max expression depth exceeded"},
		"HCL loops":               {"hcl", strings.Repeat(`%{ for a in range(1000) }`, 4) + strings.Repeat(`%{ endfor }`, 4), "error: seed: " + steps},
		"HCL loops in a function": {"hcl", `${length([for a in range(1000): [for b in range(1000): [for c in range(1000): 1]]])}`, "error: seed: " + steps},
		"HCL output":              {"hcl", `%{ for a in range(1000) }%{ for a in range(90) }0123456789abcdef%{ endfor }%{ endfor }`, "error: seed: " + output},
		"HCL nesting":             {"hcl", strings.Repeat("${[", 100_000), "parse: seed: line 1: brackets, braces, parentheses and templates are nested more than 200 deep"},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			got := render("text", c.engine, c.src)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("%.2000s", d)
			}
			if took := time.Since(start); took > time.Minute {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// doubling gives templates of which each calls the next twice.
func doubling(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(`{{define "tI"}}{{template "tJ"}}{{template "tJ"}}{{end}}`, "I", string(rune('a'+i))), "J", string(rune('a'+i+1))))
	}
	return b.String() + `{{define "t` + string(rune('a'+n)) + `"}}{{end}}{{template "ta"}}`
}

func TestTemplateVariables(t *testing.T) {
	tmpl, err := ParseTemplate("seed", "text", EngineGo, "x")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		vars map[string]string
		want string
	}{
		"self is taken": {map[string]string{"self": `1`}, `seed: a variable is named "self", which is the node`},
		"not JSON":      {map[string]string{"a": `{`}, `seed: the variable a: unexpected EOF`},
		"too deep":      {map[string]string{"a": strings.Repeat("[", 1000)}, `seed: the variable a: brackets and braces are nested more than 200 deep at offset 200`},
	} {
		if _, err := tmpl.Execute(c.vars, nil); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTemplateTwice holds one parsed template to the same result for each execution: the bounds count anew.
func TestTemplateTwice(t *testing.T) {
	for engine, src := range map[string]string{EngineGo: `{{range 60000}}{{end}}ok`, EngineHCL: `%{ for a in range(1000) }%{ for b in range(60) }%{ endfor }%{ endfor }ok`} {
		tmpl, err := ParseTemplate("seed", "text", engine, src)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if out, err := tmpl.Execute(nil, nil); err != nil || out != "ok" {
				t.Errorf("%s: %q, %v", engine, out, err)
			}
		}
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{`{{range .list}}{{.}}{{end}}`, `{{define "a"}}{{.}}{{end}}{{template "a" .}}`, `{{printf "%s" .late}}`, `{{$x := print .n}}{{while}}`,
		`${late}%{ for x in list }${x}%{ endfor }`, `${[for a in list: upper(a)][0]}`, `{{with $x := .map}}{{json $x}}{{end}}`, `{{range 9}}{{break}}{{end}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		for _, engine := range []string{EngineGo, EngineHCL} {
			tmpl, err := ParseTemplate("seed", "text", engine, src)
			if err != nil {
				continue
			}
			out, err := tmpl.Execute(templateVars, templateSelf)
			if err == nil && (len(out) > maxOutput || wholeLates(string(out)) != nil) {
				t.Errorf("%s: %q gives %d bytes: %.100q", engine, src, len(out), out)
			}
		}
	})
}

func TestRowOf(t *testing.T) {
	files := fstest.MapFS{"a:b.csv": {Data: []byte("name,mac\nn1,aa\n")}}
	row := NewTree(files, nil)
	v, err := row.table("a:b.csv")
	if err != nil {
		t.Fatal(err)
	}
	first := v.AsValueSlice()[0]
	withLate := first.AsValueMap()
	withLate["x"] = cty.NumberIntVal(1)
	for name, c := range map[string]struct {
		v    cty.Value
		file string
		row  int
	}{
		"a row":            {first, "a:b.csv", 2},
		"a marked row":     {first.Mark("x"), "a:b.csv", 2},
		"a changed row":    {cty.ObjectVal(withLate), "a:b.csv", 2},
		"a row as a map":   {cty.MapVal(first.AsValueMap()), "a:b.csv", 2},
		"a field":          {first.GetAttr("name"), "", 0},
		"another object":   {cty.ObjectVal(map[string]cty.Value{"a": cty.True}), "", 0},
		"a forged row":     {cty.ObjectVal(map[string]cty.Value{rowAttr: cty.StringVal("x:-1")}), "", 0},
		"a forged type":    {cty.ObjectVal(map[string]cty.Value{rowAttr: cty.True}), "", 0},
		"null":             {cty.NullVal(first.Type()), "", 0},
		"unknown":          {cty.UnknownVal(first.Type()), "", 0},
		"a map of numbers": {cty.MapVal(map[string]cty.Value{"a": cty.Zero}), "", 0},
	} {
		file, line, ok := RowOf(c.v)
		if ok != (c.row > 0) || ok && (file != c.file || line != c.row) {
			t.Errorf("%s: %q %d %v", name, file, line, ok)
		}
	}
	want := cty.TupleVal([]cty.Value{cty.ObjectVal(map[string]cty.Value{"name": cty.StringVal("n1"), "mac": cty.StringVal("aa")}), cty.NullVal(cty.String)})
	if got := StripRows(cty.TupleVal([]cty.Value{first, cty.NullVal(cty.String)})); !got.RawEquals(want) {
		t.Errorf("StripRows gives %#v", got)
	}
	if got := StripRows(cty.ListVal([]cty.Value{first})); got.LengthInt() != 1 || got.AsValueSlice()[0].Type().HasAttribute(rowAttr) {
		t.Errorf("StripRows of a list gives %#v", got)
	}
}

func TestHasLate(t *testing.T) {
	late := cty.StringVal(string(fact.NewLate(fact.LateURL, "x")))
	for name, c := range map[string]struct {
		v    cty.Value
		want bool
	}{
		"late":       {late, true},
		"marked":     {late.Mark(1), true},
		"in a list":  {cty.ListVal([]cty.Value{cty.StringVal("a"), late}), true},
		"in a set":   {cty.SetVal([]cty.Value{late}), true},
		"as a key":   {cty.MapVal(map[string]cty.Value{late.AsString(): cty.True}), true},
		"deep":       {cty.TupleVal([]cty.Value{cty.ObjectVal(map[string]cty.Value{"a": late})}), true},
		"plain":      {cty.TupleVal([]cty.Value{cty.StringVal("a"), cty.Zero, cty.NullVal(cty.String)}), false},
		"unknown":    {cty.UnknownVal(cty.String), false},
		"no element": {cty.ListValEmpty(cty.String), false},
	} {
		if got := HasLate(c.v); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
