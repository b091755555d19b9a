package spec

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// checkEarly refuses late values where an expression decides by them: what is only known when a machine asks cannot be compared
// now. Late values that arrive by way of a local are not seen here.
func (p *parser) checkEarly(a *attr) {
	text := p.textAt(a.at())
	node, ok := a.expr.(hclsyntax.Node)
	if !ok || !strings.Contains(text, "url(") && !strings.Contains(text, "bootserver(") && !strings.Contains(text, "bootif(") && !strings.Contains(text, "secret(") {
		return
	}
	_ = hclsyntax.VisitAll(node, func(n hclsyntax.Node) hcl.Diagnostics {
		switch e := n.(type) {
		case *hclsyntax.ConditionalExpr:
			p.refuseLate(a, e.Condition)
		case *hclsyntax.BinaryOpExpr:
			p.refuseLate(a, e.LHS)
			p.refuseLate(a, e.RHS)
		case *hclsyntax.IndexExpr:
			p.refuseLate(a, e.Key)
		case *hclsyntax.ForExpr:
			p.refuseLate(a, e.KeyExpr)
			p.refuseLate(a, e.CondExpr)
		}
		return nil
	})
}

func (p *parser) refuseLate(a *attr, e hclsyntax.Expression) {
	if e == nil {
		return
	}
	_ = hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		call, ok := n.(*hclsyntax.FunctionCallExpr)
		if ok && (call.Name == "url" || call.Name == "self_url" || call.Name == "bootserver" || call.Name == "bootif" || call.Name == "secret" || call.Name == "seed_url") {
			p.rep.err("late-value-used-early", spot{Range: call.Range()}, "Late value used early",
				fmt.Sprintf("%s() is only known when a machine asks, so nothing can be decided by it now. It can be put into a string, or handed to a template.", call.Name))
			a.broken = true
		}
		return nil
	})
}
