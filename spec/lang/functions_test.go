package lang

import (
	"testing"
	"testing/fstest"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// eval evaluates an expression with every function, and gives its value as JSON, or its error.
func eval(t testing.TB, files fstest.MapFS, src string) string {
	t.Helper()
	expr, diags := hclsyntax.ParseExpression([]byte(src), "x", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("%s: %s", src, diags)
	}
	v, diags := expr.Value(&hcl.EvalContext{Functions: Functions(files)})
	if diags.HasErrors() {
		return "error: " + diags[0].Detail
	}
	if v.IsNull() {
		return "null"
	}
	s, err := encodeJSON(v)
	if err != nil {
		t.Fatalf("%s: %s", src, err)
	}
	_ = cty.NilVal
	return s
}

func TestSmoke(t *testing.T) {
	for _, s := range []string{
		`cidrsubnets("10.0.0.0/8", 8, 8, 16)`, `hostlist("c[001-003,5],x")`, `hostfold(hostlist("c[001-128,200],x1,x2,login"))`,
		`kargs("console=tty0 console=ttyS1 quiet a=\"b c\"")`, `url("kernel")`, `upper(url("x"))`, `yamldecode("a: [1,2]")`, `yamlencode({a="b"})`, `jsonencode({a=url("x")})`,
		`distinct(["a","b","a"])`, `tabledecode("m.csv")`, `templatestring("a $${x} %{ for y in z }$${y},%{ endfor }", {x=1,z=[1,2]})`,
		`templatefile("x.gotmpl", {a = [1,2]})`, `setproduct([1,2],["a"])`, `yamlencode({a=url("x")})`, `format("%5000d", 1)`,
	} {
		t.Log(s, "=>", eval(t, fstest.MapFS{"m.csv": {Data: []byte("a,b\n1,2\n")}, "x.gotmpl": {Data: []byte(`{{range .a}}{{.}};{{end}}`)}}, s))
	}
}
