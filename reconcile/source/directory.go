package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"hostler/render/fact"
)

// directory is a folder whose files are served as they are. Its revision is a hash of every path and content, so
// that equal folders on two machines have equal revisions.
type directory struct {
	dir  string // absolute
	path string
	now  func() time.Time
	seen map[string]seen // digests by path, so that a poll reads only what changed
	last *Tree           // of the newest Head
}

// seen is a digest and the key of the file that had it.
type seen struct {
	key    string
	digest fact.Digest
}

// wholeSize is up to what size a file is read at once and compared with the digest of its revision.
const wholeSize = 8 << 20

func (d *directory) Kind() Kind     { return Directory }
func (d *directory) String() string { return filepath.Join(d.dir, d.path) }

// Head implements Source.
func (d *directory) Head(ctx context.Context) (fact.Revision, error) {
	t, err := d.scan(ctx)
	if err != nil {
		return "", fmt.Errorf("source: %s: %w", d, trimPath(err))
	}
	d.last = t
	return t.Revision, nil
}

// Resolve implements Source. A directory has no past.
func (d *directory) Resolve(ctx context.Context, name string) (fact.Revision, error) {
	head, err := d.Head(ctx)
	if err != nil || name == "" || name == string(head) {
		return head, err
	}
	if len(name) >= len("dir@sha256:")+12 && strings.HasPrefix(string(head), name) {
		return head, nil
	}
	return "", fmt.Errorf("source: %s: %s: a directory has no revision but its present one, %s", d, name, head.Short())
}

// Open implements Source.
func (d *directory) Open(ctx context.Context, rev fact.Revision) (*Tree, error) {
	if d.last == nil || d.last.Revision != rev {
		head, err := d.Head(ctx)
		if err != nil {
			return nil, err
		}
		if head != rev {
			return nil, fmt.Errorf("source: %s: %s: %w", d, rev.Short(), ErrStale)
		}
	}
	return d.last, nil
}

// Since implements Source. What a directory was before is not known, and no revision of it is older than another; but files
// that come after a commit are those of a repository that is gone, or is being copied back, and nobody committed them.
func (d *directory) Since(_ context.Context, from, _ fact.Revision) (Log, error) {
	_, commit := hashOf(from)
	return Log{Rewind: commit}, nil
}

// scan lists and hashes the directory. Symbolic links to files inside it are followed (a mounted ConfigMap consists of them),
// those to directories are not, and those that lead out are refused by os.Root.
func (d *directory) scan(ctx context.Context) (*Tree, error) {
	root, err := os.OpenRoot(d.String())
	if err != nil {
		return nil, err
	}
	defer root.Close()
	s := scan{d: d, root: root, fresh: map[string]seen{}}
	err = fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return s.visit(name, e, err)
	})
	if err != nil {
		return nil, err
	}
	d.seen = s.fresh
	sort.Slice(s.files, func(i, j int) bool { return s.files[i].Name < s.files[j].Name })
	sum := sha256.New()
	for _, f := range s.files {
		fmt.Fprintf(sum, "%q %s %q\n", f.Name, f.Digest, f.Problem)
	}
	c := Commit{Revision: fact.Revision("dir@sha256:" + hex.EncodeToString(sum.Sum(nil))), Time: s.newest}
	return NewTree(c, s.files, d.read), nil
}

type scan struct {
	d      *directory
	root   *os.Root
	files  []File
	fresh  map[string]seen
	newest time.Time
}

