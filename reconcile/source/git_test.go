package source

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// repo is a repository made by the git program.
type repo struct {
	t   *testing.T
	dir string
}

func newRepo(t *testing.T, args ...string) repo {
	t.Helper()
	r := repo{t, filepath.Join(t.TempDir(), "repo")}
	r.run("", append([]string{"init", "-q", "-b", "main", r.dir}, args...)...)
	return r
}

// run runs git in dir, the repository when empty.
func (r repo) run(dir string, args ...string) string {
	r.t.Helper()
	if dir == "" {
		dir = r.dir
	}
	if args[0] != "init" && args[0] != "clone" {
		args = append([]string{"-C", dir}, args...)
	}
	cmd := exec.Command("git", args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org",
		"GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r repo) write(name, content string) {
	r.t.Helper()
	writeFile(r.t, filepath.Join(r.dir, name), content)
}

// commit writes a file and commits everything; it gives the hash.
func (r repo) commit(name, content string) string {
	r.t.Helper()
	r.write(name, content)
	r.run("", "add", "-A")
	r.run("", "commit", "-q", "-m", "set "+name+" to "+content)
	return r.run("", "rev-parse", "HEAD")
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, o Options) Source {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// head opens the newest revision.
func head(t *testing.T, s Source) *Tree {
	t.Helper()
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

// contents reads every file of a tree; what cannot be read is its error.
func contents(t *testing.T, tree *Tree) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := fs.WalkDir(tree, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := fs.ReadFile(tree, name)
		m[name] = string(b)
		if err != nil {
			m[name] = err.Error()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func wantContents(t *testing.T, s Source, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, contents(t, head(t, s))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Every way in which a repository may lie on this machine gives the same files and commit.
func TestLocal(t *testing.T) {
	r := newRepo(t)
	r.commit("a.boot.hcl", "1")
	hash := r.commit("sub/b.boot.hcl", "2")
	dir := t.TempDir()
	bare, linked, shared, shallow := dir+"/bare", dir+"/linked", dir+"/shared", dir+"/shallow"
	r.run("", "clone", "-q", "--bare", r.dir, bare)
	r.run("", "worktree", "add", "-q", "--detach", linked)
	r.run(linked, "checkout", "-q", "-b", "side")
	r.run("", "clone", "-q", "--shared", r.dir, shared)
	r.run("", "clone", "-q", "--depth=1", "file://"+r.dir, shallow)
	for name, c := range map[string]struct{ location, branch string }{
		"work tree": {r.dir, "main"}, "bare": {bare, "main"}, "linked": {linked, "side"},
		"shared": {shared, "main"}, "shallow": {shallow, "main"}, "file url": {"file://" + r.dir, "main"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, Options{Location: c.location})
			if s.Kind() != GitLocal {
				t.Errorf("kind %q", s.Kind())
			}
			wantContents(t, s, map[string]string{"a.boot.hcl": "1", "sub/b.boot.hcl": "2"})
			got := head(t, s).Commit
			if string(got.Revision) != c.branch+"@sha1:"+hash || got.Author != "Ada <ada@example.org>" ||
				got.Subject != "set sub/b.boot.hcl to 2" || got.Time.Format("2006-01-02 15:04:05") != "2026-01-02 03:04:05" {
				t.Errorf("commit %+v", got)
			}
		})
	}
	t.Run("path", func(t *testing.T) {
		wantContents(t, open(t, Options{Location: r.dir, Path: "/sub/"}), map[string]string{"b.boot.hcl": "2"})
	})
	t.Run("branch", func(t *testing.T) {
		r.run("", "branch", "team/x", "HEAD~1")
		wantContents(t, open(t, Options{Location: r.dir, Branch: "team/x"}), map[string]string{"a.boot.hcl": "1"})
	})
}

// A folder inside a repository is a directory, which shows what is not committed.
func TestFolderInsideRepositoryIsDirectory(t *testing.T) {
	r := newRepo(t)
	r.commit("sub/a.boot.hcl", "1")
	r.write("sub/a.boot.hcl", "2")
	s := open(t, Options{Location: r.dir + "/sub"})
	if s.Kind() != Directory {
		t.Errorf("kind %q", s.Kind())
	}
	wantContents(t, s, map[string]string{"a.boot.hcl": "2"})
}
