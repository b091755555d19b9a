package source

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"
	"time"

	"hostler/render/fact"
)

// Limits on what one revision may hold. They bound memory and time, and are far above what people keep in a repository.
const (
	MaxFiles    = 200_000
	MaxFileSize = 1 << 30
)

// File is one file of a tree.
type File struct {
	Name    string // slash-separated, relative to the spec's root
	Key     string // equal keys mean equal content, on this machine: a git blob id, or device, inode, size and times
	Digest  fact.Digest
	Size    int64  // -1 when not known before it is opened
	Problem string // why it cannot be read: a symbolic link, a submodule; empty when it can
}

// Tree is one revision's files, as an fs.FS that never leaves the revision. What cannot be read is listed all the same, and
// refused by name when opened, so that a spec which names it gets a reason and not "no such file".
type Tree struct {
	Commit
	files map[string]File
	dirs  map[string][]fs.DirEntry
	open  func(File) (io.ReadCloser, int64, error)
}

// NewTree makes a tree of files; open gives a file's content and size.
func NewTree(c Commit, files []File, open func(File) (io.ReadCloser, int64, error)) *Tree {
	t := &Tree{Commit: c, files: make(map[string]File, len(files)), dirs: map[string][]fs.DirEntry{".": nil}, open: open}
	for _, f := range files {
		t.files[f.Name] = f
		t.addDir(path.Dir(f.Name))
		t.dirs[path.Dir(f.Name)] = append(t.dirs[path.Dir(f.Name)], entry{t, f.Name, false})
	}
	for _, entries := range t.dirs {
		sort.Slice(entries, func(i, j int) bool { return entries[i].Name() < entries[j].Name() })
	}
	return t
}

func (t *Tree) addDir(dir string) {
	if _, ok := t.dirs[dir]; ok {
		return
	}
	t.dirs[dir] = nil
	t.addDir(path.Dir(dir))
	t.dirs[path.Dir(dir)] = append(t.dirs[path.Dir(dir)], entry{t, dir, true})
}

// Files lists every file, sorted by name.
func (t *Tree) Files() []File {
	files := make([]File, 0, len(t.files))
	for _, f := range t.files {
		files = append(files, f)
	}
	sort.Slice(files, func(i, j int) bool { return files[i].Name < files[j].Name })
	return files
}

// File gives a file by name.
func (t *Tree) File(name string) (File, bool) { f, ok := t.files[name]; return f, ok }

// Open implements fs.FS.
func (t *Tree) Open(name string) (fs.File, error) {
	fail := func(err error) (fs.File, error) { return nil, &fs.PathError{Op: "open", Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	if entries, ok := t.dirs[name]; ok {
		return &openDir{entry: entry{t, name, true}, entries: entries}, nil
	}
	f, ok := t.files[name]
	switch {
	case !ok:
		return fail(fs.ErrNotExist)
	case f.Problem != "":
		return fail(errors.New(f.Problem))
	}
	r, size, err := t.open(f)
	if err != nil {
		return fail(err)
	}
	if size > MaxFileSize {
		r.Close()
		return fail(errors.New("is larger than 1 GiB"))
	}
	r, err = refuseLFS(r, size)
	if err != nil {
		return fail(err)
	}
	return &openFile{info: info{name: name, size: size, time: t.Time}, ReadCloser: r}, nil
}

// ReadDir implements fs.ReadDirFS.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, ok := t.dirs[name]
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	return append([]fs.DirEntry(nil), entries...), nil
}

// refuseLFS turns a Git LFS pointer into an error: the author meant the file that it points to. Pointers are under 1 KiB
// by the LFS specification.
func refuseLFS(r io.ReadCloser, size int64) (io.ReadCloser, error) {
	if size >= 1024 {
		return r, nil
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if IsLFSPointer(b) {
		return nil, errors.New("is a Git LFS pointer; LFS is not supported: commit the file itself, or put it into a store")
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// IsLFSPointer reports whether a file that begins with b is a Git LFS pointer.
func IsLFSPointer(b []byte) bool {
	return strings.HasPrefix(string(b[:min(len(b), 64)]), "version https://git-lfs.github.com/spec/")
}

// entry is a directory entry.
type entry struct {
	t    *Tree
	name string
	dir  bool
}

func (e entry) Name() string { return path.Base(e.name) }
func (e entry) IsDir() bool  { return e.dir }
func (e entry) Type() fs.FileMode {
	if e.dir {
		return fs.ModeDir
	}
	return 0
}
func (e entry) Info() (fs.FileInfo, error) { return fs.Stat(e.t, e.name) }

// info describes a file or directory. Every file has the time of its revision.
type info struct {
	name string
	size int64
	time time.Time
	dir  bool
}

func (i info) Name() string       { return path.Base(i.name) }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return i.time }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

type openFile struct {
	info info
	io.ReadCloser
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }

type openDir struct {
	entry   entry
	entries []fs.DirEntry
}

func (d *openDir) Stat() (fs.FileInfo, error) {
	return info{name: d.entry.name, time: d.entry.t.Time, dir: true}, nil
}
func (d *openDir) Close() error { return nil }
func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.entry.name, Err: errors.New("is a directory")}
}

// ReadDir implements fs.ReadDirFile.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		all := d.entries
		d.entries = nil
		return append([]fs.DirEntry(nil), all...), nil
	}
	if len(d.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.entries))
	head := d.entries[:n]
	d.entries = d.entries[n:]
	return append([]fs.DirEntry(nil), head...), nil
}
