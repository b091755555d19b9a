package lang

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"hostler/render/fact"
)

// The bounds of a template's execution.
const (
	maxOutput = 1 << 20  // bytes of the result
	maxSteps  = 100_000  // passes through a loop, a branch or a nested template
	maxWork   = 16 << 20 // bytes that functions and loops make on the way
)

// A Template is text with holes, ready to be executed. It reads no files and ends by itself, whatever its text says: loops,
// output and the work of its functions are bounded.
type Template struct {
	name    string
	kind    string
	execute func(data map[string]any) (string, error)
}

// The template engines.
const (
	EngineGo  = "gotmpl" // text/template
	EngineHCL = "hcl"    // the template language of HCL
)

// ParseTemplate reads a template. Name is the file it came from, for errors; kind matters for "ipxe".
func ParseTemplate(name, kind, engine, source string) (*Template, error) {
	if err := noNUL(source); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var run func(map[string]any) (string, error)
	var err error
	switch engine {
	case EngineGo:
		run, err = parseGoTemplate(name, source)
	case EngineHCL:
		run, err = parseHCLTemplate(name, source, pureFunctions())
	default:
		err = fmt.Errorf("%s: there is no template engine %q", name, engine)
	}
	if err != nil {
		return nil, err
	}
	return &Template{name: name, kind: kind, execute: run}, nil
}

// Execute fills in the holes. In the text, each of vars (JSON text) has its own name, and self is the node. Late values in them
// pass through to the result.
func (t *Template) Execute(vars map[string]string, self map[string]any) (fact.Text, error) {
	data := make(map[string]any, len(vars)+1)
	for name, text := range vars {
		v, err := decodeVar(text)
		if err != nil {
			return "", fmt.Errorf("%s: the variable %s: %w", t.name, name, err)
		}
		data[name] = v
	}
	if _, taken := data["self"]; taken {
		return "", fmt.Errorf(`%s: a variable is named "self", which is the node`, t.name)
	}
	data["self"] = self
	out, err := t.execute(data)
	switch {
	case err != nil:
		return "", err
	case len(out) > maxOutput:
		return "", fmt.Errorf("%s: %w", t.name, errOutput)
	case t.kind == "ipxe" && !strings.HasPrefix(out, "#!ipxe"):
		return "", fmt.Errorf("%s: the result begins with %q, and an iPXE script must begin with \"#!ipxe\"", t.name, firstLine(out))
	}
	if err := wholeLates(out); err != nil {
		return "", fmt.Errorf("%s: %w", t.name, err)
	}
	return fact.Text(out), nil
}

var (
	errOutput = fmt.Errorf("the result has more than %d bytes", maxOutput)
	errSteps  = fmt.Errorf("it takes more than %d steps: a loop runs too often", maxSteps)
	errWork   = fmt.Errorf("its functions make more than %d bytes of text on the way", maxWork)
)

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > 40 {
		s = s[:40]
	}
	return strings.ReplaceAll(s, "\x00", "?")
}

// wholeLates refuses text in which a late value was cut apart.
func wholeLates(s string) error {
	for _, p := range fact.Text(s).Parts() {
		if p.Kind == "" && isLate(p.Value) || p.Kind != "" && !knownLate(p.Kind) {
			return errors.New("a late value was taken apart")
		}
	}
	return nil
}

func knownLate(k fact.Late) bool {
	switch k {
	case fact.LateServer, fact.LateBase, fact.LateSecure, fact.LateURL, fact.LateS3URI, fact.LateETag, fact.LateConfig, fact.LateBoot, fact.LateRetries, fact.LateSecret, fact.LateBootIF, fact.LateSeed:
		return true
	}
	return false
}

// decodeVar gives JSON text as the values that templates work with: whole numbers as int64, so that they print as they were written.
func decodeVar(text string) (any, error) {
	if err := jsonNesting(text); err != nil {
		return nil, err
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return plainNumbers(v), nil
}

func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
	}
	return v
}

