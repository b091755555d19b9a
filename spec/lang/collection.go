package lang

import (
	"errors"
	"fmt"
	"sort"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

func collectionFunctions() map[string]function.Function {
	return map[string]function.Function{
		"alltrue":         boolsFunc(func(bs []bool) bool { return !has(bs, false) }),
		"anytrue":         boolsFunc(func(bs []bool) bool { return has(bs, true) }),
		"chunklist":       stdlib.ChunklistFunc,
		"coalesce":        stdlib.CoalesceFunc,
		"coalescelist":    stdlib.CoalesceListFunc,
		"compact":         stdlib.CompactFunc,
		"concat":          stdlib.ConcatFunc,
		"contains":        stdlib.ContainsFunc,
		"distinct":        distinctFunc(),
		"element":         stdlib.ElementFunc,
		"flatten":         stdlib.FlattenFunc,
		"index":           indexFunc(),
		"keys":            stdlib.KeysFunc,
		"length":          lengthFunc(),
		"lookup":          stdlib.LookupFunc,
		"merge":           stdlib.MergeFunc,
		"one":             oneFunc(),
		"reverse":         stdlib.ReverseListFunc,
		"setintersection": stdlib.SetIntersectionFunc,
		"setproduct":      boundedProduct(),
		"setsubtract":     stdlib.SetSubtractFunc,
		"setunion":        stdlib.SetUnionFunc,
		"slice":           stdlib.SliceFunc,
		"sort":            stdlib.SortFunc,
		"sortnatural":     sortNaturalFunc(),
		"sum":             sumFunc(),
		"tobool":          stdlib.MakeToFunc(cty.Bool),
		"tolist":          stdlib.MakeToFunc(cty.List(cty.DynamicPseudoType)),
		"tomap":           stdlib.MakeToFunc(cty.Map(cty.DynamicPseudoType)),
		"tonumber":        stdlib.MakeToFunc(cty.Number),
		"toset":           stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)),
		"tostring":        stdlib.MakeToFunc(cty.String),
		"values":          stdlib.ValuesFunc,
		"zipmap":          stdlib.ZipmapFunc,
	}
}

// anyList is a parameter that takes a list, set or tuple; which, is checked by the function.
func anyList(name string) function.Parameter {
	return function.Parameter{Name: name, Type: cty.DynamicPseudoType}
}

// elements gives the elements of a list, set or tuple.
func elements(v cty.Value) ([]cty.Value, error) {
	t := v.Type()
	if !t.IsListType() && !t.IsSetType() && !t.IsTupleType() {
		return nil, function.NewArgErrorf(0, "a list, set or tuple is required, not %s", t.FriendlyName())
	}
	return v.AsValueSlice(), nil
}

// distinctFunc drops repeated elements and keeps the first of each. Its own, because the standard library's compares every
// element with every other: nine seconds for 4,000 strings.
func distinctFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "list", Type: cty.List(cty.DynamicPseudoType)}},
		Type:   func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
		Impl: func(args []cty.Value, t cty.Type) (cty.Value, error) {
			if args[0].LengthInt() == 0 {
				return args[0], nil
			}
			seen := map[string][]cty.Value{}
			var kept []cty.Value
			for _, e := range args[0].AsValueSlice() {
				key := hashKey(e)
				if !repeated(seen[key], e) {
					seen[key] = append(seen[key], e)
					kept = append(kept, e)
				}
			}
			return cty.ListVal(kept), nil
		},
	})
}

// hashKey is equal for equal values; strings, numbers and bools of different value differ in it, others may share it.
func hashKey(v cty.Value) string {
	if !v.IsKnown() || v.IsNull() {
		return ""
	}
	switch v.Type() {
	case cty.String:
		return "s" + v.AsString()
	case cty.Number:
		return "n" + v.AsBigFloat().Text('g', -1)
	case cty.Bool:
		return fmt.Sprint(v.True())
	}
	return fmt.Sprint("h", v.Hash())
}

func repeated(seen []cty.Value, v cty.Value) bool {
	for _, s := range seen {
		if s.RawEquals(v) {
			return true
		}
	}
	return false
}

// indexFunc finds the place of a value in a list, as Terraform's index does.
func indexFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{anyList("list"), {Name: "value", Type: cty.DynamicPseudoType}},
		Type:   function.StaticReturnType(cty.Number),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			es, err := elements(args[0])
			if err != nil {
				return fail(err)
			}
			for i, e := range es {
				if eq, err := stdlib.Equal(e, args[1]); err == nil && eq.IsKnown() && !eq.IsNull() && eq.True() {
					return cty.NumberIntVal(int64(i)), nil
				}
			}
			return fail(errors.New("the list does not hold the value"))
		},
	})
}

