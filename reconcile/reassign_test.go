package reconcile

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// holding is assignments that hold n1 for a reason, which is changed.
type holding struct {
	mu     sync.Mutex
	reason string
	serial uint64
}

func (h *holding) set(reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reason, h.serial = reason, h.serial+1
}

func (h *holding) assignments() render.Assignments {
	h.mu.Lock()
	defer h.mu.Unlock()
	return render.Assignments{Nodes: map[fact.NodeName]*render.Assignment{"n1": {Hold: render.Hold{Reason: h.reason, By: "alice"}}}, Serial: h.serial}
}

// wantHold holds why n1 is held.
func (g *rig) wantHold(when, want string) {
	g.t.Helper()
	s, _ := g.r.Current()
	if n, _ := s.Node("n1"); !strings.HasPrefix(n.Hold, want) || want == "" && n.Hold != "" {
		g.t.Errorf("%s it is held: %q, want %q", when, n.Hold, want)
	}
}

// TestReassign: what is served knows of an assignment when Reassign returns, though a revision is being prepared; and so does that
// revision, and the one that a restart finds.
func TestReassign(t *testing.T) {
	var h holding
	var slow atomic.Bool
	preparing, goOn := make(chan struct{}), make(chan struct{})
	g := newRig(t, "git", func(c *Config) {
		c.Assignments = h.assignments
		c.Gate = func(context.Context, *render.Snapshot, *render.Snapshot) spec.Diagnostics {
			if slow.Load() {
				preparing <- struct{}{}
				<-goOn
			}
			return nil
		}
	})
	g.start()
	g.await()
	g.wantHold("at first", "")
	bare := g.r.Status().Digest

	h.set("dusty")
	g.r.Reassign()
	g.wantHold("held", "dusty")
	if held := g.r.Status().Digest; held == bare {
		t.Error("the digest in the status is not that of what is served")
	}

	slow.Store(true)
	g.set("two")
	done := make(chan error, 1)
	go func() { done <- g.r.Reconcile(context.Background()) }()
	<-preparing
	h.set("broken")
	g.r.Reassign()
	g.wantHold("while a commit is prepared", "broken")
	g.wantMark("one")
	close(goOn)
	slow.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	g.wantHold("after the commit", "broken")
	g.wantMark("two")
	digest := g.r.Status().Digest

	h.set("dusty")
	g.r.Reassign()
	g.stop()
	h.set("broken")
	g.start()
	g.wantHold("after a restart", "broken")
	g.wantMark("two")
	if got := g.r.Status().Digest; got != digest {
		t.Errorf("the digest is %s, and was %s", got, digest)
	}
	if log := g.log.String(); strings.Contains(log, "renders the persisted revision differently") {
		t.Errorf("an assignment is taken for another program:\n%s", log)
	}
}

// TestReassignAtOnce: of calls at the same time, each finds its change in force, and the last change wins.
func TestReassignAtOnce(t *testing.T) {
	var h holding
	g := newRig(t, "git", func(c *Config) { c.Assignments = h.assignments })
	g.start()
	g.await()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			h.mu.Lock()
			h.serial++
			h.reason = fmt.Sprint(h.serial)
			mine := h.serial
			h.mu.Unlock()
			g.r.Reassign()
			s, _ := g.r.Current()
			if now := s.Assignments().Serial; now < mine {
				t.Errorf("change %d is not in force, but %d", mine, now)
			}
		})
	}
	wg.Wait()
	g.wantHold("in the end", "50")
	if n := len(g.applied); n > 0 {
		t.Errorf("%d revisions were applied again", n)
	}
}
