package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCounts(t *testing.T) {
	const passed = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"said by a test that passed\\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Elapsed":1.5}
`
	for _, c := range []struct {
		name, in, out string
		code          int
	}{
		{"passed", passed, "ok   p 1.5s\n1 passed, 0 failed, 0 skipped\n", 0},
		{"no test ran", `{"Action":"skip","Package":"p"}` + "\n", "0 passed, 0 failed, 0 skipped\n", 1},
		{"skipped", passed + `{"Action":"output","Package":"q","Test":"TestB","Output":"no root\n"}
{"Action":"skip","Package":"q","Test":"TestB"}
`, "ok   p 1.5s\nSKIP q TestB\n    no root\n1 passed, 0 failed, 1 skipped\n", 1},
		{"failed, counted once", `{"Action":"output","Package":"p","Test":"TestA","Output":"it broke\n"}
{"Action":"fail","Package":"p","Test":"TestA","Elapsed":2}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"fail","Package":"p","Elapsed":2.1}
`, "FAIL p TestA (2.0s)\n    it broke\nFAIL p 2.1s\n0 passed, 1 failed, 0 skipped\n", 1},
		{"does not build", `{"Action":"build-output","ImportPath":"p","Output":"undefined: x\n"}
{"Action":"build-fail","ImportPath":"p"}
{"Action":"fail","Package":"p","Elapsed":0}
`, "    undefined: x\nFAIL p  (0.0s)\n0 passed, 1 failed, 0 skipped\n", 1},
		{"not JSON", "panic: out of memory\n", "panic: out of memory\n0 passed, 0 failed, 0 skipped\n", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			s := newSuite(t.Context(), &out)
			s.read(strings.NewReader(strings.ReplaceAll(c.in, `\\n`, `\n`)))
			code := s.result()
			if d := cmp.Diff(c.out, out.String()); d != "" || code != c.code {
				t.Errorf("exit code %d, want %d; printed (-want +got):\n%s", code, c.code, d)
			}
		})
	}
}

// A go test that cannot even begin must not look like a success.
func TestBrokenCommand(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s := newSuite(t.Context(), &out)
	s.test("-no-such-flag")
	if s.result() != 1 || s.fail != 1 {
		t.Errorf("%d failed, want 1:\n%s", s.fail, out.String())
	}
}

func TestFuzzTargets(t *testing.T) {
	text := "func FuzzA(f *testing.F) {}\nfunc fuzzB() {}\n\tfunc FuzzC(\nfunc FuzzD_x(f *testing.F) {}\n"
	var got []string
	for _, m := range fuzzTarget.FindAllStringSubmatch(text, -1) {
		got = append(got, m[1])
	}
	if d := cmp.Diff([]string{"FuzzA", "FuzzD_x"}, got); d != "" {
		t.Error(d)
	}
}
