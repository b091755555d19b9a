package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"

	"hostler/render/fact"
)

// local is a repository on this machine, read in place and never written: somebody else commits, pushes or repacks.
type local struct {
	dir    string
	branch string // empty: what HEAD names
	path   string
}

func (l *local) Kind() Kind     { return GitLocal }
func (l *local) String() string { return filepath.Join(l.dir, l.path) }

func (l *local) open() (*git.Repository, layout, error) {
	lay, err := findLayout(l.dir)
	if err != nil {
		return nil, lay, err
	}
	r, err := lay.open()
	return r, lay, err
}

// headRef is the name of the branch, "HEAD" when it is detached.
func (l *local) headRef(r *git.Repository) (plumbing.ReferenceName, error) {
	if l.branch != "" {
		return plumbing.NewBranchReferenceName(l.branch), nil
	}
	ref, err := r.Reference(plumbing.HEAD, false)
	if err != nil {
		return "", err
	}
	if ref.Type() == plumbing.SymbolicReference {
		return ref.Target(), nil
	}
	return plumbing.HEAD, nil
}

// Head implements Source.
func (l *local) Head(context.Context) (fact.Revision, error) {
	r, _, err := l.open()
	if err != nil {
		return "", fmt.Errorf("source: %s: %w", l, err)
	}
	name, err := l.headRef(r)
	if err != nil {
		return "", fmt.Errorf("source: %s: %w", l, err)
	}
	ref, err := r.Reference(name, true)
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		return "", fmt.Errorf("source: %s: branch %s: no such branch, or no commit on it yet", l, name.Short())
	}
	if err != nil {
		return "", fmt.Errorf("source: %s: branch %s: %w", l, name.Short(), err)
	}
	return newRevision(name.Short(), ref.Hash()), nil
}

// Resolve implements Source.
func (l *local) Resolve(ctx context.Context, name string) (fact.Revision, error) {
	head, err := l.Head(ctx)
	if name == "" {
		return head, err
	}
	r, _, err := l.open()
	if err != nil {
		return "", fmt.Errorf("source: %s: %w", l, err)
	}
	rev, err := resolve(r, branchOf(head), name)
	if err != nil {
		return "", fmt.Errorf("source: %s: %s: %w", l, name, err)
	}
	return rev, nil
}

// Open implements Source.
func (l *local) Open(_ context.Context, rev fact.Revision) (*Tree, error) {
	r, lay, err := l.open()
	if err != nil {
		return nil, fmt.Errorf("source: %s: %w", l, err)
	}
	c, err := commitAt(r, rev)
	if err != nil {
		return nil, fmt.Errorf("source: %s: %s: %w", l, rev.Short(), l.explain(err))
	}
	blobs := &blobReader{lay: lay}
	t, err := tree(c, rev, l.path, func(f File) (io.ReadCloser, int64, error) {
		rd, n, err := blobs.read(f)
		return rd, n, l.explain(err)
	})
	if err != nil {
		return nil, fmt.Errorf("source: %s: %s: %w", l, rev.Short(), l.explain(err))
	}
	return t, nil
}

// explain says what a missing object means: a repack between two reads, or a partial clone, which only git can complete.
func (l *local) explain(err error) error {
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return fmt.Errorf("%w: object not found (a partial clone, made with --filter, cannot be read)", ErrStale)
	}
	return err
}

// Since implements Source.
func (l *local) Since(ctx context.Context, from, to fact.Revision) (Log, error) {
	lay, err := findLayout(l.dir)
	if err != nil {
		return Log{}, fmt.Errorf("source: %s: %w", l, err)
	}
	log, err := since(ctx, lay, from, to)
	if err != nil {
		return Log{}, fmt.Errorf("source: %s: %s: %w", l, to.Short(), err)
	}
	return log, nil
}
