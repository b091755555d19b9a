package reconcile

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hostler/spec"
)

// warmRig asks one child again and again.
type warmRig struct {
	*testing.T
	w *warmChild
}

func newWarmRig(t *testing.T, l Limits) warmRig {
	w := &warmChild{limits: l.orDefaults()}
	t.Cleanup(func() { w.end() })
	return warmRig{t, w}
}

func (r warmRig) evaluate(text string) (*spec.Fleet, spec.Diagnostics) {
	r.Helper()
	in := spec.Input{Files: fstest.MapFS{"a.boot.hcl": {Data: []byte(text)}, "nodes.csv": {Data: []byte(table(5))}}}
	f, ds, err := r.w.evaluate(context.Background(), in)
	if err != nil {
		r.Fatal(err)
	}
	return f, ds
}

// same evaluates, and expects what Parse gives here.
func (r warmRig) same(text string) *spec.Fleet {
	r.Helper()
	got, gotDiags := r.evaluate(text)
	want, wantDiags := spec.Parse(spec.Input{Files: fstest.MapFS{"a.boot.hcl": {Data: []byte(text)}, "nodes.csv": {Data: []byte(table(5))}}})
	plain := []cmp.Option{cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})}
	if diff := cmp.Diff(want, got, plain...) + cmp.Diff(wantDiags, gotDiags, plain...); diff != "" {
		r.Fatalf("(-parsed here +child)\n%s", diff)
	}
	return got
}

func (r warmRig) pid() int { return r.w.child.cmd.Process.Pid }

const endless = "spec {\n language = 1\n}\nlocals {\n x = [for a in range(1000) : [for b in range(1000) : [for c in range(1000) : 1]]]\n}\n" +
	"subnet \"s\" {\n cidr = local.x\n}\n"

// A child that is kept gives what a new one would, shares what has not changed, and a text that ends it harms nothing after it.
func TestWarmChild(t *testing.T) {
	r := newWarmRig(t, Limits{Wall: 4 * time.Second})
	first := r.same(tableText("one", "/files"))
	pid := r.pid()
	second := r.same(tableText("two", "/files"))
	if &first.Nodes[0] != &second.Nodes[0] || r.pid() != pid {
		t.Error("nothing is shared with the fleet before")
	}
	r.same("spec {\n language = 1\n}\nnod \"x\" {\n}\n")
	third := r.same(tableText("three", "/files"))
	if &first.Nodes[0] != &third.Nodes[0] {
		t.Error("nothing is shared with the fleet before a mistake")
	}
	if f, ds := r.evaluate(endless); f != nil || len(ds) != 1 || ds[0].Code != codeStopped || r.w.child != nil {
		t.Fatalf("%v %v, child %v", f, ds, r.w.child)
	}
	fourth := r.same(tableText("four", "/files"))
	if &first.Nodes[0] == &fourth.Nodes[0] {
		t.Error("a new child cannot know the nodes")
	}
}

// A child that is gone, as when the kernel needed its memory, is replaced.
func TestWarmChildIsReplaced(t *testing.T) {
	r := newWarmRig(t, Limits{})
	r.same(tableText("one", "/files"))
	pid := r.pid()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.same(tableText("two", "/files"))
	if r.pid() == pid {
		t.Error("the same process answers")
	}
}

// Processor time is that of one evaluation, and the child ends before the kernel ends it.
func TestWarmChildProcessorTime(t *testing.T) {
	r := newWarmRig(t, Limits{CPU: time.Second, Wall: time.Minute})
	r.same(tableText("one", "/files"))
	pid := r.pid()
	began := time.Now()
	if f, ds := r.evaluate(endless); f != nil || len(ds) != 1 || !strings.Contains(ds[0].Detail, "processor time") {
		t.Fatalf("%v %v", f, ds)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	r.same(tableText("two", "/files"))
	if r.pid() == pid {
		t.Error("the same process answers")
	}
}

// After many specs, good and bad, the child holds no more than after a few.
func TestWarmChildDoesNotGrow(t *testing.T) {
	r := newWarmRig(t, Limits{})
	size := func(n int) int {
		for i := range n {
			r.evaluate(tableText(strings.Repeat(fmt.Sprint(i%10), 200_000), "/files") + strings.Repeat("# comment\n", 10_000))
			r.evaluate(strings.Repeat("nod \"x\" {\n}\n", 1000))
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", r.pid()))
		if err != nil {
			t.Fatal(err)
		}
		var whole, resident int
		fmt.Sscan(string(text), &whole, &resident)
		return resident * os.Getpagesize()
	}
	few, many := size(20), size(60)
	if many > 2*few {
		t.Errorf("%d bytes after 20 specs, %d after 80", few, many)
	}
}

// Runs are checked: whatever a child sends, the parent does not fall over it.
func TestJoin(t *testing.T) {
	old := []spec.Node{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	now := []spec.Node{old[0], {Name: "n", Labels: []spec.Label{{Name: "x"}}}, old[2]}
	runs := diffNodes(old, now)
	got, err := join(old, now[1:2], runs)
	if diff := cmp.Diff(now, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	for _, bad := range [][]run{{{0, 4}}, {{4, 0}}, {{1, 3}}, {{-1, 2}}, {{-1, 1}, {-1, 1}}, {{0, -1}}, {{1 << 62, 1 << 62}}, {{0, 1 << 62}, {0, 1 << 62}}} {
		if nodes, err := join(old, now[:1], bad); err == nil {
			t.Errorf("%v: %v", bad, nodes)
		}
	}
}
