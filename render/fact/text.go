package fact

import (
	"slices"
	"strings"
)

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
	LatePresign Late = "presign" // URL of an object in S3, signed for whoever asks; the object as its String writes it
	LateS3URI   Late = "s3uri"   // s3://BUCKET/KEY of a file of the node's image; the role. Known when the text is rendered
	LateETag    Late = "etag"    // what S3 calls the version of such a file; the role. Known when the text is rendered
	LateConfig  Late = "config"  // URL of the node's own rendered template, bound to the boot; the template's name
	LateSeed    Late = "seed"    // URL below which cloud-init finds what is the node's, bound to the boot, without a final slash; no argument
	LateBoot    Late = "boot"    // BOOTID.TOKEN of the running boot; no argument
	LateBootIF  Late = "bootif"  // the interface that the machine boots from, as BOOTIF=01-MAC names it; no argument
	LateSecret  Late = "secret"  // a secret; NAME, or ENCODING:NAME
	LateRetries Late = "retries" // how often this boot asked for its script again; no argument
)

// How a secret is written into a text. Without an encoding it stands as it is.
const (
	EncodingBase64 = "base64" // every byte of it
	EncodingJSON   = "json"   // as inside a quoted string of JSON or YAML
	EncodingShell  = "shell"  // as inside single quotes of a shell
)

// SecretOf takes the argument of a LateSecret apart. What was quoted twice has two encodings.
func SecretOf(arg string) (name string, encodings []string) {
	words := strings.Split(arg, ":")
	last := len(words) - 1
	return words[last], words[:last]
}

// IsSecretName reports whether a secret can have the name: words of letters, digits, '.', '_' and '-', joined by '/'. None begins with a
// dot, so that no name leads out of a folder.
func IsSecretName(name string) bool {
	if len(name) > 255 {
		return false
	}
	for word := range strings.SplitSeq(name, "/") {
		if word == "" || word[0] == '.' || strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
			return false
		}
	}
	return true
}

// Secrets are the names of the secrets in a text, sorted.
func (t Text) Secrets() []string {
	var names []string
	if strings.Contains(string(t), "\x00"+string(LateSecret)+":") {
		t.each(func(p Part) {
			if p.Kind == LateSecret {
				name, _ := SecretOf(p.Value)
				names = append(names, name)
			}
		})
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// NewLate gives the text of one late value.
func NewLate(kind Late, arg string) Text { return Text("\x00" + string(kind) + ":" + arg + "\x00") }

// Base and Boot are the late values that every boot script has.
const (
	Base = Text("\x00" + LateBase + ":\x00")
	Boot = Text("\x00" + LateBoot + ":\x00")
)

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
