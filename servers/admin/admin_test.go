package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"hostler/render"
	"hostler/render/fact"
)

// room is a backend with two leases, whose other answers are errors.
type room struct{ events chan fact.Event }

func (room) Checks() []Check {
	return []Check{
		{"config", Healthy, "serving main@sha1:0"},
		{"source", Degraded, "asking /srv/fleet: no such file"},
		{"leases", Healthy, ""},
	}
}
func (room) Metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hostler_nodes 1\n") })
}
func (room) Status() any      { return map[string]string{"revision": "main@sha1:0"} }
func (room) Nodes(Filter) any { return []string{"n1"} }
func (room) Leases() []fact.Lease {
	return []fact.Lease{{Subnet: "a"}, {Subnet: "b"}}
}
func (room) Inbox(f Filter) (any, error) { return []string{f.Machine + " is a stranger"}, nil }
func (room) Served() (any, error)        { return nil, errors.New("rendering: machine \"n1\": no image") }
func (room) Boots(f Filter) (any, error) {
	return fmt.Sprintf("%d of %s", f.Newest, f.Machine), nil
}
func (room) Packets(f Filter) (any, error) {
	return fmt.Sprintf("%d packets of %s", f.Newest, f.Machine), nil
}
func (room) Stuck(_ context.Context, f Filter) (any, error) {
	return "stuck: " + f.Machine + f.Subnet, nil
}
func (room) Play(machine string) error {
	if machine != "n1" {
		return errors.New("no such machine")
	}
	return nil
}
func (room) Reconcile(context.Context) error { return nil }
func (room) Assignments() any                { return nil }
func (room) Order(_ context.Context, r OrderRequest) (any, error) {
	if len(r.Nodes) == 0 {
		return nil, fmt.Errorf("%w: no node is named", ErrRefused)
	}
	return []OrderResult{{Node: r.Nodes[0], Done: true, Text: string(r.Do) + " by " + r.By}}, nil
}
func (room) Script(q render.Query, retry int) any {
	return fmt.Sprintf("%s %s %s after %d", q.MAC, q.Name, q.NID, retry)
}
func (room) Apply(_ context.Context, r ApplyRequest) (any, error) {
	return nil, fmt.Errorf("%w: %s was not observed", ErrRefused, r.Revision)
}
func (room) Backup(_ context.Context, w io.Writer) error {
	io.WriteString(w, "half a copy")
	return errors.New("input/output error")
}
func (r room) Follow(ctx context.Context, f func(fact.Event)) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-r.events:
			f(e)
		}
	}
}

func serve(t *testing.T, b Backend) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "admin.sock")
	s, err := Listen(path, b, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return NewClient(path)
}

func TestAnswers(t *testing.T) {
	c := serve(t, room{})
	ctx := context.Background()
	var leases []fact.Lease
	if err := c.Get(ctx, "/v1/leases", &leases); err != nil || len(leases) != 2 || leases[1].Subnet != "b" {
		t.Errorf("leases: %v, %v", leases, err)
	}
	var boots string
	if err := c.Get(ctx, "/v1/boots?machine=n1&n=3", &boots); err != nil || boots != "3 of n1" {
		t.Errorf("boots: %q, %v", boots, err)
	}
	if err := c.Get(ctx, "/v1/stuck?machine=n1", &boots); err != nil || boots != "stuck: n1" {
		t.Errorf("stuck: %q, %v", boots, err)
	}
	if err := c.Get(ctx, "/v1/bootscript?mac=A4BF013EC0A2&retry=2", &boots); err != nil || boots != "a4:bf:01:3e:c0:a2   after 2" {
		t.Errorf("bootscript: %q, %v", boots, err)
	}
	if err := c.Get(ctx, "/v1/bootscript?mac=x", &boots); !errors.Is(err, ErrRefused) {
		t.Errorf("bootscript: %v", err)
	}
	if err := c.Post(ctx, "/v1/play", map[string]string{"machine": "n1"}, nil); err != nil {
		t.Errorf("play: %v", err)
	}
	if err := c.Post(ctx, "/v1/play", map[string]string{"machine": "n2"}, nil); err == nil {
		t.Error("a machine is played that is none")
	}
	if err := c.Post(ctx, "/v1/reconcile", struct{}{}, nil); err != nil {
		t.Errorf("reconcile: %v", err)
	}
	err := c.Get(ctx, "/v1/served", &boots)
	if want := "the server on " + c.Path() + " says: rendering: machine \"n1\": no image"; err == nil || err.Error() != want {
		t.Errorf("an error: %v, want %s", err, want)
	}
	err = c.Post(ctx, "/v1/apply", ApplyRequest{Revision: "main@sha1:1"}, nil)
	if !errors.Is(err, ErrRefused) || err.Error() != "refused: main@sha1:1 was not observed" {
		t.Errorf("a refusal: %v", err)
	}
	if err := c.Post(ctx, "/v1/apply", strings.Repeat("x", 1<<20), nil); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a request of a megabyte: %v", err)
	}
	if err := c.Get(ctx, "/v1/nothing", &boots); err == nil {
		t.Error("an unknown path is answered")
	}
}

// TestBackupCutShort holds that a backup that broke off is never taken for one.
func TestBackupCutShort(t *testing.T) {
	c := serve(t, room{})
	var got bytes.Buffer
	if err := c.Backup(context.Background(), &got); err == nil {
		t.Errorf("a broken backup of %d bytes is no error", got.Len())
	}
}

func TestFollow(t *testing.T) {
	b := room{events: make(chan fact.Event)}
	c := serve(t, b)
	ctx, stop := context.WithCancel(context.Background())
	var once sync.Once
	err := c.Follow(ctx,
		func() { go func() { b.events <- fact.Event{File: "vmlinuz"} }() },
		func(e fact.Event) {
			if e.File != "vmlinuz" {
				t.Errorf("got %+v", e)
			}
			once.Do(stop)
		})
	if err != nil && ctx.Err() == nil {
		t.Error(err)
	}
}

func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	log := slog.New(slog.DiscardHandler)
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false) // as after a crash
	left.Close()
	s, err := Listen(path, room{}, log)
	if err != nil {
		t.Fatalf("a socket that a crash left: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket's mode: %v, %v", info.Mode(), err)
	}
	if _, err := Listen(path, room{}, log); err == nil || err.Error() != "binding the admin socket: "+path+": another hostler answers on it" {
		t.Errorf("a second server: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, room{}, log); err == nil {
		t.Error("a file that is no socket was replaced")
	}
	if text, _ := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file holds %q", text)
	}
}
