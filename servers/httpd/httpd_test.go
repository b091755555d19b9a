package httpd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"hostler/render"
	"hostler/render/fact"
)

func (f fixture) url(path string) string { return "http://" + f.addr.String() + path }

// get is a request by net/http's client, which follows no redirects.
func (f fixture) get(t testing.TB, path string) (status int, body string) {
	t.Helper()
	c := http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer c.CloseIdleConnections()
	resp, err := c.Get(f.url(path))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestNoRevisionYet(t *testing.T) {
	srv := start(t, func(c *Config) {
		c.Current = func() (*render.Snapshot, fact.Revision) { return nil, "" }
		c.Older = func() []*render.Snapshot { return nil }
	})
	want := `#!ipxe
# this machine: the server has no configuration yet
echo hostler: this machine: the server has no configuration yet
echo hostler: boot interface 52:54:00:00:00:01
echo hostler: asking again in 38 s
:boot_retry
imgfree
sleep 38
chain --replace http://127.0.0.1:8080/apis/bss/boot/v1/bootscript?mac=52:54:00:00:00:01&retry=4 || goto boot_retry
`
	for _, path := range []string{"/boot.ipxe?retry=3", "/boot/v1/bootscript?mac=52:54:00:00:00:01&retry=3"} {
		if status, body := srv.get(t, path); status != 200 || body != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _ := srv.get(t, "/files/"+string(digest(contents["vmlinuz-1"]))+"/vmlinuz"); status != 404 {
		t.Errorf("a file: %d", status)
	}
	if status, body := srv.get(t, "/healthz"); status != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %s", status, body)
	}
}

// A machine boots even when its boot cannot be written down, and comes back when its arrival cannot.
func TestStateFails(t *testing.T) {
	var log bytes.Buffer
	srv := start(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	srv.boots.fail = &os.PathError{Op: "write", Path: "/var/lib/hostler/state.db", Err: syscall.ENOSPC}
	_, body := srv.get(t, "/boot/v1/bootscript?mac=52:54:00:00:00:01")
	if !strings.Contains(body, " hostler.boot=none ||") {
		t.Errorf("script:\n%s", body)
	}
	if got, want := srv.event(t).Detail, "without a token: see the log"; got != want {
		t.Errorf("detail %q, want %q", got, want)
	}
	resp, err := http.Post(srv.url("/phone-home?boot="+string(bootID)+"."+string(token)), "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 503 || string(b) != "try again\n" || resp.Header.Get("Retry-After") != "5" {
		t.Errorf("phone-home: %d %s %v", resp.StatusCode, b, resp.Header)
	}
	if e := srv.event(t); e.Result != fact.Failed || e.Detail != "noting it: see the log" {
		t.Errorf("event %+v", e)
	}
	srv.stop()
	if strings.Count(log.String(), "no space left on device") != 2 {
		t.Errorf("log:\n%s", &log)
	}
}

func TestReportTooLarge(t *testing.T) {
	srv := start(t, nil)
	resp, err := http.Post(srv.url("/phone-home?boot="+string(bootID)+"."+string(token)), "text/plain", bytes.NewReader(make([]byte, maxReport+1)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge || srv.boots.ready != 0 {
		t.Errorf("status %d, ready %d", resp.StatusCode, srv.boots.ready)
	}
}

// blobsFunc makes a store of a function.
type blobsFunc func(fact.Digest) (io.ReadSeekCloser, error)

func (f blobsFunc) Open(d fact.Digest) (io.ReadSeekCloser, error) { return f(d) }

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// iPXE looks for autoexec.ipxe beside the loader, and would take the loader itself for a script.
func TestAutoexecIsNotTheLoader(t *testing.T) {
	srv := start(t, nil)
	if status, _ := srv.get(t, "/files/"+string(digest(contents["initrd-2"]))+"/autoexec.ipxe"); status != 404 {
		t.Errorf("autoexec.ipxe: %d", status)
	}
}

func TestBadFiles(t *testing.T) {
	path := "/files/" + string(digest(contents["initrd-2"])) + "/initrd"
	for name, open := range map[string]blobsFunc{
		"missing": func(fact.Digest) (io.ReadSeekCloser, error) {
			return nil, &os.PathError{Op: "open", Path: "/var/lib/hostler/blobs/x", Err: syscall.EIO}
		},
		"truncated": func(fact.Digest) (io.ReadSeekCloser, error) { return memory{bytes.NewReader([]byte("x"))}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			srv := start(t, func(c *Config) { c.Blobs = open })
			if status, body := srv.get(t, path); status != 500 || body != "the file cannot be read now\n" {
				t.Errorf("%d %s", status, body)
			}
			if e := srv.event(t); e.Result != fact.Failed || e.Detail != "opening the file: see the log" || e.Stage != fact.StageInitrd {
				t.Errorf("event %+v", e)
			}
		})
	}
	t.Run("panics", func(t *testing.T) {
		srv := start(t, func(c *Config) {
			c.Blobs = blobsFunc(func(fact.Digest) (io.ReadSeekCloser, error) { panic("disk") })
		})
		if status, body := srv.get(t, path); status != 500 || body != "internal error\n" {
			t.Errorf("%d %s", status, body)
		}
		if e := srv.event(t); e.Result != fact.Failed || e.Detail != "internal error" {
			t.Errorf("event %+v", e)
		}
		if status, _ := srv.get(t, "/healthz"); status != 200 {
			t.Errorf("afterwards: %d", status)
		}
	})
	t.Run("panics in the middle", func(t *testing.T) { // half a kernel must not look like a whole one
		srv := start(t, func(c *Config) {
			c.Blobs = blobsFunc(func(fact.Digest) (io.ReadSeekCloser, error) {
				return &trap{memory{bytes.NewReader(contents["initrd-2"])}}, nil
			})
		})
		resp, err := http.Get(srv.url(path))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	})
}

// trap panics at the second MiB.
type trap struct{ memory }

func (tr *trap) Read(p []byte) (int, error) {
	if tr.Len() < 1<<20 {
		panic("disk")
	}
	return tr.memory.Read(p)
}

// recorder is a connection that notes what it is asked to copy from: a file by itself is copied by the kernel.
type recorder struct {
	*net.TCPConn
	sources chan string
}

func (r recorder) ReadFrom(src io.Reader) (int64, error) {
	l, ok := src.(*io.LimitedReader)
	if ok {
		_, ok = l.R.(*os.File)
	}
	r.sources <- fmt.Sprintf("file=%v", ok)
	return r.TCPConn.ReadFrom(src)
}

type recordingListener struct {
	net.Listener
	sources chan string
}

func (l recordingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return recorder{c.(*net.TCPConn), l.sources}, nil
}

// Package net uses sendfile if, and only if, a *net.TCPConn reads from a file inside at most one io.LimitedReader.
func TestFilesAreCopiedByTheKernel(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sources := make(chan string, 100)
	srv := start(t, func(c *Config) { c.Listener = recordingListener{l, sources} })
	if _, body := srv.get(t, "/files/"+string(digest(contents["initrd-2"]))+"/initrd"); body != string(contents["initrd-2"]) {
		t.Errorf("got %d bytes", len(body))
	}
	srv.stop()
	close(sources)
	var got []string
	for s := range sources {
		got = append(got, s)
	}
	if diff := cmp.Diff(slices.Repeat([]string{"file=true"}, 5), got); diff != "" { // half a MiB each, and 3 bytes
		t.Errorf("copied from (-want +got):\n%s", diff)
	}
	// The server hands net/http the connections as they are, else the above would not hold for its own listeners.
	own, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limited := newConnLimit(1).on(own)
	defer limited.Close()
	client, err := net.Dial("tcp4", own.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := limited.Accept()
	if _, ok := conn.(*net.TCPConn); err != nil || !ok {
		t.Errorf("a %T, %v", conn, err)
	}
}

// deadlines counts how often a connection is given more time.
type deadlines struct {
	discard
	set int
}

func (d *deadlines) SetWriteDeadline(at time.Time) error {
	if left := time.Until(at); left <= 0 || left > time.Minute {
		return fmt.Errorf("a deadline in %v", left)
	}
	d.set++
	return nil
}

// A slow client may take as long as it likes for the whole, but not for half a MiB.
func TestDeadlines(t *testing.T) {
	d := &deadlines{}
	w := &response{ResponseWriter: d, stall: time.Minute}
	if w.extend(); d.set != 1 {
		t.Errorf("%d deadlines before anything is sent, want 1", d.set)
	}
	n, err := w.ReadFrom(&io.LimitedReader{R: bytes.NewReader(contents["initrd-2"]), N: 1 << 30})
	if n != int64(len(contents["initrd-2"])) || err != nil || w.sent != n || d.set != 1+5 {
		t.Errorf("%d bytes, %v, %d deadlines; want all, and one for each half MiB", n, err, d.set-1)
	}
}

// A client that asks again and again gets time again before it has little left, and not for each script.
func TestDeadlinesOfScripts(t *testing.T) {
	now := time.Now()
	srv := start(t, func(c *Config) { c.StallTimeout, c.Now = time.Minute, func() time.Time { return now } })
	ctx := context.WithValue(t.Context(), clientKey{}, srv.newClient(netip.AddrPortFrom(c0001, 1024), srv.addr, false))
	r, err := http.NewRequestWithContext(ctx, "GET", "/boot/v1/bootscript?mac=52:54:00:00:00:01", nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &deadlines{discard: discard{http.Header{}}}
	var set []int
	for _, later := range []time.Duration{0, 0, 10 * time.Second, 10 * time.Second, 0} {
		now = now.Add(later)
		srv.ServeHTTP(d, r)
		set = append(set, d.set)
	}
	if diff := cmp.Diff([]int{1, 1, 1, 2, 2}, set); diff != "" {
		t.Errorf("deadlines set by then (-want +got):\n%s", diff)
	}
}

// expectEnd reads until the server closes the connection, which must come soon.
func expectEnd(t *testing.T, conn net.Conn) []byte {
	t.Helper()
	b, err := io.ReadAll(conn)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		t.Fatal("the connection is still open")
	}
	return b
}

func TestSlowClients(t *testing.T) {
	srv := start(t, func(c *Config) {
		c.HeaderTimeout, c.IdleTimeout, c.StallTimeout = 50*time.Millisecond, 50*time.Millisecond, 200*time.Millisecond
	})
	t.Run("sends no request", func(t *testing.T) {
		expectEnd(t, srv.dial(t, "127.0.0.1"))
	})
	t.Run("never ends its request", func(t *testing.T) {
		conn := srv.dial(t, "127.0.0.1")
		fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: ")
		expectEnd(t, conn)
	})
	t.Run("keeps its connection", func(t *testing.T) {
		conn := srv.dial(t, "127.0.0.1")
		fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: boot\r\n\r\n")
		if b := expectEnd(t, conn); !bytes.HasSuffix(b, []byte("ok\n")) {
			t.Errorf("%s", b)
		}
	})
	t.Run("never ends its report", func(t *testing.T) {
		conn := srv.dial(t, "127.0.0.1")
		fmt.Fprintf(conn, "POST /phone-home HTTP/1.1\r\nHost: boot\r\nContent-Length: 100\r\n\r\nboot=")
		expectEnd(t, conn)
		if e := srv.event(t); e.Stage != fact.StageReady || e.Result != fact.Refused {
			t.Errorf("event %+v", e)
		}
	})
	t.Run("has a body to send that nobody asked for", func(t *testing.T) {
		conn := srv.dial(t, "127.0.0.1")
		fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: boot\r\nContent-Length: 100\r\n\r\n")
		expectEnd(t, conn)
	})
	t.Run("takes a byte at a time", func(t *testing.T) {
		conn := srv.dial(t, "127.0.0.1")
		askFiles(t, conn, 10)
		ended := make(chan fact.Event)
		go func() { ended <- srv.broken(t) }()
		for b := make([]byte, 1); ; {
			select {
			case e := <-ended:
				if want := fmt.Sprintf("the machine closed the connection after %d bytes", e.Bytes); e.Detail != want {
					t.Errorf("event %+v", e)
				}
				return
			case <-time.After(10 * time.Millisecond): // a hundred bytes a second
				_, _ = conn.Read(b)
			}
		}
	})
	t.Run("does not take its file", func(t *testing.T) {
		askFiles(t, srv.dial(t, "127.0.0.1"), 10)
		e := srv.broken(t)
		want := fmt.Sprintf("the machine closed the connection after %d bytes", e.Bytes)
		if e.Result != fact.Failed || e.Detail != want || e.Bytes >= int64(len(contents["initrd-2"])) {
			t.Errorf("event %+v", e)
		}
	})
}

// askFiles asks for a file n times; ten are more than the buffers of a connection hold.
func askFiles(t *testing.T, conn *net.TCPConn, n int) {
	t.Helper()
	if err := conn.SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	for range n {
		fmt.Fprintf(conn, "GET /files/%s/initrd HTTP/1.1\r\nHost: boot\r\n\r\n", digest(contents["initrd-2"]))
	}
}

// broken is the next event of a file that was not sent as a whole.
func (f fixture) broken(t *testing.T) fact.Event {
	t.Helper()
	for {
		if e := f.event(t); e.Result != fact.OK || e.Stage != fact.StageInitrd {
			return e
		}
	}
}

// What the kernel still has to send when we have closed a connection, it does not keep for ever.
func TestKernelGivesUp(t *testing.T) {
	l, err := listen(netip.MustParseAddrPort("127.0.0.1:0"), nil, 7*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer l[0].Close()
	client, err := net.Dial("tcp4", l[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l[0].Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var after int
	if e := raw.Control(func(fd uintptr) { after, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) }); e != nil || err != nil || after != 7000 {
		t.Errorf("it gives up after %d ms, want 7000; %v, %v", after, e, err)
	}
}

// A client that has as many files under way as it may waits with the next; others do not wait for it.
func TestFilesOfOneClient(t *testing.T) {
	var opened atomic.Int32
	var held [3]context.Context
	var release [3]context.CancelFunc
	for i := range held {
		held[i], release[i] = context.WithCancel(t.Context())
	}
	srv := start(t, func(c *Config) {
		c.PerClient = 2
		c.Blobs = blobsFunc(func(fact.Digest) (io.ReadSeekCloser, error) {
			whole := memory{bytes.NewReader(contents["initrd-2"])}
			if i := int(opened.Add(1)) - 1; i < len(held) {
				return pausing{whole, held[i].Done()}, nil
			}
			return whole, nil
		})
	})
	begun := func(from string, wait time.Duration) (*net.TCPConn, bool) {
		conn := srv.dial(t, from)
		askFiles(t, conn, 1)
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		n, _ := conn.Read(make([]byte, 1))
		return conn, n == 1
	}
	first, ok := begun("127.0.0.1", 5*time.Second)
	if _, ok2 := begun("127.0.0.1", 5*time.Second); !ok || !ok2 {
		t.Fatal("two files of one client are not begun")
	}
	if _, ok := begun("127.0.0.2", 5*time.Second); !ok {
		t.Fatal("another client has to wait")
	}
	gone, ok := begun("127.0.0.1", 50*time.Millisecond)
	third, ok3 := begun("127.0.0.1", 50*time.Millisecond)
	if ok || ok3 {
		t.Fatal("a third one is")
	}
	for want, deadline := (State{Connections: 5, Sending: 3, Waiting: 2}), time.Now().Add(5*time.Second); srv.State() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("state (-want +got):\n%s", cmp.Diff(want, srv.State()))
		}
	}
	if err := gone.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	gone.Close()
	if e := srv.broken(t); e.Result != fact.Failed || e.Detail != "the machine closed the connection while others of its own were served" {
		t.Errorf("event of one that did not wait: %+v", e)
	}
	if err := first.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	first.Close()
	release[0]()
	if err := third.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := third.Read(make([]byte, 1)); err != nil {
		t.Errorf("the third does not begin when the first has ended: %v", err)
	}
	release[1]()
	release[2]()
	srv.stop()
	if n := len(srv.turns.byPeer); n != 0 {
		t.Errorf("%d clients are still remembered", n)
	}
}

// pausing is a file that stops at its second MiB until it is told to go on.
type pausing struct {
	memory
	goOn <-chan struct{}
}

func (p pausing) Read(b []byte) (int, error) {
	if p.Len() <= 1<<20 {
		<-p.goOn
	}
	return p.memory.Read(b)
}

// One connection more than the limit is served when another one ends, and not before.
func TestConnectionLimit(t *testing.T) {
	srv := start(t, func(c *Config) { c.MaxConns = 2 })
	ask := func(conn net.Conn) { fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: boot\r\n\r\n") }
	answered := func(conn net.Conn, wait time.Duration) bool {
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		_, err := bufio.NewReader(conn).ReadString('\n')
		return err == nil
	}
	conns := []net.Conn{srv.dial(t, "127.0.0.1"), srv.dial(t, "127.0.0.1"), srv.dial(t, "127.0.0.1")}
	for i, conn := range conns[:2] {
		if ask(conn); !answered(conn, 5*time.Second) {
			t.Fatalf("connection %d is not served", i)
		}
	}
	if ask(conns[2]); answered(conns[2], 100*time.Millisecond) {
		t.Fatal("the third connection is served")
	}
	conns[0].Close()
	if !answered(conns[2], 5*time.Second) {
		t.Error("the third connection is not served when the first has ended")
	}
}

// TestConnectionsOfOneClient has one client open as many connections as it can and say nothing: another one is served.
func TestConnectionsOfOneClient(t *testing.T) {
	srv := start(t, func(c *Config) { c.MaxConns = 40 })
	served := func(from string) bool {
		conn := srv.dial(t, from)
		fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: boot\r\n\r\n")
		line, _ := bufio.NewReader(conn).ReadString('\n')
		return line == "HTTP/1.1 200 OK\r\n"
	}
	var held []net.Conn
	for i := range 40 {
		conn := srv.dial(t, "127.0.0.1")
		if i < 10 {
			held = append(held, conn)
			continue
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("connection %d is not closed: %v", i, err)
		}
	}
	if !served("127.0.0.2") {
		t.Error("another client is not served")
	}
	if n := srv.State().Refused; n != 30 {
		t.Errorf("%d connections are counted as refused, not 30", n)
	}
	for _, conn := range held {
		conn.Close()
	}
	deadline := time.Now().Add(5 * time.Second)
	for !served("127.0.0.1") { // the server hears of it a moment later
		if time.Now().After(deadline) {
			t.Fatal("the client is not served after it closed its connections")
		}
	}
}

func TestDrain(t *testing.T) {
	on, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := start(t, func(c *Config) { c.Listener, c.Drain = tightListener{on}, 100*time.Millisecond })
	conn := srv.dial(t, "127.0.0.1")
	if err := conn.SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /files/%s/initrd HTTP/1.1\r\nHost: boot\r\n\r\n", digest(contents["initrd-2"]))
	if _, err := bufio.NewReader(conn).ReadByte(); err != nil { // it is at work
		t.Fatal(err)
	}
	began := time.Now()
	srv.stop()
	if took := time.Since(began); took < 90*time.Millisecond || took > 5*time.Second {
		t.Errorf("Serve took %v to end, with a client that takes nothing", took)
	}
	if _, err := net.DialTimeout("tcp4", srv.addr.String(), time.Second); err == nil {
		t.Error("the port is still open")
	}
}

// What is answered after the server was told to end says that it is the connection's last answer.
// tightListener has the kernel keep little of an answer, so that the server cannot be done with a file that nobody takes.
type tightListener struct{ net.Listener }

func (l tightListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(4096)
	}
	return c, err
}

func TestDrainSaysSo(t *testing.T) {
	asked, open := make(chan bool), make(chan bool)
	srv := start(t, func(c *Config) {
		c.Drain = 20 * time.Second
		c.Blobs = blobsFunc(func(fact.Digest) (io.ReadSeekCloser, error) {
			asked <- true
			<-open
			return memory{bytes.NewReader(contents["initrd-2"])}, nil
		})
	})
	conn := srv.dial(t, "127.0.0.1")
	fmt.Fprintf(conn, "GET /files/%s/initrd HTTP/1.1\r\nHost: boot\r\n\r\n", digest(contents["initrd-2"]))
	<-asked
	stopped := make(chan bool)
	go func() { srv.stop(); close(stopped) }()
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.DialTimeout("tcp4", srv.addr.String(), time.Second)
		if err != nil {
			break
		}
		c.Close()
		if time.Now().After(deadline) {
			t.Fatal("the port is still open")
		}
	}
	close(open)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || !resp.Close {
		t.Fatalf("%+v, %v", resp, err)
	}
	if b, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(b, contents["initrd-2"]) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	<-stopped
}

func TestListenErrors(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().(*net.TCPAddr).AddrPort()
	for _, tt := range []struct {
		c    Config
		want string
	}{
		{Config{Addr: addr}, "listening for HTTP: tcp " + addr.String() + ": the port is taken: is another HTTP server, or another hostler, running"},
		{Config{Addr: addr, Interfaces: []string{"nosuch0"}}, "listening for HTTP: tcp " + addr.String() + " on nosuch0: the port is taken: is another HTTP server, or another hostler, running"},
	} {
		if s, err := Listen(tt.c); err == nil {
			s.Close()
			t.Errorf("no error, want %s", tt.want)
		} else if err.Error() != tt.want {
			t.Errorf("got  %s\nwant %s", err, tt.want)
		}
	}
}

// syncBuffer is a log that servers and test may use at the same time.
type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// TestCurl uses the client that people use, and looks for the token where it must not be.
func TestCurl(t *testing.T) {
	var log syncBuffer
	srv := start(t, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	dir := t.TempDir()
	kernel := srv.url("/files/" + string(digest(contents["vmlinuz-2"])) + "/vmlinuz")
	initrd := srv.url("/files/" + string(digest(contents["initrd-2"])) + "/initrd")
	boot := string(bootID) + "." + string(token)
	half := filepath.Join(dir, "half")
	if err := os.WriteFile(half, contents["initrd-2"][:1000], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		why  string
		args []string
		want string
	}{
		{"a file", []string{kernel}, "kernel two, which is longer"},
		{"HTTP/1.0", []string{"--http1.0", kernel}, "kernel two, which is longer"},
		{"a range", []string{"-r", "0-5", kernel}, "kernel"},
		{"two files on one connection", []string{"-r", "0-5", kernel, kernel}, "kernelkernel"},
		{"HEAD", []string{"-I", "-o", "/dev/null", "-w", "%{http_code} %header{content-length} %header{etag}", kernel}, `200 27 "` + string(digest(contents["vmlinuz-2"])) + `"`},
		{"a download that goes on", []string{"-C", "-", "-o", half, "-w", "%{http_code} %{size_download}", initrd}, fmt.Sprintf("206 %d", len(contents["initrd-2"])-1000)},
		{"an ETag to compare", []string{"-H", `If-None-Match: "` + string(digest(contents["initrd-2"])) + `"`, "-w", "%{http_code} %{size_download}", initrd}, "304 0"},
		{"a configuration", []string{srv.url("/config/setup?boot=" + boot)}, "# revision 1 for c0001\n"},
		{"a report", []string{"-d", "boot=" + boot, srv.url("/phone-home")}, "ok\n"},
		{"a report as JSON", []string{"-H", "Content-Type: application/json", "-d", `{"boot":"` + boot + `"}`, srv.url("/phone-home")}, "ok\n"},
	} {
		out, err := exec.Command("curl", append([]string{"-sS", "--max-time", "20"}, tt.args...)...).Output()
		if err != nil || string(out) != tt.want {
			t.Errorf("%s: curl %q: %v\ngot  %s\nwant %s", tt.why, tt.args, err, out, tt.want)
		}
	}
	if got, err := os.ReadFile(half); err != nil || !bytes.Equal(got, contents["initrd-2"]) {
		t.Errorf("the download that went on has %d bytes, %v", len(got), err)
	}
	srv.stop()
	if text := log.String(); strings.Contains(text, string(token)) || !strings.Contains(text, "path=phone-home") {
		t.Errorf("log:\n%s", text)
	}
	if srv.boots.ready != 2 {
		t.Errorf("ready %d times", srv.boots.ready)
	}
}

// TestInterfaces runs itself in a network namespace: bound to one link, the server answers there only.
func TestInterfaces(t *testing.T) {
	if os.Getenv("HOSTLER_TEST_NAMESPACE") == "" {
		again(t, "TestInterfaces")
		return
	}
	pid := namespaceOf(t)
	for _, line := range []string{
		"ip link set lo up",
		"ip link add srva type veth peer name clia netns " + pid, "ip link add srvb type veth peer name clib netns " + pid,
		"ip link set srva up", "ip link set srvb up", "ip addr add 10.1.0.1/24 dev srva", "ip addr add 10.2.0.1/24 dev srvb",
		"nsenter -t " + pid + " -n ip addr add 10.1.0.9/24 dev clia", "nsenter -t " + pid + " -n ip addr add 10.2.0.9/24 dev clib",
		"nsenter -t " + pid + " -n ip link set clia up", "nsenter -t " + pid + " -n ip link set clib up",
	} {
		run(t, line)
	}
	start(t, func(c *Config) {
		c.Addr, c.Interfaces = netip.MustParseAddrPort("0.0.0.0:8080"), []string{"srva"}
	})
	curl := func(server string) ([]byte, error) {
		return exec.Command("nsenter", "-t", pid, "-n", "curl", "-sS", "--max-time", "2", "http://"+server+":8080/boot.ipxe").CombinedOutput()
	}
	if out, err := curl("10.1.0.1"); err != nil || !strings.Contains(string(out), "chain --replace http://10.1.0.1:8080/apis/bss/boot/v1/bootscript?mac=${netX/mac}") {
		t.Errorf("on the named interface: %v: %s", err, out)
	}
	if out, err := curl("10.2.0.1"); err == nil {
		t.Errorf("on another interface: %s", out)
	}
}
