package spec

import (
	"fmt"
	"strings"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"hostler/render/fact"
	"hostler/spec/lang"
)

// layer is what one declaration says of the settings.
type layer struct {
	name    string // "defaults", "group.compute", `node.n1`
	entries []entry
	at      spot
}

// entry is one setting of a layer.
type entry struct {
	path   string
	text   string // the value as the author would read it
	action Action // Set, Removed or Reset
	apply  func(*Settings)
	late   *lateSetting // not nil: the expression uses self
	at     spot
}

// lateSetting is a kernel argument or variable whose expression is evaluated for each node.
type lateSetting struct {
	scope *scope
	part  mapPart
	vars  bool // a variable, not a kernel argument
}

// settings decodes what a block sets. With the node unknown, expressions that use self become late settings.
func (s *scope) settings(b *body, name string) *layer {
	l := &layer{name: name, at: s.spot(b.at)}
	s.scalars(b, l)
	for _, part := range s.mapParts(b, "kernel_args") {
		l.add(s.setting(part, false))
	}
	for _, part := range s.mapParts(b, "vars") {
		l.add(s.setting(part, true))
	}
	for _, o := range b.blocks["option"] {
		l.add(s.option(o))
	}
	s.times(b, l)
	return l
}

func (l *layer) add(e entry, ok bool) {
	if ok {
		l.entries = append(l.entries, e)
	}
}

// find gives the layer's entry for a path.
func (l *layer) find(path string) *entry {
	if l == nil {
		return nil
	}
	for i := range l.entries {
		if l.entries[i].path == path {
			return &l.entries[i]
		}
	}
	return nil
}

// set adds a scalar.
func (s *scope) set(l *layer, b *body, path, attr, text string, apply func(*Settings)) {
	l.entries = append(l.entries, entry{path: path, text: text, action: Set, apply: apply, at: s.spot(b.attrs[attr].at())})
}

func (s *scope) scalars(b *body, l *layer) {
	if b.schema.Type != "image" {
		if v, ok := s.ref(b, "image", "image"); ok {
			s.set(l, b, "image", "image", "image."+v, nil)
		}
	}
	if v, ok := s.bootMode(b); ok {
		s.set(l, b, "boot", "boot", string(v), func(t *Settings) { t.Boot = v })
	}
	s.hold(b, l)
	if v, ok := s.ref(b, "loader", "loader"); ok {
		s.set(l, b, "loader", "loader", "loader."+v, func(t *Settings) { t.Loader = v })
	}
	if v, ok := s.ref(b, "script", "template"); ok && s.isScript(b, v) {
		s.set(l, b, "script", "script", "template."+v, func(t *Settings) { t.Script = v })
	}
	if v, ok := s.choice(b, "script_form", "hostler", ScriptBSS); ok {
		s.set(l, b, "script_form", "script_form", v, func(t *Settings) { t.ScriptForm = v })
	}
	s.config(b, l)
	if v, ok := s.domain(b); ok {
		s.set(l, b, "domain", "domain", v, func(t *Settings) { t.Domain = v })
	}
	if v, ok := s.addrs(b, "dns"); ok {
		s.set(l, b, "dns", "dns", joinAddrs(v), func(t *Settings) { t.DNS = v })
	}
	if v, ok := s.addrs(b, "ntp"); ok {
		s.set(l, b, "ntp", "ntp", joinAddrs(v), func(t *Settings) { t.NTP = v })
	}
	s.kernelScalars(b, l)
}

