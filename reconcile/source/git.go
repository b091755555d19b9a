package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"

	"hostler/render/fact"
)

// maxLog bounds how many commits Since lists, and maxWalk how many it looks at to find out about a rewind.
const (
	maxLog  = 1000
	maxWalk = 200_000
)

// layout is where a repository keeps its files: the git directory of the work tree, and the common one that linked work
// trees share. They are equal for all others.
type layout struct{ git, common string }

// findLayout follows a .git file, as linked work trees and submodules have, and commondir.
func findLayout(dir string) (layout, error) {
	gitDir := filepath.Join(dir, ".git")
	st, err := os.Stat(gitDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		gitDir = dir
	case err != nil:
		return layout{}, err
	case !st.IsDir():
		b, err := os.ReadFile(gitDir)
		if err != nil {
			return layout{}, err
		}
		to, ok := strings.CutPrefix(strings.TrimSpace(string(b)), "gitdir: ")
		if !ok {
			return layout{}, fmt.Errorf("%s names no git directory", gitDir)
		}
		gitDir = absolute(dir, to)
	}
	l := layout{gitDir, gitDir}
	if b, err := os.ReadFile(filepath.Join(gitDir, "commondir")); err == nil {
		l.common = absolute(gitDir, strings.TrimSpace(string(b)))
	}
	return l, nil
}

func absolute(base, p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(base, p)
}

// storage gives go-git's view of the repository. Large blobs are streamed, alternates (clone --shared) are followed.
func (l layout) storage() *filesystem.Storage {
	var files billy.Filesystem = osfs.New(l.git)
	if l.common != l.git {
		files = dotgit.NewRepositoryFilesystem(files, osfs.New(l.common))
	}
	return filesystem.NewStorageWithOptions(files, cache.NewObjectLRU(16*cache.MiByte),
		filesystem.Options{LargeObjectThreshold: wholeSize, AlternatesFS: osfs.New("/")})
}

// open gives a Repository value that sees what is on disk now. go-git's does not notice a repack (go-git#2242), so
// none is kept for longer than one step.
func (l layout) open() (*git.Repository, error) {
	r, err := git.Open(l.storage(), nil)
	if err == nil {
		return r, nil
	}
	if strings.Contains(strings.ToLower(err.Error()), "extension") {
		return nil, fmt.Errorf("%w: the repository uses a git extension that hostler cannot read; "+
			"after `git sparse-checkout`, `git sparse-checkout disable` and `git config --unset extensions.worktreeConfig` help", err)
	}
	return nil, err
}

// newRevision names a commit as "branch@sha1:HEX".
func newRevision(branch string, h plumbing.Hash) fact.Revision {
	return fact.Revision(branch + "@sha1:" + h.String())
}

// hashOf is the commit that a revision names; ok is false for a revision of another kind of source.
func hashOf(rev fact.Revision) (plumbing.Hash, bool) {
	i := strings.LastIndex(string(rev), "@sha1:")
	if i < 0 || !plumbing.IsHash(string(rev)[i+6:]) {
		return plumbing.ZeroHash, false
	}
	return plumbing.NewHash(string(rev)[i+6:]), true
}

// commitAt finds the commit of a revision.
func commitAt(r *git.Repository, rev fact.Revision) (*object.Commit, error) {
	h, ok := hashOf(rev)
	if !ok {
		return nil, fmt.Errorf("%s is not a git revision", rev)
	}
	return r.CommitObject(h)
}

func newCommit(branch string, c *object.Commit) Commit {
	subject, _, _ := strings.Cut(strings.TrimSpace(c.Message), "\n")
	if len(subject) > 200 {
		subject = strings.ToValidUTF8(subject[:200], "") + "..."
	}
	return Commit{Revision: newRevision(branch, c.Hash), Author: c.Author.String(), Time: c.Committer.When.UTC(), Subject: subject}
}

// branchOf is the part of a revision before its hash.
func branchOf(rev fact.Revision) string {
	branch, _, _ := strings.Cut(string(rev), "@sha1:")
	return branch
}

// tree lists a commit's files below sub. open reads a blob.
func tree(c *object.Commit, rev fact.Revision, sub string, open func(File) (io.ReadCloser, int64, error)) (*Tree, error) {
	root, err := c.Tree()
	if err == nil && sub != "" {
		if root, err = root.Tree(sub); errors.Is(err, object.ErrDirectoryNotFound) {
			return nil, fmt.Errorf("no folder %s in this revision", sub)
		}
	}
	if err != nil {
		return nil, err
	}
	walker := object.NewTreeWalker(root, true, nil)
	defer walker.Close()
	var files []File
	for {
		name, e, err := walker.Next()
		if errors.Is(err, io.EOF) {
			return NewTree(newCommit(branchOf(rev), c), files, open), nil
		}
		if err != nil {
			return nil, err
		}
		f := File{Name: name, Key: "git:" + e.Hash.String(), Size: -1}
		switch e.Mode {
		case filemode.Dir:
			continue
		case filemode.Symlink:
			f.Problem = "is a symbolic link, which is not followed"
		case filemode.Submodule:
			f.Problem = "is a git submodule, which is not followed"
		}
		if files = append(files, f); len(files) > MaxFiles {
			return nil, fmt.Errorf("holds more than %d files", MaxFiles)
		}
	}
}

