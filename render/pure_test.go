package render_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"hostler/render"
	"hostler/render/fact"
)

// TestPure: rendering has no clock, random number, file, network or log inside. Package time is there for durations.
func TestPure(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	allowed := []string{"cmp", "crypto/sha256", "encoding/binary", "encoding/hex", "encoding/json", "fmt", "hash", "hash/fnv", "io", "maps", "net/netip", "slices", "strconv", "strings", "time",
		"hostler/render/fact", "hostler/spec"}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			if path := strings.Trim(i.Path.Value, `"`); !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s", file, path)
			}
		}
	}
}

// TestSameAnswers: two snapshots of one fleet are the same, and one snapshot answers many at once (run with -race).
func TestSameAnswers(t *testing.T) {
	w := richWorld(t)
	a, _ := w.render()
	b, _ := richWorld(t).render()
	if a.Digest() != b.Digest() || a.Digest() == "" {
		t.Errorf("digests %s and %s", a.Digest(), b.Digest())
	}
	if serve(a) != serve(b) {
		t.Error("other answers")
	}
	var wg sync.WaitGroup
	answers := make([]string, 4)
	for i := range answers {
		wg.Go(func() { answers[i] = serve(a) })
	}
	wg.Wait()
	for _, x := range answers {
		if x != answers[0] {
			t.Error("other answers at the same time")
		}
	}
}

// TestHolds: an operator's hold stands beside the spec's; the spec's reason is the one that is told.
func TestHolds(t *testing.T) {
	w := richWorld(t)
	w.Assignments = []assigned{{Node: "plain"}, {Node: "two"}, {Node: "nobody"}}
	for i := range w.Assignments {
		w.Assignments[i].Hold = render.Hold{Reason: "dusty", By: "alice", Since: noon}
	}
	s, ds := w.render()
	if s == nil {
		t.Fatal(ds)
	}
	for node, want := range map[fact.NodeName]string{"plain": "held: dusty (by alice since 22 Nov 2026 12:00 UTC)", "two": "held: broken fan", "pxe": ""} {
		if got := s.Script(render.Query{Name: string(node)}, 0); got.Reason != want || got.Boots != (want == "") {
			t.Errorf("%s: %q, boots %t", node, got.Reason, got.Boots)
		}
	}
}
