package device

import (
	"log/slog"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFollow binds sockets to interfaces that do not exist yet: they share a port, hear nothing, and are bound to each interface that has
// the name later.
func TestFollow(t *testing.T) {
	runtime.LockOSThread() // never unlocked: the thread ends with the test, and the namespace with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	listen := func(name string) syscall.RawConn {
		t.Helper()
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return Bind(c, name) }}
		conn, err := lc.ListenPacket(t.Context(), "udp4", ":6900")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		c, err := conn.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	var followers []*follower
	for _, name := range []string{"wait0", "wait1"} {
		followers = append(followers, &follower{name: name, c: listen(name), log: slog.New(slog.DiscardHandler)})
	}
	for range 2 {
		ip("link", "add", "wait0", "type", "veth", "peer", "name", "wait1")
		for _, f := range followers {
			if !f.look() {
				t.Fatal("the socket is gone")
			}
			ifi, err := net.InterfaceByName(f.name)
			if err != nil {
				t.Fatal(err)
			}
			if bound, err := boundTo(f.c); err != nil || bound != ifi.Index {
				t.Errorf("%s: bound to %d, not to %d: %v", f.name, bound, ifi.Index, err)
			}
		}
		ip("link", "del", "wait0")
	}
}
