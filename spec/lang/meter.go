package lang

import (
	"fmt"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
)

// A meter ends templates that do too much. Neither engine can be told to stop, so that calls of the meter are put into the
// parsed template: at the start of each list of a text/template, and around the parts of each for of HCL.
type meter struct {
	steps int
	work  int
	err   error // the bound that was exceeded
}

// The meter's functions in HCL. They are no identifiers, so that no author can write them.
const (
	meterLoop = "hostler loop" // around what is looped over
	meterStep = "hostler step" // around the value of each pass
)

func (m *meter) step() error {
	if m.steps++; m.steps > maxSteps {
		m.err = errSteps
	}
	return m.err
}

func (m *meter) add(bytes int) error {
	if m.work += bytes; m.work > maxWork {
		m.err = errWork
	}
	return m.err
}

// meterLoops wraps the parts of every for below a node into calls of the meter.
func meterLoops(root hclsyntax.Node) {
	wrap := func(name string, e hclsyntax.Expression) hclsyntax.Expression {
		r := e.Range()
		return &hclsyntax.FunctionCallExpr{
			Name: name, Args: []hclsyntax.Expression{e},
			NameRange: r, OpenParenRange: r, CloseParenRange: r,
		}
	}
	_ = hclsyntax.VisitAll(root, func(n hclsyntax.Node) hcl.Diagnostics {
		if f, ok := n.(*hclsyntax.ForExpr); ok {
			f.CollExpr, f.ValExpr = wrap(meterLoop, f.CollExpr), wrap(meterStep, f.ValExpr)
		}
		return nil
	})
}

// loop stops before the first pass once a bound was exceeded: HCL collects the errors of all passes and does not end a loop
// at the first, so that only this ends loops inside loops.
func (m *meter) loop(cty.Value) error { return m.err }

// pass counts a pass of a loop and the text that it made.
func (m *meter) pass(v cty.Value) error {
	if err := m.step(); err != nil {
		return err
	}
	if v.Type() == cty.String && v.IsKnown() && !v.IsNull() && !v.IsMarked() {
		return m.add(len(v.AsString()))
	}
	return nil
}

// identity gives its argument back after the check.
func identity(check func(cty.Value) error) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{
			Name: "value", Type: cty.DynamicPseudoType,
			AllowNull: true, AllowUnknown: true, AllowDynamicType: true, AllowMarked: true,
		}},
		Type: func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if err := check(args[0]); err != nil {
				return fail(err)
			}
			return args[0], nil
		},
	})
}

func asString(v cty.Value) (string, error) {
	s, err := convert.Convert(v, cty.String)
	if err != nil {
		return "", err
	}
	return s.AsString(), nil
}

// meterTemplate puts a call of the meter at the start of every list of nodes, and refuses templates that call themselves.
func meterTemplate(t *template.Template) error {
	probe, err := parse.Parse("probe", "{{step}}", "", "", map[string]any{"step": func() string { return "" }})
	if err != nil {
		return err
	}
	call := probe["probe"].Root.Nodes[0]
	calls := map[string][]string{}
	for _, x := range t.Templates() {
		if x.Tree != nil {
			meterList(x.Tree.Root, call, x.Name(), calls)
		}
	}
	if loop := findLoop(calls); loop != nil {
		return fmt.Errorf("the template calls itself: %s", strings.Join(loop, " -> "))
	}
	return nil
}

func meterList(l *parse.ListNode, call parse.Node, in string, calls map[string][]string) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.RangeNode:
			meterList(n.List, call, in, calls)
			meterList(n.ElseList, call, in, calls)
		case *parse.IfNode:
			meterList(n.List, call, in, calls)
			meterList(n.ElseList, call, in, calls)
		case *parse.WithNode:
			meterList(n.List, call, in, calls)
			meterList(n.ElseList, call, in, calls)
		case *parse.TemplateNode:
			calls[in] = append(calls[in], n.Name)
		}
	}
	l.Nodes = append([]parse.Node{call}, l.Nodes...)
}

// findLoop gives a chain of calls that returns to where it began.
func findLoop(calls map[string][]string) []string {
	done := map[string]bool{}
	var chain []string
	var visit func(name string) []string
	visit = func(name string) []string {
		for i, c := range chain {
			if c == name {
				return append(append([]string(nil), chain[i:]...), name)
			}
		}
		if done[name] {
			return nil
		}
		chain = append(chain, name)
		for _, next := range calls[name] {
			if loop := visit(next); loop != nil {
				return loop
			}
		}
		chain = chain[:len(chain)-1]
		done[name] = true
		return nil
	}
	for name := range calls {
		if loop := visit(name); loop != nil {
			return loop
		}
	}
	return nil
}
