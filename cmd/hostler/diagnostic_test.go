package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"hostler/spec"
)

func duplicateMAC() spec.Diagnostic {
	return spec.Diagnostic{
		Severity: spec.Error, Code: "duplicate-mac", Summary: "Duplicate MAC",
		Detail:  `The MAC 52:54:00:77:00:01 belongs to node.a already, so node.b cannot have it. Correct one of the two; a machine has one name.`,
		Address: "node.b",
		Place:   &spec.Place{File: "lab.boot.hcl", Line: 12, Column: 13, EndLine: 12, EndColumn: 32},
		Snippet: &spec.Snippet{Context: `node "b"`, Code: `  mac     = "52:54:00:77:00:01"`, Start: 12, End: 31},
		Related: []spec.Related{
			{Text: "It is here first:", Place: spec.Place{File: "lab.boot.hcl", Line: 4, Column: 3}, Code: `  mac = "52:54:00:77:00:01"`},
			{Text: "And in the table:", Place: spec.Place{File: "lab.boot.hcl", Line: 20, Table: "machines.csv", Row: 3}},
		},
	}
}

func TestPrintDiagnostics(t *testing.T) {
	for name, c := range map[string]struct {
		ds    spec.Diagnostics
		color bool
		width int
		want  string
	}{
		"none": {width: 60},
		"an error with related places": {ds: spec.Diagnostics{duplicateMAC()}, width: 60, want: `╷
│ Error: Duplicate MAC
│
│   on lab.boot.hcl line 12, in node "b":
│   12:   mac     = "52:54:00:77:00:01"
│                   ^^^^^^^^^^^^^^^^^^^
│   It is here first:
│   on lab.boot.hcl line 4:
│    4:   mac = "52:54:00:77:00:01"
│   And in the table:
│   on machines.csv line 3:
│
│ The MAC 52:54:00:77:00:01 belongs to node.a already, so
│ node.b cannot have it. Correct one of the two; a machine
│ has one name.
╵
`},
		"a warning without a place, then an error in colour": {color: true, width: 60, ds: spec.Diagnostics{
			{Severity: spec.Warning, Summary: "Ambiguous layers", Detail: "Two groups differ."},
			{Severity: spec.Error, Summary: "Unknown group", Place: &spec.Place{File: "a.boot.hcl", Line: 1},
				Snippet: &spec.Snippet{Code: "groups = [group.x]", Start: 10, End: 17}},
		}, want: "\x1b[33m╷\x1b[0m\n\x1b[33m│\x1b[0m \x1b[33mWarning: \x1b[0m\x1b[1mAmbiguous layers\x1b[0m\n\x1b[33m│\x1b[0m\n\x1b[33m│\x1b[0m Two groups differ.\n\x1b[33m╵\x1b[0m\n" +
			"\x1b[31m╷\x1b[0m\n\x1b[31m│\x1b[0m \x1b[31mError: \x1b[0m\x1b[1mUnknown group\x1b[0m\n\x1b[31m│\x1b[0m\n\x1b[31m│\x1b[0m   on a.boot.hcl line 1:\n" +
			"\x1b[31m│\x1b[0m    1: groups = [\x1b[4mgroup.x\x1b[0m]\n\x1b[31m│\x1b[0m                 ^^^^^^^\n\x1b[31m╵\x1b[0m\n"},
		"a row of a table": {width: 60, ds: spec.Diagnostics{{Severity: spec.Error, Summary: "Address outside subnet", Detail: "x",
			Place: &spec.Place{File: "lab.boot.hcl", Line: 3, Table: "machines.csv", Row: 7}}}, want: `╷
│ Error: Address outside subnet
│
│   on machines.csv line 7, by lab.boot.hcl line 3:
│
│ x
╵
`},
		"lines that begin with a space are kept": {width: 20, ds: spec.Diagnostics{{Severity: spec.Error, Summary: "S",
			Detail: "one two three four five\n  a line as it was written\nanExtraordinarilyLongWordIsNotCut"}}, want: `╷
│ Error: S
│
│ one two three four
│ five
│   a line as it was written
│ anExtraordinarilyLongWordIsNotCut
╵
`},
		"text of a repository cannot steer the terminal": {width: 60, ds: spec.Diagnostics{{Severity: spec.Error, Summary: "a\x1b[2Jb", Detail: "c\rd\x9be",
			Place: &spec.Place{File: "\x1b]0;x\a", Line: 1}, Snippet: &spec.Snippet{Code: "\tä\x1b[31m = 1", Start: 1, End: 2}}}, want: `╷
│ Error: a` + "\uFFFD" + `[2Jb
│
│   on ` + "\uFFFD" + `]0;x` + "\uFFFD" + ` line 1:
│    1:  ä` + "\uFFFD" + `[31m = 1
│        ^
│
│ c` + "\uFFFD" + `d` + "\uFFFD" + `e
╵
`},
		"a snippet that does not fit its line": {width: 60, ds: spec.Diagnostics{{Severity: spec.Error, Summary: "S", Detail: "d",
			Place: &spec.Place{File: "a", Line: 1}, Snippet: &spec.Snippet{Code: "ab", Start: 5, End: -1}}}, want: `╷
│ Error: S
│
│   on a line 1:
│    1: ab
│
│ d
╵
`},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			printDiagnostics(&b, c.ds, c.color, c.width)
			if d := cmp.Diff(c.want, b.String()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPrintDiagnosticsJSON(t *testing.T) {
	for name, c := range map[string]struct {
		ds   spec.Diagnostics
		want string
	}{
		"none": {want: `{"format_version": "1.0", "valid": true, "error_count": 0, "warning_count": 0, "diagnostics": []}`},
		"an error and a warning": {ds: spec.Diagnostics{duplicateMAC(), {Severity: spec.Warning, Summary: "S", Detail: "a & b"}}, want: `{
  "format_version": "1.0", "valid": false, "error_count": 1, "warning_count": 1,
  "diagnostics": [
    {
      "severity": "error", "summary": "Duplicate MAC", "code": "duplicate-mac", "address": "node.b",
      "detail": "The MAC 52:54:00:77:00:01 belongs to node.a already, so node.b cannot have it. Correct one of the two; a machine has one name.",
      "range": {"filename": "lab.boot.hcl", "start": {"line": 12, "column": 13}, "end": {"line": 12, "column": 32}},
      "snippet": {
        "context": "node \"b\"", "code": "  mac     = \"52:54:00:77:00:01\"", "start_line": 12,
        "highlight_start_offset": 12, "highlight_end_offset": 31, "values": []
      },
      "related": [
        {"message": "It is here first:", "range": {"filename": "lab.boot.hcl", "start": {"line": 4, "column": 3}, "end": {"line": 4, "column": 3}}},
        {"message": "And in the table:", "range": {"filename": "lab.boot.hcl", "start": {"line": 20, "column": 0}, "end": {"line": 20, "column": 0}, "table": "machines.csv", "row": 3}}
      ]
    },
    {"severity": "warning", "summary": "S", "detail": "a & b"}
  ]
}`},
		"a warning is valid": {ds: spec.Diagnostics{{Severity: spec.Warning, Summary: "S"}},
			want: `{"format_version": "1.0", "valid": true, "error_count": 0, "warning_count": 1, "diagnostics": [{"severity": "warning", "summary": "S", "detail": ""}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			printDiagnosticsJSON(&b, c.ds)
			var got, want any
			if err := json.Unmarshal(b.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(c.want), &want); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDiagnosticMessage(t *testing.T) {
	var b bytes.Buffer
	env := &environment{stdout: &b, now: func() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 5000, time.UTC) }}
	env.diagnosticMessage(spec.Diagnostic{Severity: spec.Warning, Summary: "S <x>", Detail: "d"})
	want := `{"@level":"warn","@message":"Warning: S <x>","@module":"hostler.ui","@timestamp":"2026-11-01T12:00:00.000005Z","diagnostic":{"severity":"warning","summary":"S <x>","detail":"d"},"type":"diagnostic"}` + "\n"
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

// FuzzPrintDiagnostics looks for text that panics the layout, loses the rule, or sends a control character.
func FuzzPrintDiagnostics(f *testing.F) {
	f.Add("summary", "detail with words", "  code = 1", 2, 6, 40)
	f.Add("\x1b[2J", "ä\r\n\n x", "\tä\u0300b", 1, 2, 0)
	f.Fuzz(func(t *testing.T, summary, detail, code string, start, end, width int) {
		var b bytes.Buffer
		printDiagnostics(&b, spec.Diagnostics{{Severity: spec.Error, Summary: strings.ReplaceAll(summary, "\n", " "), Detail: detail,
			Place: &spec.Place{File: "f", Line: 1}, Snippet: &spec.Snippet{Code: strings.ReplaceAll(code, "\n", " "), Start: start, End: end}}}, false, width)
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		for i, l := range lines {
			first, _ := utf8.DecodeRuneInString(l)
			if want := map[bool]rune{true: '│'}[i > 0 && i < len(lines)-1]; want != 0 && first != want {
				t.Errorf("line %d is %q", i, l)
			}
			if strings.ContainsFunc(l, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("line %d has a control character: %q", i, l)
			}
		}
	})
}
