package examples

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"hostler/examples/vm"
	"hostler/render/fact"
)

// program builds hostler as users get it, once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "hostler-bin-")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", dir, "../cmd/hostler", "./demo")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return dir, os.Chmod(dir, 0o755) // nobody runs it, too
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, _ := program(); dir != "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// hostler gives a function that runs the program, whose output it gives, and that ends the test when it fails.
func hostler(t *testing.T) func(args ...string) string {
	t.Helper()
	path := built(t, "hostler")
	return func(args ...string) string {
		t.Helper()
		out, err := exec.Command(path, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("hostler %s: %s\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
}

// built gives the path of one of our programs, built once for all tests.
func built(t *testing.T, name string) string {
	t.Helper()
	dir, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// running is the lab with a server, and a context that ends when a boot takes too long.
func running(t *testing.T) (context.Context, *Lab) {
	t.Helper()
	l := runningFleet(t, "lab")
	return oneBoot(t), l
}

// oneBoot is a context that ends when a boot takes too long.
func oneBoot(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), vm.BootDeadline)
	t.Cleanup(cancel)
	return ctx
}

// runningFleet is a lab with a server that runs as the service unit runs it.
func runningFleet(t *testing.T, fleet string) *Lab {
	t.Helper()
	l, err := NewLab(t.Context(), built(t, "hostler"), fleet, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if err := l.Serve(oneBoot(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of hostler:\n%s", l.Log)
		}
	})
	return l
}

// events follows the boots of the lab: the console has a line for each step.
func events(ctx context.Context, t *testing.T, l *Lab) *vm.Console {
	t.Helper()
	c := vm.NewConsole()
	cmd := l.Hostler(ctx, "boots", "-follow")
	cmd.Stdout, cmd.Stderr = c, c
	if _, err := l.Network.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Line(ctx, "Following"); err != nil {
		t.Fatalf("following the boots: %v: %s", err, c)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the events:\n%s", c)
		}
	})
	return c
}

// Boots of real firmware before and after a commit are what the demo shows.
func TestDemo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*vm.BootDeadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, built(t, "demo"), "-hostler", built(t, "hostler"))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"bios1", "uefi1", "hugepages   64 -> 128", "hugepages=128 machine=uefi1", "each kernel said what it had to say"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the demo does not show %q", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

