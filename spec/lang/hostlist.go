package lang

import (
	"errors"
	"fmt"
	"sort"
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
			names, err := expandHosts(args[0].AsString())
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

// expandHosts reads the host lists of ClusterShell, Slurm and pdsh: "c[001-128,200],login1". Numbers keep their width.
func expandHosts(s string) ([]string, error) {
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

// FoldHosts is the reverse of hostlist: names that differ only in their last number share a bracket. Names are sorted
// naturally, and repeated ones are written once.
func FoldHosts(names []string) string {
	names = append([]string(nil), names...)
	sort.Slice(names, func(i, j int) bool { return NaturalLess(names[i], names[j]) })
	var out []string
	for i := 0; i < len(names); {
		h, ok := splitHost(names[i])
		runs, j := []numberRun{{h.number, h.number}}, i+1
		for ; ok && j < len(names); j++ {
			next, ok := splitHost(names[j])
			last := &runs[len(runs)-1]
			if !ok || next.prefix != h.prefix || next.suffix != h.suffix || !sameWidth(h, next) {
				break
			}
			switch next.number {
			case last.hi:
			case last.hi + 1:
				last.hi++
			default:
				runs = append(runs, numberRun{next.number, next.number})
			}
		}
		out = append(out, h.fold(names[i], runs))
		for ; j < len(names) && names[j] == names[j-1]; j++ {
			continue
		}
		i = j
	}
	return strings.Join(out, ",")
}

// numberedHost is a name around its last number.
type numberedHost struct {
	prefix, digits, suffix string
	number                 uint64
}

type numberRun struct{ lo, hi uint64 }

func splitHost(name string) (numberedHost, bool) {
	end := len(name)
	for end > 0 && (name[end-1] < '0' || name[end-1] > '9') {
		end--
	}
	start := end
	for start > 0 && name[start-1] >= '0' && name[start-1] <= '9' {
		start--
	}
	n, err := strconv.ParseUint(name[start:end], 10, 32)
	if err != nil || strings.ContainsAny(name, "[],") || end-start > 9 {
		return numberedHost{prefix: name}, false
	}
	return numberedHost{name[:start], name[start:end], name[end:], n}, true
}

// sameWidth reports whether two numbers can stand in one bracket: both are written as wide as the first, or neither is padded.
func sameWidth(a, b numberedHost) bool {
	if len(a.digits) == len(b.digits) {
		return true
	}
	return a.digits[0] != '0' && b.digits[0] != '0' && a.number != 0 && b.number != 0
}

func (h numberedHost) fold(name string, runs []numberRun) string {
	if len(runs) == 1 && runs[0].lo == runs[0].hi {
		return name
	}
	var parts []string
	for _, r := range runs {
		lo := fmt.Sprintf("%0*d", len(h.digits), r.lo)
		switch r.hi {
		case r.lo:
			parts = append(parts, lo)
		default:
			parts = append(parts, lo+"-"+fmt.Sprintf("%0*d", len(h.digits), r.hi))
		}
	}
	return h.prefix + "[" + strings.Join(parts, ",") + "]" + h.suffix
}
