package render_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// TestAssign: a snapshot with other assignments is what it would be if it were rendered with them, in every answer, whatever
// assignments it had before.
func TestAssign(t *testing.T) {
	w := richWorld(t)
	bare := *w
	bare.Assignments = nil
	from, ds := bare.render()
	if from == nil {
		t.Fatal(ds)
	}
	from = from.Assign(render.Assignments{})
	for i := range len(w.Assignments) + 1 {
		step := *w
		step.Assignments = w.Assignments[i:]
		want, ds := step.render()
		if want == nil {
			t.Fatal(ds)
		}
		from = from.Assign(want.Assignments())
		if from.Digest() != want.Digest() || len(render.Diff(want, from)) > 0 {
			t.Errorf("with the last %d assignments: %v", len(step.Assignments), render.Diff(want, from))
		}
		if diff := gocmp.Diff(serve(want), serve(from)); diff != "" {
			t.Errorf("with the last %d assignments:\n%s", len(step.Assignments), diff)
		}
	}
}

// TestInstalledMachine: what one machine has installed, another under its name has not.
func TestInstalledMachine(t *testing.T) {
	w := richWorld(t)
	s, _ := w.render()
	if n, _ := s.Node("installed"); n.Next != string(spec.BootDisk) {
		t.Fatalf("it is installed, and starts by %s", n.Next)
	}
	w.Assignments[1].Installed.MAC[5]++
	s, _ = w.render()
	if n, _ := s.Node("installed"); n.Next != string(spec.BootInstall) {
		t.Errorf("another machine starts by %s", n.Next)
	}
}

// TestLoopDefault: without a word in the spec, only machines that are installing themselves can boot in a loop.
func TestLoopDefault(t *testing.T) {
	s, ds := richWorld(t).render()
	if s == nil {
		t.Fatal(ds)
	}
	type loop struct {
		Boots  int
		Within time.Duration
	}
	got := map[fact.NodeName]loop{}
	for _, n := range []fact.NodeName{"plain", "fresh", "installed", "once", "nobody"} {
		boots, within := s.Loop(n)
		got[n] = loop{boots, within}
	}
	want := map[fact.NodeName]loop{"plain": {0, 30 * time.Minute}, "fresh": {5, 30 * time.Minute}, "installed": {0, 30 * time.Minute}, "once": {0, 30 * time.Minute}, "nobody": {}}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// BenchmarkAssign is what it costs a fleet of 100,000 machines, all of them installed, that one more is.
func BenchmarkAssign(b *testing.B) {
	s, ds := render.Render(bigFleet(b, 100_000), nil, render.Assignments{})
	if s == nil {
		b.Fatal(ds)
	}
	nodes := map[fact.NodeName]*render.Assignment{}
	for _, n := range s.Fleet().Nodes {
		nodes[n.Name] = &render.Assignment{Installed: render.Installed{Digest: "x", MAC: n.Interfaces[0].MAC, At: noon}}
	}
	s = s.Assign(render.Assignments{Nodes: nodes, Serial: 1})
	one := s.Fleet().Nodes[7].Name
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		next := maps.Clone(nodes)
		next[one] = &render.Assignment{Hold: render.Hold{Reason: fmt.Sprint(i), By: "alice", Since: noon}}
		s = s.Assign(render.Assignments{Nodes: next, Serial: uint64(i + 2)})
	}
}

// BenchmarkAssignNothing is what the gate pays for looking away from what was ordered, in a fleet of which nobody ordered anything.
func BenchmarkAssignNothing(b *testing.B) {
	s, ds := render.Render(bigFleet(b, 100_000), nil, render.Assignments{Nodes: map[fact.NodeName]*render.Assignment{}, Serial: 1})
	if s == nil {
		b.Fatal(ds)
	}
	for b.Loop() {
		if s.Assign(render.Assignments{}).Digest() != s.Digest() {
			b.Fatal("another digest")
		}
	}
}
