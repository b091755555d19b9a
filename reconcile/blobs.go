package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hostler/render/fact"
)

// blobs are files kept by the digest of their content, each complete and on disk from the moment that it has its name.
type blobs struct{ dir string }

// stateError is a failure to write the state directory: full, read-only, gone. The old revision stays, and it is tried again.
type stateError struct{ err error }

func (e *stateError) Error() string { return e.err.Error() }
func (e *stateError) Unwrap() error { return e.err }

var errTooLarge = errors.New("is larger than 1 GiB")

func (b blobs) path(d fact.Digest) string { return filepath.Join(b.dir, string(d)) }

func (b blobs) open(d fact.Digest) (*os.File, error) { return os.Open(b.path(d)) }

// has reports whether a blob of that size is there.
func (b blobs) has(d fact.Digest, size int64) bool {
	st, err := os.Stat(b.path(d))
	return err == nil && st.Size() == size
}

// put streams r into a blob, up to limit bytes.
func (b blobs) put(r io.Reader, limit int64) (fact.Digest, int64, error) {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return "", 0, &stateError{err}
	}
	tmp, err := os.CreateTemp(b.dir, "tmp-")
	if err != nil {
		return "", 0, &stateError{err}
	}
	defer os.Remove(tmp.Name()) // nothing to remove after the rename
	defer tmp.Close()
	h := sha256.New()
	n, err := io.Copy(stateWriter{tmp}, io.TeeReader(io.LimitReader(r, limit+1), h))
	if err != nil {
		return "", 0, err
	}
	if n > limit {
		return "", 0, errTooLarge
	}
	d := fact.Digest(hex.EncodeToString(h.Sum(nil)))
	if b.has(d, n) {
		return d, n, nil
	}
	if err := publish(tmp, b.path(d)); err != nil {
		return "", 0, &stateError{err}
	}
	return d, n, nil
}

// stateWriter marks errors of writing, to tell them from those of reading in one io.Copy.
type stateWriter struct{ f *os.File }

func (w stateWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	if err != nil {
		err = &stateError{err}
	}
	return n, err
}

// publish makes a complete temporary file durable and gives it its name.
func publish(tmp *os.File, name string) error {
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// sweep removes every blob that is not kept, and what a crash left half-written.
func (b blobs) sweep(keep map[fact.Digest]bool) error {
	entries, err := os.ReadDir(b.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "tmp-") || !keep[fact.Digest(e.Name())] {
			err = errors.Join(err, os.Remove(filepath.Join(b.dir, e.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("sweeping blobs: %w", err)
	}
	return nil
}
