package lang

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/template"

	"hostler/render/fact"
)

// maxActions is how many {{ a text/template may have.
const maxActions = 10_000

// parseGoTemplate prepares a text/template. Data are maps, lists, strings, numbers and booleans only: there is nothing with methods.
func parseGoTemplate(name, source string) (func(map[string]any) (string, error), error) {
	if len(source) > MaxFile {
		return nil, fmt.Errorf("%s: it has more than %d bytes", name, MaxFile)
	}
	// Its parser recurses once for each action that is open, without a bound.
	if n := strings.Count(source, "{{"); n > maxActions {
		return nil, fmt.Errorf("%s: it has %d actions, and %d is the most", name, n, maxActions)
	}
	t, err := template.New(name).Option("missingkey=error").Funcs(goFunctions(&meter{})).Parse(source)
	if err != nil {
		return nil, goError(name, err)
	}
	if err := meterTemplate(t); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return func(data map[string]any) (string, error) {
		var out boundedWriter
		run, err := t.Clone() // the functions of each execution count for themselves
		if err != nil {
			return "", goError(name, err)
		}
		if err := run.Funcs(goFunctions(&meter{})).Execute(&out, data); err != nil {
			return "", goError(name, err)
		}
		return out.String(), nil
	}, nil
}

// goError takes text/template's own prefix away, so that the file stands first once.
func goError(name string, err error) error {
	for _, known := range []error{errSteps, errWork, errOutput} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s: %w", name, known)
		}
	}
	text := strings.TrimPrefix(err.Error(), "template: ")
	return errors.New(strings.TrimSpace(strings.ReplaceAll(text, "\n", " ")))
}

// boundedWriter keeps at most maxOutput bytes.
type boundedWriter struct{ strings.Builder }

func (w *boundedWriter) Write(b []byte) (int, error) {
	if w.Len()+len(b) > maxOutput {
		return 0, errOutput
	}
	return w.Builder.Write(b)
}

// goFunctions are what a text/template may call. Those of text/template that make text are replaced: they would make any
// amount of it, or break late values.
func goFunctions(m *meter) template.FuncMap {
	fs := template.FuncMap{
		"step":       func() (string, error) { return "", m.step() },
		"url":        func(role string) (string, error) { return lateName(fact.LateURL, "role", role) },
		"s3uri":      func(role string) (string, error) { return lateName(fact.LateS3URI, "role", role) },
		"etag":       func(role string) (string, error) { return lateName(fact.LateETag, "role", role) },
		"self_url":   func(name string) (string, error) { return lateName(fact.LateConfig, "template", name) },
		"secret":     lateSecret,
		"bootserver": func() string { return string(fact.NewLate(fact.LateServer, "")) },
		"seed_url":   func() string { return string(fact.NewLate(fact.LateSeed, "")) },
		"bootif":     func() string { return string(fact.NewLate(fact.LateBootIF, "")) },
		"has":        func(m map[string]any, key string) bool { _, ok := m[key]; return ok },
		"default": func(fallback, v any) any {
			if v == nil || v == "" {
				return fallback
			}
			return v
		},
		"ipxequote": ipxeQuote,
		"hasPrefix": early2(func(s, prefix string) bool { return strings.HasPrefix(s, prefix) }),
	}
	for name, f := range m.textFunctions() {
		fs[name] = f
	}
	return fs
}

// textFunctions make text; its length is counted.
func (m *meter) textFunctions() template.FuncMap {
	return template.FuncMap{
		"html": func(...any) (string, error) { return "", errors.New("there is no html: boot files are not HTML") },
		"js":   func(...any) (string, error) { return "", errors.New("there is no js: use json") },
		"urlquery": func(...any) (string, error) {
			return "", errors.New("there is no urlquery: URLs come from url and self_url")
		},
		"call": func(...any) (string, error) {
			return "", errors.New("there is no call: there are no functions in data")
		},
		"print":   func(args ...any) (string, error) { return m.print("", args) },
		"println": func(args ...any) (string, error) { return m.print(" ", args) },
		"printf":  m.printf,
		"json":    m.json,
		"join":    m.join,
		"indent":  m.indent,
		"quote":   m.quote,
		"lower":   m.early(strings.ToLower),
		"upper":   m.early(strings.ToUpper),
		"trim":    m.early(strings.TrimSpace),
		"replace": func(old, with, s string) (string, error) {
			if isLate(s) {
				return "", errLate
			}
			if err := m.add(len(s) + strings.Count(s, old)*len(with)); err != nil {
				return "", err
			}
			return strings.ReplaceAll(s, old, with), nil
		},
		"split": func(sep, s string) ([]string, error) {
			if isLate(s) {
				return nil, errLate
			}
			return strings.Split(s, sep), m.add(16 * len(s))
		},
		"shellquote": func(s string) (string, error) {
			q := "'" + quoteSecrets(strings.ReplaceAll(s, "'", `'\''`), fact.EncodingShell) + "'"
			return q, m.add(len(q))
		},
	}
}