func (s *scope) kernelScalars(b *body, l *layer) {
	if v, ok := s.flag(b, "kernel_args_reset"); ok && v {
		l.entries = append(l.entries, entry{path: "kernel_args_reset", text: "true", action: Reset,
			apply: func(t *Settings) { t.KernelArgsReset = true }, at: s.spot(b.attrs["kernel_args_reset"].at())})
	}
	if v, ok := s.strs(b, "kernel_args_order"); ok {
		s.set(l, b, "kernel_args_order", "kernel_args_order", strings.Join(v, " "), func(t *Settings) { t.KernelArgsOrder = v })
	}
	if v, ok := s.str(b, "kernel_args_tail"); ok {
		at := s.spot(b.attrs["kernel_args_tail"].at())
		if why := argProblem(fact.Text(v)); why != "" && !strings.HasPrefix(why, "it holds a double") {
			s.p.rep.err("bad-kernel-argument", at, "Bad kernel argument", fmt.Sprintf("kernel_args_tail cannot be printed: %s.", why))
			return
		}
		s.set(l, b, "kernel_args_tail", "kernel_args_tail", v, func(t *Settings) { t.KernelArgsTail = v })
	}
}

func (s *scope) domain(b *body) (string, bool) {
	v, ok := s.str(b, "domain")
	if !ok {
		return "", false
	}
	if why := hostnameProblem(v); why != "" {
		s.p.rep.err("bad-name", s.spot(b.attrs["domain"].at()), "Name is not allowed", fmt.Sprintf("%q as a domain %s.", v, why))
		return "", false
	}
	return v, true
}

// isScript reports whether a template may replace the boot script.
func (s *scope) isScript(b *body, name string) bool {
	u := s.p.units["template"][name]
	if u == nil {
		return false
	}
	if kind, ok := u.instances[0].str(u.body, "kind"); ok && kind == "ipxe" {
		return true
	}
	s.p.rep.err("wrong-template-kind", s.spot(b.attrs["script"].at()), "Wrong kind of template",
		fmt.Sprintf("script takes a template of kind ipxe. Add kind = \"ipxe\" to template.%s.", name), related("The template is here.", spot{Range: u.at}))
	return false
}

func (s *scope) times(b *body, l *layer) {
	if n := b.only("lease"); n != nil {
		s.leaseTimes(n, l)
	}
	s.loop(b, l)
	if n := b.only("retry"); n != nil {
		s.retry(n, l)
	}
}

func (s *scope) retry(n *body, l *layer) {
	if v, ok := s.duration(n, "delay"); ok {
		s.set(l, n, "retry.delay", "delay", durationText(v), func(t *Settings) { t.Retry.Delay = v })
	}
	if v, ok := s.duration(n, "max_delay"); ok {
		s.set(l, n, "retry.max_delay", "max_delay", durationText(v), func(t *Settings) { t.Retry.MaxDelay = v })
	}
	if v, ok := s.number(n, "jitter", 0, 100); ok {
		s.set(l, n, "retry.jitter", "jitter", fmt.Sprint(v), func(t *Settings) { t.Retry.Jitter = orNone(v) })
	}
	if v, ok := s.duration(n, "hold"); ok {
		s.set(l, n, "retry.hold", "hold", durationText(v), func(t *Settings) { t.Retry.Hold = v })
	}
	if v, ok := s.number(n, "attempts", 0, 1_000_000); ok {
		s.set(l, n, "retry.attempts", "attempts", fmt.Sprint(v), func(t *Settings) { t.Retry.Attempts = orNone(v) })
	}
	if v, ok := s.ref(n, "fallback", "image"); ok {
		s.set(l, n, "retry.fallback", "fallback", "image."+v, func(t *Settings) { t.Retry.Fallback = v })
	}
}

// orNone keeps a 0 that was written apart from one that was not.
func orNone(v int64) int {
	if v == 0 {
		return -1
	}
	return int(v)
}

func (s *scope) leaseTimes(n *body, l *layer) {
	if v, ok := s.duration(n, "default"); ok {
		s.set(l, n, "lease.default", "default", durationText(v), func(t *Settings) { t.Lease.Default = v })
	}
	if v, ok := s.duration(n, "max"); ok {
		s.set(l, n, "lease.max", "max", durationText(v), func(t *Settings) { t.Lease.Max = v })
	}
	if v, ok := s.duration(n, "min"); ok {
		s.set(l, n, "lease.min", "min", durationText(v), func(t *Settings) { t.Lease.Min = v })
	}
}

