package main

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestBadCommits are revisions that must never be served: each leaves the good one in force, and status says what is wrong and where.
func TestBadCommits(t *testing.T) {
	l := newLab(t)
	repo, files := l.repository(), l.files()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(repo, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	image := func(path string) string {
		return fmt.Sprintf("image \"other\" {\n  arch = \"x86_64\"\n  file \"kernel\" {\n    path = %q\n  }\n}\nnode \"n\" {\n  subnet = subnet.lab\n  mac = \"52:54:00:77:00:09\"\n  image = image.other\n}\n", path)
	}
	s := l.serve("-var", "files="+files, repo)
	l.lease()
	good := l.script(machineMAC)
	if !strings.Contains(good, " hugepages=64 ") {
		t.Fatalf("unexpected script:\n%s", good)
	}
	for _, c := range []struct {
		name string
		bad  func()
		want []string // of hostler status
	}{
		{"a syntax error", func() { write("bad.boot.hcl", "node {{\n") }, []string{"on bad.boot.hcl line 1"}},
		{"a machine declared twice", func() {
			write("bad.boot.hcl", "node \"twin\" {\n  subnet = subnet.lab\n  mac = \"52:54:00:77:00:01\"\n}\n")
		}, []string{"Duplicate MAC", "on bad.boot.hcl line 3", "on machines.csv line 2"}},
		{"a nest of 200 kB", func() { write("bad.boot.hcl", "locals {\n  a = "+strings.Repeat("[", 200_000)+"\n}\n") }, []string{"on bad.boot.hcl line 2"}},
		{"a template that fails for one node", func() {
			write("t.gotmpl", "{{ if eq .self.name \"uefi1\" }}{{ index .self.labels \"rack\" 3 }}{{ end }}\n")
			write("bad.boot.hcl", "template \"t\" {\n  kind = \"text\"\n  source = \"t.gotmpl\"\n}\n")
			edit(t, filepath.Join(repo, "lab.boot.hcl"), "image = image.busybox\n", "image = image.busybox\n  config = template.t\n")
		}, []string{"uefi1", "t.gotmpl"}},
		{"an image file that is missing", func() { write("bad.boot.hcl", image("files/none")) }, []string{"on bad.boot.hcl line", "files/none"}},
		{"an image file that is empty", func() { write("empty", ""); write("bad.boot.hcl", image("empty")) }, []string{"empty"}},
		{"an image file that is a Git LFS pointer", func() {
			write("big", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n")
			write("bad.boot.hcl", image("big"))
		}, []string{"LFS"}},
		{"an image file that is a link out of the repository", func() {
			if err := os.Symlink("/etc/shadow", filepath.Join(repo, "link")); err != nil {
				t.Fatal(err)
			}
			write("bad.boot.hcl", image("link"))
		}, []string{"link"}},
		{"a table that is a link out of the repository", func() {
			if err := os.Symlink("/etc/passwd", filepath.Join(repo, "t.csv")); err != nil {
				t.Fatal(err)
			}
			write("bad.boot.hcl", "locals {\n  t = tabledecode(\"t.csv\")\n}\n")
		}, []string{"t.csv", "bad.boot.hcl line 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.bad()
			l.commit(repo, "bad: "+c.name)
			s.eventually("status to tell of it", func() bool {
				out, code := s.hostler("status")
				for _, w := range append(c.want, "bad: "+c.name[:10]) {
					if !strings.Contains(out, w) {
						return false
					}
				}
				return code == exitNo
			})
			if now := l.script(machineMAC); now != good {
				t.Errorf("the script is another one:\n%s", now)
			}
			must(t, "git", "-C", repo, "-c", "user.name=A. Meier", "-c", "user.email=a.meier@example.net", "revert", "--no-edit", "HEAD")
			s.eventually("the revert to be served", func() bool {
				_, code := s.hostler("status")
				return code == exitOK
			})
		})
	}
}

// TestHostileNetwork sends what no honest machine sends, to every port, and then boots one.
func TestHostileNetwork(t *testing.T) {
	l := newLab(t)
	repo, files := l.repository(), l.files()
	s := l.serve("-var", "files="+files, repo)
	l.lease()
	for _, name := range []string{"../../../../etc/passwd", "/etc/passwd", `..\..\etc\passwd`, "....//etc/passwd", "pxelinux.cfg/../../etc/passwd"} {
		out, err := l.inMachine("busybox", "tftp", "-g", "-l", "/dev/stdout", "-r", name, "10.77.0.1")
		if err == nil || strings.Contains(out, "root:") || !strings.Contains(out, "not found") && !strings.Contains(out, "access violation") {
			t.Errorf("TFTP %q: %s", name, out)
		}
		out, _ = l.inMachine("curl", "-sS", "--path-as-is", "--max-time", "3", "http://10.77.0.1:8080/"+name)
		if strings.Contains(out, "root:") {
			t.Errorf("HTTP %q: %s", name, out)
		}
	}
	err := inNamespace(l.machine, func() error {
		for _, port := range []int{67, 69, 4011} {
			c, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(10, 77, 0, 1), Port: port})
			if err != nil {
				return err
			}
			for n := range 500 {
				junk := make([]byte, n*3)
				rand.Read(junk)
				c.Write(junk) // nobody may listen on 4011: then this is refused, which is fine
			}
			c.Close()
		}
		for n := range 50 {
			c, err := net.DialTimeout("tcp4", "10.77.0.1:8080", 5*time.Second)
			if err != nil {
				return err
			}
			junk := make([]byte, n*100)
			rand.Read(junk)
			c.Write(junk)
			c.Close()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if addr := l.lease(); addr != "10.77.0.11" {
		t.Errorf("after that, the machine gets %q", addr)
	}
	if script := l.script(machineMAC); !strings.Contains(script, "hugepages=64") {
		t.Errorf("after that, the script is:\n%s", script)
	}
	if out, code := s.hostler("status"); code != exitOK {
		t.Errorf("status, exit %d:\n%s", code, out)
	}
}

// TestPoolExhausted holds that a machine for which no address is left is met with an event, not with silence alone.
func TestPoolExhausted(t *testing.T) {
	l := newLab(t)
	repo, files := l.repository(), l.files()
	edit(t, filepath.Join(repo, "lab.boot.hcl"), "10.77.0.100-10.77.0.199", "10.77.0.100-10.77.0.100")
	edit(t, filepath.Join(repo, "machines.csv"), "uefi1,52:54:00:77:00:02,,uefi", "uefi1,52:54:00:77:00:02,,uefi\nuefi2,52:54:00:77:00:03,,uefi")
	l.commit(repo, "one address for two machines")
	s := l.serve("-var", "files="+files, repo)
	must(t, "ip", "-n", l.machine, "link", "set", "eth0", "address", "52:54:00:77:00:02")
	if addr := l.lease(); addr != "10.77.0.100" {
		t.Fatalf("the first machine got %q", addr)
	}
	must(t, "ip", "-n", l.machine, "link", "set", "eth0", "address", "52:54:00:77:00:03")
	if out, err := l.inMachine("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-t", "2", "-T", "1", "-s", "/bin/true"); err == nil {
		t.Fatalf("the second machine got an address:\n%s", out)
	}
	s.eventually("the event", func() bool {
		out, _ := s.hostler("boots", "uefi2")
		return strings.Contains(out, "exhausted")
	})
}

// TestStateFull holds that a full disk costs nothing that was promised: no lease is acknowledged that is not on disk, no
// revision is served that would be lost, and after a crash and with room again everything is there.
func TestStateFull(t *testing.T) {
	l := newLab(t)
	repo, files := l.repository(), l.files()
	state := filepath.Join(l.dir, "state")
	must(t, "mkdir", state)
	must(t, "mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", state)
	t.Cleanup(func() { exec.Command("umount", "-l", state).Run() })
	s := l.serve("-var", "files="+files, repo)
	ballast := filepath.Join(state, "ballast")
	exec.Command("dd", "if=/dev/zero", "of="+ballast, "bs=4k").Run() // until the disk is full

	// A page of the journal that is there already may have room for a lease. What counts is that an acknowledged one is kept.
	_, err := l.inMachine("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-t", "2", "-T", "1", "-s", "/bin/true")
	acknowledged := err == nil
	edit(t, filepath.Join(repo, "lab.boot.hcl"), "hugepages = 64", "hugepages = 128")
	l.commit(repo, "more huge pages")
	s.eventually("status to tell of the full disk", func() bool {
		out, code := s.hostler("status")
		return code == exitNo && strings.Contains(out, "no space left on device")
	})
	s.kill(syscall.SIGKILL)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s = l.serve("-var", "files="+files, repo)
	if out, _ := s.hostler("leases"); acknowledged && !strings.Contains(out, "10.77.0.11") {
		t.Errorf("a lease was acknowledged, and is not there after a crash:\n%s", out)
	}
	if addr := l.lease(); addr != "10.77.0.11" {
		t.Errorf("with room again, the machine gets %q", addr)
	}
	s.eventually("the commit to be served after all", func() bool { return strings.Contains(l.script(machineMAC), "hugepages=128") })
}
