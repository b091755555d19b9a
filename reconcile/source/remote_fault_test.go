package source

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// soon is a bound that a test waits for. It stands for the seconds and minutes of a server's.
const soon = 300 * time.Millisecond

// readInTime is a Head and a whole reading, each within a moment. Whoever ignores its context fails the test.
func readInTime(t *testing.T, s Source) (map[string]string, error) {
	t.Helper()
	var rev, err = bounded(t, s.Head)
	if err != nil {
		return nil, err
	}
	tree, err := bounded(t, func(ctx context.Context) (*Tree, error) { return s.Open(ctx, rev) })
	if err != nil {
		return nil, err
	}
	return contents(t, tree), nil
}

func bounded[T any](t *testing.T, f func(context.Context) (T, error)) (v T, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); v, err = f(ctx) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it hangs, whatever its context says")
	}
	return v, err
}

// relay is a TCP connection to a server which can be made to misbehave.
type relay struct {
	addr string
	mode atomic.Value // string
}

// newRelay stands before a server: it passes on, is mute, or answers with noise.
func newRelay(t *testing.T, server string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: l.Addr().String()}
	r.mode.Store("pass")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.handle(ctx, c, server)
		}
	}()
	t.Cleanup(func() { cancel(); l.Close(); <-ended })
	return r
}

func (r *relay) handle(ctx context.Context, c net.Conn, server string) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	switch r.mode.Load() {
	case "mute":
		io.Copy(io.Discard, c)
	case "noise":
		go io.Copy(io.Discard, c)
		io.CopyN(c, rand.Reader, 1<<20)
	case "drip": // a byte now and then, for ever
		for ctx.Err() == nil {
			if _, err := c.Write([]byte("S")); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	case "closed":
	default:
		up, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		defer up.Close()
		defer context.AfterFunc(ctx, func() { up.Close() })()
		go func() { io.Copy(up, c); up.Close() }()
		io.Copy(c, up)
	}
}

// goroutinesFallTo waits until no more goroutines are left than before, and fails if that never is.
func goroutinesFallTo(t *testing.T, before int) {
	t.Helper()
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
}

// A remote that accepts connections and then is mute, drips, talks nonsense or hangs up gives an error in time, leaves what was
// read readable, leaves nothing behind in this process, and is followed again as soon as it is well.
func TestRemoteMisbehaves(t *testing.T) {
	sshPort, keys := sshd(t)
	for _, transport := range []string{"http", "ssh"} {
		t.Run(transport, func(t *testing.T) {
			r := newRepo(t)
			r.commit("a", "1")
			o := Options{Mirror: t.TempDir() + "/mirror"}
			var line *relay
			if transport == "ssh" {
				line = newRelay(t, fmt.Sprintf("127.0.0.1:%d", sshPort))
				host, port, _ := net.SplitHostPort(line.addr)
				o.SSHKey, o.KnownHosts = keys+"/user", t.TempDir()+"/known_hosts"
				writeFile(t, o.KnownHosts, fmt.Sprintf("[%s]:%s %s", host, port, readFile(t, keys+"/host_ed25519.pub")))
				o.Location = "ssh://root@" + line.addr + r.dir
			} else {
				srv := httptest.NewServer(gitBackend(t, filepath.Dir(r.dir)))
				t.Cleanup(srv.Close)
				line = newRelay(t, srv.Listener.Addr().String())
				o.Location = "http://" + line.addr + "/repo"
			}
			s := open(t, o)
			wantContents(t, s, map[string]string{"a": "1"})
			rev := head(t, s).Revision
			http.DefaultTransport.(*http.Transport).CloseIdleConnections()
			before := runtime.NumGoroutine()
			for _, mode := range []string{"mute", "drip", "noise", "closed"} {
				line.mode.Store(mode)
				for range 3 {
					if got, err := readInTime(t, s); err == nil {
						t.Errorf("%s: read %v", mode, got)
					}
					http.DefaultTransport.(*http.Transport).CloseIdleConnections()
				}
			}
			if _, err := s.Open(t.Context(), rev); err != nil {
				t.Errorf("the mirror holds it: %v", err)
			}
			goroutinesFallTo(t, before)
			line.mode.Store("pass")
			r.commit("a", "2")
			wantContents(t, s, map[string]string{"a": "2"})
		})
	}
}

