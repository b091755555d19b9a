package reconcile

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"hostler/reconcile/source"
	"hostler/render/fact"
)

// keepObserved is how many observed states of a directory are kept for Apply.
const keepObserved = 10

// manifest is an observed directory whose contents were copied into the blobs.
type manifest struct {
	Format int
	Commit source.Commit
	Files  []source.File
}

// wait is what happens instead of advance when sync is manual.
func (r *Reconciler) wait(ctx context.Context, head fact.Revision) error {
	cur := r.current()
	if cur != nil && cur.Commit.Revision == head {
		return r.refresh(ctx, cur, r.c.Now())
	}
	if err := r.keep(ctx, head); err != nil {
		f := classify(err)
		if f.reason == FetchFailed {
			return f // cycle tries again, and reports
		}
		return r.report(ctx, head, f)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	ready, _ := r.status.Condition(Ready)
	if r.status.Pending == head && ready.Reason != FetchFailed && ready.Reason != ApplyFailed {
		return nil // a refusal of it stays to be seen
	}
	r.status.Pending = head
	message := head.Short() + " waits to be applied"
	r.status.set(r.c.Now(), Condition{Type: Ready, Status: cur != nil, Reason: AwaitingApply, Message: message})
	r.c.Log.Info("revision observed; it waits to be applied", "revision", head)
	return nil
}

// promote applies what a person chose.
func (r *Reconciler) promote(ctx context.Context, rev fact.Revision) error {
	began := r.c.Now()
	err := stale(ctx, func() error {
		target, err := r.find(ctx, rev)
		if err != nil {
			return err
		}
		return r.advance(ctx, target, began, options{force: true, rewind: true, settled: true})
	})
	var f *failure
	if errors.As(err, &f) && f.reason == FetchFailed {
		return r.report(ctx, r.last.rev, f)
	}
	return err
}

// preview prepares without applying.
func (r *Reconciler) preview(ctx context.Context, rev fact.Revision) (l *Loaded, err error) {
	err = stale(ctx, func() error {
		target, err := r.find(ctx, rev)
		if err != nil {
			return err
		}
		cand, fail := r.prepare(ctx, target, r.c.Now(), options{rewind: true})
		l = cand.loaded()
		if fail != nil {
			return fail
		}
		return nil
	})
	return l, err
}

// find resolves a revision that was observed. Only when sync is manual may it be another than the newest: else the next cycle would
// undo it.
func (r *Reconciler) find(ctx context.Context, rev fact.Revision) (fact.Revision, error) {
	if rev != "" {
		if path, err := r.observed(rev); err == nil && path != "" {
			m, err := readManifest(path)
			return m.Commit.Revision, err
		}
	}
	target, err := r.c.Source.Resolve(ctx, string(rev))
	if err != nil {
		return "", err
	}
	if r.c.Sync == Manual {
		return target, r.keep(ctx, target)
	}
	head, err := r.observe(ctx)
	if err == nil && head != target {
		err = fmt.Errorf("%s is not the newest revision, which is %s: sync is auto, and would go back to it", target.Short(), head.Short())
	}
	return target, err
}

// open gives the tree of a revision, from the copies if there are any.
func (r *Reconciler) open(ctx context.Context, rev fact.Revision) (*source.Tree, error) {
	if path, err := r.observed(rev); err == nil && path != "" {
		if m, err := readManifest(path); err == nil {
			return source.NewTree(m.Commit, m.Files, r.openCopy), nil
		}
	}
	return r.c.Source.Open(ctx, rev)
}

func (r *Reconciler) openCopy(f source.File) (io.ReadCloser, int64, error) {
	b, err := r.blobs.open(f.Digest)
	return b, f.Size, err
}

func (r *Reconciler) observedDir() string { return filepath.Join(r.c.StateDir, "observed") }

// keep copies a directory's contents into the state, because they may be different when somebody applies them. A git
// repository keeps its own.
func (r *Reconciler) keep(ctx context.Context, rev fact.Revision) error {
	if r.c.Source.Kind() != source.Directory {
		return nil
	}
	if path, err := r.observed(rev); err == nil && path != "" {
		return nil
	}
	tree, err := r.c.Source.Open(ctx, rev)
	if err != nil {
		return err
	}
	m := manifest{Format: formatVersion, Commit: tree.Commit, Files: tree.Files()}
	for _, f := range m.Files {
		if f.Problem != "" || r.blobs.has(f.Digest, f.Size) {
			continue
		}
		if err := r.copyFile(tree, f); err != nil {
			return fmt.Errorf("keeping %s: %w", f.Name, err)
		}
	}
	return r.saveManifest(rev, m)
}

// copyFile copies one file. What the tree itself refuses to open stays refused.
func (r *Reconciler) copyFile(tree *source.Tree, f source.File) error {
	rd, err := tree.Open(f.Name)
	if errors.Is(err, source.ErrStale) {
		return err
	}
	if err != nil {
		return nil
	}
	defer rd.Close()
	d, _, err := r.blobs.put(rd, source.MaxFileSize)
	if err == nil && d != f.Digest {
		err = source.ErrStale
	}
	return err
}

func (r *Reconciler) saveManifest(rev fact.Revision, m manifest) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.observedDir(), 0o700); err != nil {
		return &stateError{err}
	}
	tmp, err := os.CreateTemp(r.observedDir(), "tmp-")
	if err != nil {
		return &stateError{err}
	}
	defer os.Remove(tmp.Name()) // nothing to remove after the rename
	defer tmp.Close()
	if _, err := io.Copy(tmp, bytes.NewReader(b)); err != nil {
		return &stateError{err}
	}
	if err := publish(tmp, filepath.Join(r.observedDir(), hexOf(rev)+".json")); err != nil {
		return &stateError{err}
	}
	return r.pruneObserved()
}

