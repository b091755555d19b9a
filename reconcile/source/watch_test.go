package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"hostler/render/fact"
)

// watcher notifies a channel, and is stopped at the test's end.
type watcher struct {
	t     *testing.T
	s     Source
	hints chan struct{}
	last  fact.Revision
}

func startWatch(t *testing.T, s Source) *watcher {
	t.Helper()
	w := &watcher{t: t, s: s, hints: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.Watch(ctx, func() {
			select {
			case w.hints <- struct{}{}:
			default:
			}
		})
		if err != nil {
			t.Errorf("watching ended: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	<-w.hints // the watches are there
	w.last, _ = s.Head(context.Background())
	return w
}

// awaitChange waits until a hint shows a new head, and gives how long that took. It can only come by the watch: nothing polls.
func (w *watcher) awaitChange(since time.Time) {
	w.t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case <-w.hints:
			rev, err := w.s.Head(context.Background())
			if err == nil && rev != w.last {
				w.last = rev
				w.t.Logf("seen after %s", time.Since(since).Round(time.Millisecond))
				return
			}
		case <-timeout:
			w.t.Fatal("the change was not noticed")
		}
	}
}

// The ways in which people's tools change files. Each must be noticed, and the one after it too: a watch that follows
// the old inode is the classic mistake.
func TestWatchDirectory(t *testing.T) {
	rename := func(dir, content string) error {
		return errors.Join(os.WriteFile(dir+"/.tmp", []byte(content), 0o644), os.Rename(dir+"/.tmp", dir+"/a.boot.hcl"))
	}
	vim := func(dir, content string) error { // with backup
		return errors.Join(os.WriteFile(dir+"/4913", nil, 0o644), os.Remove(dir+"/4913"), os.Rename(dir+"/a.boot.hcl", dir+"/a.boot.hcl~"),
			os.WriteFile(dir+"/a.boot.hcl", []byte(content), 0o644), os.Remove(dir+"/a.boot.hcl~"))
	}
	inPlace := func(dir, content string) error { return os.WriteFile(dir+"/a.boot.hcl", []byte(content), 0o644) }
	newFolder := func(dir, content string) error {
		sub := filepath.Join(dir, "new"+content, "sub")
		return errors.Join(os.MkdirAll(sub, 0o755), os.WriteFile(sub+"/b", []byte(content), 0o644))
	}
	inNewFolder := func(dir, content string) error { return os.WriteFile(dir+"/newx/sub/b", []byte(content), 0o644) }
	madeAgain := func(dir, content string) error {
		return errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755), os.WriteFile(dir+"/a.boot.hcl", []byte(content), 0o644))
	}
	moved := func(dir, content string) error {
		next := dir + ".next"
		return errors.Join(os.MkdirAll(next, 0o755), os.WriteFile(next+"/a.boot.hcl", []byte(content), 0o644),
			os.Rename(dir, dir+".old"+content), os.Rename(next, dir))
	}
	dir := t.TempDir() + "/spec"
	writeFile(t, dir+"/a.boot.hcl", "0")
	w := startWatch(t, open(t, Options{Location: dir}))
	for i, step := range []struct {
		name string
		f    func(dir, content string) error
		arg  string
	}{
		{"written in place", inPlace, "1"}, {"renamed over", rename, "2"}, {"renamed over again", rename, "3"},
		{"saved by vim", vim, "4"}, {"saved by vim again", vim, "5"}, {"new folders", newFolder, "x"}, {"file in a new folder", inNewFolder, "y"},
		{"folder made again", madeAgain, "6"}, {"written in it", inPlace, "7"}, {"folder swapped", moved, "8"}, {"written in that", inPlace, "9"},
	} {
		start := time.Now()
		if err := step.f(dir, step.arg); err != nil {
			t.Fatal(step.name, err)
		}
		t.Log(i, step.name)
		w.awaitChange(start)
	}
}

// The source is a link that is swapped, as git-sync and Kubernetes publish.
func TestWatchSwappedLink(t *testing.T) {
	base := t.TempDir()
	for i := range 4 {
		writeFile(t, fmt.Sprintf("%s/v%d/a.boot.hcl", base, i), fmt.Sprint(i))
	}
	link := base + "/current"
	if err := os.Symlink("v0", link); err != nil {
		t.Fatal(err)
	}
	w := startWatch(t, open(t, Options{Location: link}))
	for i := 1; i < 4; i++ {
		start := time.Now()
		if err := errors.Join(os.Symlink(fmt.Sprintf("v%d", i), link+".new"), os.Rename(link+".new", link)); err != nil {
			t.Fatal(err)
		}
		w.awaitChange(start)
	}
	start := time.Now()
	writeFile(t, base+"/v3/a.boot.hcl", "changed")
	w.awaitChange(start)
}

// The link that is swapped lies further up: the source is a folder below it.
func TestWatchSwappedLinkAbove(t *testing.T) {
	base := t.TempDir()
	for i := range 3 {
		writeFile(t, fmt.Sprintf("%s/v%d/repo/spec/a.boot.hcl", base, i), fmt.Sprint(i))
	}
	link := base + "/current"
	if err := os.Symlink("v0", link); err != nil {
		t.Fatal(err)
	}
	w := startWatch(t, open(t, Options{Location: link + "/repo", Path: "spec"}))
	for i := 1; i < 3; i++ {
		start := time.Now()
		if err := errors.Join(os.Symlink(fmt.Sprintf("v%d", i), link+".new"), os.Rename(link+".new", link)); err != nil {
			t.Fatal(err)
		}
		w.awaitChange(start)
	}
}

