package source

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

// A repository that is not there at first is one when it comes, is watched as one, and stays one when it goes: files that
// nobody committed are never a revision.
func TestRepositoryComes(t *testing.T) {
	r := newRepo(t)
	r.commit("a.boot.hcl", "1")
	r.write("a.boot.hcl", "not committed")
	away := r.dir + ".away"
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(r.dir, away)
	s := open(t, Options{Location: r.dir})
	if _, err := s.Head(context.Background()); err == nil || err.Error() != "source: "+r.dir+": no such file or directory" {
		t.Error(err)
	}
	w := startWatch(t, s)
	start := time.Now()
	move(away, r.dir)
	w.awaitChange(start)
	if s.Kind() != GitLocal {
		t.Errorf("it is a %s", s.Kind())
	}
	wantContents(t, s, map[string]string{"a.boot.hcl": "1"})
	start = time.Now()
	r.commit("a.boot.hcl", "2")
	w.awaitChange(start)
	wantContents(t, s, map[string]string{"a.boot.hcl": "2"})
	if err := os.RemoveAll(r.dir + "/.git"); err != nil {
		t.Fatal(err)
	}
	if rev, err := s.Head(context.Background()); err == nil {
		t.Errorf("without its repository, its head is %s", rev)
	}
}

// With a branch it can only be a repository, also before it is mounted.
func TestBranchOfNothing(t *testing.T) {
	dir := t.TempDir()
	for _, location := range []string{dir, dir + "/none"} {
		if s, err := New(Options{Location: location, Branch: "main"}); err != nil || s.Kind() != GitLocal {
			t.Errorf("%v %v", s, err)
		}
	}
	writeFile(t, dir+"/a.boot.hcl", "1")
	if _, err := New(Options{Location: dir, Branch: "main"}); err == nil || !strings.Contains(err.Error(), "not the root of a git repository") {
		t.Error(err)
	}
}

// Files where commits were are a rewind: somebody must want them.
func TestDirectoryAfterCommits(t *testing.T) {
	r := newRepo(t)
	r.commit("a.boot.hcl", "1")
	commit := head(t, open(t, Options{Location: r.dir})).Revision
	if err := os.RemoveAll(r.dir + "/.git"); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Location: r.dir})
	files := head(t, s).Revision
	if log, err := s.Since(context.Background(), commit, files); err != nil || !log.Rewind {
		t.Errorf("%+v %v", log, err)
	}
	if log, err := s.Since(context.Background(), files, files); err != nil || log.Rewind {
		t.Errorf("%+v %v", log, err)
	}
}
