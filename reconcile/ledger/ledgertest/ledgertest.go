// Package ledgertest is what every implementation of ledger.Store must do, as tests. It knows nothing of any of them.
package ledgertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"hostler/reconcile/ledger"

	"github.com/google/go-cmp/cmp"
)

// TestStore runs the suite. open gives an empty store each time and closes it when the test ends.
func TestStore(t *testing.T, open func(testing.TB) ledger.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, ledger.Store)
	}{
		{"keys", testKeys},
		{"list", testList},
		{"conditions", testConditions},
		{"all or nothing", testAllOrNothing},
		{"unchanged", testUnchanged},
		{"refused", testRefused},
		{"values are copies", testCopies},
		{"one winner", testOneWinner},
		{"counter", testCounter},
		{"watch", testWatch},
		{"watch from a revision", testWatchFrom},
		{"watch while writing", testWatchWhileWriting},
		{"watch compacted", testWatchCompacted},
		{"cancelled", testCancelled},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func set(key, value string) ledger.Op { return ledger.Op{Key: key, Value: []byte(value)} }

func remove(key string) ledger.Op { return ledger.Op{Key: key, Delete: true} }

func absent(key string) ledger.Cond { return ledger.Cond{Key: key} }

// must performs operations without conditions and gives the revision.
func must(t testing.TB, s ledger.Store, ops ...ledger.Op) int64 {
	t.Helper()
	if ok, err := s.Txn(t.Context(), nil, ops); err != nil || !ok {
		t.Fatalf("Txn without conditions: %t, %v", ok, err)
	}
	return revision(t, s)
}

func revision(t testing.TB, s ledger.Store) int64 {
	t.Helper()
	rev, err := s.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// dump gives everything under a prefix as "key=value@revision" after the given one.
func dump(t testing.TB, s ledger.Store, prefix string, since int64) []string {
	t.Helper()
	kvs, err := s.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, kv := range kvs {
		lines = append(lines, fmt.Sprintf("%s=%s@%d", kv.Key, kv.Value, kv.Rev-since))
	}
	return lines
}

func same(t testing.TB, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func testKeys(t *testing.T, s ledger.Store) {
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("Get of no key: %v, want ErrNotFound", err)
	}
	rev := must(t, s, set("a", "1"), set("empty", ""))
	kv, err := s.Get(t.Context(), "a")
	if diff := cmp.Diff(ledger.KV{Key: "a", Value: []byte("1"), Rev: rev}, kv); diff != "" || err != nil {
		t.Errorf("Get: %v\n%s", err, diff)
	}
	if kv, err := s.Get(t.Context(), "empty"); err != nil || len(kv.Value) != 0 {
		t.Errorf("Get of an empty value: %q, %v", kv.Value, err)
	}
	must(t, s, remove("a"))
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("Get of a removed key: %v, want ErrNotFound", err)
	}
}

func testList(t *testing.T, s ledger.Store) {
	r := revision(t, s)
	must(t, s, set("b/2", "x"), set("b/10", "y"), set("a", "z"))
	must(t, s, set("b", "w"), set("c", "v"))
	same(t, "prefix b/", []string{"b/10=y@1", "b/2=x@1"}, dump(t, s, "b/", r))
	same(t, "everything", []string{"a=z@1", "b=w@2", "b/10=y@1", "b/2=x@1", "c=v@2"}, dump(t, s, "", r))
	same(t, "nothing", nil, dump(t, s, "d", r))
}

func testConditions(t *testing.T, s ledger.Store) {
	rev := must(t, s, set("a", "1"))
	for _, c := range []struct {
		name  string
		conds []ledger.Cond
		want  bool
	}{
		{"the revision seen", []ledger.Cond{{Key: "a", Rev: rev}}, true},
		{"another revision", []ledger.Cond{{Key: "a", Rev: rev + 1}}, false},
		{"absent, but it is there", []ledger.Cond{absent("a")}, false},
		{"absent", []ledger.Cond{absent("b")}, true},
		{"a revision of no key", []ledger.Cond{{Key: "b", Rev: rev}}, false},
		{"one of two", []ledger.Cond{{Key: "a", Rev: rev}, {Key: "b", Rev: 1}}, false},
	} {
		ok, err := s.Txn(t.Context(), c.conds, []ledger.Op{set("probe", c.name)})
		if err != nil || ok != c.want {
			t.Errorf("%s: %t, %v, want %t", c.name, ok, err, c.want)
		}
	}
}

// An address is assigned by creating two keys, each only if it is absent.
func testAllOrNothing(t *testing.T, s ledger.Store) {
	r := revision(t, s)
	assign := func(node, addr string) bool {
		ok, err := s.Txn(t.Context(), []ledger.Cond{absent("node/" + node), absent("addr/" + addr)},
			[]ledger.Op{set("node/"+node, addr), set("addr/"+addr, node)})
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !assign("n1", "10.0.0.1") || assign("n2", "10.0.0.1") || assign("n1", "10.0.0.2") || !assign("n2", "10.0.0.2") {
		t.Error("an assignment went wrong")
	}
	same(t, "assigned", []string{"addr/10.0.0.1=n1@1", "addr/10.0.0.2=n2@2", "node/n1=10.0.0.1@1", "node/n2=10.0.0.2@2"}, dump(t, s, "", r))
}

// A transaction that changes nothing has no revision, so that nobody is woken for it.
func testUnchanged(t *testing.T, s ledger.Store) {
	rev := must(t, s, set("a", "1"))
	if got := must(t, s, remove("b")); got != rev {
		t.Errorf("removing no key: revision %d, want %d", got, rev)
	}
	if got := must(t, s); got != rev {
		t.Errorf("no operation: revision %d, want %d", got, rev)
	}
	if ok, err := s.Txn(t.Context(), []ledger.Cond{absent("a")}, nil); ok || err != nil {
		t.Errorf("a condition alone: %t, %v", ok, err)
	}
	if got := must(t, s, set("a", "1")); got != rev+1 {
		t.Errorf("the same value again: revision %d, want %d", got, rev+1)
	}
}

func testRefused(t *testing.T, s ledger.Store) {
	rev := revision(t, s)
	for name, ops := range map[string][]ledger.Op{
		"empty key":             {set("ok", "1"), set("", "1")},
		"a key twice":           {set("a", "1"), set("a", "2")},
		"a key set and removed": {set("a", "1"), remove("a")},
	} {
		if ok, err := s.Txn(t.Context(), nil, ops); err == nil || ok {
			t.Errorf("%s: %t, %v, want an error", name, ok, err)
		}
	}
	if got := revision(t, s); got != rev {
		t.Errorf("revision %d, want %d", got, rev)
	}
}

func testCopies(t *testing.T, s ledger.Store) {
	value := []byte("before")
	if _, err := s.Txn(t.Context(), nil, []ledger.Op{{Key: "a", Value: value}}); err != nil {
		t.Fatal(err)
	}
	copy(value, "after!")
	kv, _ := s.Get(t.Context(), "a")
	copy(kv.Value, "got!!!")
	kvs, _ := s.List(t.Context(), "a")
	copy(kvs[0].Value, "list!!")
	if kv, _ := s.Get(t.Context(), "a"); string(kv.Value) != "before" {
		t.Errorf("the store has %q", kv.Value)
	}
}

// Of many that want to create the same key exactly one succeeds.
func testOneWinner(t *testing.T, s ledger.Store) {
	for round := range 5 {
		key := fmt.Sprintf("key%d", round)
		var mu sync.Mutex
		var winners []int
		var wg sync.WaitGroup
		for n := range 16 {
			wg.Go(func() {
				ok, err := s.Txn(t.Context(), []ledger.Cond{absent(key)}, []ledger.Op{set(key, strconv.Itoa(n))})
				if err != nil {
					t.Error(err)
				}
				if ok {
					mu.Lock()
					winners = append(winners, n)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		kv, _ := s.Get(t.Context(), key)
		if len(winners) != 1 || string(kv.Value) != strconv.Itoa(winners[0]) {
			t.Errorf("winners %v, stored %s", winners, kv.Value)
		}
	}
}

// Counting by read and conditional write loses no step.
func testCounter(t *testing.T, s ledger.Store) {
	const workers, steps = 4, 10
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for n := 0; n < steps; {
				kv, err := s.Get(t.Context(), "n")
				if err != nil && !errors.Is(err, ledger.ErrNotFound) {
					t.Error(err)
					return
				}
				old, _ := strconv.Atoi(string(kv.Value))
				ok, err := s.Txn(t.Context(), []ledger.Cond{{Key: "n", Rev: kv.Rev}}, []ledger.Op{set("n", strconv.Itoa(old+1))})
				if err != nil {
					t.Error(err)
					return
				}
				if ok {
					n++
				}
			}
		})
	}
	wg.Wait()
	if kv, _ := s.Get(t.Context(), "n"); string(kv.Value) != strconv.Itoa(workers*steps) {
		t.Errorf("counted %s, want %d", kv.Value, workers*steps)
	}
}

// watched collects n changes after a revision.
func watched(t *testing.T, s ledger.Store, prefix string, after int64, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var lines []string
	err := s.Watch(ctx, prefix, after, func(c ledger.Change) {
		lines = append(lines, describe(c, after))
		if len(lines) == n {
			cancel()
		}
	})
	if err != nil {
		t.Fatalf("Watch: %v", err)
	}
	return lines
}

func describe(c ledger.Change, since int64) string {
	if c.Deleted {
		return fmt.Sprintf("-%s@%d", c.Key, c.Rev-since)
	}
	return fmt.Sprintf("%s=%s@%d", c.Key, c.Value, c.Rev-since)
}

func testWatch(t *testing.T, s ledger.Store) {
	r := revision(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan string, 16)
	ended := make(chan error, 1)
	go func() { ended <- s.Watch(ctx, "a/", r, func(c ledger.Change) { got <- describe(c, r) }) }()
	must(t, s, set("a/1", "x"), set("b/1", "y"))
	must(t, s, set("b/2", "z"))
	must(t, s, remove("a/1"), set("a/2", "w"))
	for _, want := range []string{"a/1=x@1", "-a/1@3", "a/2=w@3"} {
		if line := <-got; line != want {
			t.Errorf("watched %s, want %s", line, want)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Watch ended with %v, want nil", err)
	}
}

func testWatchFrom(t *testing.T, s ledger.Store) {
	first := must(t, s, set("a", "1"))
	must(t, s, set("a", "2"))
	must(t, s, set("a", "3"))
	same(t, "after the first", []string{"a=2@1", "a=3@2"}, watched(t, s, "", first, 2))
	same(t, "from the beginning", []string{"a=1@1", "a=2@2", "a=3@3"}, watched(t, s, "", first-1, 3))
}

// A watcher that begins in the middle sees every change once, in order.
func testWatchWhileWriting(t *testing.T, s ledger.Store) {
	const n = 100
	r := revision(t, s)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			if _, err := s.Txn(t.Context(), nil, []ledger.Op{set("k", strconv.Itoa(i))}); err != nil {
				t.Error(err)
			}
		}
	})
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("k=%d@%d", i, i+1))
	}
	same(t, "changes", want, watched(t, s, "k", r, n))
	wg.Wait()
}

