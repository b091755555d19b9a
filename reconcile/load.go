package reconcile

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"hostler/reconcile/source"
	"hostler/render"
	"hostler/spec"
)

// Loaded is a revision that was evaluated and rendered without serving it.
type Loaded struct {
	source.Commit
	Fleet       *spec.Fleet
	Artifacts   render.Artifacts
	Snapshot    *render.Snapshot
	Diagnostics spec.Diagnostics
	Files       map[string][]byte // every file that was read, for printing source lines
}

func (c *candidate) loaded() *Loaded {
	l := &Loaded{Fleet: c.Fleet, Artifacts: c.Artifacts, Snapshot: c.snapshot, Diagnostics: c.diags, Files: c.record.Files}
	if c.tree != nil {
		l.Commit = c.tree.Commit
	}
	return l
}

// Load evaluates and renders for a command, without any state. The text is evaluated in a child process, as a server does it: CI
// validates what strangers propose. location is a directory, a repository or
// its URL. Without a revision, the files of a work tree are read as they are, committed or not. Files in stores that cannot be reached
// from here are left out: their digest is unknown here. The error is for what is not the spec's fault.
func Load(ctx context.Context, location, revision string, vars map[string]string) (*Loaded, spec.Diagnostics, error) {
	s, done, err := openForCommand(location, revision)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	rev, err := s.Resolve(ctx, revision)
	if err != nil {
		return nil, nil, err
	}
	tree, err := s.Open(ctx, rev)
	if err != nil {
		return nil, nil, err
	}
	return loadTree(ctx, tree, vars)
}

func loadTree(ctx context.Context, tree *source.Tree, vars map[string]string) (*Loaded, spec.Diagnostics, error) {
	files := newReading(tree, nil)
	l := &Loaded{Commit: tree.Commit, Files: files.files}
	var err error
	if l.Fleet, l.Diagnostics, err = InChild(Limits{})(ctx, spec.Input{Files: files, Vars: vars}); err != nil || l.Diagnostics.HasErrors() {
		return l, l.Diagnostics, err
	}
	if l.Artifacts, _, err = newObserver(nil, time.Now).observe(ctx, l.Fleet, tree, nil, nil); err != nil {
		return nil, nil, err
	}
	var ds spec.Diagnostics
	l.Snapshot, ds = render.Render(l.Fleet, l.Artifacts, render.Assignments{})
	l.Diagnostics = append(l.Diagnostics, ds...)
	return l, l.Diagnostics, nil
}

// openForCommand opens a source. A mirror of a remote one is made in a temporary folder, which done removes.
func openForCommand(location, revision string) (s source.Source, done func(), err error) {
	tmp, err := os.MkdirTemp("", "hostler-")
	if err != nil {
		return nil, nil, fmt.Errorf("making a temporary folder: %w", err)
	}
	done = func() { os.RemoveAll(tmp) }
	o := source.Options{Location: location, Mirror: filepath.Join(tmp, "mirror")}
	if revision == "" {
		s, err = source.NewWorkTree(o)
	} else {
		s, err = source.NewInside(o)
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return s, done, nil
}
