package tftp

import (
	"path"
	"strings"
	"unicode/utf8"
)

// maxName is longer than any name that a snapshot has; DHCP's boot file field has 128 bytes.
const maxName = 255

// cleanName brings a requested name into the form in which snapshots know names: relative, with slashes. It reports
// false for names that no honest client sends; those are not looked up at all.
func cleanName(raw string) (string, bool) {
	// Old PXE ROMs take the length of option 67 wrongly and send the 0xff of the options' end, or a NUL, with the name.
	name := raw
	for name != "" && (name[len(name)-1] == 0xff || name[len(name)-1] == 0) {
		name = name[:len(name)-1]
	}
	name = strings.ReplaceAll(name, `\`, "/") // Windows' loaders
	if name == "" || len(name) > maxName || !utf8.ValidString(name) {
		return "", false
	}
	for _, c := range []byte(name) {
		if c < ' ' || c == 0x7f {
			return "", false
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." || strings.HasSuffix(part, ":") { // c:/, tftp://
			return "", false
		}
	}
	// GRUB and pxelinux write a leading slash, and double ones where a prefix ends in one.
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	return name, name != ""
}
