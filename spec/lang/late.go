package lang

import (
	"errors"
	"fmt"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"hostler/render/fact"
)

// lateFunctions give values that are only known when a machine asks. In a spec they are strings that hold a
// placeholder of fact.NewLate; they may be put into other strings and handed to templates, nothing else.
func lateFunctions() map[string]function.Function {
	return map[string]function.Function{
		"url": stringFunc(func(a []string) (string, error) {
			return lateName(fact.LateURL, "role", a[0])
		}, "role"),
		"s3uri": stringFunc(func(a []string) (string, error) {
			return lateName(fact.LateS3URI, "role", a[0])
		}, "role"),
		"etag": stringFunc(func(a []string) (string, error) {
			return lateName(fact.LateETag, "role", a[0])
		}, "role"),
		"self_url": stringFunc(func(a []string) (string, error) {
			return lateName(fact.LateConfig, "template", a[0])
		}, "template"),
		"bootserver": stringFunc(func([]string) (string, error) {
			return string(fact.NewLate(fact.LateServer, "")), nil
		}),
		"seed_url": stringFunc(func([]string) (string, error) {
			return string(fact.NewLate(fact.LateSeed, "")), nil
		}),
		"bootif": stringFunc(func([]string) (string, error) {
			return string(fact.NewLate(fact.LateBootIF, "")), nil
		}),
		"secret": secretFunc(),
	}
}

// secretFunc is secret(name) and secret(name, "base64").
func secretFunc() function.Function {
	return function.New(&function.Spec{
		Params:   []function.Parameter{stringParam("name")},
		VarParam: &function.Parameter{Name: "encoding", Type: cty.String},
		Type:     function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			var words []string
			for _, a := range args {
				words = append(words, a.AsString())
			}
			s, err := lateSecret(words[0], words[1:]...)
			if err != nil {
				return fail(err)
			}
			return cty.StringVal(s), nil
		},
	})
}

// lateSecret gives a secret's late value.
func lateSecret(name string, encoding ...string) (string, error) {
	switch {
	case isLate(name):
		return "", errLate
	case len(encoding) > 1 || len(encoding) == 1 && encoding[0] != fact.EncodingBase64:
		return "", errors.New(`a secret is written as it is, or with a second argument "base64"`)
	case !fact.IsSecretName(name):
		return "", fmt.Errorf("%q cannot be the name of a secret: it is words of letters, digits, '.', '_' and '-', joined by '/', and none begins with a dot", name)
	case len(encoding) == 1:
		name = encoding[0] + ":" + name
	}
	return string(fact.NewLate(fact.LateSecret, name)), nil
}

// lateName gives a late value for a name, which must be one that cannot end the placeholder early or break a URL.
func lateName(kind fact.Late, what, name string) (string, error) {
	if name == "" || len(name) > 255 {
		return "", fmt.Errorf("the %s must have 1 to 255 characters", what)
	}
	for _, c := range name {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", c) {
			return "", fmt.Errorf("the %s %q has the character %q: only letters, digits, '.', '_' and '-' are possible", what, name, c)
		}
	}
	return string(fact.NewLate(kind, name)), nil
}

// errLate is the mistake of looking into a value that does not exist yet.
var errLate = errors.New("this holds a late value (from url, s3uri, etag, self_url, bootserver or secret), which is only known when a machine asks: " +
	"it can be put into a string or handed to a template, but not be taken apart, changed or counted")

// HasLate reports whether a late value is anywhere inside v, keys included. A spec checks with it what must be known early:
// names, addresses, for_each, conditions.
func HasLate(v cty.Value) bool {
	v, _ = v.Unmark()
	if v.IsNull() || !v.IsKnown() {
		return false
	}
	t := v.Type()
	if t == cty.String {
		return isLate(v.AsString())
	}
	if !v.CanIterateElements() {
		return false
	}
	for it := v.ElementIterator(); it.Next(); {
		if k, e := it.Element(); HasLate(k) || HasLate(e) {
			return true
		}
	}
	return false
}

func isLate(s string) bool { return strings.IndexByte(s, 0) >= 0 }

// early wraps a function that looks at the characters of its arguments, so that it refuses late values.
func early(f function.Function) function.Function {
	check := func(args []cty.Value) error {
		for i, a := range args {
			if HasLate(a) {
				return function.NewArgError(i, errLate)
			}
		}
		return nil
	}
	return function.New(&function.Spec{
		Description: f.Description(),
		Params:      f.Params(),
		VarParam:    f.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) {
			if err := check(args); err != nil {
				return cty.DynamicPseudoType, err
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return f.Call(args) },
	})
}

// noNUL refuses decoded text with a NUL byte: it is how placeholders of late values are told from text.
func noNUL(s string) error {
	if i := strings.IndexByte(s, 0); i >= 0 {
		return fmt.Errorf("there is a NUL byte at offset %d", i)
	}
	return nil
}