// History is bounded: whoever was away for too long is told so, and can list and go on.
func testWatchCompacted(t *testing.T, s ledger.Store) {
	c, ok := s.(interface{ Compact(upTo int64) error })
	if !ok {
		t.Fatal("the store under test has no Compact(revision) method for this test")
	}
	must(t, s, set("a", "1"))
	rev := must(t, s, set("a", "2"))
	if err := c.Compact(rev); err != nil {
		t.Fatal(err)
	}
	if err := s.Watch(t.Context(), "", rev-1, func(ledger.Change) {}); !errors.Is(err, ledger.ErrCompacted) {
		t.Errorf("Watch from a compacted revision: %v, want ErrCompacted", err)
	}
	must(t, s, set("a", "3"))
	same(t, "after compaction", []string{"a=3@1"}, watched(t, s, "", rev, 1))
}

func testCancelled(t *testing.T, s ledger.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Txn(ctx, nil, []ledger.Op{set("a", "1")}); !errors.Is(err, context.Canceled) {
		t.Errorf("Txn: %v", err)
	}
	if _, err := s.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v", err)
	}
	if err := s.Watch(ctx, "", 0, func(ledger.Change) {}); err != nil {
		t.Errorf("Watch: %v, want nil", err)
	}
}

// TestBackup checks that a copy made while the store is written is one moment of it. reopen opens a copy.
func TestBackup(t *testing.T, open func(testing.TB) ledger.Store, reopen func(testing.TB, []byte) ledger.Store) {
	s := open(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			v := strconv.Itoa(i)
			if _, err := s.Txn(t.Context(), nil, []ledger.Op{set("a", v), set("b", v)}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 5 {
		must(t, s, set("c", "x"))
		var b bytes.Buffer
		if err := s.Backup(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		c := reopen(t, b.Bytes())
		lines := dump(t, c, "", 0)
		if i := slices.IndexFunc(lines, func(l string) bool { return l[0] == 'a' }); i >= 0 && lines[i][1:] != lines[i+1][1:] {
			t.Errorf("the copy is not of one moment: %v", lines)
		}
		must(t, c, set("goes", "on"))
	}
	close(stop)
	wg.Wait()
}
