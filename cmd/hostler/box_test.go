package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hostler/examples/vm"
	"hostler/render/fact"
)

// TestVLAN serves a tagged VLAN, in a virtual machine because a kernel with VLANs is to be had there only.
func TestVLAN(t *testing.T) {
	console, off := newBox(t, newLab(t), "vlan").on(t)
	defer off()
	ctx, cancel := context.WithTimeout(t.Context(), vm.BootDeadline)
	defer cancel()
	for _, want := range []string{"VLAN tagged 10.77.8.0", "VLAN untagged nothing", "VLAN made again 10.77.8.0"} {
		if got, err := console.Line(ctx, want[:strings.LastIndex(want, " ")]); got != want {
			t.Fatalf("got %q, want %q: %v; the console:\n%s", got, want, err, console)
		}
	}
}

// box is the virtual machine with the server.
type box struct {
	l                    *lab
	kernel, initrd, disk string
	monitor              string // of QEMU
}

// newBox makes a disk, and an initrd: the lab's, and behind it what makes it a server. What the server does is in testdata/box. Its cable ends
// in eth0 of the namespace for machines.
func newBox(t *testing.T, l *lab, does string) *box {
	t.Helper()
	guest, err := vm.GuestFiles()
	if err != nil {
		t.Fatal(err)
	}
	must(t, "ip", "-n", l.machine, "link", "del", "eth0")
	must(t, "ip", "-n", l.machine, "tuntap", "add", "eth0", "mode", "tap")
	must(t, "ip", "-n", l.machine, "addr", "add", crowdRelay.String()+"/16", "dev", "eth0")
	must(t, "ip", "-n", l.machine, "link", "set", "eth0", "up")
	root := filepath.Join(l.dir, "root")
	for _, dir := range []string{"bin", "fleet", "state", "files"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	released(t)
	hostler, err := exec.LookPath("hostler")
	if err != nil {
		t.Fatal(err)
	}
	must(t, "install", "-m", "755", hostler, filepath.Join(root, "bin", "hostler"))
	must(t, "install", "-m", "755", "../../testdata/box/"+does, filepath.Join(root, "init"))
	spec := strings.Replace(killSpec, `variable "files" { type = string }`, "", 1)
	spec = strings.Replace(spec, "var.files", `"/files"`, 1)
	for name, text := range map[string]string{"fleet/room.boot.hcl": spec, "files/vmlinuz": "kernel"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b := &box{l: l, kernel: filepath.Join(guest, "vmlinuz"), initrd: filepath.Join(l.dir, "initrd.gz"), disk: filepath.Join(l.dir, "disk")}
	b.monitor = filepath.Join(l.dir, "monitor")
	// The kernel unpacks archives one behind another.
	must(t, "sh", "-c", fmt.Sprintf("cp %s/initrd.gz %s && cd %s && find . | cpio --quiet -o -H newc | gzip -1 >>%s", guest, b.initrd, root, b.initrd))
	must(t, "truncate", "-s", "128M", b.disk)
	must(t, "mkfs.ext4", "-q", b.disk)
	return b
}

// on switches the machine on, and waits until the server in it is up. What it gives cuts the power.
func (b *box) on(t *testing.T) (console *vm.Console, off func()) {
	t.Helper()
	console = vm.NewConsole()
	cmd := exec.Command("ip", "netns", "exec", b.l.machine, "qemu-system-x86_64", "-accel", "tcg", "-m", "512", "-display", "none", "-serial", "stdio",
		"-monitor", "unix:"+b.monitor+",server,nowait", "-no-reboot", "-kernel", b.kernel, "-initrd", b.initrd, "-append", "console=ttyS0 quiet panic=-1",
		"-netdev", "tap,id=n0,script=no,downscript=no,ifname=eth0", "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:77:00:f0",
		"-drive", "if=none,id=d0,format=raw,file="+b.disk, "-device", "virtio-blk-pci,drive=d0")
	cmd.Stdout, cmd.Stderr = console, console
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); cmd.Wait(); console.Close() }()
	off = func() { cmd.Process.Kill(); <-ended }
	t.Cleanup(off)
	ctx, cancel := context.WithTimeout(t.Context(), vm.BootDeadline)
	defer cancel()
	if _, err := console.Line(ctx, "SERVER UP"); err != nil {
		t.Fatalf("%v; the console:\n%s", err, console)
	}
	return console, off
}

// ask gives what the machine says on a port, to what is told it there.
func (b *box) ask(t *testing.T, port int, tell ...string) string {
	t.Helper()
	var out bytes.Buffer
	err := inNamespace(b.l.machine, func() error {
		conn, err := net.DialTimeout("tcp4", fmt.Sprintf("10.77.0.1:%d", port), 10*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Minute))
		for _, line := range tell {
			fmt.Fprintln(conn, line)
		}
		_, err = io.Copy(&out, conn)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func (b *box) leases(t *testing.T) (leases []fact.Lease) {
	t.Helper()
	text := b.ask(t, 9999)
	if err := json.Unmarshal([]byte(text), &leases); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return leases
}

// loseDisk takes the disk away from under the machine: every access is an I/O error from now on.
func (b *box) loseDisk(t *testing.T) {
	t.Helper()
	conn, err := net.Dial("unix", b.monitor)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintln(conn, "drive_del d0")
	var said bytes.Buffer
	for bytes.Count(said.Bytes(), []byte("(qemu)")) < 2 { // its first prompt, and the one after the command
		if _, err := io.CopyN(&said, conn, 1); err != nil {
			t.Fatalf("%v: %s", err, said.Bytes())
		}
	}
}
