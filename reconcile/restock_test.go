package reconcile

import (
	"os"
	"strings"
	"testing"
	"time"
)

// wantSoon opens what machines are told to fetch, as they do again and again, until it is there.
func (g *rig) wantSoon(id, want string) {
	g.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if f, err := g.r.Open(g.r.Artifacts()[id].Digest); err == nil {
			f.Close()
			g.wantContent(id, want)
			return
		}
	}
	g.t.Fatalf("%s: waited for %q in vain: %+v", id, want, g.r.Status())
}

// A file that is replaced in its store is served from the next request on, not from the next poll: till then no machine boots.
func TestChangedFileIsLookedAtWhenAskedFor(t *testing.T) {
	g := newRig(t, "git", nil)
	g.start()
	g.await()
	writeFile(t, g.files+"/vmlinuz", "another kernel")
	g.wantSoon("store:lab:vmlinuz", "another kernel")
}

// What is served stays servable while the source has nothing better: files of stores are looked at all the same.
func TestChangedFileUnderARefusedRevision(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*rig)
		ready string // what is reported before and after
	}{
		{"refused", func(g *rig) { g.save("lab.boot.hcl", "spec {", "bad") }, "lab.boot.hcl:1"},
		{"the source is gone", func(g *rig) {
			if err := os.Rename(g.dir, g.dir+".gone"); err != nil {
				g.t.Fatal(err)
			}
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, "git", nil)
			g.start()
			g.await()
			c.spoil(g)
			if err := g.r.Reconcile(t.Context()); err == nil || !strings.Contains(err.Error(), c.ready) {
				t.Fatalf("got %v", err)
			}
			before, _ := g.r.Status().Condition(Ready)
			writeFile(t, g.files+"/vmlinuz", "another kernel")
			g.wantSoon("store:lab:vmlinuz", "another kernel")
			g.wantMark("one")
			if after, _ := g.r.Status().Condition(Ready); after.Status || after.Message != before.Message {
				t.Errorf("reported was %+v, and now is %+v", before, after)
			}
		})
	}
}
