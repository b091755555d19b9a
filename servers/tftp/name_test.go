package tftp

import (
	"strings"
	"testing"
)

func TestCleanName(t *testing.T) {
	for _, tt := range []struct {
		raw, want string // empty: refused
		why       string
	}{
		{"undionly.kpxe", "undionly.kpxe", "as announced"},
		{"/undionly.kpxe", "undionly.kpxe", "GRUB and some UEFI add a slash"},
		{"//boot//grub.cfg", "boot/grub.cfg", "a prefix that ends in a slash, joined with one"},
		{`boot\x64\wdsnbp.com`, "boot/x64/wdsnbp.com", "Windows' loader"},
		{"undionly.kpxe\xff", "undionly.kpxe", "a ROM that counts the end option as part of the name"},
		{"undionly.kpxe\x00", "undionly.kpxe", "a ROM that counts the terminator"},
		{"undionly.kpxe\x00\xff", "undionly.kpxe", "both"},
		{"./pxelinux.cfg/default", "pxelinux.cfg/default", "relative to where it came from"},
		{"a/./b/", "a/b", "dots and a final slash mean nothing"},
		{"pxelinux.cfg/01-52-54-00-00-00-01", "pxelinux.cfg/01-52-54-00-00-00-01", "no colon in it"},
		{"", "", "no name"},
		{"/", "", "a folder"},
		{".", "", "a folder"},
		{"\xff", "", "nothing but the end option"},
		{"..", "", "leads out"},
		{"../etc/passwd", "", "leads out"},
		{"a/../b", "", "leads out and back: no client needs that"},
		{`..\..\boot.ini`, "", "leads out, in backslashes"},
		{"c:/boot.ini", "", "a drive"},
		{"tftp://10.0.0.1/x", "", "a URL"},
		{"a\x00b", "", "NUL in the middle"},
		{"a\nb", "", "a line break in the log"},
		{strings.Repeat("a", 256), "", "longer than any name"},
	} {
		got, ok := cleanName(tt.raw)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: cleanName(%q) = %q, %v, want %q", tt.why, tt.raw, got, ok, tt.want)
		}
	}
}

func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"undionly.kpxe", "/a//b", `..\..\x`, "a\xff\x00", "c:/x", "a/../b", "a/ ../b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		name, ok := cleanName(raw)
		if !ok {
			return
		}
		if name == "" || name[0] == '/' || strings.ContainsAny(name, "\x00\\\n") || strings.Contains("/"+name+"/", "/../") {
			t.Errorf("cleanName(%q) = %q", raw, name)
		}
		if again, ok := cleanName(name); !ok || again != name {
			t.Errorf("cleaning %q again gives %q, %v", name, again, ok)
		}
	})
}
