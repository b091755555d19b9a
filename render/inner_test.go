package render

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"hostler/render/fact"
	"hostler/spec"
)

// TestArgument is the table of what can be said to a kernel through iPXE. Render refuses what cannot.
func TestArgument(t *testing.T) {
	for _, x := range []struct{ value, quoted, why string }{
		{"ttyS0,115200n8", "ttyS0,115200n8", ""},
		{"", "", ""},
		{"a b", `"a b"`, ""},
		{`"a b"`, `"a b"`, ""},     // the author's own quotes
		{`x="a b"`, `x="a b"`, ""}, // around a part of the value
		{"a&b=c+d%20#e;f|g", "a&b=c+d%20#e;f|g", ""},
		{"${", "${", ""},
		{"a ${ }", `"a ${ }"`, ""}, // never both in one word
		{"$" + "{x}", "$" + "{x}", "has ${...}, which iPXE replaces by a setting of its own; use self for values of the node"},
		{"a #b", `"a #b"`, "has a word that begins with #, where iPXE stops reading"},
		{"a && b", `"a && b"`, "has && as a word, which ends a command of iPXE"},
		{"a  b", `"a  b"`, "has white space at an end, tabs or several spaces in a row, which iPXE makes one space"},
		{"a\tb", "\"a\tb\"", "has white space at an end, tabs or several spaces in a row, which iPXE makes one space"},
		{"a\nb", "a\nb", "has a line break"},
		{`a"b`, `a"b`, "has double quotes that the kernel cannot read: it knows no escape for them"},
		{`a "b`, `"a "b"`, "has double quotes that the kernel cannot read: it knows no escape for them"},
		{`a "b" c`, `"a "b" c"`, "has double quotes that the kernel cannot read: it knows no escape for them"},
	} {
		if got := quoteArg(x.value); got != x.quoted {
			t.Errorf("quoteArg(%q) = %q, want %q", x.value, got, x.quoted)
		}
		if got := badArg(x.value); got != x.why {
			t.Errorf("badArg(%q) = %q, want %q", x.value, got, x.why)
		}
	}
}

// TestDelay: a retry waits twice as long as the one before, never longer than the maximum, and machines do not wait in step.
func TestDelay(t *testing.T) {
	r := spec.Retry{Delay: 4 * time.Second, MaxDelay: 100 * time.Second}
	for retry, want := range []int{4, 8, 16, 32, 64, 100, 100, 100} {
		seen := map[int]bool{}
		for i := range 200 {
			m := fact.MAC{2, 0, 0, 0, 0, byte(i)}
			d := delay(r, m, retry)
			if d > want || d < want*3/4 {
				t.Errorf("retry %d of %s waits %d s, want 3/4 to all of %d", retry, m, d, want)
			}
			if d != delay(r, m, retry) {
				t.Error("the same question has two answers")
			}
			seen[d] = true
		}
		if want == 100 && len(seen) < 20 {
			t.Errorf("200 machines wait in only %d ways", len(seen))
		}
	}
	if d := delay(spec.Retry{}, fact.MAC{}, 1<<40); d < 45 || d > 60 {
		t.Errorf("by default the longest wait is %d s", d)
	}
	if d := delay(spec.Retry{Delay: time.Millisecond}, fact.MAC{}, 0); d != 1 {
		t.Errorf("waits %d s", d)
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"held: disk":                   "held: disk",
		"a\nexit 1":                    "a exit 1",
		"$" + "{net0/mac} || x & y; #": "__net0/mac_ __ x _ y_ _",
		`ends in \`:                    "ends in _",
		"ünï\x00\x1b[31m":              "?n???[31m",
	} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("a\\\n# ${x} || b")
	f.Fuzz(func(t *testing.T, s string) {
		if p := plain(s); strings.ContainsAny(p, "\n\r\\#;|&$") || expands(p) || badWords(p) != "" {
			t.Errorf("plain(%q) = %q", s, p)
		}
	})
}

// TestFreeRanges cuts a pool by what is not for leasing.
func TestFreeRanges(t *testing.T) {
	a := netip.MustParseAddr
	span := func(first, last string) fact.Range { return fact.Range{First: a(first), Last: a(last)} }
	for _, x := range []struct {
		name, cidr string
		ranges     []fact.Range
		exclude    []fact.Range
		declared   []string
		want       []fact.Range
	}{
		{"nothing to cut", "10.0.0.0/24", []fact.Range{span("10.0.0.10", "10.0.0.20")}, nil, nil, []fact.Range{span("10.0.0.10", "10.0.0.20")}},
		{"in the middle", "10.0.0.0/24", []fact.Range{span("10.0.0.10", "10.0.0.20")}, nil, []string{"10.0.0.15"}, []fact.Range{span("10.0.0.10", "10.0.0.14"), span("10.0.0.16", "10.0.0.20")}},
		{"at both ends", "10.0.0.0/24", []fact.Range{span("10.0.0.10", "10.0.0.20")}, nil, []string{"10.0.0.10", "10.0.0.20"}, []fact.Range{span("10.0.0.11", "10.0.0.19")}},
		{"all of it", "10.0.0.0/24", []fact.Range{span("10.0.0.10", "10.0.0.11")}, []fact.Range{span("10.0.0.1", "10.0.0.99")}, nil, nil},
		{"overlapping cuts", "10.0.0.0/24", []fact.Range{span("10.0.0.10", "10.0.0.20")}, []fact.Range{span("10.0.0.12", "10.0.0.14"), span("10.0.0.13", "10.0.0.16")}, []string{"10.0.0.13"}, []fact.Range{span("10.0.0.10", "10.0.0.11"), span("10.0.0.17", "10.0.0.20")}},
		{"the subnet's own addresses", "10.0.0.0/29", []fact.Range{span("10.0.0.0", "10.0.0.7")}, nil, nil, []fact.Range{span("10.0.0.2", "10.0.0.6")}},
		{"a point-to-point link has no such addresses", "10.0.0.0/31", []fact.Range{span("10.0.0.0", "10.0.0.1")}, nil, nil, []fact.Range{span("10.0.0.0", "10.0.0.0")}},
		{"the end of the address space", "255.255.255.0/24", []fact.Range{span("255.255.255.254", "255.255.255.255")}, nil, []string{"255.255.255.255"}, []fact.Range{span("255.255.255.254", "255.255.255.254")}},
	} {
		sn := &spec.Subnet{CIDR: netip.MustParsePrefix(x.cidr), Exclude: x.exclude, Gateway: netip.MustParsePrefix(x.cidr).Addr().Next()}
		var declared []netip.Addr
		for _, d := range x.declared {
			declared = append(declared, a(d))
		}
		if got := freeRanges(sn, x.ranges, declared); !slices.Equal(got, x.want) {
			t.Errorf("%s: %v, want %v", x.name, got, x.want)
		}
	}
}

func TestNaturalLess(t *testing.T) {
	want := []string{"", "a", "a1", "a2", "a02", "a10", "a10b", "b1", "r1-n2", "r1-n10", "r02-n1"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, func(a, b string) int {
		switch {
		case naturalLess(a, b):
			return -1
		case naturalLess(b, a):
			return 1
		}
		return 0
	})
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
