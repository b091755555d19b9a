package main

import (
	"strings"
	"testing"
)

// TestHelpNamesEveryCommand holds that no command is left out of the overview, which is where people look first.
func TestHelpNamesEveryCommand(t *testing.T) {
	text := help(nil)
	for _, c := range commands() {
		if !strings.Contains(text, "\n  "+c.name+" ") {
			t.Errorf("hostler -help says nothing of %s", c.name)
		}
	}
}
