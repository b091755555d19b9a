// Package device binds listening sockets to named interfaces and keeps them bound. It knows no protocol.
//
// The kernel remembers the index of the interface, not its name: when an interface is made anew, as restarting the host's
// network does with bridges and VLANs, a socket that was bound to the one before hears nothing any more, and nobody is told.
package device

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lookAgain is how often a socket's interface is compared with the one that has the name now.
const lookAgain = time.Second

// Bind makes a socket hear what comes in by the named interface, and nothing else, whatever address packets name. Without such an
// interface it hears nothing until Follow sees one.
func Bind(c syscall.RawConn, name string) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		if err = unix.BindToDevice(int(fd), name); errors.Is(err, unix.ENODEV) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, absent(name))
		}
	}); e != nil {
		return e
	}
	return err
}

// absent is the index of no interface, another one for each name: the kernel lets sockets share a port if they are bound to
// different interfaces, and does not ask whether there are such. It counts real ones from 1.
func absent(name string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	return int(h.Sum32()>>2 | 1<<30)
}

// Follow binds the socket again whenever another interface has got the name, until ctx ends or the socket is closed. Binding
// a socket that is bound already takes the capability net_raw.
func Follow(ctx context.Context, name string, sock syscall.Conn, log *slog.Logger) {
	c, err := sock.SyscallConn()
	if err != nil {
		return
	}
	f := follower{name: name, c: c, log: log}
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !f.look() {
			return
		}
	}
}

// follower keeps one socket on its interface.
type follower struct {
	name    string
	c       syscall.RawConn
	log     *slog.Logger
	refused int // the interface that it could not be bound to, so that this is said once
}

// look binds the socket to the interface that has the name now. It reports whether there still is a socket.
func (f *follower) look() bool {
	bound, err := boundTo(f.c)
	if err != nil {
		return false
	}
	ifi, err := net.InterfaceByName(f.name)
	if err != nil || ifi.Index == bound || ifi.Index == f.refused {
		return true // gone for now, or nothing new
	}
	if err := Bind(f.c, f.name); err != nil {
		f.refused = ifi.Index
		f.log.Error("the interface was replaced, and its socket cannot follow: restart the server", "interface", f.name, "err", err)
		return true
	}
	what := "the interface was replaced, listening on the new one"
	if bound == absent(f.name) {
		what = "the interface has appeared, listening on it"
	}
	f.log.Info(what, "interface", f.name)
	return true
}

// boundTo is the index of the interface that a socket is bound to.
func boundTo(c syscall.RawConn) (index int, err error) {
	if e := c.Control(func(fd uintptr) { index, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX) }); e != nil {
		return 0, e
	}
	return index, err
}