// lengthFunc counts elements, attributes, or the characters of a string.
func lengthFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType}},
		Type:   function.StaticReturnType(cty.Number),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v := args[0]
			switch {
			case v.Type() == cty.String && HasLate(v):
				return fail(function.NewArgError(0, errLate))
			case v.Type() == cty.String:
				return stdlib.Strlen(v)
			case v.CanIterateElements():
				return cty.NumberIntVal(int64(v.LengthInt())), nil
			}
			return fail(function.NewArgErrorf(0, "a string or collection is required, not %s", v.Type().FriendlyName()))
		},
	})
}

// oneFunc turns a list of none or one into a null or that one.
func oneFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{anyList("list")},
		Type:   function.StaticReturnType(cty.DynamicPseudoType),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			es, err := elements(args[0])
			switch {
			case err != nil:
				return fail(err)
			case len(es) == 0:
				return cty.NullVal(cty.DynamicPseudoType), nil
			case len(es) > 1:
				return fail(function.NewArgErrorf(0, "the list has %d elements, not one or none", len(es)))
			}
			return es[0], nil
		},
	})
}

func boolsFunc(f func([]bool) bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "list", Type: cty.List(cty.Bool)}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			var bs []bool
			for i, e := range args[0].AsValueSlice() {
				if e.IsNull() {
					return fail(function.NewArgErrorf(0, "element %d is null", i))
				}
				bs = append(bs, e.True())
			}
			return cty.BoolVal(f(bs)), nil
		},
	})
}

func has(bs []bool, want bool) bool {
	for _, b := range bs {
		if b == want {
			return true
		}
	}
	return false
}

func sumFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{anyList("list")},
		Type:   function.StaticReturnType(cty.Number),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			es, err := elements(args[0])
			if err != nil {
				return fail(err)
			}
			total := cty.Zero
			for i, e := range es {
				n, err := convert.Convert(e, cty.Number)
				if err != nil || n.IsNull() {
					return fail(function.NewArgErrorf(0, "element %d is not a number", i))
				}
				total = total.Add(n)
			}
			return total, nil
		},
	})
}

// sortNaturalFunc sorts strings so that n2 comes before n10.
func sortNaturalFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "list", Type: cty.List(cty.String)}},
		Type:   function.StaticReturnType(cty.List(cty.String)),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			ss, err := stringElements(args[0])
			if err != nil {
				return fail(err)
			}
			sort.SliceStable(ss, func(i, j int) bool { return NaturalLess(ss[i], ss[j]) })
			return stringsVal(ss), nil
		},
	})
}

// NaturalLess orders strings with the numbers in them by value: n2 before n10.
func NaturalLess(a, b string) bool {
	x, y := a, b
	for x != "" && y != "" {
		nx, ny := digitRun(x), digitRun(y)
		if nx == 0 || ny == 0 {
			if x[0] != y[0] {
				return x[0] < y[0]
			}
			x, y = x[1:], y[1:]
			continue
		}
		vx, vy := trimZeros(x[:nx]), trimZeros(y[:ny])
		if len(vx) != len(vy) {
			return len(vx) < len(vy)
		}
		if vx != vy {
			return vx < vy
		}
		x, y = x[nx:], y[ny:]
	}
	if x == "" && y == "" {
		return a < b // n01 and n1
	}
	return x == ""
}

func digitRun(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

func trimZeros(s string) string {
	for len(s) > 1 && s[0] == '0' {
		s = s[1:]
	}
	return s
}

// stringElements gives the strings of a list.
func stringElements(v cty.Value) ([]string, error) {
	ss := make([]string, 0, v.LengthInt())
	for it := v.ElementIterator(); it.Next(); {
		i, e := it.Element()
		if e.IsNull() {
			return nil, function.NewArgErrorf(0, "element %s is null", i.AsBigFloat().Text('f', 0))
		}
		ss = append(ss, e.AsString())
	}
	return ss, nil
}

// boundedProduct refuses products whose size is a mistake or an attack.
func boundedProduct() function.Function {
	const most = 100_000
	f := stdlib.SetProductFunc
	return function.New(&function.Spec{
		Params:   f.Params(),
		VarParam: f.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) {
			n := 1
			for _, a := range args {
				if a.IsKnown() && a.CanIterateElements() && n > 0 {
					n *= a.LengthInt()
				}
				if n > most {
					return cty.DynamicPseudoType, fmt.Errorf("the product has more than %d elements", most)
				}
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return f.Call(args) },
	})
}
