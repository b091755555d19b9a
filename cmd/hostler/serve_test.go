package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// repository makes a git repository with a copy of examples/lab.
func (l *lab) repository() string {
	l.t.Helper()
	repo := filepath.Join(l.dir, "fleet")
	if err := os.CopyFS(repo, os.DirFS("../../examples/lab")); err != nil {
		l.t.Fatal(err)
	}
	must(l.t, "git", "init", "-q", "-b", "main", repo)
	l.commit(repo, "first")
	return repo
}

func (l *lab) commit(repo, subject string) {
	l.t.Helper()
	must(l.t, "git", "-C", repo, "add", "-A")
	must(l.t, "git", "-C", repo, "-c", "user.name=A. Meier", "-c", "user.email=a.meier@example.net", "commit", "-qm", subject)
}

// files makes a store with a kernel and an initrd that are told apart by size.
func (l *lab) files() string {
	l.t.Helper()
	dir := filepath.Join(l.dir, "files")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	for name, n := range map[string]int{"vmlinuz": 100_000, "initrd.gz": 30_000} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat(name[:1], n)), 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
	return dir
}

func edit(t testing.TB, path, old, new string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s does not hold %q", path, old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// script is what the machine's boot script is now, as the machine gets it.
func (l *lab) script(mac string) string {
	out, err := l.inMachine("curl", "-sS", "--max-time", "5", "http://10.77.0.1:8080/boot/v1/bootscript?mac="+mac)
	if err != nil {
		return out + err.Error()
	}
	return out
}

// TestServe is the main job in small: a machine gets an address and a script, a commit changes the script, a bad one does not, and
// a crash loses nothing.
func TestServe(t *testing.T) {
	l := newLab(t)
	repo, files := l.repository(), l.files()
	spec := filepath.Join(repo, "lab.boot.hcl")
	s := l.serve("-var", "files="+files, repo)

	if addr := l.lease(); addr != "10.77.0.11" {
		t.Fatalf("the machine got %q, want its declared address", addr)
	}
	if script := l.script(machineMAC); !strings.Contains(script, " hugepages=64 machine=bios1 panic=60 ") {
		t.Fatalf("unexpected script:\n%s", script)
	}

	t.Run("the machine's script, as it was given", func(t *testing.T) {
		out, code := s.hostler("bootscript", "-mac="+strings.ReplaceAll(strings.ToUpper(machineMAC), ":", "-"))
		want := regexp.MustCompile(`hostler\.boot=\S+`).ReplaceAllString(l.script(machineMAC), "hostler.boot=none")
		if code != exitOK || out != want {
			t.Fatalf("exit %d:\n%swant\n%s", code, out, want)
		}
	})
	t.Run("what a client of a Boot Script Service asks", func(t *testing.T) {
		for path, want := range map[string]string{
			"/boot/v1/bootparameters":                                  `"hosts":["bios1"]`,
			"/boot/v1/bootparameters?name=uefi1":                       `"status":403`,
			"/boot/v1/endpoint-history?name=bios1&endpoint=bootscript": `"last_epoch":1`,
			"/boot/v1/service/status":                                  `{"bss-status":"running"}`,
			"/meta-data":                                               `"local-hostname":"bios1"`,
		} {
			out, err := l.inMachine("curl", "-sS", "--max-time", "5", "http://10.77.0.1:8080"+path)
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("%s: %v\n%s", path, err, out)
			}
		}
	})
	t.Run("plan of the working directory against the server", func(t *testing.T) {
		edit(t, spec, "hugepages = 64", "hugepages = 128")
		out, code := s.hostler("plan", "-detailed-exitcode", repo) // the server knows what the variables are
		if code != exitChanges || !strings.Contains(out, "~ 2 nodes   kernel_args.hugepages   64 -> 128") || !strings.Contains(out, "served on "+s.socket) {
			t.Fatalf("exit %d:\n%s", code, out)
		}
	})
	t.Run("plan where the server's files are not", func(t *testing.T) {
		hidden := files + ".elsewhere"
		if err := os.Rename(files, hidden); err != nil {
			t.Fatal(err)
		}
		defer os.Rename(hidden, files)
		out, _ := s.hostler("plan", repo)
		if !strings.Contains(out, "1 distinct change.") || strings.Contains(out, "unknown here") {
			t.Fatalf("the files seem to change:\n%s", out)
		}
	})
	t.Run("a commit changes the next boot", func(t *testing.T) {
		l.commit(repo, "more huge pages")
		s.eventually("the commit on the wire", func() bool { return strings.Contains(l.script(machineMAC), " hugepages=128 ") })
	})
	t.Run("a bad commit is a non-event", func(t *testing.T) {
		edit(t, spec, "hugepages = 128", "hugepages = = 256")
		l.commit(repo, "a mistake")
		s.eventually("the mistake in status", func() bool {
			out, _ := s.hostler("status")
			return strings.Contains(out, "lab.boot.hcl:") && strings.Contains(out, "a mistake")
		})
		if script := l.script(machineMAC); !strings.Contains(script, " hugepages=128 ") {
			t.Fatalf("the last good revision is not served any more:\n%s", script)
		}
	})
	t.Run("a crash loses nothing, even with the source gone", func(t *testing.T) {
		s.kill(syscall.SIGKILL)
		if err := os.Rename(repo, repo+".gone"); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(repo, 0o755); err != nil {
			t.Fatal(err)
		}
		s = l.serve("-var", "files="+files, repo)
		if script := l.script(machineMAC); !strings.Contains(script, " hugepages=128 ") {
			t.Fatalf("the last good revision is not served after a restart:\n%s", script)
		}
		if out, _ := s.hostler("leases"); !strings.Contains(out, "10.77.0.11") {
			t.Fatalf("the lease is gone:\n%s", out)
		}
	})
}

// TestServeRefuses are mistakes that must be told at once, and leave nothing running.
func TestServeRefuses(t *testing.T) {
	l := newLab(t)
	files := l.files()
	s := l.serve("-var", "files="+files, l.repository())
	for _, c := range []struct {
		name, want string
		args       []string
	}{
		{"interface missing", `serving: interface "eth9": there is no such interface; this host has lo, eth0`, []string{"-interface=eth9", "-state=" + t.TempDir()}},
		{"same state", "state is in use by another process", []string{"-interface=eth0", "-state=" + filepath.Join(l.dir, "state")}},
		{"port taken by another hostler", "67", []string{"-interface=eth0", "-state=" + t.TempDir()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"netns", "exec", l.server, "hostler", "serve"}, c.args...)
			out, err := exec.Command("ip", append(args, "../../examples/lab")...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.want) {
				t.Fatalf("want %q, got %v:\n%s", c.want, err, out)
			}
		})
	}
	if out, code := s.hostler("status"); code == exitError { // exitNo is an answer too: it may not have read its spec yet
		t.Fatalf("the first server does not answer any more:\n%s", out)
	}
}
