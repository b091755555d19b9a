// Package lang holds what the specification language is made of beside its blocks: the functions that expressions may call,
// the scan that keeps hostile nesting away from the parser, node templates, and the canonical layout. Everything in it is
// pure: the same text and files give the same result on every machine. It refuses to know the clock, the environment,
// the network, random numbers, and any file that is not part of the revision being read.
package lang

import (
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// Functions gives every function that an expression of a spec may call. Functions that read files open them in the tree of the
// revision.
func Functions(files *Tree) map[string]function.Function {
	pure := pureFunctions()
	all := fileFunctions(files, pure)
	for name, f := range pure {
		all[name] = f
	}
	return all
}

// pureFunctions are those that read no files; templates of nodes may call them too.
func pureFunctions() map[string]function.Function {
	fs := map[string]function.Function{}
	for _, table := range []map[string]function.Function{
		stringFunctions(), numberFunctions(), collectionFunctions(), encodingFunctions(),
		networkFunctions(), hardwareFunctions(), bootFunctions(), lateFunctions(),
	} {
		for name, f := range table {
			fs[name] = f
		}
	}
	fs["try"], fs["can"] = tryfunc.TryFunc, tryfunc.CanFunc
	return fs
}

func numberFunctions() map[string]function.Function {
	return map[string]function.Function{
		"abs":      stdlib.AbsoluteFunc,
		"ceil":     stdlib.CeilFunc,
		"floor":    stdlib.FloorFunc,
		"max":      stdlib.MaxFunc,
		"min":      stdlib.MinFunc,
		"parseint": stdlib.ParseIntFunc,
		"range":    stdlib.RangeFunc, // at most 1,024 elements
		"signum":   stdlib.SignumFunc,
	}
}

// stringParam is a parameter that must be a known string.
func stringParam(name string) function.Parameter {
	return function.Parameter{Name: name, Type: cty.String}
}

// stringFunc is a function of strings to a string.
func stringFunc(f func(args []string) (string, error), params ...string) function.Function {
	spec := &function.Spec{
		Type: function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			ss := make([]string, len(args))
			for i, a := range args {
				ss[i] = a.AsString()
			}
			s, err := f(ss)
			if err != nil {
				return cty.UnknownVal(cty.String), err
			}
			return cty.StringVal(s), nil
		},
	}
	for _, p := range params {
		spec.Params = append(spec.Params, stringParam(p))
	}
	return function.New(spec)
}

// stringsVal is a list of strings, also when it is empty.
func stringsVal(ss []string) cty.Value {
	if len(ss) == 0 {
		return cty.ListValEmpty(cty.String)
	}
	vs := make([]cty.Value, len(ss))
	for i, s := range ss {
		vs[i] = cty.StringVal(s)
	}
	return cty.ListVal(vs)
}

// fail is the result of a function that went wrong.
func fail(err error) (cty.Value, error) { return cty.DynamicVal, err }
