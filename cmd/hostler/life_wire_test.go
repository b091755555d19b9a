package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// life is a fleet on the wire with one machine that boots again and again.
type life struct {
	*lab
	s           *running
	repo, files string
}

// newLife serves examples/lab with bios1 installing itself, and a template for its configuration.
func newLife(t *testing.T, more ...string) *life {
	l := &life{lab: newLab(t)}
	l.repo, l.files = l.repository(), l.lab.files()
	fleet := filepath.Join(l.repo, "lab.boot.hcl")
	if err := os.WriteFile(filepath.Join(l.repo, "seed.boot.hcl"), []byte("template \"seed\" {\n  content = \"seed 1\"\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	edit(t, fleet, "image = image.busybox\n", "image = image.busybox\n  config = template.seed\n  boot = \"install\"\n"+strings.Join(more, ""))
	l.commit(l.repo, "bios1 installs itself")
	l.s = l.serve("-var", "files="+l.files, l.repo)
	return l
}

// boots plays a whole boot of bios1, as its firmware and iPXE would have it.
func (l *life) boots() string {
	l.t.Helper()
	must(l.t, "ip", "-n", l.machine, "link", "set", "eth0", "address", "52:54:00:77:00:fe")
	out, _ := l.inMachine("hostler", "boot", "-var", "files="+l.files, l.repo, "bios1", "-wire", "-interface=eth0", "-force")
	return out
}

// starts says how bios1 starts: its kernel, its disk, or why it waits.
func (l *life) starts() string {
	l.t.Helper()
	out := l.boots()
	switch {
	case strings.Contains(out, "The kernel starts with the command line"):
		return "kernel"
	case strings.Contains(out, "boots from disk: iPXE hands over"):
		return "disk"
	}
	_, why, _ := strings.Cut(strings.TrimSpace(out), "No kernel is started: ")
	return why
}

// up gives the running system of bios1 its address and the token of the boot that it was started by.
func (l *life) up() (token string) {
	l.t.Helper()
	l.as(machineMAC)
	found := regexp.MustCompile(`hostler\.boot=(\S+)`).FindStringSubmatch(l.script(machineMAC))
	if found == nil {
		l.t.Fatalf("no token in:\n%s", l.script(machineMAC))
	}
	return found[1]
}

// reports says that bios1 is ready, from an address, and gives the status of the answer.
func (l *life) arrives(token string, curl ...string) string {
	l.t.Helper()
	args := append([]string{"-s", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}", "-d", "boot=" + token}, curl...)
	out, _ := l.inMachine("curl", append(args, "http://10.77.0.1:8080/phone-home")...)
	return out
}

// expect holds how bios1 starts.
func (l *life) expect(when, want string) {
	l.t.Helper()
	if got := l.starts(); got != want {
		l.t.Errorf("%s it starts by %q, want %q", when, got, want)
	}
}

// order gives an order, and holds what it prints.
func (l *life) order(want string, args ...string) {
	l.t.Helper()
	if out, code := l.s.hostler(args...); code != exitOK || !regexp.MustCompile(want).MatchString(out) {
		l.t.Errorf("hostler %s: exit %d, want %s:\n%s", strings.Join(args, " "), code, want, out)
	}
}

// served waits until a commit is served.
func (l *life) served(file, old, new string) {
	l.t.Helper()
	edit(l.t, filepath.Join(l.repo, file), old, new)
	l.commit(l.repo, new)
	head := strings.TrimSpace(must(l.t, "git", "-C", l.repo, "rev-parse", "--short=12", "HEAD"))
	l.s.eventually("the commit to be served", func() bool {
		out, _ := l.s.hostler("status")
		return strings.Contains(out, "Revision    main@sha1:"+head)
	})
}

// again ends the server as a power cut of its process would, and starts it again.
func (l *life) again() {
	l.s.kill(syscall.SIGKILL)
	l.s = l.serve("-var", "files="+l.files, l.repo)
}

// TestInstall: a machine installs itself until it proves with its token that it did, and again when what it would install changes.
func TestInstall(t *testing.T) {
	l := newLife(t)
	l.expect("at first", "kernel")
	token := l.up()
	if got := l.arrives(token[:len(token)-1] + "x"); got != "403" {
		t.Errorf("a wrong token: %s", got)
	}
	must(t, "ip", "-n", l.machine, "addr", "add", "10.77.0.66/24", "dev", "eth0")
	if got := l.arrives(token, "--interface", "10.77.0.66"); got != "403" {
		t.Errorf("from another address: %s", got)
	}
	l.expect("unproved", "kernel")
	token = l.up()
	if got := l.arrives(token); got != "200" {
		t.Fatalf("the report: %s", got)
	}
	l.expect("at once", "disk")
	l.order(`bios1 .* install, done: disk `, "nodes")
	l.order(`(?s)boot +disk\n +set by group.compute: install .*replaced by what is installed: image.busybox at .*: disk\n`, "explain", "-var", "files="+l.files, l.repo, "bios1.boot")
	l.again()
	l.expect("after a crash of the server", "disk")

	l.served("lab.boot.hcl", "hugepages = 64", "hugepages = 65")
	l.expect("with another kernel argument", "disk")
	edit(t, filepath.Join(l.repo, "seed.boot.hcl"), "seed 1", "seed 2")
	l.order(`(?s)~ 1 node   install   installed -> due +next boot: REINSTALL\n.*Impact: 1 node INSTALLED at next boot, 1 node at next boot`, "plan", "-var", "files="+l.files, l.repo)
	l.served("seed.boot.hcl", "seed 2", "seed 3")
	l.expect("with another configuration", "kernel")
	l.arrives(l.up())
	l.expect("installed again", "disk")

	l.served("lab.boot.hcl", `boot = "install"`, `boot = "install-once"`)
	l.served("seed.boot.hcl", "seed 3", "seed 4")
	l.expect("with boot = install-once and another configuration", "disk")
	l.order("bios1: next boot: INSTALLS image.busybox", "rearm", "bios1")
	l.order(`replaced by what is installed: nothing, armed \(by root since .*\): install\n`, "explain", "-var", "files="+l.files, l.repo, "bios1.boot")
	l.again()
	l.expect("armed", "kernel")
	l.arrives(l.up())
	l.expect("after that", "disk")
}

// TestOrders: a person's orders hold at once, over a crash, until they are ended.
func TestOrders(t *testing.T) {
	l := newLife(t)
	l.order(`bios1: next boot: waits: new disk \(by root since .* until .*\)\n`, "hold", "bios1", "-reason=new disk", "-for=2h")
	const held = `^node.lab\["bios1"\]: held: new disk \(by root since .* until .*\)$`
	for _, when := range []string{"held", "held, after a crash,"} {
		if got := l.starts(); !regexp.MustCompile(held).MatchString(got) {
			t.Errorf("%s it starts by %q", when, got)
		}
		l.order(`(?m)^Held        bios1: new disk \(by root `, "status")
		l.order(`bios1 .* install +held: new disk`, "nodes", "-state=held")
		l.again()
	}
	if out := l.boots(); !strings.Contains(out, "it waits until: hostler release bios1") {
		t.Errorf("nobody says what to do:\n%s", out)
	}
	l.order(`bios1: next boot: INSTALLS image.busybox`, "release", "bios1")
	l.order(`bios1: not held by an order; next boot: INSTALLS`, "release", "bios1")
	l.expect("released", "kernel")

	l.order(`bios1: next boot: starts from its disk, override: boot = disk \(by root since .*: firmware\)`, "override", "bios1", "-boot=disk", "-for=1h", "-reason=firmware")
	l.expect("with an override", "disk")
	l.order(`bios1 .* install, overridden: disk `, "nodes")
	edit(t, filepath.Join(l.repo, "lab.boot.hcl"), "hugepages = 64", "hugepages = 65")
	l.order(`    hidden    of bios1, by an override: boot = disk \(by root since `, "plan", "-var", "files="+l.files, l.repo)
	l.again()
	l.expect("with an override, after a crash", "disk")
	l.order(`bios1: next boot: INSTALLS`, "override", "-end", "bios1")
	l.expect("without it", "kernel")

	l.order(`boots image.busybox, override: image.busybox, once `, "override", "bios1", "-image=busybox", "-once")
	l.expect("with an override for one boot", "kernel")
	if got := l.arrives(l.up()); got != "200" {
		t.Fatal(got)
	}
	l.s.eventually("the override to be over", func() bool {
		out, _ := l.s.hostler("status")
		return !strings.Contains(out, "Override")
	})
	l.expect("after it, for what was booted by an override is not installed,", "kernel")

	l.order(`disk, once \(by root since [^u]*\)\n`, "override", "bios1", "-boot=disk", "-once")
	l.expect("with an override for one boot from the disk", "disk")
	l.s.eventually("that to end soon", func() bool { // after its script, the machine may come back for a moment
		out, _ := l.s.hostler("status")
		return regexp.MustCompile(`Override +bios1: boot = disk, once \(by root since .* until `).MatchString(out)
	})
	l.order("", "override", "bios1", "-boot=disk", "-for=1s")
	l.s.eventually("the override to expire", func() bool {
		out, _ := l.s.hostler("nodes")
		return !strings.Contains(out, "overridden")
	})
	l.order(`(?s)override used  \(by boot `, "boots", "bios1", "-n", "0")
	for _, refuse := range [][]string{
		{"hold", "bios1"}, {"hold", "nobody", "-reason=x"}, {"override", "bios1"}, {"override", "bios1", "-image=nothing"}, {"override", "bios1", "-boot=install"},
		{"override", "bios1", "-boot=disk", "-image=busybox"}, {"hold", "bios1", "-reason=x", "-for=-1h"},
	} {
		if out, code := l.s.hostler(refuse...); code != exitNo || !strings.HasPrefix(out, "hostler: refused: ") {
			t.Errorf("%v: exit %d: %s", refuse, code, out)
		}
	}
}

// TestLoop: a machine that begins one boot after the other and is never ready is held, until somebody releases it, or what it boots
// changes. Whoever only asks for addresses in its name gets it nowhere.
func TestLoop(t *testing.T) {
	l := newLife(t, "  loop {\n    boots  = 3\n    within = \"20m\"\n  }\n")
	loop := func(when string) {
		t.Helper()
		for range 3 {
			l.expect(when, "kernel")
		}
		l.s.eventually("the machine to be held", func() bool {
			l.boots() // the third boot counts when the fourth begins
			out, _ := l.s.hostler("nodes", "-state=held")
			return strings.Contains(out, "bios1")
		})
	}
	loop("at first")
	if got := l.starts(); !regexp.MustCompile(`held: it boots in a loop: 3 boots since .* UTC, never ready, the last one came as far as initrd \(by hostler since`).MatchString(got) {
		t.Error(got)
	}
	if log := l.s.log.String(); !strings.Contains(log, `level=WARN msg="node: held" node=bios1`) {
		t.Errorf("no warning:\n%s", log)
	}
	out, _ := l.s.hostler("boots", "bios1", "-n", "0")
	if !strings.Contains(out, "held  (it boots in a loop") {
		t.Errorf("no event:\n%s", out)
	}
	if out, _ := l.s.hostler("boots", "bios1", "-after=1ns"); !strings.Contains(out, "[loop-broken]") {
		t.Errorf("not explained:\n%s", out)
	}
	l.again()
	if got := l.starts(); !strings.Contains(got, "held: it boots in a loop") {
		t.Errorf("after a crash it starts by %q", got)
	}
	l.order("bios1: next boot: INSTALLS", "release", "bios1")
	loop("released")
	l.served("lab.boot.hcl", "hugepages = 64", "hugepages = 65")
	l.expect("with another kernel argument", "kernel")
	if out, _ := l.s.hostler("status"); strings.Contains(out, "Held") {
		t.Errorf("still held:\n%s", out)
	}
	if out := must(t, "curl", "-s", "--unix-socket", l.s.socket, "http://hostler/metrics"); !strings.Contains(out, "\nhostler_boot_loops_total 1\n") {
		t.Error("the loop was not counted")
	}
}
