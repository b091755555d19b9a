package spec

import (
	"fmt"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"hostler/render/fact"
)

// argEntry turns a value into a kernel argument: true is a bare flag, a list the key repeated.
func (s *scope) argEntry(e entry, part mapPart) (entry, bool) {
	arg := Arg{Key: part.key, Place: part.at.place()}
	v := part.val
	switch t := v.Type(); {
	case t == cty.Bool && v.True():
		arg.Flag, e.text = true, part.key
	case t == cty.Bool:
		s.p.rep.err("false-kernel-argument", part.at, "Kernel argument is false",
			fmt.Sprintf("%s = false could mean two things. To remove what a weaker layer sets, write null; for the text the kernel reads, write \"0\" or \"off\".", part.key))
		return e, false
	case t == cty.String || t == cty.Number:
		text, ok := s.argValue(part, v)
		if !ok {
			return e, false
		}
		arg.Values, e.text = []fact.Text{text}, text.String()
	case t.IsTupleType() || t.IsListType():
		var texts []string
		for it := v.ElementIterator(); it.Next(); {
			_, x := it.Element()
			text, ok := s.argValue(part, x)
			if !ok {
				return e, false
			}
			arg.Values = append(arg.Values, text)
			texts = append(texts, text.String())
		}
		if len(texts) == 0 {
			s.p.rep.err("bad-kernel-argument", part.at, "Bad kernel argument", fmt.Sprintf("%s is an empty list. To remove the argument, write null.", part.key))
			return e, false
		}
		e.text = strings.Join(texts, " ")
	default:
		s.p.rep.err("bad-kernel-argument", part.at, "Bad kernel argument",
			fmt.Sprintf("%s takes a string, a number, true, null or a list, but this is %s.", part.key, s.describe(v)))
		return e, false
	}
	e.apply = func(t *Settings) { t.KernelArgs = append(t.KernelArgs, arg) }
	return e, true
}

func (s *scope) argValue(part mapPart, v cty.Value) (fact.Text, bool) {
	if t := v.Type(); v.IsNull() || t != cty.String && t != cty.Number {
		s.p.rep.err("bad-kernel-argument", part.at, "Bad kernel argument",
			fmt.Sprintf("A list for %s holds strings and numbers, but this element is %s.", part.key, s.describe(v)))
		return "", false
	}
	x, err := convert.Convert(v, cty.String)
	if err != nil {
		return "", false
	}
	text := fact.Text(x.AsString())
	if why := argProblem(text); why != "" {
		s.p.rep.err("bad-kernel-argument", part.at, "Bad kernel argument",
			fmt.Sprintf("The value of %s cannot be put on a kernel command line: %s.", part.key, why))
		return "", false
	}
	return text, true
}

// argProblem says what of a value the kernel's command line cannot carry. The kernel has quotes, but no way to write one.
func argProblem(t fact.Text) string {
	if why := lateProblem(t); why != "" {
		return why
	}
	for _, p := range t.Parts() {
		if p.Kind != "" {
			continue
		}
		for _, c := range p.Value {
			switch {
			case c == '\n' || c == '\r':
				return "it holds a line break"
			case c == '"':
				return "it holds a double quote"
			case c < ' ' && c != '\t' || c == 0x7f:
				return fmt.Sprintf("it holds the control character %q", c)
			}
		}
	}
	return ""
}
