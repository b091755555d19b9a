package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The addresses of the two ends. The network is large enough for a new address in every exchange of a run.
const (
	serverAddr = "10.64.0.1"
	clientAddr = "10.64.0.2"
	prefixLen  = "/12"
)

// wire is two network namespaces and the cable between them.
type wire struct{ server, client string }

func newWire() (w wire, err error) {
	w = wire{fmt.Sprintf("hb%ds", os.Getpid()), fmt.Sprintf("hb%dc", os.Getpid())}
	for _, args := range []string{
		"netns add " + w.server, "netns add " + w.client,
		"-n " + w.server + " link set lo up", "-n " + w.client + " link set lo up",
		"-n " + w.server + " link add eth0 type veth peer name eth0 netns " + w.client,
		"-n " + w.server + " addr add " + serverAddr + prefixLen + " dev eth0", "-n " + w.client + " addr add " + clientAddr + prefixLen + " dev eth0",
		"-n " + w.server + " link set eth0 up", "-n " + w.client + " link set eth0 up",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			w.close()
			return w, fmt.Errorf("ip %s: %w: %s", args, err, bytes.TrimSpace(out))
		}
	}
	return w, nil
}

func (w wire) close() {
	for _, ns := range []string{w.server, w.client} {
		_ = exec.Command("ip", "netns", "del", ns).Run()
	}
}

// process is a server that runs.
type process struct {
	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan struct{}
}

// start runs a server at one end. ip replaces itself by it, so that the process is the server's own.
func (b *bench) start(ns string, env []string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(b.ctx, "ip", append([]string{"netns", "exec", ns}, args...)...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.Env = append(os.Environ(), env...)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	return p, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// cpu is the processor time that the server has used.
func (p *process) cpu() time.Duration {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "stat"))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // in ticks, of which Linux tells programs 100 a second
}

// jiffies are the processors' time since the machine started, in ticks.
type jiffies struct{ all, idle int }

func processors() (j jiffies) {
	text, _ := os.ReadFile("/proc/stat")
	first, _, _ := strings.Cut(string(text), "\n")
	for i, f := range strings.Fields(first) {
		n, _ := strconv.Atoi(f)
		if j.all += n; i == 4 || i == 5 { // idle, and idle while somebody waits for the disk
			j.idle += n
		}
	}
	return j
}

func (j jiffies) idleSince(before jiffies) float64 {
	return float64(j.idle-before.idle) / float64(max(j.all-before.all, 1))
}

// setSystem sets something of the kernel for all of this machine, as somebody would who tunes a server, and gives what puts it back.
func setSystem(name, value string) (restore func(), err error) {
	path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
	old, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(value), 0o644)
	}
	if err != nil {
		return nil, fmt.Errorf("setting %s: %w", name, err)
	}
	return func() { _ = os.WriteFile(path, old, 0o644) }, nil
}