func TestWatchConfigMap(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/..v0/a.boot.hcl", "0")
	if err := errors.Join(os.Symlink("..v0", dir+"/..data"), os.Symlink("..data/a.boot.hcl", dir+"/a.boot.hcl")); err != nil {
		t.Fatal(err)
	}
	w := startWatch(t, open(t, Options{Location: dir}))
	for i := 1; i < 3; i++ {
		start := time.Now()
		next := fmt.Sprintf("..v%d", i)
		writeFile(t, filepath.Join(dir, next, "a.boot.hcl"), next)
		if err := errors.Join(os.Symlink(next, dir+"/..data_tmp"), os.Rename(dir+"/..data_tmp", dir+"/..data")); err != nil {
			t.Fatal(err)
		}
		w.awaitChange(start)
	}
}

// Commits are noticed in every layout of a repository, also after git moved the branch to packed-refs and its folder went away.
func TestWatchGit(t *testing.T) {
	for name, prepare := range map[string]func(r repo) (location, branch string){
		"work tree": func(r repo) (string, string) { return r.dir, "main" },
		"branch in a folder": func(r repo) (string, string) {
			r.run("", "checkout", "-q", "-b", "team/x")
			return r.dir, "team/x"
		},
		"linked work tree": func(r repo) (string, string) {
			r.run("", "worktree", "add", "-q", "-b", "linked", r.dir+"-linked")
			r.dir += "-linked"
			return r.dir, "linked"
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			r.commit("a", "0")
			dir, branch := prepare(r)
			r.dir = dir
			w := startWatch(t, open(t, Options{Location: dir}))
			step := func(what string, f func()) {
				t.Helper()
				start := time.Now()
				f()
				t.Log(what)
				w.awaitChange(start)
			}
			step("commit", func() { r.commit("a", "1") })
			r.run("", "pack-refs", "--all")
			step("commit after pack-refs", func() { r.commit("a", "2") })
			r.run("", "gc", "-q", "--prune=now")
			step("commit after gc", func() { r.commit("a", "3") })
			step("amend", func() { r.run("", "commit", "-q", "--amend", "-m", "amended") })
			step("checkout", func() { r.run("", "checkout", "-q", "-b", "other/y", "HEAD~1") })
			step("back", func() { r.run("", "checkout", "-q", branch) })
			wantContents(t, w.s, map[string]string{"a": "3"})
		})
	}
}

func TestWatchPushToBare(t *testing.T) {
	r := newRepo(t)
	r.commit("a", "0")
	bare := t.TempDir() + "/bare"
	r.run("", "clone", "-q", "--bare", r.dir, bare)
	w := startWatch(t, open(t, Options{Location: bare}))
	for i := 1; i < 4; i++ {
		r.commit("a", fmt.Sprint(i))
		start := time.Now()
		r.run("", "push", "-q", bare, "main")
		w.awaitChange(start)
		r.run(bare, "gc", "-q")
	}
}

// A burst costs few hints: each of them makes the receiver look at everything.
func TestWatchDebounces(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/a", "0")
	var mu sync.Mutex
	hints := 0
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	begun := make(chan struct{}, 100)
	done := make(chan error, 1)
	s := open(t, Options{Location: dir})
	go func() {
		done <- s.Watch(ctx, func() { mu.Lock(); hints++; mu.Unlock(); begun <- struct{}{} })
	}()
	<-begun
	for i := range 2000 {
		writeFile(t, dir+"/a", fmt.Sprint(i))
	}
	<-begun
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if mu.Lock(); hints > 10 {
		t.Errorf("%d hints for one burst", hints)
	}
	mu.Unlock()
}

// What git does without a commit, and locks, is not worth a hint; losing the kernel's events is.
func TestWatchEndsOnManyFolders(t *testing.T) {
	dir := t.TempDir()
	for i := range maxWatches + 1 {
		if err := os.MkdirAll(fmt.Sprintf("%s/%d/%d", dir, i/1000, i), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	err := open(t, Options{Location: dir}).Watch(context.Background(), func() {})
	want := fmt.Sprintf("watching %s: more than %d folders", dir, maxWatches)
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Lost events end the watch, whoever runs it looks at everything and begins again.
func TestWatchOverflow(t *testing.T) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	go func() { w.Errors <- fsnotify.ErrEventOverflow }()
	if err := waitBurst(context.Background(), w, places{}); !errors.Is(err, fsnotify.ErrEventOverflow) {
		t.Error(err)
	}
}

func TestMatters(t *testing.T) {
	p := places{"/r": nil, "/r/.git": {"HEAD": true, "packed-refs": true}, "/up": {"r": true}}
	for _, c := range []struct {
		name string
		op   fsnotify.Op
		want bool
	}{
		{"/r/a", fsnotify.Write, true},
		{"/r/a", fsnotify.Chmod, false},
		{"/r/a", fsnotify.Chmod | fsnotify.Write, true},
		{"/r/.git/HEAD", fsnotify.Create, true},
		{"/r/.git/HEAD.lock", fsnotify.Create, false},
		{"/r/.git/index", fsnotify.Create, false},
		{"/up/r", fsnotify.Create, true},
		{"/up/other", fsnotify.Create, false},
		{"/r/.git", fsnotify.Remove, true},
	} {
		if got := matters(p, fsnotify.Event{Name: c.name, Op: c.op}); got != c.want {
			t.Errorf("%s %s: %v", c.op, c.name, got)
		}
	}
}
