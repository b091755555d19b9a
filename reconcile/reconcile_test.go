package reconcile

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/render/fact"
)

// With the poll set to an hour, a change can only arrive by the watch.
func TestChangeToWire(t *testing.T) {
	for _, kind := range []string{"git", "directory"} {
		t.Run(kind, func(t *testing.T) {
			g := newRig(t, kind, nil)
			g.start()
			g.await()
			g.wantMark("one")
			for _, arg := range []string{"two", "three"} {
				writeFile(t, g.dir+"/spec.boot.hcl", specText(arg, g.files))
				start := time.Now()
				if g.git {
					g.commit(arg)
				}
				g.await()
				t.Logf("on the wire after %s", time.Since(start).Round(time.Millisecond))
				g.wantMark(arg)
			}
		})
	}
}

// Where no watch works, the poll brings the change.
func TestLostEventsArriveByPoll(t *testing.T) {
	g := newRig(t, "git", func(c *Config) {
		c.Source = deaf{c.Source}
		c.Poll = 50 * time.Millisecond
	})
	g.start()
	g.await()
	want := g.set("two")
	if got := g.await(); got != want {
		t.Errorf("%s, not %s", got, want)
	}
	g.wantMark("two")
}

// A revision that fails in any stage leaves the old one in force, and says what is wrong and where.
func TestRefusals(t *testing.T) {
	bad := strings.Replace(specText("x", "FILES"), `mac         = "52:54:00:77:00:01"`, "mac = \"nonsense\"", 1)
	for name, c := range map[string]struct {
		spec, want string
		reason     Reason
	}{
		"syntax":    {"node \"n1\" {\n", "spec.boot.hcl:", CheckFailed},
		"check":     {bad, "spec.boot.hcl:29: ", CheckFailed},
		"empty":     {"", "spec", CheckFailed},
		"brackets":  {"locals {\n x = " + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "\n}\n", "spec.boot.hcl:2", CheckFailed},
		"no kernel": {strings.Replace(specText("x", "FILES"), `"vmlinuz"`, `"nokernel"`, 1), "does not exist", RenderFailed},
		"no initrd": {strings.Replace(specText("x", "FILES"), `"initrd.gz"`, `"noinitrd"`, 1), "does not exist", RenderFailed},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, "git", nil)
			g.start()
			g.await()
			rev := g.save("spec.boot.hcl", strings.ReplaceAll(c.spec, "FILES", g.files), "break it")
			g.wantRefused(c.reason, c.want, "one")
			s := g.r.Status()
			if s.LastAttempted != rev || s.LastApplied == rev || !s.Diagnostics.HasErrors() {
				t.Errorf("status %+v", s)
			}
			if stalled, ok := s.Condition(Stalled); !ok || stalled.Reason != c.reason {
				t.Errorf("stalled %+v", stalled)
			}
			e := g.r.History()[0]
			if e.Revision != rev || e.Outcome != Refused || e.Reason != c.reason || !strings.Contains(e.Diagnostic, c.want) ||
				e.Author != "Ada <ada@example.org>" || e.Subject != "break it" {
				t.Errorf("history %+v", e)
			}
			if !strings.Contains(g.log.String(), "revision not applied") || !strings.Contains(g.log.String(), string(rev)) {
				t.Error("not in the log")
			}
			g.set("fixed")
			g.reconcile()
			g.wantMark("fixed")
			if s := g.r.Status(); len(s.Diagnostics) != 0 || len(s.Conditions) != 1 {
				t.Errorf("status after the repair %+v", s)
			}
		})
	}
}

// The first start with a bad spec serves nothing and says so.
func TestFirstStartWithBadSpec(t *testing.T) {
	g := newRig(t, "directory", nil)
	g.save("spec.boot.hcl", "nonsense", "")
	g.start()
	g.wantRefused(CheckFailed, "spec.boot.hcl:1: ", "nothing")
	if c, _ := g.r.Status().Condition(Ready); !strings.HasSuffix(c.Message, "; nothing is served") {
		t.Errorf("condition %+v", c)
	}
	if !strings.Contains(g.log.String(), "serving=none") {
		t.Error("not in the log")
	}
}

