package reconcile

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler/reconcile/ledger"
	"hostler/reconcile/source"
	"hostler/render/fact"
)

// TestMain makes the test program evaluate when it is started as a child, as cmd does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == WorkerArg {
		os.Exit(WorkerMain(os.Stdin, os.Stdout))
	}
	if len(os.Args) > 1 && os.Args[1] == crashArg {
		crashMain(os.Args[2:])
	}
	os.Exit(m.Run())
}

// specText is a small spec; arg becomes a kernel argument, and files the folder of its store.
func specText(arg, files string) string {
	return fmt.Sprintf(`spec {
  language = 1
}
store "lab" {
  local {
    path = %q
  }
}
image "busybox" {
  arch = "x86_64"
  file "kernel" {
    store = store.lab
    key   = "vmlinuz"
  }
  file "initrd" {
    path = "initrd.gz"
  }
}
subnet "lab" {
  cidr    = "10.77.0.0/24"
  gateway = "10.77.0.254"
  pool "reserved" {
    range  = "10.77.0.10-10.77.0.99"
    serves = "reserved"
  }
}
node "n1" {
  subnet      = subnet.lab
  mac         = "52:54:00:77:00:01"
  address     = "10.77.0.11"
  image       = image.busybox
  kernel_args = { mark = %q }
}
`, files, arg)
}

// rig is a reconciler on a source of its own.
type rig struct {
	t       testing.TB
	dir     string // the source
	files   string // the local store
	state   string
	ledger  string // its file
	git     bool
	config  func(*Config)
	r       *Reconciler
	log     *safeBuffer
	applied chan fact.Revision
	stop    func()
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}
func (b *safeBuffer) String() string { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

// newRig makes a source that holds a good spec. kind is "git" or "directory".
func newRig(t testing.TB, kind string, config func(*Config)) *rig {
	t.Helper()
	base := t.TempDir()
	g := &rig{t: t, dir: base + "/src", files: base + "/files", state: base + "/state", ledger: base + "/ledger.db", git: kind == "git", config: config,
		log: &safeBuffer{}}
	writeFile(t, g.files+"/vmlinuz", "kernel")
	writeFile(t, g.dir+"/initrd.gz", "initrd")
	writeFile(t, g.dir+"/spec.boot.hcl", specText("one", g.files))
	if g.git {
		g.run("init", "-q", "-b", "main")
		g.commit("first")
	}
	t.Cleanup(func() {
		if g.stop != nil {
			g.stop()
		}
		if t.Failed() {
			t.Log(g.log.String())
		}
	})
	return g
}

func writeFile(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (g *rig) run(args ...string) string {
	g.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", g.dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		g.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (g *rig) commit(subject string) fact.Revision {
	g.t.Helper()
	g.run("add", "-A")
	g.run("commit", "-q", "--allow-empty", "-m", subject)
	return fact.Revision("main@sha1:" + g.run("rev-parse", "HEAD"))
}

// set changes the spec's kernel argument, and commits it where the source is git.
func (g *rig) set(arg string) fact.Revision {
	g.t.Helper()
	return g.save("spec.boot.hcl", specText(arg, g.files), "set "+arg)
}

func (g *rig) save(name, text, subject string) fact.Revision {
	g.t.Helper()
	writeFile(g.t, filepath.Join(g.dir, name), text)
	if !g.git {
		return ""
	}
	return g.commit(subject)
}

// new makes the reconciler. The ledger lies beside the state directory, so that tests can fill that or make it read-only.
func (g *rig) new() (*Reconciler, func(), error) {
	g.t.Helper()
	src, err := source.New(source.Options{Location: g.dir, Mirror: g.state + "/mirror"})
	if err != nil {
		g.t.Fatal(err)
	}
	if err := os.MkdirAll(g.state, 0o755); err != nil {
		g.t.Fatal(err)
	}
	store, err := ledger.Open(g.ledger)
	if err != nil {
		g.t.Fatal(err)
	}
	g.applied = make(chan fact.Revision, 100)
	c := Config{Source: src, Ledger: store, StateDir: g.state, Poll: time.Hour,
		Log:   slog.New(slog.NewTextHandler(g.log, nil)),
		Probe: func(rev fact.Revision, _ time.Duration) { g.applied <- rev }}
	if g.config != nil {
		g.config(&c)
	}
	r, err := New(c)
	if err != nil {
		store.Close()
		return nil, nil, err
	}
	return r, func() { store.Close() }, nil
}

// start runs the reconciler until stop or the test's end.
func (g *rig) start() *Reconciler {
	g.t.Helper()
	r, closeStore, err := g.new()
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			g.t.Errorf("Run: %v", err)
		}
	})
	g.r = r
	g.stop = func() { cancel(); wg.Wait(); closeStore(); g.stop = nil }
	return r
}

// await waits for the probe.
func (g *rig) await() fact.Revision {
	g.t.Helper()
	select {
	case rev := <-g.applied:
		return rev
	case <-time.After(30 * time.Second):
		g.t.Fatalf("nothing was applied: %+v", g.r.Status())
		return ""
	}
}

// mark is the kernel argument that is served.
func (g *rig) mark() string {
	g.t.Helper()
	s, _ := g.r.Current()
	if s == nil {
		return "nothing"
	}
	n, ok := s.Node("n1")
	if !ok {
		return "no node"
	}
	mark, _, _ := strings.Cut(strings.TrimPrefix(n.KernelArgs, "mark="), " ")
	return mark
}

func (g *rig) wantMark(want string) {
	g.t.Helper()
	if got := g.mark(); got != want {
		g.t.Errorf("served is %q, not %q", got, want)
	}
}

// wantRefused reconciles, and expects a refusal with the reason and the text, and the old mark in force.
func (g *rig) wantRefused(reason Reason, text, mark string) {
	g.t.Helper()
	err := g.r.Reconcile(context.Background())
	if err == nil || !strings.Contains(err.Error(), text) {
		g.t.Errorf("got %v, want ...%s...", err, text)
	}
	c, _ := g.r.Status().Condition(Ready)
	if c.Status || c.Reason != reason || !strings.Contains(c.Message, text) {
		g.t.Errorf("condition %+v", c)
	}
	g.wantMark(mark)
}

func (g *rig) reconcile() {
	g.t.Helper()
	if err := g.r.Reconcile(context.Background()); err != nil {
		g.t.Fatal(err)
	}
}