func TestDemoCleansUpWhenInterrupted(t *testing.T) {
	dir := t.TempDir()
	out := vm.NewConsole()
	cmd := exec.Command(built(t, "demo"), "-hostler", built(t, "hostler"))
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := out.Line(ctx, "uefi1 .* offer"); err != nil {
		t.Error(err)
	}
	cmd.Process.Signal(syscall.SIGINT)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("the demo ended with %v, want exit status 1", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if text, _ := os.ReadFile(p); bytes.Contains(text, []byte(dir)) {
			t.Errorf("still running: %q", text)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// A commit while machines boot: each gets the old boot or the new one, never the kernel arguments of one with the files
// of the other.
func TestCommitWhileMachinesBoot(t *testing.T) {
	ctx, l := running(t)
	secondInitrd(t, l)
	if err := l.Edit("hugepages = 64", "hugepages = 128"); err != nil {
		t.Fatal(err)
	}
	if err := l.Edit(`"initrd.gz"`, `"second.gz"`); err != nil {
		t.Fatal(err)
	}
	steps := events(ctx, t, l)
	guests := map[string]*vm.Guest{}
	for _, name := range []string{"bios1", "uefi1"} {
		g, err := l.Boot(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		guests[name] = g
	}
	// bios1 is the faster: it has its script, and not yet its files, when the commit comes; uefi1 is still in its firmware.
	if _, err := steps.Line(ctx, "^bios1 .* script "); err != nil {
		t.Fatal(err)
	}
	if err := l.Commit(ctx, "busybox: second"); err != nil {
		t.Fatal(err)
	}
	if err := l.Served(ctx); err != nil {
		t.Fatal(err)
	}
	var both errgroup.Group
	for name, g := range guests {
		both.Go(func() error {
			args, err := CheckCommandLine(ctx, g, name, "first", "second")
			if err != nil {
				return err
			}
			image, err := g.Line(ctx, "GUEST IMAGE ")
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			t.Logf("%s booted with the arguments of the %s commit and said %q", name, args, image)
			if image != "GUEST IMAGE "+args {
				return fmt.Errorf("%s has the arguments of the %s commit, and said %q", name, args, image)
			}
			return g.PoweredOff(ctx)
		})
	}
	if err := both.Wait(); err != nil {
		t.Error(err)
	}
}

// secondInitrd puts an initrd beside the first in which the machine knows that it is the second: a kernel unpacks archives that follow
// one another as one.
func secondInitrd(t *testing.T, l *Lab) {
	t.Helper()
	initrd, err := os.ReadFile(filepath.Join(l.Files, "initrd.gz"))
	if err != nil {
		t.Fatal(err)
	}
	var more bytes.Buffer
	z := gzip.NewWriter(&more)
	writeCPIO(z, "image", "second")
	writeCPIO(z, "TRAILER!!!", "")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.Files, "second.gz"), append(initrd, more.Bytes()...), 0o644); err != nil {
		t.Fatal(err)
	}
}

// writeCPIO writes one file in the format of the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
func writeCPIO(w *gzip.Writer, name, content string) {
	const regular = 0o100644
	fields := [13]int{0, regular, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0}
	fmt.Fprint(w, "070701")
	for _, f := range fields {
		fmt.Fprintf(w, "%08X", f)
	}
	pad := func(n int) string { return strings.Repeat("\x00", (4-n%4)%4) }
	fmt.Fprint(w, name, "\x00", pad(110+len(name)+1), content, pad(len(content)))
}

// kill -9 in the middle of a boot: the next process knows the leases and the revision, though the source is gone, and
// the machine boots.
func TestKillWhileMachineBoots(t *testing.T) {
	ctx, l := running(t)
	steps := events(ctx, t, l)
	g, err := l.Boot(ctx, "uefi1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := steps.Line(ctx, "^uefi1 .* script "); err != nil {
		t.Fatal(err)
	}
	before, revision := leases(ctx, t, l), served(ctx, t, l)
	l.Server.Kill()
	<-l.Server.Done()
	if err := os.Rename(l.Repo, l.Repo+".gone"); err != nil {
		t.Fatal(err)
	}
	if err := l.Serve(ctx); err != nil {
		t.Fatal(err)
	}
	if after := served(ctx, t, l); after != revision {
		t.Errorf("after the kill, %s is served; before, %s was", after, revision)
	}
	if len(before) != 1 || before[0].Node != "uefi1" {
		t.Errorf("leases before: %+v", before)
	}
	after := leases(ctx, t, l)
	if len(after) != len(before) {
		t.Fatalf("leases after the kill: %+v; before: %+v", after, before)
	}
	for i, b := range before { // the machine may have renewed meanwhile
		if a := after[i]; a.Addr != b.Addr || a.MAC != b.MAC || a.Expires.Before(b.Expires.Add(-time.Second)) {
			t.Errorf("a lease after the kill: %+v; before: %+v", a, b)
		}
	}
	if _, err := CheckCommandLine(ctx, g, "uefi1", "first"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Line(ctx, "GUEST READY"); err != nil {
		t.Error(err)
	}
	if err := g.PoweredOff(ctx); err != nil {
		t.Error(err)
	}
}

func leases(ctx context.Context, t *testing.T, l *Lab) (ls []fact.Lease) {
	t.Helper()
	cmd := l.Hostler(ctx, "leases", "-json")
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &ls)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return ls
}

// served is the revision that status names.
func served(ctx context.Context, t *testing.T, l *Lab) string {
	t.Helper()
	cmd := l.Hostler(ctx, "status")
	out, _ := cmd.Output() // it ends with an error while the source is gone
	revision := regexp.MustCompile(`(?m)^Revision +(main@sha1:[0-9a-f]+) `).FindStringSubmatch(string(out))
	if revision == nil {
		t.Fatalf("%s names no revision:\n%s", cmd, out)
	}
	return revision[1]
}
