package render_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// TestArchitectures: every client architecture that IANA has registered (0 to 41) is data. Each has a name, and a loader that
// names it, or its number, is what such a client gets, also when the client names another one first.
func TestArchitectures(t *testing.T) {
	var text strings.Builder
	text.WriteString(`
spec { language = 1 }
group "all" {}
subnet "lab" {
  cidr    = "10.77.0.0/24"
  unknown = group.all
  pool "any" {
    range  = "10.77.0.100-10.77.0.200"
    serves = "any"
  }
}
`)
	files := fstest.MapFS{"boot.bin": {Data: []byte("x")}}
	for n := range 43 { // one more than there are, by its number
		name := fmt.Sprintf("%q", fact.Arch(n))
		if n == 7 || n == 9 || n > 41 { // two numbers share a name
			name = fmt.Sprint(n)
		} else if fact.Arch(n).String() == fmt.Sprint(n) || len(fact.Architectures(fact.Arch(n).String())) != 1 {
			t.Errorf("architecture %d has no name of its own: %s", n, fact.Arch(n))
		}
		fmt.Fprintf(&text, "loader \"a%d\" {\n  client_arch = [%s]\n  path = \"boot.bin\"\n}\n", n, name)
	}
	files["lab.boot.hcl"] = &fstest.MapFile{Data: []byte(text.String())}
	f, ds := spec.Parse(spec.Input{Files: files})
	if f == nil {
		t.Fatal(ds)
	}
	s, ds := render.Render(f, observe(f, ""), render.Assignments{})
	if s == nil {
		t.Fatal(ds)
	}
	x := &table{t: t}
	for n := range fact.Arch(43) {
		facts := x.facts(parseWords(fmt.Sprintf("discover mac=52:54:00:99:00:01 arch=%d params=67", n)))
		for _, more := range []bool{false, true} {
			if more {
				facts.Arch, facts.MoreArch = 99, []fact.Arch{98, n}
			}
			c := s.Select(&facts)
			a := s.Answer(&facts, &c, c.Claim.Ranges[0].First)
			if want := fmt.Sprintf("a%d", n); a.Loader != want {
				t.Errorf("architecture %d is given loader %q, want %s", n, a.Loader, want)
			}
		}
	}
}
