package lang

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// maxHosts is how many names hostlist gives at most.
const maxHosts = 200_000

func hostListFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{stringParam("hosts")},
		Type:   function.StaticReturnType(cty.List(cty.String)),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			names, err := ExpandHosts(args[0].AsString())
			if err != nil {
				return fail(function.NewArgError(0, err))
			}
			return stringsVal(names), nil
		},
	})
}

func hostFoldFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "list", Type: cty.List(cty.String)}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			names, err := stringElements(args[0])
			if err != nil {
				return fail(err)
			}
			return cty.StringVal(FoldHosts(names)), nil
		},
	})
}

// ExpandHosts reads the host lists of ClusterShell, Slurm and pdsh: "c[001-128,200],login1". Numbers keep their width.
func ExpandHosts(s string) ([]string, error) {
	items, err := splitHosts(s)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, item := range items {
		expanded, err := expandHost(item, maxHosts-len(names))
		if err != nil {
			return nil, err
		}
		names = append(names, expanded...)
	}
	return names, nil
}

// splitHosts splits at the commas outside brackets.
func splitHosts(s string) ([]string, error) {
	var items []string
	start, inside := 0, false
	for i := 0; i <= len(s); i++ {
		switch {
		case i == len(s) && inside:
			return nil, fmt.Errorf("a bracket of %q is not closed", s)
		case i == len(s) || s[i] == ',' && !inside:
			item := strings.TrimSpace(s[start:i])
			if item == "" && s != "" {
				return nil, fmt.Errorf("a name is missing in %q, at offset %d", s, i)
			}
			if item != "" {
				items = append(items, item)
			}
			start = i + 1
		case s[i] == '[' && inside:
			return nil, fmt.Errorf("a bracket stands inside a bracket of %q", s)
		case s[i] == '[':
			inside = true
		case s[i] == ']' && !inside:
			return nil, fmt.Errorf("a bracket of %q is not opened", s)
		case s[i] == ']':
			inside = false
		}
	}
	return items, nil
}

// expandHost expands the brackets of one item, the last one fastest.
func expandHost(item string, most int) ([]string, error) {
	names := []string{""}
	for item != "" {
		literal, rest, bracket := strings.Cut(item, "[")
		choices := []string{""}
		if bracket {
			var inner string
			var err error
			inner, item, _ = strings.Cut(rest, "]")
			if choices, err = expandNumbers(inner, most); err != nil {
				return nil, err
			}
		} else {
			item = ""
		}
		if len(names)*len(choices) > most {
			return nil, errTooManyHosts
		}
		next := make([]string, 0, len(names)*len(choices))
		for _, n := range names {
			for _, c := range choices {
				if len(n)+len(literal)+len(c) > 255 {
					return nil, errors.New("a name would have more than 255 characters")
				}
				next = append(next, n+literal+c)
			}
		}
		names = next
	}
	return names, nil
}

var errTooManyHosts = fmt.Errorf("there are more than %d names", maxHosts)

// expandNumbers reads "001-128,200".
func expandNumbers(s string, most int) ([]string, error) {
	var out []string
	for _, part := range strings.Split(s, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		lo, err1 := strconv.ParseUint(from, 10, 32)
		hi, err2 := strconv.ParseUint(to, 10, 32)
		switch {
		case err1 != nil || err2 != nil || len(from) > 10 || len(to) > 10:
			return nil, fmt.Errorf("%q is neither a number nor a range of numbers, as 001-128 is", part)
		case hi < lo:
			return nil, fmt.Errorf("the range %q ends before it begins", part)
		case from[0] == '0' && len(from) > 1 && len(from) != len(to):
			return nil, fmt.Errorf("the ends of the range %q have different widths", part)
		case hi-lo >= uint64(max(most-len(out), 0)):
			return nil, errTooManyHosts
		}
		for n := lo; n <= hi; n++ {
			out = append(out, fmt.Sprintf("%0*d", len(from), n))
		}
	}
	return out, nil
}

// FoldHosts is the reverse of hostlist: names that differ only in their last number share a bracket. Names are in natural
// order, and repeated ones are written once.
func FoldHosts(names []string) string {
	names = slices.Compact(slices.SortedFunc(slices.Values(names), func(a, b string) int {
		switch {
		case a == b:
			return 0
		case NaturalLess(a, b):
			return -1
		}
		return 1
	}))
	hosts := make([]numberedHost, len(names))
	padded := map[numberedHost]bool{} // prefix, suffix and width, where a number begins with zero
	for i, n := range names {
		hosts[i] = splitHost(n)
		if d := hosts[i].digits; len(d) > 1 && d[0] == '0' {
			padded[hosts[i].family(len(d))] = true
		}
	}
	folds := map[numberedHost]*hostFold{}
	var order []*hostFold
	for i, h := range hosts {
		width := len(h.digits)
		if !padded[h.family(width)] {
			width = 1
		}
		f := folds[h.family(width)]
		if f == nil || h.digits == "" {
			f = &hostFold{name: names[i], host: h, width: width}
			order = append(order, f)
		}
		if h.digits != "" { // a name without a number stands alone
			folds[h.family(width)] = f
		}
		f.numbers = append(f.numbers, h.number)
	}
	out := make([]string, len(order))
	for i, f := range order {
		out[i] = f.String()
	}
	return strings.Join(out, ",")
}

// numberedHost is a name around its last number. Without one, it is all prefix and has no digits.
type numberedHost struct {
	prefix, digits, suffix string
	number                 uint64
}

func splitHost(name string) numberedHost {
	end := strings.LastIndexAny(name, "0123456789") + 1
	start := end
	for start > 0 && name[start-1] >= '0' && name[start-1] <= '9' {
		start--
	}
	n, err := strconv.ParseUint(name[start:end], 10, 64)
	if err != nil || strings.ContainsAny(name, "[],") || end-start > 9 {
		return numberedHost{prefix: name}
	}
	return numberedHost{name[:start], name[start:end], name[end:], n}
}

// family is what hosts of one bracket have in common.
func (h numberedHost) family(width int) numberedHost {
	return numberedHost{prefix: h.prefix, suffix: h.suffix, number: uint64(width)}
}

// hostFold is one bracket: names with the same text around a number. The numbers ascend.
type hostFold struct {
	name    string // the first
	host    numberedHost
	width   int
	numbers []uint64
}

func (f *hostFold) String() string {
	if len(f.numbers) == 1 {
		return f.name
	}
	var parts []string
	for i := 0; i < len(f.numbers); {
		j := i
		for j+1 < len(f.numbers) && f.numbers[j+1] == f.numbers[j]+1 {
			j++
		}
		part := fmt.Sprintf("%0*d", f.width, f.numbers[i])
		if j > i {
			part += fmt.Sprintf("-%0*d", f.width, f.numbers[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return f.host.prefix + "[" + strings.Join(parts, ",") + "]" + f.host.suffix
}
