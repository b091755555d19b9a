package lang

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"unicode"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
)

func bootFunctions() map[string]function.Function {
	return map[string]function.Function{
		"ipxequote":  stringFunc(func(a []string) (string, error) { return ipxeQuote(a[0]) }, "str"),
		"kargs":      decoderFunc(parseKargs),
		"kargstring": encoderFunc(kargString),
	}
}

// ipxeQuote checks text that becomes words of an iPXE command, and gives it back unchanged: iPXE has no quoting at all
// (src/core/exec.c splits at white space, then expands ${...} in each word), so that text either stands for itself or cannot
// be written.
func ipxeQuote(s string) (string, error) {
	for _, c := range s {
		if c != 0 && unicode.IsControl(c) {
			return "", fmt.Errorf("iPXE cannot be given the control character %q", c)
		}
	}
	words := strings.Split(s, " ")
	for i, w := range words {
		switch {
		case w == "" && i > 0 && i < len(words)-1:
			return "", errors.New("iPXE makes one space of several")
		case w == "||" || w == "&&" || w == ";":
			return "", fmt.Errorf("the word %q would end the iPXE command", w)
		case strings.HasPrefix(w, "#"):
			return "", fmt.Errorf("the word %q would begin an iPXE comment", w)
		}
		if _, after, ok := strings.Cut(w, "${"); ok && strings.Contains(after, "}") {
			return "", fmt.Errorf("iPXE would expand the setting in the word %q", w)
		}
	}
	return s, nil
}

// parseKargs reads a kernel command line into an object for kernel_args: key=value, a bare flag as true, a repeated key as
// a list. Quotes are read as the kernel's next_arg does (lib/cmdline.c).
func parseKargs(line string) (cty.Value, error) {
	values := map[string][]string{}
	flags := map[string]bool{}
	words, err := splitCommandLine(line)
	if err != nil {
		return cty.NilVal, err
	}
	for _, w := range words {
		key, value, hasValue := strings.Cut(w, "=")
		switch {
		case w == "--":
			return cty.NilVal, errors.New(`what follows "--" is for the init program: write it as kernel_args_tail`)
		case key == "":
			return cty.NilVal, fmt.Errorf("the argument %q has no name", w)
		case isLate(key):
			return cty.NilVal, fmt.Errorf("the name of an argument: %w", errLate)
		case !hasValue:
			flags[key] = true
		default:
			values[key] = append(values[key], value)
		}
		if flags[key] && values[key] != nil {
			return cty.NilVal, fmt.Errorf("%q stands both alone and with a value, which kernel_args cannot express", key)
		}
	}
	out := map[string]cty.Value{}
	for k := range flags {
		out[k] = cty.True
	}
	for k, vs := range values {
		if out[k] = cty.StringVal(vs[0]); len(vs) > 1 {
			out[k] = stringsVal(vs)
		}
	}
	return cty.ObjectVal(out), nil
}

// splitCommandLine splits at white space outside double quotes. A quote that opens an argument or its value is taken away with
// the one that closes it; others stay.
func splitCommandLine(line string) ([]string, error) {
	var words []string
	start, quoted := -1, false
	for i := 0; i <= len(line); i++ {
		space := i == len(line) || line[i] == ' ' || line[i] == '\t' || line[i] == '\n' || line[i] == '\r'
		switch {
		case i == len(line) && quoted:
			return nil, fmt.Errorf("a double quote is not closed in %q", line[start:])
		case space && !quoted && start >= 0:
			words = append(words, unquoteArg(line[start:i]))
			start = -1
		case !space && start < 0:
			start = i
		}
		if i < len(line) && line[i] == '"' {
			quoted = !quoted
		}
	}
	return words, nil
}

func unquoteArg(w string) string {
	if strings.HasPrefix(w, `"`) {
		return strings.TrimSuffix(w[1:], `"`)
	}
	if key, value, ok := strings.Cut(w, "="); ok && strings.HasPrefix(value, `"`) {
		return key + "=" + strings.TrimSuffix(value[1:], `"`)
	}
	return w
}

// kargString writes an object as a kernel command line, keys sorted: the reverse of kargs.
func kargString(v cty.Value) (string, error) {
	if v.IsNull() || !v.Type().IsObjectType() && !v.Type().IsMapType() {
		return "", function.NewArgErrorf(0, "an object or map is required, not %s", v.Type().FriendlyName())
	}
	m := v.AsValueMap()
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var words []string
	for _, k := range keys {
		ws, err := kargWords(k, m[k])
		if err != nil {
			return "", err
		}
		words = append(words, ws...)
	}
	return strings.Join(words, " "), nil
}

// kargWords writes one argument, which is several words for a list and none for null.
func kargWords(key string, v cty.Value) ([]string, error) {
	if key == "" || strings.ContainsAny(key, "= \t\n\r\"\x00") {
		return nil, fmt.Errorf("%q cannot be the name of a kernel argument", key)
	}
	t := v.Type()
	switch {
	case v.IsNull():
		return nil, nil
	case t == cty.Bool && v.True():
		return []string{key}, nil
	case t == cty.Bool:
		return nil, fmt.Errorf("%s is false, which says nothing to the kernel: write null to leave it out, or the string that it wants", key)
	case t == cty.String || t == cty.Number:
		w, err := kargWord(key, v)
		return []string{w}, err
	case t.IsListType() || t.IsTupleType() || t.IsSetType():
		var words []string
		for _, e := range v.AsValueSlice() {
			if e.IsNull() || e.Type() != cty.String && e.Type() != cty.Number {
				return nil, fmt.Errorf("the list of %s holds something else than strings and numbers", key)
			}
			w, err := kargWord(key, e)
			if err != nil {
				return nil, err
			}
			words = append(words, w)
		}
		return words, nil
	}
	return nil, fmt.Errorf("%s is %s, not a string, number, true, or a list of them", key, t.FriendlyName())
}

func kargWord(key string, v cty.Value) (string, error) {
	s, err := convert.Convert(v, cty.String)
	if err != nil {
		return "", err
	}
	value := s.AsString()
	switch {
	case strings.ContainsAny(value, "\n\r"):
		return "", fmt.Errorf("the value of %s has a line break, which a kernel command line cannot hold", key)
	case strings.Contains(value, `"`):
		return "", fmt.Errorf("the value of %s has a double quote, which the kernel cannot read inside a value", key)
	case strings.ContainsAny(value, " \t"):
		value = `"` + value + `"`
	}
	return key + "=" + value, nil
}
