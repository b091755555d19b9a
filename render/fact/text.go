package fact

import "strings"

// Text is text that may hold late values: places that are filled in when a machine asks, because they
// are not known, or must not be written down, when the text is rendered. A late value is written
// as NUL kind ":" argument NUL; NUL cannot come from a spec, so nothing an author writes is mistaken for one.
type Text string

// Late is the kind of a late value.
type Late string

// The kinds of late value. The argument's meaning stands beside each.
const (
	LateServer  Late = "server"  // address of the boot server that answers; no argument
	LateBase    Late = "base"    // scheme, host, port and path prefix of the boot HTTP server, without a final slash; no argument
	LateSecure  Late = "secure"  // the same over TLS where the server offers that to machines, else the base; no argument
	LateGRUB    Late = "grub"    // the boot HTTP server as a device of GRUB's with the path prefix: (http,HOST:PORT)/PREFIX; no argument
	LateURL     Late = "url"     // URL of a file of the node's image; the role
	LateConfig  Late = "config"  // URL of the node's own rendered template, bound to the boot; the template's name
	LateBoot    Late = "boot"    // BOOTID.TOKEN of the running boot; no argument
	LateBootIF  Late = "bootif"  // the interface that the machine boots from, as BOOTIF=01-MAC names it; no argument
	LateRetries Late = "retries" // how often this boot asked for its script again; no argument
)

// NewLate gives the text of one late value.
func NewLate(kind Late, arg string) Text { return Text("\x00" + string(kind) + ":" + arg + "\x00") }

// Part is a piece of a Text: a literal (Kind empty, Value the text) or a late value (Value its argument).
type Part struct {
	Kind  Late
	Value string
}

// Parts splits the text into literals and late values.
func (t Text) Parts() []Part {
	var parts []Part
	t.each(func(p Part) { parts = append(parts, p) })
	return parts
}

func (t Text) each(f func(Part)) {
	s := string(t)
	for s != "" {
		i := strings.IndexByte(s, 0)
		if i < 0 {
			f(Part{"", s})
			return
		}
		if i > 0 {
			f(Part{"", s[:i]})
		}
		rest := s[i+1:]
		j := strings.IndexByte(rest, 0)
		if j < 0 { // cannot be built by NewLate; kept as it is, so that nothing is lost
			f(Part{"", s[i:]})
			return
		}
		kind, arg, _ := strings.Cut(rest[:j], ":")
		f(Part{Late(kind), arg})
		s = rest[j+1:]
	}
}

// Fill replaces every late value by what value says of it.
func (t Text) Fill(value func(Late, string) string) string {
	if strings.IndexByte(string(t), 0) < 0 {
		return string(t)
	}
	return string(t.Append(nil, value))
}

// Append appends the text with every late value replaced by what value says of it.
func (t Text) Append(b []byte, value func(Late, string) string) []byte {
	t.each(func(p Part) {
		if p.Kind == "" {
			b = append(b, p.Value...)
		} else {
			b = append(b, value(p.Kind, p.Value)...)
		}
	})
	return b
}

// String shows late values as <kind:argument> or <kind>, for plans, explanations and logs.
func (t Text) String() string {
	return t.Fill(func(k Late, arg string) string {
		if arg == "" {
			return "<" + string(k) + ">"
		}
		return "<" + string(k) + ":" + arg + ">"
	})
}
