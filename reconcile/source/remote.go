package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/memory"

	"hostler/render/fact"
)

// maxPacks is how many packs the mirror may collect before it is cloned again: every fetch adds one, and go-git never
// merges them.
const maxPacks = 100

// remote is a repository on another machine, read through a bare mirror of one branch. The mirror is a cache: whatever is wrong
// with it, it is cloned again beside and swapped.
type remote struct {
	o       Options
	branch  string // empty until the first Head, when the options name none
	damaged bool   // a read of the mirror failed
}

func newRemote(o Options) (Source, error) {
	if o.Mirror == "" {
		return nil, fmt.Errorf("source: %s: no folder for its mirror", redact(o.Location))
	}
	if _, err := transport.NewEndpoint(o.Location); err != nil {
		return nil, fmt.Errorf("source: %s: not a repository's URL", redact(o.Location))
	}
	return &remote{o: o, branch: o.Branch}, nil
}

func (r *remote) Kind() Kind { return GitRemote }

func (r *remote) String() string {
	s := redact(r.o.Location)
	if r.o.Path != "" {
		s += "//" + r.o.Path
	}
	return s
}

// redact drops the password, or the token that stands in its place, from a URL.
func redact(location string) string {
	u, err := url.Parse(location)
	if err != nil || u.User == nil {
		return location
	}
	if u.Scheme == "ssh" {
		u.User = url.User(u.User.Username())
	} else {
		u.User = nil
	}
	return u.String()
}

// Head implements Source: one ls-remote.
func (r *remote) Head(ctx context.Context) (fact.Revision, error) {
	a, err := r.access(ctx)
	if err != nil {
		return "", fmt.Errorf("source: %s: %w", r, err)
	}
	rem := git.NewRemote(memory.NewStorage(), &config.RemoteConfig{Name: "origin", URLs: []string{r.o.Location}})
	refs, err := rem.ListContext(ctx, &git.ListOptions{Auth: a.auth, CABundle: a.ca, ProxyOptions: a.proxy})
	if err != nil {
		return "", fmt.Errorf("source: %s: listing branches: %w", r, err)
	}
	branch := r.branch
	if branch == "" {
		branch = defaultBranch(refs)
	}
	for _, ref := range refs {
		if ref.Name() == plumbing.NewBranchReferenceName(branch) {
			r.branch = branch
			return newRevision(branch, ref.Hash()), nil
		}
	}
	return "", fmt.Errorf("source: %s: branch %s: no such branch on the remote", r, branch)
}

// defaultBranch is what the remote's HEAD names, else main.
func defaultBranch(refs []*plumbing.Reference) string {
	for _, ref := range refs {
		if ref.Name() == plumbing.HEAD && ref.Type() == plumbing.SymbolicReference {
			return ref.Target().Short()
		}
	}
	return "main"
}

// Resolve implements Source.
func (r *remote) Resolve(ctx context.Context, name string) (fact.Revision, error) {
	head, err := r.Head(ctx)
	if name == "" || err != nil {
		return head, err
	}
	if _, err := r.commit(ctx, head); err != nil {
		return "", fmt.Errorf("source: %s: %s: %w", r, head.Short(), err)
	}
	repo, err := r.mirror().open()
	if err != nil {
		return "", fmt.Errorf("source: %s: %w", r, err)
	}
	rev, err := resolve(repo, r.branch, name)
	if err != nil {
		return "", fmt.Errorf("source: %s: %s: %w", r, name, err)
	}
	return rev, nil
}

// Open implements Source.
func (r *remote) Open(ctx context.Context, rev fact.Revision) (*Tree, error) {
	t, err := r.openTree(ctx, rev)
	if err == nil {
		return t, nil
	}
	return nil, fmt.Errorf("source: %s: %s: %w", r, rev.Short(), err)
}

func (r *remote) openTree(ctx context.Context, rev fact.Revision) (*Tree, error) {
	c, err := r.commit(ctx, rev)
	if err != nil {
		return nil, err
	}
	blobs := &blobReader{lay: r.mirror()}
	return tree(c, rev, r.o.Path, func(f File) (io.ReadCloser, int64, error) {
		rd, n, err := blobs.read(f)
		if err != nil {
			r.damaged = true
			return nil, 0, fmt.Errorf("%w: %w", ErrStale, err)
		}
		return &watchedReader{rd, &r.damaged}, n, nil
	})
}

// watchedReader notes that a mirror's object cannot be read to its end.
type watchedReader struct {
	io.ReadCloser
	damaged *bool
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		*w.damaged = true
		err = fmt.Errorf("%w: %w", ErrStale, err)
	}
	return n, err
}

