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
// parsed template: at the start of each loop's body, and around the value of each for.
type meter struct {
	steps int
	work  int
}

// meterName is no identifier of HCL, so that no author can write it.
const meterName = "hostler step"

func (m *meter) step() error {
	if m.steps++; m.steps > maxSteps {
		return errSteps
	}
	return nil
}

func (m *meter) add(bytes int) error {
	if m.work += bytes; m.work > maxWork {
		return errWork
	}
	return nil
}

// meterLoops wraps the values of every for below a node into calls of the meter.
func meterLoops(root hclsyntax.Node) {
	wrap := func(e hclsyntax.Expression) hclsyntax.Expression {
		r := e.Range()
		return &hclsyntax.FunctionCallExpr{
			Name: meterName, Args: []hclsyntax.Expression{e},
			NameRange: r, OpenParenRange: r, CloseParenRange: r,
		}
	}
	_ = hclsyntax.VisitAll(root, func(n hclsyntax.Node) hcl.Diagnostics {
		if f, ok := n.(*hclsyntax.ForExpr); ok {
			f.ValExpr = wrap(f.ValExpr)
		}
		return nil
	})
}

// ctyFunc gives its argument back, and counts.
func (m *meter) ctyFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{
			Name: "value", Type: cty.DynamicPseudoType,
			AllowNull: true, AllowUnknown: true, AllowDynamicType: true, AllowMarked: true,
		}},
		Type: func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v := args[0]
			if err := m.step(); err != nil {
				return fail(err)
			}
			if v.Type() == cty.String && v.IsKnown() && !v.IsNull() && !v.IsMarked() {
				if err := m.add(len(v.AsString())); err != nil {
					return fail(err)
				}
			}
			return v, nil
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
