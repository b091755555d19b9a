// Package source gives revisions: what a git repository or a directory holds at one moment, with its author and time. It
// knows git and file systems, and nothing of what the files mean. Nothing is ever checked out: a revision is read
// as an fs.FS. A Source and its trees are used by one goroutine at a time, because go-git is not safe for more; only Watch
// runs beside the others.
package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hostler/render/fact"
)

// Source is where revisions come from.
type Source interface {
	// Kind says what sort of source it is.
	Kind() Kind
	// String names the source without secrets.
	String() string
	// Head is the newest revision. It is cheap: one round trip for a remote, a read of a ref or of changed files else.
	Head(ctx context.Context) (fact.Revision, error)
	// Resolve finds a revision by what people write: a revision, a branch, a tag, HEAD~1, the beginning of a hash.
	Resolve(ctx context.Context, name string) (fact.Revision, error)
	// Open fetches a revision and gives its files. ErrStale means that it went away meanwhile: ask for the head again.
	Open(ctx context.Context, rev fact.Revision) (*Tree, error)
	// Since tells how the source came from one revision to another.
	Since(ctx context.Context, from, to fact.Revision) (Log, error)
	// Watch calls notify once, and again whenever there may be a new head, until ctx ends (nil) or watching breaks. A
	// call is a hint: it may come without a change, and a change may come without a call.
	Watch(ctx context.Context, notify func()) error
}

// Kind is a sort of source.
type Kind string

// The kinds of source.
const (
	Directory Kind = "directory"
	GitLocal  Kind = "git local"
	GitRemote Kind = "git remote"
)

// Commit says where a revision comes from. A directory's has no author, and the time of its newest file.
type Commit struct {
	Revision fact.Revision
	Author   string
	Time     time.Time
	Subject  string
}

// Log is how a source came from one revision to another: the commits that the branch passed through, oldest first, the last
// is the newer revision. Rewind means that the newer one does not contain the older one: somebody reset the branch.
type Log struct {
	Commits []Commit
	Rewind  bool
}

// ErrStale means that a revision is no longer what it was: a file changed while it was read, a branch was
// rewritten between two steps, a repository was repacked. Starting again from Head helps.
var ErrStale = errors.New("the source changed while it was read")

// Options say how to reach a source.
type Options struct {
	Location   string // a directory, a repository on this machine, or a URL (ssh, https, or user@host:path)
	Branch     string // empty: the one that HEAD names
	Path       string // the spec's folder inside the source, slash-separated
	Mirror     string // where the mirror of a remote repository is kept; its parent must exist
	SSHKey     string // file with a private key; empty: the ssh agent
	KnownHosts string // file; empty: the user's and the system's
	User       string // for HTTPS; empty: "git"
	TokenFile  string // for HTTPS
	CAFile     string // for HTTPS, added to the system's authorities
	Now        func() time.Time
}

// New makes a source of the kind that the location is of. A directory is git only if it is itself a repository's root; a
// folder inside a repository is a directory. What is not there yet, or is no repository yet, may become one.
func New(o Options) (Source, error) {
	s, err := newSource(o)
	if d, ok := s.(*directory); ok {
		return newUndecided(d), err
	}
	return s, err
}

func newSource(o Options) (Source, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Path = strings.Trim(filepath.ToSlash(filepath.Clean("/"+o.Path)), "/")
	if isURL(o.Location) {
		return newRemote(o)
	}
	dir, err := filepath.Abs(strings.TrimPrefix(o.Location, "file://"))
	if err != nil {
		return nil, fmt.Errorf("source: %s: %w", o.Location, err)
	}
	if isRepository(dir) || o.Branch != "" && isGone(dir) {
		return &local{dir: dir, branch: o.Branch, path: o.Path}, nil
	}
	if o.Branch != "" {
		return nil, fmt.Errorf("source: %s: a branch was asked for, but it is not the root of a git repository", o.Location)
	}
	return &directory{dir: dir, path: o.Path, now: o.Now, seen: map[string]seen{}}, nil
}

// isURL reports whether a location names another machine: a URL with a host, or the scp form user@host:path.
func isURL(s string) bool {
	if u, err := url.Parse(s); err == nil && u.Host != "" && u.Scheme != "file" {
		return true
	}
	host, _, ok := strings.Cut(s, ":")
	return ok && !strings.Contains(host, "/") && host != "file"
}

// isRepository reports whether dir is the root of a work tree, a linked one too, or a bare repository.
func isRepository(dir string) bool {
	if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
		return true
	}
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// isGone reports whether there is nothing where a source should be: no directory, or one that waits for something to be
// mounted on it.
func isGone(dir string) bool {
	entries, err := os.ReadDir(dir)
	return errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0
}

// NewWorkTree is New for a command that looks at what is being edited: the work tree of a repository is read as a
// directory, committed or not.
func NewWorkTree(o Options) (Source, error) {
	s, err := newSource(o)
	if l, ok := s.(*local); ok {
		if _, err := os.Lstat(filepath.Join(l.dir, ".git")); err == nil {
			return &directory{dir: l.dir, path: l.path, now: time.Now, seen: map[string]seen{}}, nil
		}
	}
	return s, err
}

// NewInside is New for a command that names a revision: a folder inside a repository stands for that folder in the
// repository's history.
func NewInside(o Options) (Source, error) {
	s, err := newSource(o)
	d, ok := s.(*directory)
	if !ok {
		return s, err
	}
	for dir := d.String(); dir != "/"; dir = filepath.Dir(dir) {
		if !isRepository(dir) {
			continue
		}
		sub, err := filepath.Rel(dir, d.String())
		return &local{dir: dir, path: filepath.ToSlash(sub)}, err
	}
	return s, err
}
