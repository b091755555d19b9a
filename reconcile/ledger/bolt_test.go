package ledger_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hostler/reconcile/ledger"
	"hostler/reconcile/ledger/ledgertest"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

func openBolt(t testing.TB, dir string) ledger.Store {
	t.Helper()
	s, err := ledger.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func openEmpty(t testing.TB) ledger.Store { return openBolt(t, t.TempDir()) }

func TestBoltStore(t *testing.T) { ledgertest.TestStore(t, openEmpty) }

func TestBoltCrash(t *testing.T) { ledgertest.TestCrash(t, openBolt) }

func TestBoltBackup(t *testing.T) {
	ledgertest.TestBackup(t, openEmpty, func(t testing.TB, b []byte) ledger.Store {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "state.db"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		return openBolt(t, dir)
	})
}

func TestOpenMakesPrivateDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "var", "hostler")
	openBolt(t, dir)
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, "state.db"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
}

func TestOpenInUse(t *testing.T) {
	dir := t.TempDir()
	openBolt(t, dir)
	path := filepath.Join(dir, "state.db")
	_, err := ledger.Open(path)
	wantErr(t, err, ledger.ErrInUse, "opening state: "+path+": state is in use by another process")
}

// edit changes a state file behind hostler's back.
func edit(t *testing.T, path string, f func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err == nil {
		err = db.Update(f)
	}
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
}

func TestOpenNewerFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s, err := ledger.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	edit(t, path, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte{0, 0, 0, 0, 0, 0, 0, 7})
	})
	before, _ := os.ReadFile(path)
	_, err = ledger.Open(path)
	wantErr(t, err, ledger.ErrNewerFormat, "opening state: "+path+": state was written by a newer hostler: its format is 7, this one reads up to 1")
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
}

func TestOpenOtherFiles(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "foreign.db")
	edit(t, foreign, func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("meta")); return err })
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, bytes.Repeat([]byte("no database\n"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		foreign: "opening state: " + foreign + ": not a state file of hostler",
		text:    "opening state: " + text + ": invalid database",
		dir:     "opening state: " + dir + ": is a directory",
	} {
		_, err := ledger.Open(path)
		if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
			t.Error(diff)
		}
	}
}

// mount makes a small file system that is gone when the test ends.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestBoltReadOnly(t *testing.T) {
	dir := mount(t, "size=1m")
	openBolt(t, dir).Close()
	if out, err := exec.Command("mount", "-o", "remount,ro", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v\n%s", err, out)
	}
	path := filepath.Join(dir, "state.db")
	_, err := ledger.Open(path)
	wantErr(t, err, unix.EROFS, "opening state: "+path+": read-only file system")
	_, err = ledger.Open(filepath.Join(dir, "new", "state.db"))
	wantErr(t, err, unix.EROFS, "opening state: mkdir "+filepath.Join(dir, "new")+": read-only file system")
}

// fill takes all but a little space, and gives it back when free is called.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := 4096; size > 0; size /= 2 {
		for b := make([]byte, size); ; {
			if _, err := f.Write(b); err != nil {
				break
			}
		}
	}
	f.Close()
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBoltDiskFull(t *testing.T) {
	dir := mount(t, "size=1m")
	s := openBolt(t, dir)
	big := strings.Repeat("x", 100_000)
	if _, err := s.Txn(t.Context(), nil, []ledger.Op{{Key: "a", Value: []byte("before")}}); err != nil {
		t.Fatal(err)
	}
	free := fill(t, dir)
	for range 3 {
		ok, err := s.Txn(t.Context(), nil, []ledger.Op{{Key: "a", Value: []byte(big)}})
		if ok {
			t.Error("a transaction was acknowledged")
		}
		wantErr(t, err, unix.ENOSPC, "writing state: "+filepath.Join(dir, "state.db")+": no space left on device")
		kv, err := s.Get(t.Context(), "a")
		rev, _ := s.Revision(t.Context())
		if string(kv.Value) != "before" || err != nil || rev != 1 {
			t.Errorf("after a failure: %.20q, %v, revision %d", kv.Value, err, rev)
		}
	}
	free()
	if ok, err := s.Txn(t.Context(), nil, []ledger.Op{{Key: "a", Value: []byte(big)}}); err != nil || !ok {
		t.Errorf("with space again: %t, %v", ok, err)
	}
	s.Close()
	if kv, err := openBolt(t, dir).Get(t.Context(), "a"); string(kv.Value) != big || err != nil {
		t.Errorf("after a restart: %.20q, %v", kv.Value, err)
	}
}

// A watcher does not have to keep up: history has thousands of transactions. One that is further behind is told.
func TestBoltHistoryIsBounded(t *testing.T) {
	s := openEmpty(t)
	for range 4097 {
		if _, err := s.Txn(t.Context(), nil, []ledger.Op{{Key: "a", Value: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
	}
	err := s.Watch(t.Context(), "", 0, func(ledger.Change) { t.Error("a change") })
	wantErr(t, err, ledger.ErrCompacted, "watching state: \"\" after revision 0: revision was compacted")
}

func TestWatchEndsWithStore(t *testing.T) {
	s := openEmpty(t)
	ended := make(chan error)
	go func() { ended <- s.Watch(t.Context(), "a/", 0, func(ledger.Change) {}) }()
	s.Close()
	if err := <-ended; err == nil {
		t.Error("Watch of a closed store ended without an error")
	}
}

func TestPack(t *testing.T) {
	type node struct{ Name string }
	b, err := ledger.Pack(2, node{"n1"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"format":2,"record":{"Name":"n1"}}`, string(b)); diff != "" {
		t.Error(diff)
	}
	var n node
	if format, err := ledger.Unpack(b, 3, &n); err != nil || format != 2 || n.Name != "n1" {
		t.Errorf("Unpack: %d, %v, %v", format, n, err)
	}
	_, err = ledger.Unpack(b, 1, &n)
	wantErr(t, err, ledger.ErrNewerFormat, "state was written by a newer hostler: the record's format is 2, this one reads up to 1")
	for value, want := range map[string]string{
		`{`:                        "decoding a record: unexpected end of JSON input",
		`{"record":{}}`:            "decoding a record: format 0 does not exist",
		`{"format":1,"record":[]}`: "decoding a record of format 1: json: cannot unmarshal array into Go value of type ledger_test.node",
	} {
		_, err := ledger.Unpack([]byte(value), 1, &n)
		if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
			t.Error(diff)
		}
	}
}
