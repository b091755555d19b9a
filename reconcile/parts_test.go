package reconcile

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hostler/render/fact"
	"hostler/spec"
)

// bigRig serves more nodes than a record holds itself.
func bigRig(t *testing.T) (g *rig, rows []string) {
	g = newRig(t, "git", nil)
	rows = strings.Split(strings.TrimSpace(table(3*partNodes)), "\n")
	g.save("nodes.csv", strings.Join(rows, "\n")+"\n", "table")
	g.save("spec.boot.hcl", tableText("zero", g.files), "start")
	g.start()
	g.await()
	return g, rows
}

func (g *rig) blobCount() int {
	g.t.Helper()
	entries, err := os.ReadDir(filepath.Join(g.state, "blobs"))
	if err != nil {
		g.t.Fatal(err)
	}
	return len(entries)
}

// Of a large fleet, a commit writes what it changed; and what was written in parts is served again after a start, with the source gone.
func TestPartsSurvive(t *testing.T) {
	g, rows := bigRig(t)
	whole := g.blobCount()
	g.save("spec.boot.hcl", tableText("one", g.files), "an argument")
	g.await()
	if n := g.blobCount(); n != whole {
		t.Errorf("%d blobs, then %d though no node changed", whole, n)
	}
	rows = append(rows[:100:100], append([]string{"zz,52:54:00:ff:00:01,10.9.9.9"}, rows[100:]...)...)
	g.save("nodes.csv", strings.Join(rows, "\n")+"\n", "a row more")
	g.await()
	s, rev := g.r.Current()
	nodes := g.r.current().Fleet.Nodes
	g.stop()
	if err := os.Rename(g.dir, g.dir+".gone"); err != nil {
		t.Fatal(err)
	}
	g.start()
	again, rev2 := g.r.Current()
	if again == nil || again.Digest() != s.Digest() || rev2 != rev || len(g.r.current().Fleet.Nodes) != len(nodes) {
		t.Fatalf("served %v and not %v", rev2, rev)
	}
	if older := g.r.Older(); len(older) != 2 {
		t.Errorf("%d older ones are held", len(older))
	}
	// A file of a store is replaced: the record is written from the one that was read.
	g.stop()
	writeFile(t, g.files+"/vmlinuz", "another kernel")
	if err := os.Rename(g.dir+".gone", g.dir); err != nil {
		t.Fatal(err)
	}
	g.start()
	g.await()
	third, _ := g.r.Current()
	g.stop()
	g.start()
	if s, _ := g.r.Current(); s == nil || s.Digest() != third.Digest() || len(s.Fleet().Nodes) != len(nodes) {
		t.Error("the record that was written from a read one is another")
	}
}

// A damaged part makes the records that need it unusable, is never served, and is written again.
func TestDamagedPart(t *testing.T) {
	g, _ := bigRig(t)
	want, _ := g.r.Current()
	d := g.r.archive.parts.nodes[g.r.current().Fleet.Nodes[0].Name].digest
	g.stop()
	name := filepath.Join(g.state, "blobs", string(d))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2]++
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	g.start()
	g.await()
	if s, _ := g.r.Current(); s.Digest() != want.Digest() {
		t.Error("another snapshot")
	}
	if !strings.Contains(g.log.String(), "the checksum of a part does not match") {
		t.Error("nothing is said of it")
	}
	g.stop()
	g.start()
	if s, _ := g.r.Current(); s == nil || s.Digest() != want.Digest() {
		t.Error("the part was not written again")
	}
}

// Runs are cut where names say so: a node more, anywhere, changes one run.
func TestRunsAreStable(t *testing.T) {
	p := parts{blobs: &blobs{t.TempDir()}}
	nodes := make([]spec.Node, 5*partNodes)
	for i := range nodes {
		nodes[i].Name = fact.NodeName(fmt.Sprint("n", i))
	}
	var before, after record
	if err := p.storeNodes(&before, nodes); err != nil {
		t.Fatal(err)
	}
	if err := p.storeNodes(&after, slices.Insert(nodes, 7000, spec.Node{Name: "new"})); err != nil {
		t.Fatal(err)
	}
	if len(before.NodeParts) < 3 {
		t.Fatalf("%d runs", len(before.NodeParts))
	}
	changed := 0
	for _, x := range after.NodeParts {
		if !slices.Contains(before.NodeParts, x) {
			changed++
		}
	}
	if changed < 1 || changed > 2 {
		t.Errorf("%d of %d runs changed", changed, len(after.NodeParts))
	}
}
