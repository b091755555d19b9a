package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// serveInterfaces starts the real program with a configuration that names the interfaces.
func (l *lab) serveInterfaces(repo, files string, names ...string) *running {
	l.t.Helper()
	conf := filepath.Join(l.dir, "server.hcl")
	if err := os.WriteFile(conf, []byte("interface \""+strings.Join(names, "\" {}\ninterface \"")+"\" {}\n"), 0o644); err != nil {
		l.t.Fatal(err)
	}
	hostler, err := exec.LookPath("hostler")
	if err != nil {
		l.t.Fatal(err)
	}
	state := filepath.Join(l.dir, "state")
	r := &running{t: l.t, socket: filepath.Join(state, "admin.sock"), log: &lockedBuffer{}, done: make(chan struct{})}
	r.cmd = exec.Command("ip", "netns", "exec", l.server, hostler, "serve", "-config="+conf, "-state="+state, "-poll=1h", "-var", "files="+files, repo)
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

// status waits until the status says something.
func (r *running) status(want string) {
	r.t.Helper()
	var out string
	defer func() {
		if !strings.Contains(out, want) {
			r.t.Logf("the last status:\n%s", out)
		}
	}()
	r.eventually(want, func() bool { out, _ = r.hostler("status"); return strings.Contains(out, want) })
}

// TestInterfaces has a VLAN and a bridge appear after hostler was started, vanish and come back, lose their carrier and their address:
// DHCP, TFTP and HTTP serve there without a restart, each with its own subnet, and status says how it is.
func TestInterfaces(t *testing.T) {
	l := newLab(t)
	repo, files := l.repository(), l.files()
	if err := os.WriteFile(filepath.Join(repo, "more.boot.hcl"), []byte(machinesSpec), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(repo, "seed.gotmpl"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	l.commit(repo, "a second subnet")
	server := func(args ...string) { t.Helper(); must(t, "ip", append([]string{"-n", l.server}, args...)...) }
	server("addr", "flush", "dev", "eth0")
	s := l.serveInterfaces(repo, files, "eth0.40", "br7")
	s.status("Interface   eth0.40: not served: there is no such interface\nInterface   br7: not served: there is no such interface\n")

	// Not every kernel that tests run on has VLANs. One is an interface of its own to everything above the kernel, and so is this.
	vlan := func() {
		t.Helper()
		server("link", "add", "eth0.40", "type", "veth", "peer", "name", "eth0.40", "netns", l.machine)
		server("addr", "add", "10.77.0.1/24", "dev", "eth0.40")
		must(t, "ip", "-n", l.machine, "link", "set", "eth0", "down")
		must(t, "ip", "-n", l.machine, "link", "set", "eth0.40", "address", machineMAC, "up")
		server("link", "set", "eth0.40", "up")
	}
	boots := func(name, address, server string) {
		t.Helper()
		must(t, "ip", "-n", l.machine, "addr", "flush", "dev", name)
		script := filepath.Join(l.dir, "udhcpc.sh")
		text := "#!/bin/sh\n[ \"$1\" = bound ] && ip addr replace $ip/24 dev $interface && echo bound $ip\nexit 0\n"
		if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := l.inMachine("busybox", "udhcpc", "-i", name, "-n", "-q", "-t", "5", "-T", "1", "-s", script); err != nil || !strings.Contains(out, "bound "+address+"\n") {
			t.Errorf("on %s: %v: %s", name, err, out)
		}
		s.eventually("TFTP and HTTP on "+name, func() bool {
			_, err := l.inMachine("curl", "-sS", "--max-time", "2", "-o", "/dev/null", "tftp://"+server+"/undionly.kpxe", "-o", "/dev/null", "http://"+server+":8080/boot.ipxe")
			return err == nil
		})
	}

	vlan()
	s.status("Interface   eth0.40 10.77.0.1/24\nInterface   br7: not served: there is no such interface\n")
	boots("eth0.40", "10.77.0.11", "10.77.0.1")

	server("link", "add", "br7", "type", "bridge")
	server("addr", "add", "10.78.0.1/24", "dev", "br7")
	server("link", "add", "port7", "type", "veth", "peer", "name", "eth7", "netns", l.machine)
	server("link", "set", "port7", "master", "br7", "up")
	server("link", "set", "br7", "up")
	must(t, "ip", "-n", l.machine, "link", "set", "eth7", "address", "52:54:00:78:00:01", "up")
	s.status("Interface   br7 10.78.0.1/24\n")
	boots("eth7", "10.78.0.11", "10.78.0.1")

	server("link", "set", "port7", "down")
	s.status("Interface   br7 10.78.0.1/24: the interface has no carrier\n")
	server("link", "set", "port7", "up")
	s.status("Interface   br7 10.78.0.1/24\n")
	boots("eth7", "10.78.0.11", "10.78.0.1")

	server("addr", "del", "10.78.0.1/24", "dev", "br7")
	s.status("Interface   br7: the interface has no IPv4 address\n")
	server("addr", "add", "10.78.0.1/24", "dev", "br7")
	boots("eth7", "10.78.0.11", "10.78.0.1")

	server("link", "del", "eth0.40")
	s.status("Interface   eth0.40: not served: there is no such interface\nInterface   br7 10.78.0.1/24\n")
	boots("eth7", "10.78.0.11", "10.78.0.1") // the other one does not notice
	vlan()
	s.status("Interface   eth0.40 10.77.0.1/24\n")
	boots("eth0.40", "10.77.0.11", "10.77.0.1")

	// Another interface gets the name: the one before keeps its sockets from nobody.
	server("link", "set", "eth0.40", "down")
	server("link", "set", "eth0.40", "name", "was40")
	s.status("Interface   eth0.40: not served: there is no such interface\n")
	server("link", "set", "was40", "name", "eth0.40")
	server("link", "set", "eth0.40", "up")
	s.status("Interface   eth0.40 10.77.0.1/24\n")
	boots("eth0.40", "10.77.0.11", "10.77.0.1")
}
