package reconcile

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hostler/reconcile/ledger"
	"hostler/reconcile/source"
	"hostler/render/fact"
)

// crashArg makes the test program a reconciler that is killed: crash-test SOURCE STATE. It dies between persisting and swapping.
const crashArg = "crash-test"

func crashMain(args []string) {
	src, err := source.New(source.Options{Location: args[0]})
	if err != nil {
		panic(err)
	}
	c := Config{Source: src, StateDir: args[1]}
	persisted := 0
	c.Now = func() time.Time {
		if records, _ := filepath.Glob(args[1] + "/revisions/*.rev"); len(records) > persisted {
			syscall.Kill(os.Getpid(), syscall.SIGKILL) // the first look at the clock after the record appears is the swap's
		}
		return time.Now()
	}
	if records, _ := filepath.Glob(args[1] + "/revisions/*.rev"); len(records) > 0 {
		persisted = len(records)
	}
	r, err := New(c)
	if err != nil {
		panic(err)
	}
	panic(r.Run(context.Background()))
}

// kill -9 between persist and swap: the new revision is there after the restart, and in the history.
func TestKilledBetweenPersistAndSwap(t *testing.T) {
	g := newRig(t, "git", nil)
	g.start()
	g.await()
	g.stop()
	want := g.set("two")
	out, err := exec.Command("/proc/self/exe", crashArg, g.dir, g.state).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.String() != "signal: killed" {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Rename(g.dir, g.dir+".gone"); err != nil { // so that nothing can be had from the source
		t.Fatal(err)
	}
	g.start()
	g.wantMark("two")
	if h := g.r.History(); len(h) != 2 || h[0].Revision != want || h[0].Outcome != Applied {
		t.Errorf("history %+v", h)
	}
}

// kill -9 at any moment leaves a state that can be served.
func TestKilledAnywhere(t *testing.T) {
	g := newRig(t, "git", nil)
	g.start()
	g.await()
	g.stop()
	for i := range 6 {
		g.set(fmt.Sprint("v", i))
		cmd := exec.Command("/proc/self/exe", crashArg, g.dir, g.state)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i*12) * time.Millisecond) // no synchronising: the moment is meant to be arbitrary
		cmd.Process.Kill()
		cmd.Wait()
		r, done, err := g.new()
		if err != nil {
			t.Fatal(err)
		}
		if s, rev := r.Current(); s == nil || rev == "" {
			t.Errorf("nothing to serve after the crash %d", i)
		}
		done()
	}
	g.start()
	g.reconcile()
	g.wantMark("v5")
	if left, _ := filepath.Glob(g.state + "/*/tmp-*"); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// records lists the persisted revisions, oldest first.
func (g *rig) records() []string {
	g.t.Helper()
	list, err := filepath.Glob(g.state + "/revisions/*.rev")
	if err != nil || len(list) == 0 {
		g.t.Fatalf("no records: %v", err)
	}
	return list
}

// A damaged record gives way to the one before, with a line in the log.
func TestDamagedRecord(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"truncated":    func(b []byte) []byte { return b[:len(b)/2] },
		"empty":        func([]byte) []byte { return nil },
		"one bit":      func(b []byte) []byte { b[len(b)-7] ^= 4; return b },
		"garbage":      func([]byte) []byte { return []byte("garbage\nmore") },
		"bad encoding": func([]byte) []byte { return sealed(formatVersion, []byte("not gob")) },
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, "git", nil)
			g.start()
			g.await()
			g.set("two")
			g.reconcile()
			g.stop()
			list := g.records()
			newest := list[len(list)-1]
			b, err := os.ReadFile(newest)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(newest, damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			r, done, err := g.new()
			if err != nil {
				t.Fatal(err)
			}
			defer done()
			g.r = r
			g.wantMark("one")
			if !strings.Contains(g.log.String(), "trying the one before") || !strings.Contains(g.log.String(), newest) {
				t.Error("not in the log")
			}
		})
	}
}

// sealed is a record file with a right checksum.
func sealed(version int, body []byte) []byte {
	return append(fmt.Appendf(nil, recordHeader, version, digestOf(body).digest, len(body)), body...)
}

// A newer format is refused, not skipped: an older record would undo what the newer program did.
func TestNewerRecord(t *testing.T) {
	g := newRig(t, "git", nil)
	g.start()
	g.await()
	g.stop()
	name := g.state + "/revisions/00000099.rev"
	if err := os.WriteFile(name, sealed(formatVersion+1, []byte("of the future")), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := g.new()
	want := fmt.Sprintf("state: persisted revision %s: state was written by a newer hostler (format %d, this program reads up to %d)",
		name, formatVersion+1, formatVersion)
	if !errors.Is(err, ledger.ErrNewerFormat) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func FuzzReadRecord(f *testing.F) {
	var body bytes.Buffer
	if err := gob.NewEncoder(&body).Encode(record{Source: "x", Commit: source.Commit{Revision: "dir@sha256:00"}}); err != nil {
		f.Fatal(err)
	}
	f.Add(sealed(1, body.Bytes()))
	f.Add([]byte("hostler-revision 1 00 0\n"))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "r")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if rec, err := readRecord(name); (rec == nil) == (err == nil) {
			t.Errorf("%v, %v", rec, err)
		}
	})
}

// smallDisk mounts a file system of the given size.
func smallDisk(t *testing.T, dir, options string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// A full state directory leaves the old revision in force; when there is room again, the new one is applied by itself.
func TestStateFull(t *testing.T) {
	g := newRig(t, "git", nil)
	smallDisk(t, g.state, "size=1m")
	g.start()
	g.await()
	ballast := g.state + "/ballast"
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	want := g.set("two")
	g.wantRefused(ApplyFailed, "no space left on device", "one")
	if c, ok := g.r.Status().Condition(Stalled); ok {
		t.Errorf("it is not tried again: %+v", c)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if got := g.await(); got != want {
		t.Errorf("applied %s", got)
	}
	g.wantMark("two")
}

// The same while an image is copied into the state.
func TestStateFullOfImages(t *testing.T) {
	g := newRig(t, "git", nil)
	smallDisk(t, g.state, "size=1m")
	g.start()
	g.await()
	g.save("initrd.gz", string(make([]byte, 2<<20)), "large initrd")
	g.wantRefused(ApplyFailed, "writing the state: initrd.gz: ", "one")
	g.wantContent("path:initrd.gz", "initrd")
	if left, _ := filepath.Glob(g.state + "/blobs/tmp-*"); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestStateReadOnly(t *testing.T) {
	g := newRig(t, "git", nil)
	smallDisk(t, g.state, "size=1m")
	g.start()
	g.await()
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("", g.state, "tmpfs", syscall.MS_REMOUNT|syscall.MS_BIND|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	g.set("two")
	g.wantRefused(ApplyFailed, "read-only file system", "one")
	remount(0)
	g.await()
	g.wantMark("two")
}

// What a snapshot gives out while it is swapped is never a mix: each reader sees one revision whole.
func TestReadersDuringSwaps(t *testing.T) {
	g := newRig(t, "git", nil)
	g.start()
	g.await()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				s, rev := g.r.Current()
				if at, ok := g.r.At(rev); !ok || s == nil || at == nil {
					t.Errorf("no snapshot at %s", rev)
					return
				}
				g.r.Status()
				g.r.History()
				if f, err := g.r.Open(fact.Digest("none")); err == nil {
					f.Close()
				}
			}
		})
	}
	for i := range 5 {
		g.set(fmt.Sprint("v", i))
		g.reconcile()
	}
	cancel()
	wg.Wait()
	g.wantMark("v4")
}
