package spec

import (
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"hostler/render/fact"
)

// value gives an attribute's value; ok is false when it is absent, null, or a reported mistake.
func (s *scope) value(b *body, name string) (v cty.Value, at spot, ok bool) {
	a := b.attrs[name]
	if a == nil {
		return cty.NilVal, spot{}, false
	}
	v = s.eval(a)
	return v, s.spot(a.at()), v.IsKnown() && !v.IsNull()
}

// str gives a string that holds no late value.
func (s *scope) str(b *body, name string) (string, bool) {
	v, at, ok := s.value(b, name)
	if !ok {
		return "", false
	}
	return s.asString(name, v, at)
}

func (s *scope) asString(name string, v cty.Value, at spot) (string, bool) {
	t, err := convert.Convert(v, cty.String)
	if err != nil || t.IsNull() || !t.IsKnown() {
		s.wrongType(name, v, "a string", at)
		return "", false
	}
	text := t.AsString()
	if strings.IndexByte(text, 0) >= 0 {
		s.tooEarly(name, text, at)
		return "", false
	}
	return text, true
}

// tooEarly reports a late value where the value must be known now, or a NUL character.
func (s *scope) tooEarly(name, text string, at spot) {
	if lateProblem(fact.Text(text)) != "" {
		s.p.rep.err("nul-character", at, "NUL character", fmt.Sprintf("The value of %s holds a NUL character. Remove it.", name))
		return
	}
	s.p.rep.err("late-value-used-early", at, "Late value used early",
		fmt.Sprintf("The value of %s holds %s, which is only known when a machine asks. Such values can be used in kernel_args, vars and templates.", name, fact.Text(text)))
}

// lateProblem says why a text's late values were not made by the functions for them.
func lateProblem(t fact.Text) string {
	for _, p := range t.Parts() {
		switch {
		case p.Kind == "" && strings.IndexByte(p.Value, 0) >= 0:
			return "it holds a NUL character"
		case p.Kind == fact.LateURL || p.Kind == fact.LateConfig || p.Kind == fact.LateS3URI || p.Kind == fact.LateETag:
			if nameProblem(p.Value) != "" {
				return "it holds a NUL character"
			}
		case p.Kind == fact.LateSecret:
			if name, _ := fact.SecretOf(p.Value); !fact.IsSecretName(name) {
				return "it holds a NUL character"
			}
		case (p.Kind == fact.LateServer || p.Kind == fact.LateBootIF || p.Kind == fact.LateSeed) && p.Value == "":
		case p.Kind != "":
			return "it holds a NUL character"
		}
	}
	return ""
}

func (s *scope) wrongType(name string, v cty.Value, want string, at spot) {
	s.p.rep.err("wrong-type", at, "Wrong type", fmt.Sprintf("%s takes %s, but this is %s.", name, want, s.describe(v)))
}

// describe names a value for a message.
func (s *scope) describe(v cty.Value) string {
	switch {
	case v.IsNull():
		return "null"
	case isRef(v):
		return v.GetAttr("kind").AsString() + "." + v.GetAttr("name").AsString()
	case v.Type().IsTupleType():
		return "a list"
	case v.Type() == cty.String && v.IsKnown():
		return fmt.Sprintf("the string %q", short(fact.Text(v.AsString()).String()))
	default:
		return article(v.Type().FriendlyName())
	}
}

func short(s string) string {
	if len(s) > 60 {
		return s[:57] + "..."
	}
	return s
}

func isString(v cty.Value) bool { return v.Type() == cty.String && v.IsKnown() && !v.IsNull() }

func (s *scope) flag(b *body, name string) (value, ok bool) {
	v, at, ok := s.value(b, name)
	if !ok {
		return false, false
	}
	t, err := convert.Convert(v, cty.Bool)
	if err != nil || t.IsNull() || !t.IsKnown() {
		s.wrongType(name, v, "true or false", at)
		return false, false
	}
	return t.True(), true
}

