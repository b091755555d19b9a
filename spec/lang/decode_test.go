package lang

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestHostileFiles reads files that no spec should hold.
func TestHostileFiles(t *testing.T) {
	wide := "c" + strings.Repeat(",c", maxColumns) + "\n"
	bomb := "a0: &a0 [x, x]\n"
	for i := range 25 {
		bomb += strings.ReplaceAll(strings.ReplaceAll("aJ: &aJ [*aI, *aI]\n", "J", string(rune('b'+i))), "I", string(rune('a'+i)))
	}
	bomb = strings.Replace(bomb, "a0: &a0", "aa: &aa", 1)
	for name, c := range map[string]struct{ content, want string }{
		"bom.csv":     {"\ufeffname\nn1\n", "reading the table bom.csv: it begins with a byte order mark: save it as UTF-8 without one, or its first column has another name than it seems"},
		"nul.csv":     {"name\nn\x001\n", "reading nul.csv: there is a NUL byte at offset 6"},
		"latin1.csv":  {"name\n\xe9\n", "reading latin1.csv: it is not UTF-8 text"},
		"huge.csv":    {strings.Repeat("a", MaxFile+1), "reading huge.csv: it has 8388609 bytes, and 8388608 is the most that a spec may read"},
		"wide.csv":    {wide, "reading the table wide.csv: line 1 names 1001 columns, and 1000 is the most"},
		"long.csv":    {"a\n" + strings.Repeat("1\n", maxRows+1), "reading the table long.csv: it has more than 500000 rows"},
		"deep.json":   {strings.Repeat("[", 1_000_000), "reading the table deep.json: brackets and braces are nested more than 200 deep at offset 200"},
		"nul.json":    {`[{"a": "\u0000"}]`, "reading the table nul.json: line 1: there is a NUL byte at offset 0"},
		"broken.json": {"[\n{]", "reading the table broken.json: line 2: invalid character ']' looking for beginning of object key string"},
		"deep.yaml":   {strings.Repeat("[", 1_000_000), "reading the table deep.yaml: exceeded max depth of 10000"},
		"nest.yaml":   {"- " + strings.Repeat("{a: ", 300) + "1" + strings.Repeat("}", 300), "reading the table nest.yaml: values are nested more than 200 deep"},
		"bomb.yaml":   {bomb, "reading the table bomb.yaml: there are more than 2000000 values"},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := NewTree(fstest.MapFS{name: {Data: []byte(c.content)}}, nil).table(name)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if took := time.Since(start); took > time.Minute {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// TestBigTable holds the largest inventory that is aimed at: a second, and at most a minute on a busy machine under the race detector.
func TestBigTable(t *testing.T) {
	var b strings.Builder
	b.WriteString("name,mac,address,rack\n")
	for range 100_000 {
		b.WriteString("c000001,52:54:00:00:00:01,10.0.0.1,r01\n")
	}
	start := time.Now()
	v, err := decodeTable("m.csv", b.String())
	if err != nil || v.LengthInt() != 100_000 {
		t.Fatal(v.LengthInt(), err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("100,000 rows took %s", took)
	}
}

func FuzzTable(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n", "a\tb\n1\t2\n", `[{"a":1},{"a":"b"}]`, "- a: 1\n- b: [2]\n", "a,a\n", "- &x {a: 1}\n- *x\n", "\"a\nb\",c\n1,2\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		for _, name := range []string{"x.csv", "x.tsv", "x.json", "x.yaml"} {
			v, err := NewTree(fstest.MapFS{name: {Data: []byte(src)}}, nil).table(name)
			if err != nil {
				continue
			}
			lines := strings.Count(src, "\n") + 1
			for it := v.ElementIterator(); it.Next(); {
				_, row := it.Element()
				if file, line, ok := RowOf(row); ok && (file != name || line > lines) {
					t.Errorf("%s: a row is at %s:%d of %d lines", name, file, line, lines)
				}
			}
			if HasLate(v) {
				t.Errorf("%s: %q has a NUL in it", name, src)
			}
			StripRows(v)
		}
	})
}

// FuzzHosts expands, folds, and expands again: the names must be the same.
func FuzzHosts(f *testing.F) {
	for _, s := range []string{"c[001-128,200],login1", "r[1-2]n[08-10]", "a,b,a", "x01,x1,x[2-3]", "c[0-3]", "n00,n0,n000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		names, err := ExpandHosts(s)
		if err != nil || len(names) > 10_000 {
			return
		}
		again, err := ExpandHosts(FoldHosts(names))
		if err != nil {
			t.Fatalf("%q folds to %q: %s", names, FoldHosts(names), err)
		}
		want, got := map[string]bool{}, map[string]bool{}
		for _, n := range names {
			want[n] = true
		}
		for _, n := range again {
			got[n] = true
		}
		if d := cmp.Diff(want, got); d != "" || len(again) != len(want) {
			t.Errorf("%q folds to %q: %s", names, FoldHosts(names), d)
		}
	})
}

// FuzzKargs parses a command line, writes it and parses it again: the object must be the same.
func FuzzKargs(f *testing.F) {
	for _, s := range []string{"console=tty0 console=ttyS0,115200n8 quiet", `a="b c" "d=e f"`, "x= y", "a=\x00url:k\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := parseKargs(s)
		if err != nil {
			return
		}
		line, err := kargString(v)
		if err != nil {
			return // a quote inside a value, say, which can be read but not written
		}
		again, err := parseKargs(line)
		if err != nil {
			t.Fatalf("%q is written as %q: %s", s, line, err)
		}
		if eq := v.RawEquals(again); !eq {
			t.Errorf("%q is written as %q: %#v is not %#v", s, line, again, v)
		}
	})
}

func TestNaturalLess(t *testing.T) {
	sorted := []string{"", "a", "n", "n0", "n01", "n1", "n1a", "n02", "n2", "n10", "n10b2", "n10b10", "x"}
	for i, a := range sorted {
		for j, b := range sorted {
			if got := NaturalLess(a, b); got != (i < j) {
				t.Errorf("NaturalLess(%q, %q) = %v", a, b, got)
			}
		}
	}
}
