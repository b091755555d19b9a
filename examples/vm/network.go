// Package vm boots machines with real firmware on this one: QEMU without hardware virtualisation, connected in a network
// namespace of its own. It needs root, or a user namespace, and what testdata/lab/install.sh installs. It knows nothing
// of hostler: tests and the demo put any boot server beside the machines.
package vm

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Network is a network namespace with a bridge, br0, that machines are plugged into. It has no name and no file: one
// thread of this process lives in it, every program started in it dies with that thread, and the kernel then removes it
// with all its interfaces. So nothing stays behind, however this process ends.
type Network struct {
	dir   string      // for copies of firmware variables
	calls chan func() // run by the thread that lives in the namespace
	gone  chan struct{}

	mu   sync.Mutex
	taps int
	wg   sync.WaitGroup // programs that Start started
	once sync.Once
	stop context.CancelFunc
	ctx  context.Context
}

// NewNetwork makes a namespace whose bridge has an address. Close it after use.
func NewNetwork(bridge netip.Prefix) (*Network, error) {
	n, err := isolated()
	if err != nil {
		return nil, err
	}
	if err := n.bridge(bridge); err != nil {
		n.Close()
		return nil, fmt.Errorf("making a bridge: %w", err)
	}
	return n, nil
}

// isolated makes an empty namespace.
func isolated() (*Network, error) {
	dir, err := os.MkdirTemp("", "hostler-vm-")
	if err != nil {
		return nil, err
	}
	n := &Network{dir: dir, calls: make(chan func()), gone: make(chan struct{})}
	n.ctx, n.stop = context.WithCancel(context.Background())
	unshared := make(chan error)
	go n.live(unshared)
	if err := <-unshared; err != nil {
		n.Close()
		return nil, fmt.Errorf("making a network namespace (are you root?): %w", err)
	}
	return n, nil
}

// live is the thread of the namespace. It is never unlocked, so that the thread ends with the goroutine.
func (n *Network) live(unshared chan<- error) {
	defer close(n.gone)
	runtime.LockOSThread()
	unshared <- unix.Unshare(unix.CLONE_NEWNET)
	for f := range n.calls {
		f()
	}
}

// inside runs f on the thread of the namespace: what it opens and starts belongs to the namespace.
func (n *Network) inside(f func() error) error {
	done := make(chan error)
	n.calls <- func() { done <- f() }
	return <-done
}

func (n *Network) bridge(addr netip.Prefix) error {
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", "br0", "address", "52:54:00:77:00:00", "type", "bridge"}, // else it would take one anew with each machine
		{"addr", "add", addr.String(), "dev", "br0"},
		{"link", "set", "br0", "up"},
	} {
		if err := n.ip(args...); err != nil {
			return err
		}
	}
	return nil
}

func (n *Network) ip(args ...string) error {
	cmd := exec.Command("ip", args...)
	var out []byte
	err := n.inside(func() (err error) { out, err = cmd.CombinedOutput(); return err })
	if err != nil {
		return fmt.Errorf("running %s: %w: %s", cmd, err, out)
	}
	return nil
}

// tap adds an interface for one machine to the bridge.
func (n *Network) tap() (string, error) {
	n.mu.Lock()
	n.taps++
	name := "tap" + strconv.Itoa(n.taps)
	n.mu.Unlock()
	for _, args := range [][]string{
		{"tuntap", "add", name, "mode", "tap"},
		{"link", "set", name, "master", "br0"},
		{"link", "set", name, "up"},
	} {
		if err := n.ip(args...); err != nil {
			return "", err
		}
	}
	return name, nil
}

// Listen opens a TCP listener inside the namespace.
func (n *Network) Listen(addr string) (l net.Listener, err error) {
	err = n.inside(func() (err error) { l, err = net.Listen("tcp4", addr); return err })
	return l, err
}

// Process is a program that runs in the namespace.
type Process struct {
	*os.Process
	done chan struct{}
	err  error
}

// Start starts a program in the namespace. It is killed when the network is closed, or when this process ends.
func (n *Network) Start(cmd *exec.Cmd) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // of the thread that starts it: the namespace's
	cmd.SysProcAttr.Setpgid = true              // an interrupt at the terminal is ours to handle
	if err := n.inside(cmd.Start); err != nil {
		return nil, err
	}
	p := &Process{Process: cmd.Process, done: make(chan struct{})}
	release := context.AfterFunc(n.ctx, func() { p.Kill() })
	n.wg.Go(func() {
		defer release()
		p.err = cmd.Wait()
		close(p.done)
	})
	return p, nil
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the program's end, or kills it when ctx ends first. It gives what exec.Cmd's Wait gave.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		p.Kill()
		<-p.done
		return fmt.Errorf("waiting for process %d: %w", p.Pid, context.Cause(ctx))
	}
}

// Close kills every program in the namespace, and waits until all are gone. Closing again does nothing.
func (n *Network) Close() {
	n.once.Do(func() {
		n.stop()
		n.wg.Wait()
		close(n.calls)
		<-n.gone
		os.RemoveAll(n.dir)
	})
}
