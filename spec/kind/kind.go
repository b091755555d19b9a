// Package kind knows what the configuration of an operating system must look like: cloud-init, Ignition, kickstart, preseed and
// Talos. It reads one text at a time and says what is wrong with it, and in which line. It refuses to know where the text
// came from, which machine it is for, and which programs there are on this machine.
package kind

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Problem is one mistake in a text.
type Problem struct {
	Line int    // of the text, from 1; 0 when nothing says which
	Text string // a clause, without a full stop
}

// The parts of a cloud-init configuration. They are different languages, told apart by what they are fetched as.
const (
	UserData      = "user-data"
	VendorData    = "vendor-data"
	NetworkConfig = "network-config"
)

// most is how many mistakes of one text are told.
const most = 10

// A Checker checks texts. The zero value is ready for use, by one goroutine.
type Checker struct {
	compilers map[string]*jsonschema.Compiler // of schemas, by their file
	kinds     map[string]string               // talosKinds
}

type checkFunc func(c *Checker, use, text string) []Problem

// kinds are the kinds of template that make the configuration of a system, beside ipxe and text.
func kinds() map[string]checkFunc {
	return map[string]checkFunc{
		"cloud-init": (*Checker).cloudInit,
		"ignition":   ignition,
		"kickstart":  kickstart,
		"preseed":    preseed,
		"talos":      (*Checker).talos,
	}
}

// Names lists the kinds, sorted.
func Names() []string {
	var names []string
	for name := range kinds() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Check gives the mistakes in a text, in the order of its lines: none if the system that it is for would accept it, as far as can be
// told without that system. Use is what a cloud-init text is fetched as; empty is UserData. A kind that is none of Names has no mistakes.
func (c *Checker) Check(kind, use, text string) []Problem {
	check := kinds()[kind]
	if check == nil {
		return nil
	}
	ps := check(c, use, text)
	slices.SortStableFunc(ps, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	ps = slices.Compact(ps)
	return ps[:min(len(ps), most)]
}

// shorten cuts what a problem repeats of a text.
func shorten(s string) string { return cut(s, 60) }

// cut gives one line of printable characters.
func cut(s string, length int) string {
	s, _, _ = strings.Cut(s, "\n")
	r := []rune(strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, s))
	if len(r) > length {
		return string(r[:length-3]) + "..."
	}
	return string(r)
}
