package reconcile

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func TestLoad(t *testing.T) {
	ctx := context.Background()
	g := newRig(t, "git", nil)
	first := g.run("rev-parse", "HEAD")
	g.set("two")
	writeFile(t, g.dir+"/spec.boot.hcl", specText("three", g.files)) // not committed
	mark := func(l *Loaded) string {
		n, _ := l.Snapshot.Node("n1")
		mark, _, _ := strings.Cut(strings.TrimPrefix(n.KernelArgs, "mark="), " ")
		return mark
	}
	for revision, want := range map[string]string{"": "three", "HEAD": "two", "HEAD~1": "one", "main": "two", first[:12]: "one"} {
		l, ds, err := Load(ctx, g.dir, revision, nil)
		if err != nil || ds.HasErrors() {
			t.Fatalf("%q: %v %v", revision, ds, err)
		}
		if got := mark(l); got != want {
			t.Errorf("%q: %s, not %s", revision, got, want)
		}
		if _, ok := l.Files["spec.boot.hcl"]; !ok {
			t.Errorf("%q: the files that were read are missing", revision)
		}
		if a := l.Artifacts["path:initrd.gz"]; a.Digest != digestOf([]byte("initrd")).digest {
			t.Errorf("%q: %+v", revision, a)
		}
		if kind, _, _ := strings.Cut(string(l.Revision), ":"); (kind == "dir@sha256") != (revision == "") {
			t.Errorf("%q: revision %s", revision, l.Revision)
		}
	}
	t.Run("mistakes", func(t *testing.T) {
		writeFile(t, g.dir+"/spec.boot.hcl", "nonsense")
		l, ds, err := Load(ctx, g.dir, "", nil)
		if err != nil || !ds.HasErrors() || l.Snapshot != nil || string(l.Files["spec.boot.hcl"]) != "nonsense" {
			t.Errorf("%+v %v %v", l, ds, err)
		}
	})
	t.Run("no such revision", func(t *testing.T) {
		if _, _, err := Load(ctx, g.dir, "nope", nil); err == nil || !strings.Contains(err.Error(), "nope") {
			t.Error(err)
		}
	})
	t.Run("no such directory", func(t *testing.T) {
		_, _, err := Load(ctx, g.dir+"/none", "", nil)
		if want := "source: " + g.dir + "/none: no such file or directory"; err == nil || err.Error() != want {
			t.Error(err)
		}
	})
}

// A folder inside a repository is loaded as it is, or as it was at a revision.
func TestLoadFolderInRepository(t *testing.T) {
	g := newRig(t, "git", nil)
	if err := os.MkdirAll(g.dir+"/sites/a", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"spec.boot.hcl", "initrd.gz"} {
		if err := os.Rename(g.dir+"/"+name, g.dir+"/sites/a/"+name); err != nil {
			t.Fatal(err)
		}
	}
	g.commit("move")
	for _, revision := range []string{"", "HEAD"} {
		l, ds, err := Load(context.Background(), g.dir+"/sites/a", revision, nil)
		if err != nil || ds.HasErrors() || len(l.Fleet.Nodes) != 1 {
			t.Errorf("%q: %v %v", revision, ds, err)
		}
	}
}

// The example is loaded where its files are not: their digests are unknown here.
func TestLoadExample(t *testing.T) {
	l, ds, err := Load(context.Background(), "../examples/lab", "", map[string]string{"files": "/nonexistent/hostler"})
	if err != nil || ds.HasErrors() {
		t.Fatalf("%v %v", ds, err)
	}
	if _, ok := l.Artifacts["store:lab:vmlinuz"]; ok {
		t.Errorf("artifacts %+v", l.Artifacts)
	}
	if _, ok := l.Artifacts["builtin:ipxe.efi"]; !ok || len(l.Fleet.Nodes) != 2 {
		t.Errorf("artifacts %+v", l.Artifacts)
	}
	if !strings.HasPrefix(string(l.Revision), "dir@sha256:") {
		t.Error(l.Revision)
	}
}

// What runs away ends with the command: with its limits, and when somebody interrupts it.
func TestLoadIsStopped(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/a.boot.hcl", "spec {\n  language = 1\n}\nlocals {\n  a = range(1000)\n"+
		"  b = [for x in local.a : [for y in local.a : [for z in local.a : x + y + z]]]\n}\n")
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, ds, err := Load(ctx, dir, "", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(ds, err)
	}
}
