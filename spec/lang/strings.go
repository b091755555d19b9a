package lang

import (
	"errors"
	"fmt"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

func stringFunctions() map[string]function.Function {
	return map[string]function.Function{
		"chomp":         stdlib.ChompFunc,
		"endswith":      early(stringTest(strings.HasSuffix, "suffix")),
		"format":        boundedFormat(stdlib.FormatFunc),
		"formatlist":    boundedFormat(stdlib.FormatListFunc),
		"indent":        boundedIndent(),
		"join":          stdlib.JoinFunc,
		"lower":         early(stdlib.LowerFunc),
		"regex":         early(stdlib.RegexFunc),
		"regex_replace": early(stdlib.RegexReplaceFunc),
		"regexall":      early(stdlib.RegexAllFunc),
		"replace":       early(stdlib.ReplaceFunc),
		"split":         early(stdlib.SplitFunc),
		"startswith":    early(stringTest(strings.HasPrefix, "prefix")),
		"strcontains":   early(stringTest(strings.Contains, "substr")),
		"strlen":        early(stdlib.StrlenFunc),
		"strrev":        early(stdlib.ReverseFunc),
		"substr":        early(stdlib.SubstrFunc),
		"title":         early(stdlib.TitleFunc),
		"trim":          early(stdlib.TrimFunc),
		"trimprefix":    early(stdlib.TrimPrefixFunc),
		"trimspace":     stdlib.TrimSpaceFunc,
		"trimsuffix":    early(stdlib.TrimSuffixFunc),
		"upper":         early(stdlib.UpperFunc),
	}
}

// stringTest is a question about a string and a part of it.
func stringTest(test func(s, part string) bool, part string) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{stringParam("str"), stringParam(part)},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.BoolVal(test(args[0].AsString(), args[1].AsString())), nil
		},
	})
}

// boundedFormat refuses widths and precisions that would make a few characters of format fill the memory.
func boundedFormat(f function.Function) function.Function {
	return function.New(&function.Spec{
		Params:   f.Params(),
		VarParam: f.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) {
			if args[0].IsKnown() && !args[0].IsNull() && hasLongNumber(args[0].AsString()) {
				return cty.DynamicPseudoType, function.NewArgError(0, errors.New("a width or precision has more than three digits"))
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return f.Call(args) },
	})
}

// hasLongNumber reports whether a verb of a format has a number of four digits or more in it.
func hasLongNumber(format string) bool {
	for {
		i := strings.IndexByte(format, '%')
		if i < 0 {
			return false
		}
		format = format[i+1:]
		digits := 0
		for len(format) > 0 && strings.IndexByte("+- #0123456789.[]*", format[0]) >= 0 {
			if c := format[0]; c >= '0' && c <= '9' {
				digits++
			} else {
				digits = 0
			}
			if digits > 3 {
				return true
			}
			format = format[1:]
		}
		if len(format) > 0 { // the verb, which may be a second %
			format = format[1:]
		}
	}
}

func boundedIndent() function.Function {
	return function.New(&function.Spec{
		Params: stdlib.IndentFunc.Params(),
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if n, _ := args[0].AsBigFloat().Int64(); n < 0 || n > 100 {
				return fail(function.NewArgError(0, fmt.Errorf("%d is not between 0 and 100", n)))
			}
			return stdlib.IndentFunc.Call(args)
		},
	})
}
