package fact

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// mostPrinted bounds what is repeated of a text in bytes; a name in DHCP or TFTP is shorter.
const mostPrinted = 200

// Printable makes what a machine sent fit for logs, events and terminals: one line of bounded length, without anything that would move a
// cursor or turn the direction of writing around.
func Printable(s string) string {
	if isPrintable(s) {
		return s
	}
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if len(s) > mostPrinted {
		s = strings.ToValidUTF8(s[:mostPrinted], "") + "..."
	}
	return s
}

// isPrintable reports whether nothing is to be changed, as with almost everything that machines send.
func isPrintable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= mostPrinted
}
