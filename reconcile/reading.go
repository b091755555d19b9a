package reconcile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"hostler/reconcile/source"
)

// Limits on what the evaluation of one revision may read. Images are not read here: they are artifacts.
const (
	maxSpecFile  = 32 << 20
	maxSpecTotal = 128 << 20
)

// reading is a tree as the evaluation sees it. It keeps what was read, for messages and for the persisted revision, and notes
// when the source changed underneath, because the evaluation only turns that into a diagnostic.
type reading struct {
	tree   fs.FS
	files  map[string][]byte
	total  int
	stale  error
	before *reading // of the revision before; nil: there is none
}

func newReading(tree fs.FS, before *reading) *reading {
	return &reading{tree: tree, files: map[string][]byte{}, before: before}
}

// key names the content of a file: equal keys are equal content. Empty: nothing names it. Only git does, not the times of a file.
func (r *reading) key(name string) string {
	t, ok := r.tree.(*source.Tree)
	if !ok {
		return ""
	}
	if f, ok := t.File(name); ok && strings.HasPrefix(f.Key, "git:") && f.Problem == "" {
		return f.Key
	}
	return ""
}

// known gives a file of the revision before, if it is the same.
func (r *reading) known(name string) ([]byte, bool) {
	if r.before == nil || r.key(name) == "" || r.key(name) != r.before.key(name) {
		return nil, false
	}
	b, ok := r.before.files[name]
	return b, ok
}

// Open implements fs.FS.
func (r *reading) Open(name string) (fs.File, error) {
	if b, ok := r.files[name]; ok {
		return newMemFile(name, b), nil
	}
	if b, ok := r.known(name); ok {
		if r.total+len(b) > maxSpecTotal {
			return nil, errTotal(name)
		}
		r.total += len(b)
		r.files[name] = b
		return newMemFile(name, b), nil
	}
	f, err := r.tree.Open(name)
	if err != nil {
		return nil, r.note(err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, r.note(err)
	}
	if st.IsDir() {
		return f, nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSpecFile+1))
	switch {
	case err != nil:
		return nil, r.note(&fs.PathError{Op: "read", Path: name, Err: err})
	case len(b) > maxSpecFile:
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("is larger than %d MiB", maxSpecFile>>20)}
	case r.total+len(b) > maxSpecTotal:
		return nil, errTotal(name)
	}
	r.total += len(b)
	r.files[name] = b
	return newMemFile(name, b), nil
}

func errTotal(name string) error {
	return &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("the spec reads more than %d MiB in all", maxSpecTotal>>20)}
}

func (r *reading) note(err error) error {
	if errors.Is(err, source.ErrStale) {
		r.stale = err
	}
	return err
}

// memFile is a file in memory.
type memFile struct {
	*bytes.Reader
	name string
}

func newMemFile(name string, b []byte) fs.File { return memFile{bytes.NewReader(b), name} }

func (f memFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f memFile) Close() error               { return nil }
func (f memFile) Name() string               { return path.Base(f.name) }
func (f memFile) Mode() fs.FileMode          { return 0o444 }
func (f memFile) ModTime() time.Time         { return time.Time{} }
func (f memFile) IsDir() bool                { return false }
func (f memFile) Sys() any                   { return nil }
