package source

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const lfsPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

// What cannot be read is refused by name, whether or not the operating system would have read it.
func TestGitRefuses(t *testing.T) {
	r := newRepo(t)
	other := newRepo(t)
	other.commit("x", "1")
	r.commit("a", "1")
	for name, to := range map[string]string{"link-in": "a", "link-out": "/etc/passwd", "link-up": "../../x"} {
		if err := os.Symlink(to, filepath.Join(r.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	r.run("", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", other.dir, "sub")
	r.write("lfs", lfsPointer)
	r.commit("empty", "")
	s := open(t, Options{Location: r.dir})
	got := contents(t, head(t, s))
	delete(got, ".gitmodules")
	want := map[string]string{
		"a": "1", "empty": "",
		"lfs":      "open lfs: is a Git LFS pointer; LFS is not supported: commit the file itself, or put it into a store",
		"link-in":  "open link-in: is a symbolic link, which is not followed",
		"link-out": "open link-out: is a symbolic link, which is not followed",
		"link-up":  "open link-up: is a symbolic link, which is not followed",
		"sub":      "open sub: is a git submodule, which is not followed",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDirectoryRefuses(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secret, "secret")
	writeFile(t, dir+"/a", "1")
	writeFile(t, dir+"/folder/b", "2")
	writeFile(t, dir+"/lfs", lfsPointer)
	for name, to := range map[string]string{"in": "a", "out": secret, "up": "../../../../../../etc/passwd", "dir": "folder", "none": "nothing"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, hidden := range []string{".hidden/config", ".a.swp", "a~", "4913", "#a#"} {
		writeFile(t, filepath.Join(dir, hidden), "editor")
	}
	wantContents(t, open(t, Options{Location: dir}), map[string]string{
		"a": "1", "in": "1", "folder/b": "2",
		"lfs":  "open lfs: is a Git LFS pointer; LFS is not supported: commit the file itself, or put it into a store",
		"out":  "open out: is a symbolic link that leads out of the directory, which is not followed",
		"up":   "open up: is a symbolic link that leads out of the directory, which is not followed",
		"dir":  "open dir: is a symbolic link to a directory, which is not followed",
		"none": "open none: is a symbolic link to nothing",
	})
}

// A link that is put in a file's place after the scan must not lead out either.
func TestDirectoryLinkSwappedIn(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/a", "123456")
	s := open(t, Options{Location: dir})
	tree := head(t, s)
	secret := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secret, "secret")
	if err := errors.Join(os.Remove(dir+"/a"), os.Symlink(secret, dir+"/a")); err != nil {
		t.Fatal(err)
	}
	if b, err := fs.ReadFile(tree, "a"); !errors.Is(err, ErrStale) {
		t.Errorf("got %q, %v", b, err)
	}
}

// Files that change after Head are not given out as that revision's.
func TestDirectoryStale(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/a", "old")
	s := open(t, Options{Location: dir})
	tree := head(t, s)
	writeFile(t, dir+"/a", "new") // the same size, perhaps the same time
	if b, err := fs.ReadFile(tree, "a"); !errors.Is(err, ErrStale) {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := s.Open(context.Background(), "dir@sha256:"+"0123"); !errors.Is(err, ErrStale) {
		t.Errorf("an unknown revision: %v", err)
	}
	wantContents(t, s, map[string]string{"a": "new"})
}

// The revision depends on names and contents alone.
func TestDirectoryRevision(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for _, dir := range []string{a, b} {
		writeFile(t, dir+"/x.boot.hcl", "1")
		writeFile(t, dir+"/sub/y", "2")
	}
	first := head(t, open(t, Options{Location: a})).Revision
	s := open(t, Options{Location: b})
	if got := head(t, s).Revision; got != first || !strings.HasPrefix(string(got), "dir@sha256:") {
		t.Errorf("%s and %s", first, got)
	}
	for name, change := range map[string]func() error{
		"content": func() error { return os.WriteFile(b+"/sub/y", []byte("3"), 0o644) },
		"name":    func() error { return os.Rename(b+"/sub/y", b+"/sub/z") },
		"link":    func() error { return os.Symlink("nothing", b+"/l") },
	} {
		before := head(t, s).Revision
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if head(t, s).Revision == before {
			t.Errorf("%s does not change the revision", name)
		}
	}
}

// A mounted ConfigMap is a folder of links to links that are swapped in one step.
func TestConfigMap(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/..2026_1/a.boot.hcl", "1")
	writeFile(t, dir+"/..2026_2/a.boot.hcl", "2")
	if err := errors.Join(os.Symlink("..2026_1", dir+"/..data"), os.Symlink("..data/a.boot.hcl", dir+"/a.boot.hcl")); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Location: dir})
	wantContents(t, s, map[string]string{"a.boot.hcl": "1"})
	if err := errors.Join(os.Symlink("..2026_2", dir+"/..tmp"), os.Rename(dir+"/..tmp", dir+"/..data")); err != nil {
		t.Fatal(err)
	}
	wantContents(t, s, map[string]string{"a.boot.hcl": "2"})
}

// The tree is an fs.FS in every respect that the standard library checks.
func TestTreeIsFS(t *testing.T) {
	r := newRepo(t)
	r.commit("a", "1")
	r.commit("sub/deep/b", "2")
	dir := t.TempDir()
	writeFile(t, dir+"/a", "1")
	writeFile(t, dir+"/sub/deep/b", "2")
	for _, location := range []string{r.dir, dir} {
		if err := fstest.TestFS(head(t, open(t, Options{Location: location})), "a", "sub/deep/b"); err != nil {
			t.Errorf("%s: %v", location, err)
		}
	}
}

func TestTreeRefusesLargeFile(t *testing.T) {
	tree := NewTree(Commit{}, []File{{Name: "big"}}, func(File) (io.ReadCloser, int64, error) {
		return io.NopCloser(strings.NewReader("")), MaxFileSize + 1, nil
	})
	_, err := tree.Open("big")
	if err == nil || err.Error() != "open big: is larger than 1 GiB" {
		t.Error(err)
	}
}

// Repositories that go-git cannot read are refused with a reason that helps.
func TestUnreadableRepositories(t *testing.T) {
	r := newRepo(t)
	r.commit("a", "1")
	cases := map[string]struct {
		make func(dir string)
		want string
	}{
		"sparse checkout": {func(dir string) {
			r.run("", "clone", "-q", r.dir, dir)
			r.run(dir, "sparse-checkout", "set", "x")
		}, "git config --unset extensions.worktreeConfig"},
		"sha256": {func(dir string) { r.run("", "init", "-q", "--object-format=sha256", dir) }, "git extension that hostler cannot read"},
		"no commit": {func(dir string) { r.run("", "init", "-q", "-b", "main", dir) },
			"branch main: no such branch, or no commit on it yet"},
		"empty .git": {func(dir string) { writeFile(t, dir+"/.git/x", "") }, "repository does not exist"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "r")
			c.make(dir)
			_, err := open(t, Options{Location: dir}).Head(context.Background())
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %v, want ...%s...", err, c.want)
			}
		})
	}
	t.Run("partial clone", func(t *testing.T) {
		dir := t.TempDir() + "/r"
		r.run("", "config", "uploadpack.allowFilter", "true")
		r.run("", "clone", "-q", "--no-checkout", "--filter=blob:none", "file://"+r.dir, dir)
		got := contents(t, head(t, open(t, Options{Location: dir})))["a"]
		if !strings.Contains(got, "a partial clone, made with --filter, cannot be read") {
			t.Error(got)
		}
	})
	t.Run("missing path", func(t *testing.T) {
		s := open(t, Options{Location: r.dir, Path: "nowhere"})
		rev, _ := s.Head(context.Background())
		_, err := s.Open(context.Background(), rev)
		if err == nil || !strings.HasSuffix(err.Error(), "no folder nowhere in this revision") {
			t.Error(err)
		}
	})
	t.Run("missing branch", func(t *testing.T) {
		_, err := open(t, Options{Location: r.dir, Branch: "nope"}).Head(context.Background())
		if err == nil || !strings.HasSuffix(err.Error(), "branch nope: no such branch, or no commit on it yet") {
			t.Error(err)
		}
	})
}

// A tree stays readable while git repacks under it, and a revision is opened while git does so.
func TestGitRepackedWhileReading(t *testing.T) {
	r := newRepo(t)
	for _, name := range []string{"a", "b", "c"} {
		r.commit(name, name)
	}
	tree := head(t, open(t, Options{Location: r.dir}))
	for _, c := range []struct{ read, then string }{{"a", "gc"}, {"b", "repack"}, {"c", "fsck"}} {
		if b, err := fs.ReadFile(tree, c.read); err != nil || string(b) != c.read {
			t.Errorf("before git %s: %q, %v", c.then, b, err)
		}
		if args := map[string][]string{"gc": {"gc", "-q", "--prune=now"}, "repack": {"repack", "-q", "-a", "-d", "-f", "--window=1"}}[c.then]; args != nil {
			r.commit("z", c.then)
			r.run("", args...)
		}
	}
}