// setting turns one element into an entry.
func (s *scope) setting(part mapPart, vars bool) (entry, bool) {
	path := "kernel_args." + part.key
	if vars {
		path = "vars." + part.key
	}
	e := entry{path: path, action: Set, at: part.at}
	if why := keyProblem(part.key, vars); why != "" {
		s.p.rep.err("bad-key", part.keyAt, "Bad key", fmt.Sprintf("The key %q of %s %s.", part.key, part.attr.name, why))
		return e, false
	}
	switch {
	case part.late:
		e.text = s.p.textAt(part.attr.at())
		e.late = &lateSetting{scope: s, part: part, vars: vars}
		e.apply = lateMark(part.key, vars, part.at.place())
		return e, true
	case !part.val.IsWhollyKnown():
		return e, false
	case part.val.IsNull():
		e.action = Removed
		e.apply = removeMark(part.key, vars, part.at.place())
		return e, true
	case vars:
		return s.varEntry(e, part)
	default:
		return s.argEntry(e, part)
	}
}

func lateMark(key string, vars bool, at Place) func(*Settings) {
	if vars {
		return func(t *Settings) { t.Vars = append(t.Vars, Var{Name: key, PerNode: true, Place: at}) }
	}
	return func(t *Settings) { t.KernelArgs = append(t.KernelArgs, Arg{Key: key, PerNode: true, Place: at}) }
}

func removeMark(key string, vars bool, at Place) func(*Settings) {
	if vars {
		return func(t *Settings) { t.Vars = append(t.Vars, Var{Name: key, Remove: true, Place: at}) }
	}
	return func(t *Settings) { t.KernelArgs = append(t.KernelArgs, Arg{Key: key, Remove: true, Place: at}) }
}

func keyProblem(key string, vars bool) string {
	switch {
	case key == "":
		return "is empty"
	case len(key) > 256:
		return "is longer than 256 characters"
	case vars && key == "self":
		return "is what templates call the node"
	case vars:
		return ""
	}
	for _, c := range key {
		if c <= ' ' || c == '=' || c == '"' || c == 0x7f {
			return fmt.Sprintf("holds %q, which the kernel would not read as part of it", c)
		}
	}
	return ""
}

// varEntry keeps a variable as JSON text.
func (s *scope) varEntry(e entry, part mapPart) (entry, bool) {
	val := lang.StripRows(part.val)
	text, err := ctyjson.Marshal(val, val.Type())
	if err != nil {
		s.p.rep.err("wrong-type", part.at, "Wrong type", fmt.Sprintf("The value of %s cannot be handed to templates: %s.", part.key, err))
		return e, false
	}
	if !s.goodLate(part.val, part) {
		return e, false
	}
	v := Var{Name: part.key, JSON: string(text), Place: part.at.place()}
	e.text = v.String()
	e.apply = func(t *Settings) { t.Vars = append(t.Vars, v) }
	return e, true
}

// goodLate refuses NUL characters that no late value put there.
func (s *scope) goodLate(v cty.Value, part mapPart) bool {
	good := true
	_ = cty.Walk(v, func(_ cty.Path, x cty.Value) (bool, error) {
		if isString(x) && lateProblem(fact.Text(x.AsString())) != "" {
			good = false
		}
		return true, nil
	})
	if !good {
		s.p.rep.err("nul-character", part.at, "NUL character", fmt.Sprintf("The value of %s holds a NUL character. Remove it.", part.key))
	}
	return good
}

// evaluate gives the entry of a late setting for one node.
func (l *lateSetting) evaluate(self *subject, table string, row int) (entry, bool) {
	s := *l.scope
	s.self, s.table, s.row = self, table, row
	part := l.part
	part.at, part.late = s.spot(part.at.Range), false
	part.val = s.evalSelf(part.attr)
	if part.pick != "" && part.val.IsKnown() && !part.val.IsNull() {
		part.val = pick(part.val, part.pick)
	}
	return s.setting(part, l.vars)
}
