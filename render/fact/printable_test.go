package fact

import (
	"strings"
	"testing"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"pxelinux.cfg/01-52-54-00-77-00-01": "pxelinux.cfg/01-52-54-00-77-00-01",
		"Überraschung":                      "Überraschung",
		"a\x1b[31mb\r\nc\x00":               "a?[31mb??c?",
		"a\u009b31mb":                       "a?31mb", // as ESC [, in one character
		"txt.\u202egpj.exe":                 "txt.?gpj.exe",
		"not\xffUTF-8":                      "not?UTF-8",
		strings.Repeat("ä", 150):            strings.Repeat("ä", 100) + "...",
		strings.Repeat("x", 199) + "ä":      strings.Repeat("x", 199) + "...",
	} {
		if got := Printable(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
