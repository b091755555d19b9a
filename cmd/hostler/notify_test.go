package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/servers/admin"
)

// listenAsManager is what systemd binds.
func listenAsManager(t *testing.T) (path string, read func() string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return path, func() string {
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, 4096)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func environ(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestManagerOf(t *testing.T) {
	pid := strconv.Itoa(os.Getpid())
	for name, c := range map[string]struct {
		env  map[string]string
		want manager
	}{
		"not a service":            {nil, manager{}},
		"a service":                {map[string]string{"NOTIFY_SOCKET": "/run/s"}, manager{socket: "/run/s"}},
		"watched":                  {map[string]string{"NOTIFY_SOCKET": "/run/s", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": pid}, manager{"/run/s", 30 * time.Second}},
		"another one is watched":   {map[string]string{"NOTIFY_SOCKET": "/run/s", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, manager{socket: "/run/s"}},
		"watched without a number": {map[string]string{"NOTIFY_SOCKET": "/run/s", "WATCHDOG_USEC": "-5"}, manager{socket: "/run/s"}},
	} {
		if got := managerOf(environ(c.env)); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

// TestTellManager holds what systemd hears, word for word, and when.
func TestTellManager(t *testing.T) {
	path, read := listenAsManager(t)
	var got []string
	synctest.Test(t, func(t *testing.T) {
		var health atomic.Pointer[admin.Check] // a synctest bubble orders its goroutines, and the race detector does not know
		health.Store(&admin.Check{Name: "dhcp", Health: admin.Healthy})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		m := manager{socket: path, watchdog: 12 * time.Second}
		go func() {
			m.report(ctx, func() []admin.Check { return []admin.Check{*health.Load()} }, func(err error) { t.Error(err) })
			close(done)
		}()
		synctest.Wait()
		got = append(got, read())
		time.Sleep(4 * time.Second) // a third of the time that it may be silent
		synctest.Wait()
		got = append(got, read())
		health.Store(&admin.Check{Name: "dhcp", Health: admin.Broken, Message: "eth1: not served:\nthere is no such interface"})
		time.Sleep(4 * time.Second)
		synctest.Wait()
		got = append(got, read())
		stop()
		<-done
		got = append(got, read())
	})
	want := []string{
		"READY=1\nWATCHDOG=1\nSTATUS=ok",
		"WATCHDOG=1",
		"WATCHDOG=1\nSTATUS=dhcp failed: eth1: not served: there is no such interface",
		"STOPPING=1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTellNobody(t *testing.T) {
	if err := (manager{}).say("READY=1"); err != nil {
		t.Error(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	warned := errors.New("no warning")
	manager{socket: "/nonexistent/notify"}.report(ctx, func() []admin.Check { return nil }, func(err error) { warned = err })
	if want := "telling the service manager: dial unixgram /nonexistent/notify: connect: no such file or directory"; warned.Error() != want {
		t.Errorf("got %v, want %s", warned, want)
	}
}

// TestServeTellsManager has the real program report to a manager that starts it as systemd does.
func TestServeTellsManager(t *testing.T) {
	path, read := listenAsManager(t)
	t.Setenv("NOTIFY_SOCKET", path)
	l := newLab(t)
	s := l.serve("-var", "files="+l.files(), l.repository())
	if got := read(); !strings.HasPrefix(got, "READY=1\nSTATUS=") {
		t.Errorf("first: %q", got)
	}
	s.kill(syscall.SIGTERM)
	last := ""
	for last != "STOPPING=1" {
		last = read() // fails when nothing comes any more
	}
}