// blobReader reads the blobs of one tree. It keeps a Repository value, because opening one reads the packs' indexes, and
// opens another when an object is not where that value believes it to be: the repository was repacked.
type blobReader struct {
	lay layout
	r   *git.Repository
}

func (b *blobReader) read(f File) (io.ReadCloser, int64, error) {
	fresh := b.r == nil
	for {
		if b.r == nil {
			r, err := b.lay.open()
			if err != nil {
				return nil, 0, err
			}
			b.r = r
		}
		rd, size, err := readBlob(b.r, f)
		if err == nil || fresh {
			return rd, size, err
		}
		b.r, fresh = nil, true
	}
}

func readBlob(r *git.Repository, f File) (io.ReadCloser, int64, error) {
	b, err := r.BlobObject(plumbing.NewHash(strings.TrimPrefix(f.Key, "git:")))
	if err != nil {
		return nil, 0, err
	}
	rd, err := b.Reader()
	return rd, b.Size, err
}

// since walks from the newer commit along first parents, which are the states that the branch went through, down
// to what the older one already contained.
func since(ctx context.Context, l layout, from, to fact.Revision) (Log, error) {
	if from == to {
		return Log{}, nil
	}
	r, err := l.open()
	if err != nil {
		return Log{}, err
	}
	c, err := commitAt(r, to)
	if err != nil {
		return Log{}, err
	}
	old, known := hashOf(from)
	var log Log
	chain, found, err := firstParents(ctx, r, c, old)
	if err != nil {
		return Log{}, err
	}
	switch {
	case !known:
		chain = chain[:1] // the first revision ever, or another kind of source before
	case !found:
		chain, log.Rewind, err = cutContained(ctx, r, chain, c, old)
		if err != nil {
			return Log{}, err
		}
	}
	for i := len(chain) - 1; i >= 0; i-- {
		log.Commits = append(log.Commits, newCommit(branchOf(to), chain[i]))
	}
	return log, nil
}

// firstParents lists commits from c along first parents until stop, newest first. It ends early at a shallow boundary.
func firstParents(ctx context.Context, r *git.Repository, c *object.Commit, stop plumbing.Hash) (chain []*object.Commit, found bool, err error) {
	for len(chain) < maxLog && ctx.Err() == nil {
		if c.Hash == stop {
			return chain, true, nil
		}
		chain = append(chain, c)
		if len(c.ParentHashes) == 0 {
			break
		}
		if c, err = r.CommitObject(c.ParentHashes[0]); errors.Is(err, plumbing.ErrObjectNotFound) {
			break
		}
		if err != nil {
			return nil, false, err
		}
	}
	return chain, false, ctx.Err()
}

// cutContained drops from the chain what old contains, and tells whether c contains old: it may, by a second parent.
func cutContained(ctx context.Context, r *git.Repository, chain []*object.Commit, c *object.Commit, old plumbing.Hash) ([]*object.Commit, bool, error) {
	above, err := ancestors(ctx, r, c.Hash)
	if err != nil {
		return nil, false, err
	}
	below, err := ancestors(ctx, r, old)
	if err != nil {
		return nil, false, err
	}
	for i, x := range chain {
		if below[x.Hash] && i > 0 {
			chain = chain[:i]
			break
		}
	}
	return chain, !above[old], nil
}

// ancestors is the set of commits reachable from h, itself included. Missing objects end a line: old may be gone after a rewind.
func ancestors(ctx context.Context, r *git.Repository, h plumbing.Hash) (map[plumbing.Hash]bool, error) {
	set := map[plumbing.Hash]bool{}
	for todo := []plumbing.Hash{h}; len(todo) > 0 && len(set) < maxWalk; {
		h, todo = todo[len(todo)-1], todo[:len(todo)-1]
		if set[h] {
			continue
		}
		set[h] = true
		c, err := r.CommitObject(h)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		todo = append(todo, c.ParentHashes...)
	}
	return set, nil
}

// resolve finds a revision by a name that git understands.
func resolve(r *git.Repository, branch, name string) (fact.Revision, error) {
	if h, ok := hashOf(fact.Revision(name)); ok {
		_, err := r.CommitObject(h)
		return fact.Revision(name), err
	}
	h, err := r.ResolveRevision(plumbing.Revision(name))
	if err != nil {
		return "", err
	}
	if _, err := r.Reference(plumbing.NewBranchReferenceName(name), true); err == nil {
		branch = name
	}
	return newRevision(branch, *h), nil
}
