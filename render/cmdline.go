package render

import (
	"cmp"
	"fmt"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// bootArg is the argument by which a running machine proves which boot it belongs to.
const bootArg = "hostler.boot"

// maxCmdline is what the x86 and arm64 kernels keep of their command line, without the final NUL (COMMAND_LINE_SIZE is 2,048).
const maxCmdline = 2047

// cmdline gives the kernel arguments of a machine, in print order.
func (s *Snapshot) cmdline(t *target) fact.Text {
	var b strings.Builder
	s.writeArgs(&b, t)
	writeBoot(&b)
	writeTail(&b, t)
	return fact.Text(strings.TrimPrefix(b.String(), " "))
}

// writeArgs writes the author's arguments, each behind a space.
func (s *Snapshot) writeArgs(b *strings.Builder, t *target) {
	for i := range t.settings.KernelArgs {
		s.writeArg(b, t, &t.settings.KernelArgs[i])
	}
}

func (s *Snapshot) writeArg(b *strings.Builder, t *target, a *spec.Arg) {
	if a.PerNode || a.Remove { // evaluated for each node, and this one has no value for it; or taken away
		return
	}
	if a.Flag {
		b.WriteByte(' ')
		b.WriteString(a.Key)
	}
	for _, v := range a.Values {
		b.WriteByte(' ')
		b.WriteString(a.Key)
		b.WriteByte('=')
		b.WriteString(quoteArg(string(s.resolve(t, v))))
	}
}

// writeBoot writes what proves the boot.
func writeBoot(b *strings.Builder) {
	b.WriteString(" " + bootArg + "=" + string(fact.Boot))
}

// writeTail writes what is not the kernel's.
func writeTail(b *strings.Builder, t *target) {
	if t.settings.KernelArgsTail != "" {
		b.WriteString(" -- ")
		b.WriteString(t.settings.KernelArgsTail)
	}
}

// quoteArg writes a value as the kernel reads it (lib/cmdline.c next_arg): a value with a space stands in double
// quotes; there is no escape. Quotes that the author wrote around spaces are kept.
func quoteArg(v string) string {
	quoted := false
	for _, c := range v {
		if c == '"' {
			quoted = !quoted
		} else if !quoted && (c == ' ' || c == '\t') {
			return `"` + v + `"`
		}
	}
	return v
}

// kernelWords splits a command line as the kernel does (lib/cmdline.c next_arg), and drops the quotes that kept words together:
// GRUB takes words, and puts quotes around one with a space itself (grub-core/lib/cmdline.c).
func kernelWords(cmdline string) []string {
	var words []string
	var word strings.Builder
	quoted := false
	for _, c := range []byte(cmdline + " ") {
		switch {
		case c == '"':
			quoted = !quoted
		case !quoted && isSpace(rune(c)):
			if word.Len() > 0 {
				words = append(words, word.String())
			}
			word.Reset()
		default:
			word.WriteByte(c)
		}
	}
	return words
}

// serialConsole finds the serial port that the kernel is told to print to, console=ttyS0,115200n8, and whether it is told to
// print to the screen, too.
func serialConsole(words []string) (unit, speed string, screen, ok bool) {
	for _, w := range words {
		port, isPort := strings.CutPrefix(w, "console=ttyS")
		switch {
		case strings.HasPrefix(w, "console=tty") && len(w) == len("console=tty0"):
			screen = true
		case isPort:
			unit, speed, _ = strings.Cut(port, ",")
			speed, _, _ = strings.Cut(strings.TrimRight(speed, "r"), "n") // 115200n8r: parity, bits, flow control
			if speed == "" {
				speed = "9600" // what the kernel takes (Documentation/admin-guide/serial-console.rst)
			}
			ok = strings.Trim(unit, "0123456789") == "" && unit != "" && strings.Trim(speed, "0123456789") == ""
		}
	}
	return unit, speed, screen, ok
}

// badArg says why a kernel or iPXE would not read a value as it was written; empty: it does.
func badArg(v string) string {
	if strings.ContainsAny(v, "\n\r\x00") {
		return "has a line break"
	}
	q := quoteArg(v)
	if strings.Count(q, `"`)%2 != 0 || len(q) == len(v)+2 && strings.Contains(v, `"`) {
		return "has double quotes that the kernel cannot read: it knows no escape for them"
	}
	return badWords(q)
}

// badWords says what iPXE would make something else of. It splits a line at white space and joins the words with one
// space; a word that begins with # starts a comment, ||, && and ; alone end the command, and ${...} within a word is a
// setting, without an escape (src/core/exec.c, src/core/settings.c).
func badWords(v string) string {
	words := strings.FieldsFunc(v, isSpace)
	if strings.Join(words, " ") != v {
		return "has white space at an end, tabs or several spaces in a row, which iPXE makes one space"
	}
	for i, w := range words {
		// the first word has the key before it, so only what follows a space can be a comment or a separator
		switch {
		case i > 0 && strings.HasPrefix(w, "#"):
			return "has a word that begins with #, where iPXE stops reading"
		case i > 0 && (w == "||" || w == "&&" || w == ";"):
			return fmt.Sprintf("has %s as a word, which ends a command of iPXE", w)
		case expands(w):
			return "has ${...}, which iPXE replaces by a setting of its own; use self for values of the node"
		}
	}
	return ""
}

// isSpace is C's isspace, which is what iPXE splits at.
func isSpace(r rune) bool { return r == ' ' || r >= '\t' && r <= '\r' }

// expands reports whether iPXE finds a setting to expand in a word.
func expands(w string) bool {
	i := strings.Index(w, "${")
	return i >= 0 && strings.Contains(w[i:], "}")
}

// resolve replaces those late values that are known already: what is said of the image's own files, and which interface asks.
func (s *Snapshot) resolve(t *target, text fact.Text) fact.Text {
	if strings.IndexByte(string(text), 0) < 0 {
		return text
	}
	var out fact.Text
	for _, p := range text.Parts() {
		switch p.Kind {
		case "":
			out += fact.Text(p.Value)
		case fact.LateURL, fact.LateS3URI, fact.LateETag:
			out += s.ofFile(t, p)
		case fact.LateBootIF:
			if t.mac.IsZero() {
				out += fact.NewLate(p.Kind, p.Value)
			} else {
				out += fact.Text("01-" + t.mac.Dashed()) // as pxelinux' IPAPPEND 2 writes it: Ethernet's hardware type, and the address
			}
		default:
			out += fact.NewLate(p.Kind, p.Value)
		}
	}
	return out
}

// unknownETag stands for what S3 calls the version of a file that was not looked at.
const unknownETag = "(etag-unknown-here)"

// ofFile is what a text says of a file of the image: its URL, or where it is in S3 and in which version. What a fallback has no file for, is
// said of the machine's own image.
func (s *Snapshot) ofFile(t *target, p fact.Part) fact.Text {
	for _, m := range []*spec.Image{t.image, t.own} {
		if m == nil {
			continue
		}
		for i := range m.Files {
			if text := s.say(&m.Files[i], p); text != "" {
				return text
			}
		}
	}
	return fact.NewLate(p.Kind, p.Value)
}

// say answers for one file, and nothing when it is not the one, or not in S3.
func (s *Snapshot) say(f *spec.ImageFile, p fact.Part) fact.Text {
	st := s.fleet.Store(f.File.Store)
	switch {
	case f.Role != p.Value:
		return ""
	case p.Kind == fact.LateURL:
		return fileURL(s.file(f.File, f.Name))
	case st == nil || st.S3 == nil:
		return ""
	case p.Kind == fact.LateS3URI:
		return fact.Text(st.S3.Object(f.File.Key).URI())
	}
	return fact.Text(cmp.Or(s.file(f.File, f.Name).ETag, unknownETag))
}