// Since implements Source.
func (r *remote) Since(ctx context.Context, from, to fact.Revision) (Log, error) {
	if _, err := r.commit(ctx, to); err != nil {
		return Log{}, fmt.Errorf("source: %s: %s: %w", r, to.Short(), err)
	}
	log, err := since(ctx, r.mirror(), from, to)
	if err != nil {
		r.damaged = true
		return Log{}, fmt.Errorf("source: %s: %s: %w", r, to.Short(), err)
	}
	return log, nil
}

// Watch implements Source. A remote sends no hints; it is polled.
func (r *remote) Watch(ctx context.Context, notify func()) error {
	notify()
	<-ctx.Done()
	return nil
}

func (r *remote) mirror() layout { return layout{r.o.Mirror, r.o.Mirror} }

// commit finds a revision's commit in the mirror, fetching what is missing, and making the mirror anew where it is broken.
func (r *remote) commit(ctx context.Context, rev fact.Revision) (*object.Commit, error) {
	if branchOf(rev) == "" {
		return nil, fmt.Errorf("%s is not a git revision", rev)
	}
	packs, _ := filepath.Glob(filepath.Join(r.o.Mirror, "objects", "pack", "*.pack"))
	if !r.damaged && len(packs) <= maxPacks {
		c, err := r.readable(rev)
		if err == nil {
			return c, nil
		}
		if err := r.fetch(ctx, r.o.Mirror, branchOf(rev)); err == nil {
			if c, err := r.readable(rev); err == nil {
				return c, nil
			}
		} else if unreachable(err) {
			return nil, err
		}
	}
	if err := r.clone(ctx, branchOf(rev)); err != nil {
		return nil, err
	}
	c, err := r.readable(rev)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStale, err) // rewritten between listing and fetching
	}
	return c, nil
}

// readable gives the commit if the mirror has it with all its folders.
func (r *remote) readable(rev fact.Revision) (*object.Commit, error) {
	repo, err := r.mirror().open()
	if err != nil {
		return nil, err
	}
	c, err := commitAt(repo, rev)
	if err != nil {
		return nil, err
	}
	root, err := c.Tree()
	if err != nil {
		return nil, err
	}
	w := object.NewTreeWalker(root, true, nil)
	defer w.Close()
	for err == nil {
		_, _, err = w.Next()
	}
	if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return c, nil
}

// fetch brings one branch into a mirror. The + matters: without it a branch that was force-pushed stays where it is, and with
// NoTags go-git does not even say so.
func (r *remote) fetch(ctx context.Context, dir, branch string) error {
	a, err := r.access(ctx)
	if err != nil {
		return &accessError{err}
	}
	lay := layout{dir, dir}
	repo, err := lay.open()
	if err != nil {
		if repo, err = git.Init(lay.storage(), nil); err != nil {
			return err
		}
	}
	ref := plumbing.NewBranchReferenceName(branch)
	ctx, storage, stop := stallable(ctx, lay.storage())
	defer stop()
	rem := git.NewRemote(storage, &config.RemoteConfig{Name: "origin", URLs: []string{r.o.Location}})
	err = rem.FetchContext(ctx, &git.FetchOptions{
		RefSpecs: []config.RefSpec{config.RefSpec("+" + ref.String() + ":" + ref.String())},
		Tags:     git.NoTags, Force: true, Auth: a.auth, CABundle: a.ca, ProxyOptions: a.proxy,
	})
	if err != nil && !errors.Is(err, git.NoErrAlreadyUpToDate) {
		if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
			err = cause
		}
		return &accessError{err}
	}
	return repo.Storer.SetReference(plumbing.NewSymbolicReference(plumbing.HEAD, ref))
}

// accessError is a failure of the remote, as opposed to one of the mirror.
type accessError struct{ err error }

func (e *accessError) Error() string { return "fetching: " + e.err.Error() }
func (e *accessError) Unwrap() error { return e.err }

// unreachable reports whether cloning again cannot help, because the remote is what failed.
func unreachable(err error) bool {
	var ae *accessError
	return errors.As(err, &ae) && !errors.Is(err, plumbing.ErrObjectNotFound)
}

// clone makes a new mirror beside the old one and swaps them.
func (r *remote) clone(ctx context.Context, branch string) error {
	fresh := r.o.Mirror + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := os.MkdirAll(fresh, 0o700); err != nil {
		return err
	}
	if err := r.fetch(ctx, fresh, branch); err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	if err := os.RemoveAll(r.o.Mirror); err != nil {
		return err
	}
	if err := os.Rename(fresh, r.o.Mirror); err != nil {
		return err
	}
	r.damaged = false
	return nil
}