func (s *scan) visit(name string, e fs.DirEntry, err error) error {
	if errors.Is(err, fs.ErrNotExist) && name != "." {
		return nil // went away between listing and looking: the watch or the poll looks again
	}
	if err != nil {
		return err
	}
	if name != "." && ignored(e.Name()) {
		if e.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	if e.IsDir() {
		return nil
	}
	f, err := s.file(name)
	if err != nil || f.Name == "" {
		return err
	}
	if s.files = append(s.files, f); len(s.files) > MaxFiles {
		return fmt.Errorf("holds more than %d files", MaxFiles)
	}
	return nil
}

// file describes one file; no name means that it went away.
func (s *scan) file(name string) (File, error) {
	st, err := s.root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return s.dangling(name)
	}
	if err != nil {
		return File{Name: name, Problem: "is a symbolic link that leads out of the directory, which is not followed"}, nil
	}
	if st.IsDir() {
		return File{Name: name, Problem: "is a symbolic link to a directory, which is not followed"}, nil
	}
	if !st.Mode().IsRegular() {
		return File{Name: name, Problem: "is not a regular file"}, nil
	}
	if st.Size() > MaxFileSize {
		return File{Name: name, Size: st.Size(), Problem: "is larger than 1 GiB"}, nil
	}
	f := File{Name: name, Key: FileKey(st), Size: st.Size()}
	if st.ModTime().After(s.newest) {
		s.newest = st.ModTime()
	}
	if old, ok := s.d.seen[name]; ok && old.key == f.Key {
		f.Digest = old.digest
	} else if f.Digest, err = s.hash(name); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return File{}, nil
		}
		return File{}, err
	}
	if Settled(st, s.d.now()) {
		s.fresh[name] = seen{f.Key, f.Digest}
	}
	return f, nil
}

func (s *scan) dangling(name string) (File, error) {
	if st, err := s.root.Lstat(name); err == nil && st.Mode()&fs.ModeSymlink != 0 {
		return File{Name: name, Problem: "is a symbolic link to nothing"}, nil
	}
	return File{}, nil
}

func (s *scan) hash(name string) (fact.Digest, error) {
	f, err := s.root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, MaxFileSize+1)); err != nil {
		return "", err
	}
	return fact.Digest(hex.EncodeToString(h.Sum(nil))), nil
}

// read opens a file of a revision, and fails with ErrStale if it is no longer that revision's. A large file's key is
// compared, and its reader compares the digest.
func (d *directory) read(f File) (io.ReadCloser, int64, error) {
	root, err := os.OpenRoot(d.String())
	if err != nil {
		return nil, 0, ErrStale
	}
	defer root.Close()
	r, err := root.Open(f.Name)
	if err != nil {
		return nil, 0, ErrStale
	}
	if st, err := r.Stat(); err != nil || st.Size() != f.Size {
		r.Close()
		return nil, 0, ErrStale
	}
	if f.Size > wholeSize {
		return r, f.Size, nil
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, f.Size+1))
	if err != nil {
		return nil, 0, err
	}
	if sum := sha256.Sum256(b); fact.Digest(hex.EncodeToString(sum[:])) != f.Digest {
		return nil, 0, ErrStale
	}
	return io.NopCloser(bytes.NewReader(b)), f.Size, nil
}

// ignored reports whether a file or folder is no part of a directory source: hidden ones, and what editors leave beside the
// file that they save.
func ignored(base string) bool {
	return strings.HasPrefix(base, ".") || strings.HasSuffix(base, "~") || base == "4913" || strings.HasPrefix(base, "#")
}

// FileKey identifies a file's content on this machine: device, inode, size, mtime and ctime.
func FileKey(st fs.FileInfo) string {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Sprintf("%d %d", st.Size(), st.ModTime().UnixNano())
	}
	return fmt.Sprintf("%d:%d %d %d.%09d %d.%09d", sys.Dev, sys.Ino, sys.Size,
		sys.Mtim.Sec, sys.Mtim.Nsec, sys.Ctim.Sec, sys.Ctim.Nsec)
}

// Settled reports whether the file's times are old enough for its key to be kept: the kernel stamps files with the time
// of its last tick, so one that was just written may change again and keep its key.
func Settled(st fs.FileInfo, now time.Time) bool {
	t := st.ModTime()
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		if c := time.Unix(sys.Ctim.Sec, sys.Ctim.Nsec); c.After(t) {
			t = c
		}
	}
	return now.Sub(t) > time.Second
}

// trimPath drops the operation and path from an error of the os package, for messages that name the path already.
func trimPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) && (pe.Path == "." || path.IsAbs(pe.Path)) {
		return pe.Err
	}
	return err
}
