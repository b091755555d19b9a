package ledgertest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"hostler/reconcile/ledger"
)

// Crash runs itself again as a child process, which does work until it is killed with SIGKILL after it has written n
// lines, and gives those lines. The calling test must be top-level, and must call Crash before anything else: in the child,
// Crash does not return. work gets a directory to use, and writes a line for each thing that it was promised.
func Crash(t *testing.T, dir string, n int, work func(t *testing.T, dir string, line func(string))) []string {
	t.Helper()
	const variable = "LEDGERTEST_CRASH_DIR"
	if dir := os.Getenv(variable); dir != "" {
		work(t, dir, func(s string) { fmt.Println("acked", s) })
		t.Fatal("the work was over before the process was killed")
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	// The child cannot clean up after itself: its temporary folders go away with ours.
	child.Env = append(os.Environ(), variable+"="+dir, "TMPDIR="+t.TempDir())
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for s := bufio.NewScanner(out); s.Scan(); {
		line, isLine := strings.CutPrefix(s.Text(), "acked ")
		if !isLine {
			t.Log("child:", s.Text())
			continue
		}
		if lines = append(lines, line); len(lines) == n {
			child.Process.Kill() // what it wrote until then still comes
		}
	}
	child.Wait()
	if len(lines) < n || child.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended by itself after %d lines: %s", len(lines), child.ProcessState)
	}
	return lines
}

// TestCrash kills a process in the middle of its transactions: each one that was acknowledged is there, whole, and
// at most one more. open opens, or creates, the store of a directory.
func TestCrash(t *testing.T, open func(t testing.TB, dir string) ledger.Store) {
	dir := t.TempDir()
	lines := Crash(t, dir, 200, func(t *testing.T, dir string, acked func(string)) {
		s := open(t, dir)
		for i := 1; ; i++ {
			v := strconv.Itoa(i)
			if ok, err := s.Txn(t.Context(), []ledger.Cond{absent("log/" + v)}, []ledger.Op{set("a", v), set("log/"+v, v), set("b", v)}); err != nil || !ok {
				t.Fatal(ok, err)
			}
			acked(v)
		}
	})
	s := open(t, dir)
	acked, _ := strconv.Atoi(lines[len(lines)-1])
	a, _ := s.Get(t.Context(), "a")
	b, _ := s.Get(t.Context(), "b")
	last, _ := strconv.Atoi(string(a.Value))
	if string(a.Value) != string(b.Value) || last < acked || last > acked+1 {
		t.Errorf("acknowledged %d, found a=%s b=%s", acked, a.Value, b.Value)
	}
	if logged := dump(t, s, "log/", 0); len(logged) != last {
		t.Errorf("%d transactions are there, want %d", len(logged), last)
	}
	if rev := revision(t, s); rev != int64(last) {
		t.Errorf("revision %d, want %d", rev, last)
	}
}
