package lang

import (
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// TestMain gives the tests 64 MiB of stack, where the program has 1 GiB. An overflow ends the test binary, as it would end the
// program.
func TestMain(m *testing.M) {
	debug.SetMaxStack(64 << 20)
	os.Exit(m.Run())
}

// smallStack leaves 2 MiB: whatever passes Prescan must be parsed and evaluated in it.
func smallStack() (restore func()) {
	old := debug.SetMaxStack(2 << 20)
	return func() { debug.SetMaxStack(old) }
}

func TestPrescan(t *testing.T) {
	defer smallStack()()
	deep := func(n int, open, inner, shut string) string {
		return "a = " + strings.Repeat(open, n) + inner + strings.Repeat(shut, n) + "\n"
	}
	tooNested := "brackets, braces, parentheses and templates are nested more than 200 deep"
	tooMany := "the expression has more than 1000 operators and brackets open: give parts of it names in locals"
	for name, c := range map[string]struct {
		src  string
		want error // nil: accepted
	}{
		"empty":                      {"", nil},
		"lists as deep as allowed":   {deep(199, "[", "1", "]"), nil},
		"lists one deeper":           {deep(200, "[", "1", "]"), &ScanError{Offset: 203, Line: 1, Column: 204, Reason: tooNested}},
		"parentheses":                {deep(201, "(", "1", ")"), &ScanError{203, 1, 204, tooNested}},
		"objects":                    {deep(201, "{a=", "1", "}"), &ScanError{601, 1, 602, tooNested}},
		"blocks":                     {"\n" + strings.Repeat("a {\n", 201), &ScanError{799, 201, 3, tooNested}},
		"templates in templates":     {deep(201, `"${`, "1", `}"`), &ScanError{302, 1, 303, tooNested}},
		"calls":                      {deep(201, "f(", "1", ")"), &ScanError{403, 1, 404, tooNested}},
		"directives":                 {"a = \"" + strings.Repeat("%{if x}", 201), &ScanError{1411, 1, 1412, tooNested}},
		"directives one by one":      {"a = \"" + strings.Repeat("%{if x}a%{else}b%{endif}", 2000) + "\"\n", nil},
		"closers in a string":        {"a = " + strings.Repeat(`["]", `, 201), &ScanError{1193, 1, 1194, tooNested}},
		"closers in a comment":       {"a = " + strings.Repeat("[ # ]\n", 201), &ScanError{1198, 200, 1, tooNested}},
		"closers in a heredoc":       {strings.Repeat("a = [<<E\n]\nE\n, ", 201), &ScanError{2975, 595, 8, tooNested}},
		"wrong closers":              {"a = " + strings.Repeat("[)", 201), &ScanError{402, 1, 403, tooNested}},
		"negations":                  {deep(1001, "!", "a", ""), &ScanError{1004, 1, 1005, tooMany}},
		"a long sum":                 {"a = 1" + strings.Repeat("+1", 1001), &ScanError{2005, 1, 2006, tooMany}},
		"a sum over lines":           {"a = (1" + strings.Repeat("\n+1", 1001) + ")", &ScanError{3004, 1001, 1, tooMany}},
		"a sum inside an object for": {"a = {for x in y: x => 1" + strings.Repeat("+\n1", 1001) + "}", &ScanError{3017, 999, 2, tooMany}},
		"conditionals":               {"a = " + strings.Repeat("x?y:", 501) + "z", &ScanError{2005, 1, 2006, tooMany}},
		"indexes":                    {"a = b" + strings.Repeat("[c]", 1001), &ScanError{3002, 1, 3003, tooMany}},
		"splats":                     {"a = b" + strings.Repeat(".*", 501), &ScanError{1005, 1, 1006, tooMany}},
		"many items":                 {"a = [" + strings.Repeat("-1,", 5000) + "]\n", nil},
		"many lines":                 {strings.Repeat("a = !b.c[0]\n", 5000), nil},
		"many interpolations":        {"a = \"" + strings.Repeat("${a.b}", 5000) + "\"\n", nil},
		"NUL":                        {"a = 1\nb = \"\x00\"\n", &ScanError{11, 2, 1, "there is a NUL byte"}},
		"escaped NUL":                {`a = "x\u0000"`, &ScanError{5, 1, 6, `the escape \u0000 stands for NUL, which text of a spec cannot hold`}},
		"long escaped NUL":           {`a = "\U00000000"`, &ScanError{5, 1, 6, `the escape \u0000 stands for NUL, which text of a spec cannot hold`}},
		"a backslash before u0000":   {`a = "\\u0000"`, nil},
		"u0000 in a heredoc":         {"a = <<E\n\\u0000\nE\n", nil},
		"too large":                  {strings.Repeat("#", MaxFile+1), &ScanError{0, 1, 1, "the file has 8388609 bytes, and 8388608 is the most"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Prescan([]byte(c.src))
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if got == nil {
				parseAll(c.src)
			}
		})
	}
}

// parseAll does to a text what a spec does: parses it, asks for its variables, and evaluates it.
func parseAll(src string) {
	file, _ := hclsyntax.ParseConfig([]byte(src), "x", hcl.InitialPos)
	evaluateBody(file.Body.(*hclsyntax.Body))
}

func evaluateBody(b *hclsyntax.Body) {
	for _, a := range b.Attributes {
		a.Expr.Variables()
		a.Expr.Value(&hcl.EvalContext{})
	}
	for _, b := range b.Blocks {
		evaluateBody(b.Body)
	}
}

// fragments are what the parser or the tree nests on, and what may hide it from a scan.
var fragments = []string{
	"[", "]", "{", "}", "(", ")", `"`, "${", "%{", "}", "%{if a}", "%{else}", "%{endif}", "%{for a in b}", "%{endfor}",
	"a=", "a ", "{\n", "\n", ",", "!", "-", "1", "+", "?", ":", "a.", ".*", "[*]", "[0]", "f(", "...", "=>", "for ", "in ", "if ",
	"<<E\n", "\nE\n", "<<-E\n", "#", "//", "/*", "*/", `\`, `\"`, "$${", "%%{", "~", "&&", "||", "==", "<", "/", "%", "a", "'", "$", "::",
}

// nest reads a pattern of fragments from bytes and repeats it until it is far deeper than anything allowed.
func nest(data []byte) string {
	var b strings.Builder
	b.WriteString("a = ")
	half := len(data) / 2
	for _, part := range [][]byte{data[:half], data[half:]} {
		var p strings.Builder
		for _, c := range part {
			p.WriteString(fragments[int(c)%len(fragments)])
		}
		if p.Len() > 0 {
			b.WriteString(strings.Repeat(p.String(), 8_000/p.Len()+1))
		}
	}
	return b.String()
}

// FuzzPrescan looks for text that passes the scan and overflows the parser, by repeating patterns of what nests.
func FuzzPrescan(f *testing.F) {
	defer smallStack()()
	for i := range fragments {
		f.Add([]byte{byte(i)})
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 16 {
			return
		}
		src := nest(data)
		if Prescan([]byte(src)) == nil {
			parseAll(src)
		}
		if prescanTemplate([]byte(src)) == nil {
			expr, _ := hclsyntax.ParseTemplate([]byte(src), "x", hcl.InitialPos)
			expr.Value(nil)
		}
	})
}

// FuzzFormat looks for text that a second formatting changes, or that formatting breaks.
func FuzzFormat(f *testing.F) {
	for _, s := range []string{"a=1\nbb = 2 # x\n", "a {\nb=[1,\n2]\n}", "a = <<E\nx\nE\n", "a=\"${b}\"", "a = { b=1, c = 2 }"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		out := Format(src)
		if again := Format(out); string(again) != string(out) {
			t.Errorf("formatting %q gives %q, and then %q", src, out, again)
		}
		_, before := hclsyntax.ParseConfig(src, "x", hcl.InitialPos)
		_, after := hclsyntax.ParseConfig(out, "x", hcl.InitialPos)
		if !before.HasErrors() && after.HasErrors() {
			t.Errorf("formatting %q gives %q, which has mistakes: %s", src, out, after)
		}
	})
}

func TestFormat(t *testing.T) {
	src := "node \"a\" {\nmac=\"x\"\n  address   = \"y\" # why\n  kernel_args={\nb=1\nlonger = 2\n}\n}\n"
	want := "node \"a\" {\n  mac     = \"x\"\n  address = \"y\" # why\n  kernel_args = {\n    b      = 1\n    longer = 2\n  }\n}\n"
	if d := cmp.Diff(want, string(Format([]byte(src)))); d != "" {
		t.Error(d)
	}
	refused := "a   = " + strings.Repeat("[", 300)
	if got := string(Format([]byte(refused))); got != refused {
		t.Errorf("refused text was changed to %.40q", got)
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"kernel_args", "kernel_args_tail", "mac", "address", "dns", "name"}
	for written, want := range map[string]string{
		"kernel_arg": "kernel_args", "kernal_args": "kernel_args", "Mac": "mac", "amc": "mac", "adress": "address",
		"addres": "address", "nam": "name", "xyz": "", "": "", "ntp": "", "dn": "dns", "kernelargs": "kernel_args",
	} {
		if got := Suggest(written, known); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", written, got, want)
		}
	}
}
