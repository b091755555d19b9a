package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"hostler/reconcile/source"
	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// one makes a fleet of one file.
func one(ref spec.FileRef, stores ...spec.Store) *spec.Fleet {
	return &spec.Fleet{Stores: stores, Images: []spec.Image{{Name: "i", Files: []spec.ImageFile{{Role: "kernel", File: ref}}}}}
}

func inTree(t *testing.T, dir string) *source.Tree {
	t.Helper()
	s, err := source.New(source.Options{Location: dir})
	if err != nil {
		t.Fatal(err)
	}
	rev, err := s.Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	tree, err := s.Open(context.Background(), rev)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

const lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"

// sparse makes a file of a size without its bytes.
func sparse(t *testing.T, name string, size int64) {
	t.Helper()
	writeFile(t, name, "")
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
}

// Everything that keeps a file from being served is its problem, in the repository and in a local store alike.
// TestStoreRoots holds that a spec cannot reach beyond the directories that the server's owner names, nor by a link.
func TestStoreRoots(t *testing.T) {
	base := t.TempDir()
	for _, dir := range []string{"images/live", "images2", "secret"} {
		writeFile(t, base+"/"+dir+"/k", "content")
	}
	if err := os.Symlink(base+"/secret", base+"/images/link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(base+"/images", base+"/alias"); err != nil {
		t.Fatal(err)
	}
	const refused = "lies in a store that the server's store_roots do not allow"
	for _, c := range []struct{ roots, store, problem string }{
		{"", "/secret", ""},
		{"/images", "/images/live", ""},
		{"/images", "/alias/live", ""},
		{"/alias", "/images/live", ""},
		{"/images/live", "/images/live", ""},
		{"/images", "/secret", refused},
		{"/images", "/images2", refused},
		{"/images", "/images/link", refused},
		{"/images", "/images/../secret", refused},
		{"/images", "/gone", refused},
		{"/images/live", "/images", refused},
	} {
		o := newObserver(&blobs{t.TempDir()}, time.Now)
		if c.roots != "" {
			o.roots = []string{base + c.roots}
		}
		a, _, err := o.inLocalStore(base+c.store, "k")
		if err != nil || a.Problem != c.problem {
			t.Errorf("store %s below %s: %q, %v; want %q", c.store, c.roots, a.Problem, err, c.problem)
		}
	}
}

func TestArtifactProblems(t *testing.T) {
	base := t.TempDir()
	tree, store := base+"/tree", base+"/store"
	writeFile(t, base+"/secret", "secret")
	for _, dir := range []string{tree, store} {
		writeFile(t, dir+"/good", "content")
		writeFile(t, dir+"/empty", "")
		writeFile(t, dir+"/lfs", lfs)
		sparse(t, dir+"/huge", source.MaxFileSize+1)
		for name, to := range map[string]string{"out": base + "/secret", "up": "../secret", "in": "good"} {
			if err := os.Symlink(to, dir+"/"+name); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.Mkdir(dir+"/folder", 0o755), unix.Mkfifo(dir+"/pipe", 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	o := newObserver(&blobs{base + "/blobs"}, time.Now)
	good := digestOf([]byte("content")).digest
	stores := []spec.Store{{Name: "s", Path: store}, {Name: "gone", Path: base + "/gone"}, {Name: "proc", Path: "/proc"}}
	for _, c := range []struct {
		ref  spec.FileRef
		want render.Artifact
	}{
		{spec.FileRef{Path: "good"}, render.Artifact{Digest: good, Size: 7}},
		{spec.FileRef{Path: "in"}, render.Artifact{Digest: good, Size: 7}},
		{spec.FileRef{Path: "none"}, render.Artifact{Problem: "does not exist"}},
		{spec.FileRef{Path: "../secret"}, render.Artifact{Problem: "invalid argument"}},
		{spec.FileRef{Path: "empty"}, render.Artifact{Problem: "is empty"}},
		{spec.FileRef{Path: "lfs"}, render.Artifact{Problem: "is a Git LFS pointer; LFS is not supported: commit the file itself, or put it into a store"}},
		{spec.FileRef{Path: "huge"}, render.Artifact{Problem: "is larger than 1 GiB"}},
		{spec.FileRef{Path: "out"}, render.Artifact{Problem: "is a symbolic link that leads out of the directory, which is not followed"}},
		{spec.FileRef{Path: "good", SHA256: "00"}, render.Artifact{Digest: good, Size: 7, Problem: "has sha256 " + string(good) + ", but 00 is declared"}},
		{spec.FileRef{Path: "good", Size: 8}, render.Artifact{Digest: good, Size: 7, Problem: "has 7 bytes, but 8 are declared"}},
		{spec.FileRef{Store: "s", Key: "good"}, render.Artifact{Digest: good, Size: 7}},
		{spec.FileRef{Store: "s", Key: "/good"}, render.Artifact{Digest: good, Size: 7}},
		{spec.FileRef{Store: "s", Key: "in"}, render.Artifact{Digest: good, Size: 7}},
		{spec.FileRef{Store: "s", Key: "none"}, render.Artifact{Problem: "does not exist"}},
		{spec.FileRef{Store: "s", Key: "empty"}, render.Artifact{Problem: "is empty"}},
		{spec.FileRef{Store: "s", Key: "lfs"}, render.Artifact{Problem: "is a Git LFS pointer, not the file itself"}},
		{spec.FileRef{Store: "s", Key: "huge"}, render.Artifact{Problem: "is larger than 1 GiB"}},
		{spec.FileRef{Store: "s", Key: "out"}, render.Artifact{Problem: "is or passes a symbolic link that leads out, which is not followed"}},
		{spec.FileRef{Store: "s", Key: "up"}, render.Artifact{Problem: "is or passes a symbolic link that leads out, which is not followed"}},
		{spec.FileRef{Store: "s", Key: "../secret"}, render.Artifact{Problem: "is or passes a symbolic link that leads out, which is not followed"}},
		{spec.FileRef{Store: "s", Key: "folder"}, render.Artifact{Problem: "is not a regular file"}},
		{spec.FileRef{Path: "pipe"}, render.Artifact{Problem: "is not a regular file"}},
		{spec.FileRef{Store: "s", Key: "pipe"}, render.Artifact{Problem: "is not a regular file"}}, // opening it would wait for ever
		{spec.FileRef{Store: "proc", Key: "kmsg"}, render.Artifact{Problem: "is empty"}},           // so would reading this
		{spec.FileRef{Store: "gone", Key: "x"}, render.Artifact{Problem: "its store cannot be opened: no such file or directory"}},
		{spec.FileRef{Store: "undeclared", Key: "x"}, render.Artifact{Problem: "names no store"}},
		{spec.FileRef{Builtin: "ipxe.iso"}, render.Artifact{Problem: "is not a loader inside this program"}},
	} {
		as, _, err := o.observe(context.Background(), one(c.ref, stores...), inTree(t, tree), nil, nil)
		if diff := cmp.Diff(render.Artifacts{c.ref.ID(): c.want}, as); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", c.ref.ID(), err, diff)
		}
	}
}

func readAll(t *testing.T, r io.ReadSeekCloser, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Loaders inside the program are had by digest as anything else.
func TestBuiltinLoaders(t *testing.T) {
	o := newObserver(&blobs{t.TempDir()}, time.Now)
	for _, name := range []string{"undionly.kpxe", "ipxe.efi", "snp.efi"} {
		as, ps, err := o.observe(context.Background(), &spec.Fleet{Loaders: []spec.Loader{{File: spec.FileRef{Builtin: name}}}}, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		a := as["builtin:"+name]
		f, err := ps.open(a.Digest, o.blobs, nil)
		if got := readAll(t, f, err); int64(len(got)) != a.Size || digestOf([]byte(got)).digest != a.Digest || a.Size < 50_000 {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// A file of a local store is served where it lies, and only as long as it is the one that was reviewed.
func TestLocalStoreFileChanges(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/k", "old")
	o := newObserver(&blobs{t.TempDir()}, time.Now)
	f := one(spec.FileRef{Store: "s", Key: "k"}, spec.Store{Name: "s", Path: dir})
	_, ps, err := o.observe(context.Background(), f, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	old := digestOf([]byte("old")).digest
	r, err := ps.open(old, o.blobs, nil)
	if got := readAll(t, r, err); got != "old" {
		t.Error(got)
	}
	writeFile(t, dir+"/k.new", "new")
	if err := os.Rename(dir+"/k.new", dir+"/k"); err != nil {
		t.Fatal(err)
	}
	if _, err := ps.open(old, o.blobs, nil); err == nil || err.Error() != "k: changed since it was observed" {
		t.Error(err)
	}
	as, _, _ := o.observe(context.Background(), f, nil, nil, nil)
	if as["store:s:k"].Digest != digestOf([]byte("new")).digest {
		t.Error("the change was not observed")
	}
	if _, err := ps.open("unknown", o.blobs, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// httpStore serves content that tests change, and counts full answers.
type httpStore struct {
	*httptest.Server
	content atomic.Pointer[string]
	status  atomic.Int32
	full    atomic.Int32
}

func newHTTPStore(t *testing.T, content string) *httpStore {
	s := &httpStore{}
	s.content.Store(&content)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		text := *s.content.Load()
		if st := s.status.Load(); st != 0 {
			w.WriteHeader(int(st))
			return
		}
		w.Header().Set("ETag", fmt.Sprintf("%q", digestOf([]byte(text)).digest))
		if q.Header.Get("If-None-Match") == w.Header().Get("ETag") {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		s.full.Add(1)
		io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestHTTPStore(t *testing.T) {
	srv := newHTTPStore(t, "kernel")
	ctx := context.Background()
	digest := digestOf([]byte("kernel")).digest
	mirror := spec.Store{Name: "m", URL: srv.URL + "/", Deliver: spec.DeliverMirror}
	direct := spec.Store{Name: "d", URL: srv.URL + "/", Deliver: spec.DeliverDirect}
	b := &blobs{t.TempDir()}
	o := newObserver(b, time.Now)
	observe := func(o *observer, ref spec.FileRef) (render.Artifact, places, error) {
		as, ps, err := o.observe(ctx, one(ref, mirror, direct), nil, nil, nil)
		return as[ref.ID()], ps, err
	}
	t.Run("direct is never fetched", func(t *testing.T) {
		a, ps, err := observe(o, spec.FileRef{Store: "d", Key: "k", SHA256: "11", Size: 5})
		want := render.Artifact{Digest: "11", Size: 5, URL: srv.URL + "/k"}
		if a != want || len(ps) != 0 || err != nil || srv.full.Load() != 0 {
			t.Errorf("%+v %v %v", a, ps, err)
		}
	})
	t.Run("mirror is kept", func(t *testing.T) {
		for range 3 {
			a, ps, err := observe(o, spec.FileRef{Store: "m", Key: "k", SHA256: digest})
			if err != nil || a != (render.Artifact{Digest: digest, Size: 6}) {
				t.Fatalf("%+v %v", a, err)
			}
			f, err := ps.open(digest, b, nil)
			if got := readAll(t, f, err); got != "kernel" {
				t.Error(got)
			}
		}
		if n := srv.full.Load(); n != 1 {
			t.Errorf("fetched %d times", n)
		}
	})
	t.Run("a declared digest is found again after a restart", func(t *testing.T) {
		srv.status.Store(500)
		defer srv.status.Store(0)
		if a, _, err := observe(newObserver(b, time.Now), spec.FileRef{Store: "m", Key: "k", SHA256: digest}); err != nil || a.Digest != digest {
			t.Errorf("%+v %v", a, err)
		}
	})
	t.Run("without a digest it is asked for again, conditionally", func(t *testing.T) {
		before := srv.full.Load()
		for range 3 {
			if a, _, err := observe(o, spec.FileRef{Store: "m", Key: "other"}); err != nil || a.Digest != digest {
				t.Errorf("%+v %v", a, err)
			}
		}
		if n := srv.full.Load() - before; n != 1 {
			t.Errorf("fetched %d times", n)
		}
		next := "new kernel"
		srv.content.Store(&next)
		if a, _, _ := observe(o, spec.FileRef{Store: "m", Key: "other"}); a.Digest != digestOf([]byte(next)).digest {
			t.Errorf("%+v", a)
		}
	})
	t.Run("another content than declared", func(t *testing.T) {
		a, _, err := observe(newObserver(&blobs{t.TempDir()}, time.Now), spec.FileRef{Store: "m", Key: "k", SHA256: digest})
		if err != nil || !strings.Contains(a.Problem, "but "+string(digest)+" is declared") {
			t.Errorf("%+v %v", a, err)
		}
	})
	t.Run("not there", func(t *testing.T) {
		srv.status.Store(404)
		defer srv.status.Store(0)
		if a, _, err := observe(o, spec.FileRef{Store: "m", Key: "none"}); err != nil || a.Problem != "the store answers 404 Not Found" {
			t.Errorf("%+v %v", a, err)
		}
	})
	t.Run("failing", func(t *testing.T) {
		srv.status.Store(503)
		defer srv.status.Store(0)
		want := "store.m failing: fetching " + srv.URL + "/failing: the store answers 503 Service Unavailable"
		if _, _, err := observe(o, spec.FileRef{Store: "m", Key: "failing"}); err == nil || err.Error() != want {
			t.Errorf("%v", err)
		}
	})
	t.Run("offline", func(t *testing.T) {
		offline := newObserver(nil, time.Now)
		a, _, err := observe(offline, spec.FileRef{Store: "m", Key: "k"})
		if a != (render.Artifact{}) || err != nil {
			t.Errorf("%+v %v", a, err)
		}
		if a, _, _ := observe(offline, spec.FileRef{Store: "m", Key: "k", SHA256: "11"}); a.Digest != "11" {
			t.Errorf("%+v", a)
		}
	})
}

// A store that answers half is asked again, and what it gave is not kept.
func TestHTTPStoreBreaksOff(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half")
	}))
	defer srv.Close()
	b := &blobs{t.TempDir()}
	ref := spec.FileRef{Store: "m", Key: "k"}
	_, _, err := newObserver(b, time.Now).observe(context.Background(), one(ref, spec.Store{Name: "m", URL: srv.URL + "/", Deliver: spec.DeliverMirror}), nil, nil, nil)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if left, _ := os.ReadDir(b.dir); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

// A refused revision is accepted when the file that it lacks appears, and a served one is rendered anew when its file changes.
func TestStoreFilesChange(t *testing.T) {
	g := newRig(t, "git", nil)
	if err := os.Rename(g.files+"/vmlinuz", g.files+"/away"); err != nil {
		t.Fatal(err)
	}
	g.start()
	g.wantRefused(RenderFailed, "does not exist", "nothing")
	if err := os.Rename(g.files+"/away", g.files+"/vmlinuz"); err != nil {
		t.Fatal(err)
	}
	g.r.hints <- struct{}{} // as the poll would
	g.await()
	g.wantMark("one")
	first := g.r.Status().Digest
	writeFile(t, g.files+"/vmlinuz", "another kernel")
	g.reconcile()
	g.wantContent("store:lab:vmlinuz", "another kernel")
	if g.r.Status().Digest == first {
		t.Error("the snapshot is the same")
	}
	if err := os.Remove(g.files + "/vmlinuz"); err != nil {
		t.Fatal(err)
	}
	g.wantRefused(RenderFailed, "does not exist", "one")
	writeFile(t, g.files+"/vmlinuz", "another kernel")
	g.reconcile()
	g.wantContent("store:lab:vmlinuz", "another kernel") // by another inode
	if h := g.r.History(); len(h) != 2 {
		t.Errorf("history %+v", h)
	}
}

func TestPlacesOpenBlobGone(t *testing.T) {
	ps := places{fact.Digest("00"): {Blob: true}}
	if _, err := ps.open("00", &blobs{t.TempDir()}, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