// hexOf is the hash of a directory's revision.
func hexOf(rev fact.Revision) string { return strings.TrimPrefix(string(rev), "dir@sha256:") }

// observed finds the manifest of a revision, or of the one that begins like it; no path when there is none.
func (r *Reconciler) observed(rev fact.Revision) (string, error) {
	prefix := hexOf(rev)
	if prefix == string(rev) || len(prefix) < 12 {
		return "", nil
	}
	if _, err := hex.DecodeString(prefix[:len(prefix)/2*2]); err != nil {
		return "", nil
	}
	found, err := filepath.Glob(filepath.Join(r.observedDir(), prefix+"*.json"))
	if err != nil || len(found) != 1 {
		return "", err
	}
	return found[0], nil
}

func readManifest(path string) (manifest, error) {
	var m manifest
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	return m, err
}

// manifests lists the observed directories, newest first.
func (r *Reconciler) manifests() ([]string, error) {
	entries, err := os.ReadDir(r.observedDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	times := map[string]int64{}
	var paths []string
	for _, e := range entries {
		if st, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), ".json") {
			p := filepath.Join(r.observedDir(), e.Name())
			times[p] = st.ModTime().UnixNano()
			paths = append(paths, p)
		}
	}
	sort.Slice(paths, func(i, j int) bool { return times[paths[i]] > times[paths[j]] })
	return paths, err
}

func (r *Reconciler) pruneObserved() error {
	paths, err := r.manifests()
	for len(paths) > keepObserved {
		err = errors.Join(err, os.Remove(paths[len(paths)-1]))
		paths = paths[:len(paths)-1]
	}
	return err
}

// observedBlobs adds every digest that a kept directory needs.
func (r *Reconciler) observedBlobs(keep map[fact.Digest]bool) error {
	paths, err := r.manifests()
	for _, p := range paths {
		m, merr := readManifest(p)
		err = errors.Join(err, merr)
		for _, f := range m.Files {
			keep[f.Digest] = true
		}
	}
	return err
}