// early wraps a function that looks at the characters of its argument.
func (m *meter) early(f func(string) string) func(string) (string, error) {
	return func(s string) (string, error) {
		if isLate(s) {
			return "", errLate
		}
		out := f(s)
		return out, m.add(len(out))
	}
}

func early2(f func(a, b string) bool) func(a, b string) (bool, error) {
	return func(a, b string) (bool, error) {
		if isLate(a) || isLate(b) {
			return false, errLate
		}
		return f(a, b), nil
	}
}

// quote writes a double-quoted string, as JSON, YAML and most configuration languages read it. Late values inside stay.
func (m *meter) quote(s string) (string, error) {
	q := restoreLate(strconv.Quote(s), `\x00`)
	return q, m.add(len(q))
}

func (m *meter) json(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return restoreLate(string(b), `\u0000`), m.add(len(b))
}

func (m *meter) join(sep string, list any) (string, error) {
	var parts []string
	switch list := list.(type) {
	case []string:
		parts = list
	case []any:
		for _, v := range list {
			parts = append(parts, fmt.Sprint(v))
		}
	default:
		return "", fmt.Errorf("join wants a list, not %T", list)
	}
	n := 0
	for _, p := range parts {
		n += len(p) + len(sep)
	}
	if err := m.add(n); err != nil {
		return "", err
	}
	return strings.Join(parts, sep), nil
}

func (m *meter) indent(n int, s string) (string, error) {
	if n < 0 || n > 100 {
		return "", fmt.Errorf("indent %d is not between 0 and 100", n)
	}
	if err := m.add(len(s) + n*strings.Count(s, "\n")); err != nil {
		return "", err
	}
	return strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", n)), nil
}

func (m *meter) print(sep string, args []any) (string, error) {
	var b strings.Builder
	for i, a := range args {
		if i > 0 {
			b.WriteString(sep)
		}
		n := b.Len()
		fmt.Fprint(&b, a)
		if err := m.add(b.Len() - n); err != nil {
			return "", err
		}
	}
	if sep != "" {
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// printf formats verb by verb, so that the bound holds before the memory is used.
func (m *meter) printf(format string, args ...any) (string, error) {
	if hasLongNumber(format) || strings.Contains(format, "%[") || strings.Contains(format, "*") {
		return "", errors.New("printf has no argument numbers, no *, and widths of at most three digits")
	}
	var b strings.Builder
	for format != "" {
		i := strings.IndexByte(format, '%')
		if i < 0 {
			i = len(format)
		}
		b.WriteString(format[:i])
		verb := verbOf(format[i:])
		format = format[i+len(verb):]
		n := b.Len()
		switch {
		case verb == "" || verb == "%%":
			b.WriteString(strings.TrimSuffix(verb, "%"))
		case len(args) == 0:
			return "", fmt.Errorf("printf has no argument for %s", verb)
		case !strings.ContainsAny(verb[len(verb)-1:], "sv") && isLate(fmt.Sprint(args[0])):
			return "", fmt.Errorf("%s: %w", verb, errLate)
		default:
			fmt.Fprintf(&b, verb, args[0])
			args = args[1:]
		}
		if err := m.add(b.Len() - n + i); err != nil {
			return "", err
		}
	}
	if len(args) > 0 {
		return "", fmt.Errorf("printf has %d arguments too many", len(args))
	}
	return b.String(), nil
}

// verbOf is the verb that a format begins with, flags and width included.
func verbOf(format string) string {
	if format == "" {
		return ""
	}
	i := 1
	for i < len(format) && strings.IndexByte("+-# 0123456789.", format[i]) >= 0 {
		i++
	}
	return format[:min(i+1, len(format))]
}