func outcomes(r *Reconciler) []string {
	var lines []string
	for _, e := range r.History() {
		lines = append(lines, fmt.Sprintf("%s %s %d", e.Subject, e.Outcome, e.Count))
	}
	return lines
}

// Every commit on the branch is in the history, once, across restarts.
func TestHistory(t *testing.T) {
	g := newRig(t, "git", nil)
	g.start()
	g.await()
	g.stop()
	g.set("two")
	g.save("spec.boot.hcl", "nonsense", "break it")
	g.set("three")
	g.start()
	g.await()
	g.save("spec.boot.hcl", "nonsense", "break it again")
	for range 3 {
		g.r.Reconcile(context.Background())
	}
	g.set("four")
	g.reconcile()
	want := []string{"set four applied 1", "break it again refused COUNT", "set three applied 1", "break it superseded 1",
		"set two superseded 1", "first applied 1"}
	check := func() {
		t.Helper()
		got := outcomes(g.r)
		if len(got) > 1 && strings.HasPrefix(got[1], "break it again refused ") { // how often it was tried depends on the hints
			got[1] = "break it again refused COUNT"
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	check()
	g.stop()
	g.start()
	g.reconcile()
	check()
}

func TestHistoryIsBounded(t *testing.T) {
	g := newRig(t, "git", nil)
	r, done, err := g.new()
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	h := r.history
	var list []Entry
	for i := range maxHistory + 10 {
		list = append(list, Entry{Revision: fact.Revision(fmt.Sprint(i)), Outcome: Applied, Last: time.Unix(int64(i), 0)})
	}
	for _, part := range [][]Entry{list[:maxHistory-1], list[maxHistory-1 : maxHistory+5], list[maxHistory+5:]} {
		if err := h.note(context.Background(), part...); err != nil {
			t.Fatal(err)
		}
	}
	again, err := openHistory(context.Background(), r.c.Ledger)
	if err != nil {
		t.Fatal(err)
	}
	if len(again.entries) != maxHistory || again.entries[0].Revision != "10" || again.next != h.next {
		t.Errorf("%d entries from %s", len(again.entries), again.entries[0].Revision)
	}
}

// A branch that was reset is not followed unless that is allowed, or a person says so.
func TestRewind(t *testing.T) {
	t.Run("refused, then applied by hand", func(t *testing.T) {
		g := newRig(t, "git", nil)
		g.start()
		g.await()
		g.set("two")
		g.reconcile()
		g.run("reset", "-q", "--hard", "HEAD~1")
		g.wantRefused(RewindRefused, "its branch was reset, or its repository is gone; apply it by hand, or allow rewinds", "two")
		if err := g.r.Apply(context.Background(), ""); err != nil {
			t.Fatal(err)
		}
		g.wantMark("one")
	})
	t.Run("allowed", func(t *testing.T) {
		g := newRig(t, "git", func(c *Config) { c.AllowRewind = true })
		g.start()
		g.await()
		g.set("two")
		g.reconcile()
		g.run("reset", "-q", "--hard", "HEAD~1")
		g.reconcile()
		g.wantMark("one")
	})
	t.Run("amended", func(t *testing.T) {
		g := newRig(t, "git", nil)
		g.start()
		g.await()
		g.set("two")
		g.reconcile()
		writeFile(t, g.dir+"/spec.boot.hcl", specText("three", g.files))
		g.run("add", "-A")
		g.run("commit", "-q", "--amend", "-m", "amended")
		g.wantRefused(RewindRefused, "does not contain the applied", "two")
		g.set("four") // builds on the amended one
		g.wantRefused(RewindRefused, "does not contain the applied", "two")
	})
}

// The last good revision is served after a restart at once, with its files, and the source gone for good.
func TestRestartWithSourceGone(t *testing.T) {
	for _, kind := range []string{"git", "directory"} {
		t.Run(kind, func(t *testing.T) {
			g := newRig(t, kind, nil)
			g.start()
			rev := g.await()
			g.stop()
			if err := os.Rename(g.dir, g.dir+".gone"); err != nil {
				t.Fatal(err)
			}
			if kind == "git" { // what is gone is still configured as git
				if err := os.Mkdir(g.dir, 0o755); err != nil {
					t.Fatal(err)
				}
				g.run("init", "-q", "-b", "main")
				os.RemoveAll(g.dir + "/.git/refs")
			}
			g.start()
			g.wantMark("one")
			if _, got := g.r.Current(); got != rev {
				t.Errorf("revision %s, not %s", got, rev)
			}
			g.wantContent("path:initrd.gz", "initrd")
			g.wantContent("store:lab:vmlinuz", "kernel")
			if err := g.r.Reconcile(context.Background()); err == nil {
				t.Error("the source is gone and nobody says so")
			}
			c, _ := g.r.Status().Condition(Ready)
			if c.Reason != FetchFailed || c.Status {
				t.Errorf("condition %+v", c)
			}
			g.wantMark("one")
			if e := g.r.History(); len(e) != 1 {
				t.Errorf("history %+v", e)
			}
		})
	}
}

// wantContent opens an artifact by digest.
func (g *rig) wantContent(id, want string) {
	g.t.Helper()
	f, err := g.r.Open(g.r.Artifacts()[id].Digest)
	if err != nil {
		g.t.Errorf("%s: %v", id, err)
		return
	}
	defer f.Close()
	if b, err := io.ReadAll(f); err != nil || string(b) != want {
		g.t.Errorf("%s: %q, %v", id, b, err)
	}
}

// Old snapshots stay for boots that began with them: an hour, and two at most. Their files stay as long.
func TestHeldSnapshots(t *testing.T) {
	now := time.Now()
	g := newRig(t, "git", func(c *Config) { c.Now = func() time.Time { return now } })
	g.start()
	revs := []fact.Revision{g.await()}
	var digests []fact.Digest
	note := func() { digests = append(digests, g.r.Artifacts()["path:initrd.gz"].Digest) }
	note()
	for _, arg := range []string{"two", "three", "four"} {
		writeFile(t, g.dir+"/initrd.gz", "initrd of "+arg)
		revs = append(revs, g.set(arg))
		g.reconcile()
		note()
	}
	held := func() (list []bool) {
		for i, rev := range revs {
			s, ok := g.r.At(rev)
			f, err := g.r.Open(digests[i])
			if err == nil {
				f.Close()
			}
			if ok != (s != nil) || ok != (err == nil) {
				t.Errorf("revision %d: held %v, its file: %v", i, ok, err)
			}
			list = append(list, ok)
		}
		return list
	}
	if got, want := held(), []bool{false, true, true, true}; !cmp.Equal(got, want) {
		t.Errorf("held %v, want %v", got, want)
	}
	g.stop()
	g.start() // a restart holds them as before
	if got, want := held(), []bool{false, true, true, true}; !cmp.Equal(got, want) {
		t.Errorf("after a restart held %v, want %v", got, want)
	}
	if n := len(g.r.Older()); n != 2 {
		t.Errorf("%d older snapshots", n)
	}
	g.stop()
	now = now.Add(holdTime)
	if got, want := held(), []bool{false, false, false, true}; !cmp.Equal(got, want) {
		t.Errorf("an hour later held %v, want %v", got, want)
	}
	if blobs, _ := filepath.Glob(g.state + "/blobs/*"); len(blobs) != 3 {
		t.Errorf("blobs %v", blobs)
	}
}

// Manual sync observes, and applies what it is told, as it was observed.
func TestManualDirectory(t *testing.T) {
	g := newRig(t, "directory", func(c *Config) { c.Sync = Manual })
	g.start()
	g.reconcile()
	g.wantMark("nothing")
	first := g.r.Status().Pending
	if c, _ := g.r.Status().Condition(Ready); c.Reason != AwaitingApply {
		t.Errorf("condition %+v", c)
	}
	g.set("two")
	g.reconcile()
	second := g.r.Status().Pending
	if first == "" || second == "" || first == second {
		t.Fatalf("pending %q, then %q", first, second)
	}
	if err := g.r.Apply(context.Background(), first); err != nil { // its files were changed meanwhile
		t.Fatal(err)
	}
	g.wantMark("one")
	if err := g.r.Apply(context.Background(), fact.Revision(second.Short())); err != nil {
		t.Fatal(err)
	}
	g.wantMark("two")
	if p := g.r.Status().Pending; p != "" {
		t.Errorf("pending %s", p)
	}
	g.save("spec.boot.hcl", "nonsense", "")
	if err := g.r.Apply(context.Background(), ""); err == nil {
		t.Error("applied nonsense")
	}
	g.wantMark("two")
	if err := g.r.Apply(context.Background(), "dir@sha256:0123456789abcdef"); err == nil {
		t.Error("applied what was never observed")
	}
}

func TestManualGit(t *testing.T) {
	g := newRig(t, "git", func(c *Config) { c.Sync = Manual })
	g.start()
	g.reconcile()
	rev := g.r.Status().Pending
	g.set("two")
	g.set("three")
	g.reconcile()
	g.wantMark("nothing")
	if err := g.r.Apply(context.Background(), rev); err != nil {
		t.Fatal(err)
	}
	g.wantMark("one")
	l, err := g.r.Prepare(context.Background(), "")
	if err != nil || l.Subject != "set three" || l.Snapshot == nil {
		t.Errorf("%+v, %v", l, err)
	}
	g.wantMark("one")
	if err := g.r.Apply(context.Background(), ""); err != nil {
		t.Fatal(err)
	}
	g.wantMark("three")
	if diff := cmp.Diff([]string{"set three applied 1", "set two superseded 1", "first applied 1"}, outcomes(g.r)); diff != "" {
		t.Error(diff)
	}
}

// Requests end with Run, and do not hang after it.
func TestRequestsAfterRun(t *testing.T) {
	g := newRig(t, "git", nil)
	r := g.start()
	g.await()
	g.stop()
	if err := r.Reconcile(context.Background()); err != ErrNotRunning {
		t.Error(err)
	}
}

// A directory that is saved in halves is looked at again before anybody is alarmed.
func TestHalfWrittenFile(t *testing.T) {
	g := newRig(t, "directory", nil)
	g.config = func(c *Config) {
		evaluate := InChild(Limits{})
		first := true
		c.Evaluate = func(ctx context.Context, in specInput) (f *specFleet, ds specDiagnostics, err error) {
			f, ds, err = evaluate(ctx, in)
			if ds.HasErrors() && first { // the second half arrives while the first is being evaluated
				first = false
				writeFile(t, g.dir+"/spec.boot.hcl", specText("two", g.files))
			}
			return f, ds, err
		}
	}
	g.start()
	g.await()
	text := specText("two", g.files)
	g.save("spec.boot.hcl", text[:len(text)/2], "")
	g.await()
	g.wantMark("two")
	if strings.Contains(g.log.String(), "revision not applied") {
		t.Error("the half was reported")
	}
	if h := outcomes(g.r); len(h) != 2 {
		t.Errorf("history %q", h)
	}
}

// A state directory inside a directory source would be a change of itself for ever.
func TestStateInsideSource(t *testing.T) {
	g := newRig(t, "directory", nil)
	g.state = g.dir + "/state"
	_, _, err := g.new()
	want := "state: " + g.state + ": lies inside the source " + g.dir + ", where every write to it would be a change"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}
