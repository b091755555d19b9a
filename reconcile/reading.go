package reconcile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
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
	tree  fs.FS
	files map[string][]byte
	total int
	stale error
}

func newReading(tree fs.FS) *reading { return &reading{tree: tree, files: map[string][]byte{}} }

// Open implements fs.FS.
func (r *reading) Open(name string) (fs.File, error) {
	if b, ok := r.files[name]; ok {
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
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("the spec reads more than %d MiB in all", maxSpecTotal>>20)}
	}
	r.total += len(b)
	r.files[name] = b
	return newMemFile(name, b), nil
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
