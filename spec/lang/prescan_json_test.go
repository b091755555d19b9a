package lang

import (
	"strings"
	"testing"
)

// TestPrescanJSON is the nesting that JSON itself has, and that of the templates in its strings, however they are escaped.
func TestPrescanJSON(t *testing.T) {
	for name, c := range map[string]struct{ src, want string }{
		"plain":             {`{"a": ["b", {"c": "${d[0]}"}]}`, ""},
		"brackets in text":  {`{"a": "` + strings.Repeat("[", 300) + `"}`, ""},
		"deep":              {strings.Repeat("[\n", 201), "line 201: brackets and braces are nested more than 200 deep"},
		"deep in template":  {"{\n\"a\": \"${" + strings.Repeat("[", 300) + `"}`, "line 2: brackets, braces, parentheses and templates are nested more than 200 deep"},
		"escaped":           {`{"a": "$\u007b` + strings.Repeat(`\u005b`, 300) + `"}`, "line 1: brackets, braces, parentheses and templates are nested more than 200 deep"},
		"escaped quote":     {`{"a": "\"${` + strings.Repeat(`[`, 300) + `"}`, "line 1: brackets, braces, parentheses and templates are nested more than 200 deep"},
		"nul":               {`{"a": "\u0000"}`, "line 1: there is a NUL byte"},
		"unclosed":          {`{"a": "b`, ""},
		"ends in backslash": {`{"a": "b\`, ""},
		"closing too often": {`]]]]` + strings.Repeat("[", 201), "line 1: brackets and braces are nested more than 200 deep"},
		"large":             {strings.Repeat(" ", MaxFile+1), "line 1: the file has 8388609 bytes, and 8388608 is the most"},
	} {
		got := ""
		if err := PrescanJSON([]byte(c.src)); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
