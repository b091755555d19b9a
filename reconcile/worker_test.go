package reconcile

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hostler/spec"
)

// What comes back from the child is what Parse gives in this process.
func TestChildEqualsParse(t *testing.T) {
	files := newReading(os.DirFS("../examples/lab"), nil)
	in := spec.Input{Files: files, Vars: map[string]string{"files": "/somewhere"}}
	want, wantDiags := spec.Parse(in)
	got, gotDiags, err := InChild(Limits{})(context.Background(), in)
	if err != nil || want == nil {
		t.Fatal(err, wantDiags)
	}
	plain := []cmp.Option{cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})}
	if diff := cmp.Diff(want, got, plain...); diff != "" {
		t.Errorf("(-parsed here +child)\n%s", diff)
	}
	if diff := cmp.Diff(wantDiags, gotDiags); diff != "" {
		t.Error(diff)
	}
	if _, ok := files.files["machines.csv"]; !ok || len(files.files) != 2 {
		t.Errorf("read: %d files", len(files.files))
	}
}

// Mistakes arrive with their places.
func TestChildDiagnostics(t *testing.T) {
	in := spec.Input{Files: fstest.MapFS{"a.boot.hcl": {Data: []byte("spec {\n  language = 1\n}\nnod \"x\" {\n}\n")}}}
	_, want := spec.Parse(in)
	got, diags, err := InChild(Limits{})(context.Background(), in)
	if err != nil || got != nil || !diags.HasErrors() {
		t.Fatalf("%v %v %v", got, diags, err)
	}
	if diff := cmp.Diff(want, diags); diff != "" {
		t.Error(diff)
	}
}

// An evaluation that dies, hangs or eats memory is a diagnostic, whatever the parser itself guards against.
func TestChildStopped(t *testing.T) {
	loop := "spec {\n language = 1\n}\nlocals {\n x = [for a in range(1000) : [for b in range(1000) : [for c in range(1000) : 1]]]\n}\n" +
		"subnet \"s\" {\n cidr = local.x\n}\n"
	for name, c := range map[string]struct {
		limits Limits
		text   string
		want   []string
	}{
		"wall clock": {Limits{Wall: 300 * time.Millisecond}, loop, []string{"It took longer than 300ms."}},
		"processor":  {Limits{CPU: time.Second}, loop, []string{"It used up the processor time or memory that it may have."}},
		"memory": {Limits{Memory: 96 << 20}, loop,
			[]string{"It needed more memory than it may have.", "It used up the processor time or memory that it may have."}},
	} {
		t.Run(name, func(t *testing.T) {
			in := spec.Input{Files: fstest.MapFS{"a.boot.hcl": {Data: []byte(c.text)}}}
			f, ds, err := InChild(c.limits)(context.Background(), in)
			if err != nil || f != nil || len(ds) != 1 || ds[0].Code != "evaluation-stopped" {
				t.Fatalf("%v %v %v", f, ds, err)
			}
			for _, want := range c.want {
				if strings.HasPrefix(ds[0].Detail, want) {
					return
				}
			}
			t.Errorf("got %s, want one of %q", ds[0].Detail, c.want)
		})
	}
}

// How a child's end becomes a sentence.
func TestCause(t *testing.T) {
	for stderr, want := range map[string]string{
		"runtime: goroutine stack exceeds 67108864-byte limit\nfatal error: stack overflow\n": "The text is nested too deeply: the evaluation's stack overflowed.",
		"fatal error: runtime: out of memory\n":                                               "It needed more memory than it may have.",
		"runtime: cannot allocate memory\nfatal error: x\n":                                   "It needed more memory than it may have.",
		"panic: index out of range\n\ngoroutine 1":                                            "The evaluation crashed (panic: index out of range).",
		"": "The evaluation ended without a result (<nil>).",
	} {
		if got := cause(stderr, nil); got != want {
			t.Errorf("%q: %s", stderr, got)
		}
	}
}

// The end of the server's context ends the child, and is no verdict about the spec.
func TestChildCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, ds, err := InChild(Limits{})(ctx, spec.Input{Files: fstest.MapFS{}})
	if err == nil || ds != nil {
		t.Errorf("%v, %v", ds, err)
	}
}

// Reading is bounded, one file and all together.
func TestReadingLimits(t *testing.T) {
	big := func(n int) *fstest.MapFile { return &fstest.MapFile{Data: make([]byte, n)} }
	r := newReading(fstest.MapFS{"over": big(maxSpecFile + 1), "a": big(maxSpecFile), "b": big(maxSpecFile), "c": big(maxSpecFile),
		"d": big(maxSpecFile), "e": big(1)}, nil)
	for name, want := range map[string]string{"over": "read over: is larger than 32 MiB", "none": "open none: file does not exist"} {
		if _, err := r.Open(name); err == nil || err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"a", "b", "c", "d", "a"} {
		if _, err := r.Open(name); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Open("e"); err == nil || err.Error() != "read e: the spec reads more than 128 MiB in all" {
		t.Error(err)
	}
}

// The repository as the child sees it is an fs.FS like any other. The parent's end is played by answer.
func TestAnswer(t *testing.T) {
	files := fstest.MapFS{"a": {Data: []byte("1")}, "sub/b": {Data: []byte("2")}, "empty": {}}
	for name, want := range map[string]reply{
		".":     {Dir: true, Entries: []dirEntry{{"a", false}, {"empty", false}, {"sub", true}}},
		"sub":   {Dir: true, Entries: []dirEntry{{"b", false}}},
		"a":     {Data: []byte("1")},
		"empty": {Data: []byte{}},
		"none":  {Err: "file does not exist", Missing: true},
		"../a":  {Err: "file does not exist", Missing: true},
	} {
		got := answer(files, name)
		if name == "../a" {
			if got.Err == "" {
				t.Errorf("%s: %+v", name, got)
			}
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
