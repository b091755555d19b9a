package spec

import (
	"fmt"
	"strings"
)

// Severity is how bad a mistake is.
type Severity string

// The severities. A fleet with an error is not served.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Diagnostic is one mistake of the author of a spec or of a server configuration.
type Diagnostic struct {
	Severity Severity  `json:"severity"`
	Code     string    `json:"code,omitempty"` // stable rule name: "duplicate-mac", "address-outside-subnet", ...
	Summary  string    `json:"summary"`        // at most six words
	Detail   string    `json:"detail"`         // sentences that name the thing as written and the remedy
	Address  string    `json:"address,omitempty"`
	Place    *Place    `json:"range,omitempty"`
	Snippet  *Snippet  `json:"snippet,omitempty"`
	Related  []Related `json:"related,omitempty"`
}

// Snippet is the source line of a diagnostic.
type Snippet struct {
	Context string `json:"context,omitempty"` // the enclosing block's header: node "web"
	Code    string `json:"code"`              // the line, without its end
	Start   int    `json:"highlight_start_offset"`
	End     int    `json:"highlight_end_offset"` // bytes into Code
}

// Related is another place that has to do with the mistake.
type Related struct {
	Text  string `json:"text"`
	Place Place  `json:"range"`
	Code  string `json:"code,omitempty"` // the source line
}

// Diagnostics are every mistake of one run, in the order of their places.
type Diagnostics []Diagnostic

// HasErrors reports whether any is an error.
func (ds Diagnostics) HasErrors() bool {
	for _, d := range ds {
		if d.Severity == Error {
			return true
		}
	}
	return false
}

// Error gives the first error on one line and how many more there are.
func (ds Diagnostics) Error() string {
	n, first := 0, ""
	for _, d := range ds {
		if d.Severity != Error {
			continue
		}
		if n == 0 {
			first = d.String()
		}
		n++
	}
	if n > 1 {
		return fmt.Sprintf("%s (and %d more)", first, n-1)
	}
	return first
}

// String gives "file:line: summary: detail" on one line.
func (d Diagnostic) String() string {
	var b strings.Builder
	if d.Place != nil {
		fmt.Fprintf(&b, "%s: ", d.Place)
	}
	b.WriteString(d.Summary)
	if d.Detail != "" {
		b.WriteString(": " + strings.Join(strings.Fields(d.Detail), " "))
	}
	return b.String()
}

// String gives "file:line", with the table's row when the place has one.
func (p Place) String() string {
	if p.Row > 0 {
		return fmt.Sprintf("%s:%d", p.Table, p.Row)
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}
