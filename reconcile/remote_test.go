package reconcile

import (
	"context"
	"errors"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hostler/reconcile/source"
)

// gitServer serves a repository over http until down is set.
func gitServer(t *testing.T, dir string) (url string, down *atomic.Bool) {
	t.Helper()
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{Path: strings.TrimSpace(string(path)) + "/git-http-backend",
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(dir), "GIT_HTTP_EXPORT_ALL=1"}}
	down = &atomic.Bool{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		backend.ServeHTTP(w, q)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/" + filepath.Base(dir), down
}

// A remote is followed by polling, through failures of the remote, of the mirror, and of those who push to it.
func TestRemote(t *testing.T) {
	g := newRig(t, "git", nil)
	url, down := gitServer(t, g.dir)
	mirror := g.state + "/mirror.git"
	g.config = func(c *Config) {
		c.Poll = 20 * time.Millisecond
		s, err := source.New(source.Options{Location: url, Mirror: mirror})
		if err != nil {
			t.Fatal(err)
		}
		c.Source = s
	}
	g.start()
	g.await()
	g.wantMark("one")

	g.set("two")
	g.await()
	g.wantMark("two")

	down.Store(true)
	g.wantRefused(FetchFailed, "502", "two")
	g.set("three")
	down.Store(false)
	g.await()
	g.wantMark("three")

	packs, _ := filepath.Glob(mirror + "/objects/pack/*")
	for _, p := range packs {
		if err := errors.Join(os.Chmod(p, 0o600), os.WriteFile(p, []byte("garbage"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	g.set("four")
	g.await()
	g.wantMark("four")

	g.run("reset", "-q", "--hard", "HEAD~2")
	g.set("five")
	g.wantRefused(RewindRefused, "its branch was reset", "four")
	if err := g.r.Apply(context.Background(), ""); err != nil {
		t.Fatal(err)
	}
	g.wantMark("five")
}

// brokenWatch is a source whose watch ends with an error at first, as when the kernel's queue overflows.
type brokenWatch struct {
	source.Source
	broken *atomic.Int32
}

func (b brokenWatch) Watch(ctx context.Context, notify func()) error {
	if b.broken.Add(1) == 1 {
		notify()
		return errors.New("watching: fsnotify: queue or buffer overflow")
	}
	return b.Source.Watch(ctx, notify)
}

// A watch that breaks is said once, everything is looked at, and it is begun again.
func TestWatchBreaks(t *testing.T) {
	g := newRig(t, "git", func(c *Config) { c.Source = brokenWatch{c.Source, &atomic.Int32{}} })
	g.start()
	g.await()
	g.set("two") // before the watch is there again, or after
	g.await()
	g.wantMark("two")
	g.set("three")
	g.await()
	g.wantMark("three")
	if n := strings.Count(g.log.String(), "watching the source broke"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

func TestBackoff(t *testing.T) {
	r := &Reconciler{c: Config{Poll: time.Hour}}
	transient, permanent := &failure{reason: FetchFailed}, &failure{reason: CheckFailed, permanent: true}
	var got []time.Duration
	var d time.Duration
	for range 10 {
		d = r.nextBackoff(transient, d)
		got = append(got, d)
	}
	if got[0] != firstRetry || got[1] != 2*firstRetry || got[9] != lastRetry {
		t.Errorf("delays %v", got)
	}
	if r.nextBackoff(permanent, d) != 0 || r.nextBackoff(nil, d) != 0 || r.nextBackoff(errors.New("a request's own"), d) != 0 {
		t.Error("backs off without need")
	}
	r.c.Poll = time.Millisecond
	if got := r.nextBackoff(transient, time.Minute); got != firstRetry {
		t.Errorf("delay %v", got)
	}
}
