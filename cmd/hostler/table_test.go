package main

import (
	"strings"
	"testing"
)

// TestTable holds that who writes a commit moves no cursor, and adds no row.
func TestTable(t *testing.T) {
	var out strings.Builder
	env := &environment{stdout: &out}
	env.table([]string{"AUTHOR", "SUBJECT"}, [][]string{{"Eve \x1b]0;owned\a", "two\nlines\tand a tab"}, {"", "c0001"}})
	const want = "AUTHOR          SUBJECT\n" +
		"Eve \ufffd]0;owned\ufffd  two lines and a tab\n" +
		"-               c0001\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}