// parseHCLTemplate prepares a template in HCL's language. Each pass through a loop calls a hidden function that counts.
func parseHCLTemplate(name, source string, functions map[string]function.Function) (func(map[string]any) (string, error), error) {
	if err := prescanTemplate([]byte(source)); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	expr, diags := hclsyntax.ParseTemplate([]byte(source), name, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, diagError(diags)
	}
	meterLoops(expr)
	return func(data map[string]any) (string, error) {
		vars := make(map[string]cty.Value, len(data))
		for k, v := range data {
			c, err := ctyValue(v)
			if err != nil {
				return "", fmt.Errorf("%s: the variable %s: %w", name, k, err)
			}
			vars[k] = c
		}
		return evaluate(name, expr, vars, functions)
	}, nil
}

func evaluate(name string, expr hclsyntax.Expression, vars map[string]cty.Value, functions map[string]function.Function) (string, error) {
	ctx := &hcl.EvalContext{Variables: vars, Functions: make(map[string]function.Function, len(functions)+2)}
	for k, f := range functions {
		ctx.Functions[k] = f
	}
	m := &meter{}
	ctx.Functions[meterLoop], ctx.Functions[meterStep] = identity(m.loop), identity(m.pass)
	v, diags := expr.Value(ctx)
	if m.err != nil {
		return "", fmt.Errorf("%s: %w", name, m.err)
	}
	if diags.HasErrors() {
		return "", diagError(diags)
	}
	v, _ = v.Unmark()
	s, err := stringOf(v)
	if err != nil {
		return "", fmt.Errorf("%s: the result: %w", name, err)
	}
	return s, nil
}

// stringOf gives the text of a value; a template that is one interpolation has the interpolation's type.
func stringOf(v cty.Value) (string, error) {
	if v.IsNull() || !v.IsKnown() {
		return "", errors.New("it is null, not text")
	}
	return asString(v)
}

// ctyValue turns template data into a value of HCL.
func ctyValue(v any) (cty.Value, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return cty.NilVal, err
	}
	t, err := ctyjson.ImpliedType(b)
	if err != nil {
		return cty.NilVal, err
	}
	return ctyjson.Unmarshal(b, t)
}

// diagError gives the first mistake that HCL found, on one line.
func diagError(diags hcl.Diagnostics) error {
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		text := strings.TrimSuffix(strings.Join(strings.Fields(d.Summary+": "+d.Detail), " "), ".")
		if d.Subject != nil {
			return fmt.Errorf("%s:%d: %s", d.Subject.Filename, d.Subject.Start.Line, text)
		}
		return errors.New(text)
	}
	return diags
}

// template gives the text of a template file of the tree.
func (t *Tree) template(p string) (name, src string, err error) {
	src, err = t.text(p)
	return p, src, err
}

func templateSource(src string) (name, text string, err error) { return "template", src, nil }

// templateFunc is templatefile or templatestring: the template is executed with an object of values. A template cannot call
// them, so that none executes itself.
func templateFunc(param string, source func(string) (string, string, error), pure map[string]function.Function) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{stringParam(param), {Name: "vars", Type: cty.DynamicPseudoType}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if HasLate(args[0]) {
				return fail(function.NewArgError(0, errLate))
			}
			name, src, err := source(args[0].AsString())
			if err != nil {
				return fail(function.NewArgError(0, err))
			}
			if t := args[1].Type(); !t.IsObjectType() && !t.IsMapType() {
				return fail(function.NewArgErrorf(1, "an object is required, not %s", t.FriendlyName()))
			}
			out, err := renderOnce(name, src, args[1], pure)
			if err != nil {
				return fail(err)
			}
			return cty.StringVal(out), nil
		},
	})
}

func renderOnce(name, src string, vars cty.Value, pure map[string]function.Function) (string, error) {
	var run func(map[string]any) (string, error)
	var err error
	if path.Ext(name) == ".gotmpl" {
		run, err = parseGoTemplate(name, src)
	} else {
		run, err = parseHCLTemplate(name, src, pure)
	}
	if err != nil {
		return "", err
	}
	vars = StripRows(vars)
	b, err := ctyjson.Marshal(vars, vars.Type())
	if err != nil {
		return "", err
	}
	data, err := decodeVar(string(b))
	if err != nil {
		return "", err
	}
	m, _ := data.(map[string]any)
	out, err := run(m)
	if err == nil && len(out) > maxOutput {
		err = fmt.Errorf("%s: %w", name, errOutput)
	}
	return out, err
}
