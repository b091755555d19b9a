package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lab is two network namespaces joined by a cable: the server's, with eth0 at 10.77.0.1/24, and a machine's, whose eth0 has no
// address. Everything in it is gone when the test ends, however it ends.
type lab struct {
	t               testing.TB
	server, machine string // names of the namespaces
	dir             string // state, sources and files
}

var labs struct {
	sync.Mutex
	n int
}

func newLab(t testing.TB) *lab {
	t.Helper()
	labs.Lock()
	labs.n++
	prefix := fmt.Sprintf("hl%d-%d", os.Getpid(), labs.n)
	labs.Unlock()
	l := &lab{t: t, server: prefix + "s", machine: prefix + "m", dir: t.TempDir()}
	for _, ns := range []string{l.server, l.machine} {
		must(t, "ip", "netns", "add", ns)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
		must(t, "ip", "-n", ns, "link", "set", "lo", "up")
	}
	l.plug()
	return l
}

// plug joins the two namespaces by a cable.
func (l *lab) plug() {
	l.t.Helper()
	must(l.t, "ip", "-n", l.server, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", l.machine)
	must(l.t, "ip", "-n", l.machine, "link", "set", "eth0", "address", machineMAC)
	must(l.t, "ip", "-n", l.server, "addr", "add", "10.77.0.1/24", "dev", "eth0")
	must(l.t, "ip", "-n", l.server, "link", "set", "eth0", "up")
	must(l.t, "ip", "-n", l.machine, "link", "set", "eth0", "up")
}

const machineMAC = "52:54:00:77:00:01" // bios1 of examples/lab

func must(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// inMachine runs a client on the machine's side.
func (l *lab) inMachine(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", l.machine, name}, args...)...).CombinedOutput()
	return string(out), err
}

// lease gives the machine an address as its operating system would, and reports it. More arguments are udhcpc's.
func (l *lab) lease(more ...string) string {
	l.t.Helper()
	script := filepath.Join(l.dir, "udhcpc.sh")
	text := "#!/bin/sh\n[ \"$1\" = bound ] && ip addr replace $ip/24 dev eth0 && echo bound $ip\nexit 0\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		l.t.Fatal(err)
	}
	out, err := l.inMachine("busybox", append([]string{"udhcpc", "-i", "eth0", "-n", "-q", "-t", "5", "-T", "1", "-s", script}, more...)...)
	if err != nil {
		l.t.Fatalf("udhcpc: %v\n%s", err, out)
	}
	_, addr, _ := strings.Cut(out, "bound ")
	addr, _, _ = strings.Cut(addr, "\n")
	return addr
}

// released lets a test run the program as users get it, instead of the test binary with the race detector: it starts hundreds of
// processes, or measures them.
func released(t testing.TB) {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", dir, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

// running is a hostler serve process.
type running struct {
	t      testing.TB
	cmd    *exec.Cmd
	socket string
	log    *lockedBuffer
	done   chan struct{}
}

type lockedBuffer struct {
	sync.Mutex
	b bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) { b.Lock(); defer b.Unlock(); return b.b.Write(p) }
func (b *lockedBuffer) String() string              { b.Lock(); defer b.Unlock(); return b.b.String() }

var _ io.Writer = (*lockedBuffer)(nil)

// serve starts the real program in the server's namespace and waits until it has decided about the first revision.
func (l *lab) serve(args ...string) *running {
	l.t.Helper()
	r := l.start(args...)
	r.eventually("the first revision to be looked at", func() bool {
		out, _ := r.hostler("status")
		return strings.Contains(out, "Revision    ") && !strings.Contains(out, "NothingServed: no revision was applied yet")
	})
	return r
}

func (l *lab) start(args ...string) *running {
	l.t.Helper()
	hostler, err := exec.LookPath("hostler")
	if err != nil {
		l.t.Fatal(err)
	}
	state := filepath.Join(l.dir, "state")
	args = append([]string{"netns", "exec", l.server, hostler, "serve", "-interface=eth0", "-state=" + state, "-poll=1h"}, args...)
	r := &running{t: l.t, cmd: exec.Command("ip", args...), socket: filepath.Join(state, "admin.sock"), log: &lockedBuffer{}, done: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	if err := r.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() { r.cmd.Wait(); close(r.done) }()
	l.t.Cleanup(func() {
		r.kill(syscall.SIGKILL)
		if l.t.Failed() {
			l.t.Logf("the server's log:\n%s", r.log)
		}
	})
	return r
}

func (r *running) kill(sig syscall.Signal) {
	r.cmd.Process.Signal(sig) // ip netns exec replaces itself by hostler, so the process is hostler's own
	<-r.done
}

// eventually waits for something that another process brings about.
func (r *running) eventually(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
		select {
		case <-r.done:
			r.t.Fatalf("waiting for %s: hostler ended: %s", what, r.log)
		default:
		}
	}
	r.t.Fatalf("waited 30 seconds for %s", what)
}

// hostler runs a command against the server.
func (r *running) hostler(args ...string) (string, int) {
	r.t.Helper()
	cmd := exec.Command("hostler", args...)
	cmd.Env = append(os.Environ(), "HOSTLER_SOCKET="+r.socket)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		r.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}
