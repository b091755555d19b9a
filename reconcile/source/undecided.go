package source

import (
	"context"

	"hostler/render/fact"
)

// undecided is a place on this machine that is no repository, or that is not there at all: not mounted yet, or moved away.
// It is a directory until a repository is seen there, and that repository from then on, so that one that was gone when
// the server started is read at its commits when it is back.
type undecided struct {
	dir  *directory
	repo *local
	// plain ends when the repository is seen.
	plain context.Context
	seen  context.CancelFunc
}

func newUndecided(d *directory) *undecided {
	u := &undecided{dir: d, repo: &local{dir: d.dir, path: d.path}}
	u.plain, u.seen = context.WithCancel(context.Background())
	return u
}

// now is the source that the place is by now.
func (u *undecided) now() Source {
	if u.plain.Err() != nil {
		return u.repo
	}
	return u.dir
}

// Kind implements Source, as do the others.
func (u *undecided) Kind() Kind     { return u.now().Kind() }
func (u *undecided) String() string { return u.dir.String() }

// Head decides, and gives the newest revision.
func (u *undecided) Head(ctx context.Context) (fact.Revision, error) {
	if isRepository(u.dir.dir) {
		u.seen()
	}
	return u.now().Head(ctx)
}

// Resolve finds a revision.
func (u *undecided) Resolve(ctx context.Context, name string) (fact.Revision, error) {
	if _, err := u.Head(ctx); err != nil {
		return "", err
	}
	return u.now().Resolve(ctx, name)
}

// Open gives the files of a revision.
func (u *undecided) Open(ctx context.Context, rev fact.Revision) (*Tree, error) {
	return u.now().Open(ctx, rev)
}

// Since tells what came between two revisions.
func (u *undecided) Since(ctx context.Context, from, to fact.Revision) (Log, error) {
	return u.now().Since(ctx, from, to)
}

// Watch watches the directory, and when that has become a repository, the repository.
func (u *undecided) Watch(ctx context.Context, notify func()) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(u.plain, cancel)
	defer stop()
	if err := u.dir.Watch(inner, notify); err != nil || ctx.Err() != nil {
		return err
	}
	return u.repo.Watch(ctx, notify)
}