// number gives a whole number between low and high.
func (s *scope) number(b *body, name string, low, high int64) (int64, bool) {
	v, at, ok := s.value(b, name)
	if !ok {
		return 0, false
	}
	t, err := convert.Convert(v, cty.Number)
	if err != nil || t.IsNull() || !t.IsKnown() {
		s.wrongType(name, v, "a number", at)
		return 0, false
	}
	f := t.AsBigFloat()
	n, accuracy := f.Int64()
	if accuracy != 0 || n < low || n > high {
		s.p.rep.err("number-out-of-range", at, "Number is out of range", fmt.Sprintf("%s is %s; it must be a whole number from %d to %d.", name, f.Text('f', -1), low, high))
		return 0, false
	}
	return n, true
}

// choice gives one of a few words.
func (s *scope) choice(b *body, name string, words ...string) (string, bool) {
	text, ok := s.str(b, name)
	if !ok {
		return "", false
	}
	for _, w := range words {
		if w == text {
			return w, true
		}
	}
	s.p.rep.err("unknown-value", s.spot(b.attrs[name].at()), "Unknown value",
		fmt.Sprintf("%s is %q; it must be %s.%s", name, text, orList(words), didYouMean(text, words)))
	return "", false
}

func orList(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = fmt.Sprintf("%q", w)
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	return strings.Join(quoted[:len(quoted)-1], ", ") + " or " + quoted[len(quoted)-1]
}

// duration reads 90s, 10m, 12h, 7d or a number of seconds.
func (s *scope) duration(b *body, name string) (time.Duration, bool) {
	text, ok := s.str(b, name)
	if !ok {
		return 0, false
	}
	d, err := parseDuration(text)
	if err != nil || d <= 0 || d > 10*365*24*time.Hour {
		s.p.rep.err("bad-duration", s.spot(b.attrs[name].at()), "Not a duration", fmt.Sprintf("%s is %q; write a duration such as \"90s\", \"10m\", \"12h\" or \"7d\".", name, text))
		return 0, false
	}
	return d, true
}

func parseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		d, err := time.ParseDuration(days + "h")
		return d * 24, err
	}
	return time.ParseDuration(text)
}

// durationText writes a duration as people do: 10m, not 10m0s.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// items gives the elements of a list, tuple or set.
func (s *scope) items(b *body, name, of string) (vs []cty.Value, at spot, ok bool) {
	v, at, ok := s.value(b, name)
	if !ok {
		return nil, at, false
	}
	if t := v.Type(); !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		s.p.rep.err("wrong-type", at, "Wrong type", fmt.Sprintf("%s takes a list of %s, but this is %s. Put brackets around it.", name, of, s.describe(v)))
		return nil, at, false
	}
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		if !e.IsKnown() {
			return nil, at, false
		}
		vs = append(vs, e)
	}
	return vs, at, true
}

func (s *scope) strs(b *body, name string) ([]string, bool) {
	vs, at, ok := s.items(b, name, "strings")
	out := make([]string, 0, len(vs))
	for _, v := range vs {
		t, good := s.asString(name, v, at)
		ok = ok && good
		out = append(out, t)
	}
	return out, ok
}

// itemSpot is the place of one item of a list that is written out.
func (s *scope) itemSpot(a *attr, i int, whole spot) spot {
	if list, diags := hcl.ExprList(a.expr); !diags.HasErrors() && i < len(list) {
		return s.spot(list[i].Range())
	}
	return whole
}

// rowKey is where a row of a table keeps its place; it is not a column.
const rowKey = "_row"

// labelList gives a map of strings, sorted by key.
func (s *scope) labelList(b *body, name string) []Label {
	v, at, ok := s.value(b, name)
	if !ok {
		return nil
	}
	if t := v.Type(); !t.IsObjectType() && !t.IsMapType() {
		s.wrongType(name, v, "a map of strings", at)
		return nil
	}
	var out []Label
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		if e.IsNull() || !e.IsKnown() || k.AsString() == rowKey {
			continue
		}
		if text, ok := s.asString(name+"."+k.AsString(), e, at); ok {
			out = append(out, Label{k.AsString(), text})
		}
	}
	return out
}