// The same of a server that lets us in, and of a pack that ends half-way.
func TestRemoteMisbehavesAfterLogin(t *testing.T) {
	port, keys := sshd(t)
	r := newRepo(t)
	r.commit("a", "1")
	known := t.TempDir() + "/known_hosts"
	writeFile(t, known, fmt.Sprintf("[127.0.0.1]:%d %s", port, readFile(t, keys+"/host_ed25519.pub")))
	s := open(t, Options{Location: fmt.Sprintf("ssh://root@127.0.0.1:%d%s", port, r.dir), Mirror: t.TempDir() + "/mirror", SSHKey: keys + "/user", KnownHosts: known})
	wantContents(t, s, map[string]string{"a": "1"})
	before := runtime.NumGoroutine()
	hash := r.commit("a", "2")
	key := readFile(t, keys+"/user.pub")
	for name, command := range map[string]string{
		"mute":           "sleep 10",
		"noise":          "head -c 1000000 /dev/urandom",
		"refuses":        "echo no >&2; exit 1",
		"nothing":        "true",
		"half a listing": "git upload-pack " + r.dir + " </dev/null 2>/dev/null | head -c 40",
	} {
		writeFile(t, keys+"/authorized_keys", fmt.Sprintf("command=%q %s", command, key))
		if got, err := readInTime(t, s); err == nil {
			t.Errorf("%s: read %v", name, got)
		}
	}
	// The listing is whole, and the pack is not.
	writeFile(t, keys+"/authorized_keys", fmt.Sprintf("command=%q %s", "git upload-pack "+r.dir+" | head -c 600", key))
	_, err := bounded(t, func(ctx context.Context) (*Tree, error) {
		return s.Open(ctx, newRevision("main", plumbing.NewHash(hash)))
	})
	if err == nil {
		t.Error("half a pack was taken for a whole one")
	}
	goroutinesFallTo(t, before)
	writeFile(t, keys+"/authorized_keys", key)
	wantContents(t, s, map[string]string{"a": "2"})
}

// A remote whose objects are packed, and whose old ones are thrown away, under us; whose history begins anew; that is a shallow
// clone itself.
func TestRemoteHousekeeping(t *testing.T) {
	r, _, s := remoteRepo(t)
	for i := range 5 {
		r.commit("a", fmt.Sprint(i))
	}
	old := head(t, s).Revision
	r.run("", "gc", "-q", "--prune=now", "--aggressive")
	wantContents(t, s, map[string]string{"a": "4"})
	r.commit("a", "5")
	r.run("", "repack", "-adq")
	wantContents(t, s, map[string]string{"a": "5"})

	r.run("", "checkout", "-q", "--orphan", "fresh")
	r.commit("a", "6")
	r.run("", "branch", "-qM", "fresh", "main")
	r.run("", "reflog", "expire", "--expire=now", "--all")
	r.run("", "gc", "-q", "--prune=now")
	wantContents(t, s, map[string]string{"a": "6"})
	rev, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, rewind := sinceSubjects(t, s, old, rev); !rewind || len(got) != 1 {
		t.Errorf("history that begins anew: %q, rewind %v", got, rewind)
	}

	r.commit("a", "7")
	shallow := filepath.Join(filepath.Dir(r.dir), "shallow")
	r.run("", "clone", "-q", "--bare", "--depth=1", "file://"+r.dir, shallow)
	before := r.run("", "rev-parse", "HEAD")
	if err := os.RemoveAll(r.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(shallow, r.dir); err != nil {
		t.Fatal(err)
	}
	wantContents(t, s, map[string]string{"a": "7"})
	if rev, err := s.Head(t.Context()); err != nil || !strings.HasSuffix(string(rev), before) {
		t.Errorf("%s %v", rev, err)
	}
}

// A fetch ends when nothing arrives for two minutes, however long it took before.
func TestFetchStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, storage, stop := stallable(t.Context(), layout{t.TempDir(), ""}.storage())
		defer stop()
		w := stallWriter{nopWriter{}, storage.timer}
		for range 10 {
			time.Sleep(stallTime - time.Second)
			w.Write([]byte("x"))
		}
		if ctx.Err() != nil {
			t.Errorf("ended although something arrived: %v", context.Cause(ctx))
		}
		time.Sleep(stallTime)
		synctest.Wait()
		if context.Cause(ctx) != errStalled {
			t.Errorf("ended with %v", context.Cause(ctx))
		}
	})
}

type nopWriter struct{}

func (nopWriter) Write(p []byte) (int, error) { return len(p), nil }
func (nopWriter) Close() error                { return nil }
