package reconcile

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"hostler/spec"
)

// The conversation with a child is two gob streams: a request, then the child's questions and our replies, then its
// result. Files are sent when they are asked for, so a large repository with a small spec costs little.
type (
	request struct {
		Vars   map[string]string
		Limits Limits
	}
	message struct {
		Open   string // a file or folder that the child wants
		Result *result
	}
	reply struct {
		Data    []byte
		Dir     bool
		Entries []dirEntry
		Err     string
		Missing bool // the error is fs.ErrNotExist
	}
	dirEntry struct {
		Name string
		Dir  bool
	}
	result struct {
		Fleet *spec.Fleet
		Diags spec.Diagnostics
	}
)

// WorkerMain is the child's main: it evaluates one spec and ends. It gives the exit status.
func WorkerMain(stdin io.Reader, stdout io.Writer) int {
	out := bufio.NewWriter(stdout)
	w := &worker{dec: gob.NewDecoder(bufio.NewReader(stdin)), enc: gob.NewEncoder(out), out: out}
	var req request
	if err := w.dec.Decode(&req); err != nil {
		return 1
	}
	if err := restrain(req.Limits); err != nil {
		return 1
	}
	f, ds := spec.Parse(spec.Input{Files: w, Vars: req.Vars})
	if err := w.send(message{Result: &result{f, ds}}); err != nil {
		return 1
	}
	return 0
}

// restrain sets the limits of this process. Memory is limited as data, not as address space: the Go runtime
// reserves far more addresses than it uses. Soft and hard processor limits are equal, because the runtime ignores SIGXCPU.
func restrain(l Limits) error {
	debug.SetMemoryLimit(l.Memory / 4 * 3)
	debug.SetMaxStack(64 << 20)
	// Where the host has less memory than the limit, this process is the one to end, and not the server.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	memory := unix.Rlimit{Cur: uint64(l.Memory), Max: uint64(l.Memory)}
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &memory); err != nil {
		return fmt.Errorf("limiting memory: %w", err)
	}
	seconds := uint64((l.CPU + time.Second - 1) / time.Second)
	if err := unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: seconds, Max: seconds}); err != nil {
		return fmt.Errorf("limiting processor time: %w", err)
	}
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

// worker is the child's end of the pipes, and the repository as the child sees it.
type worker struct {
	dec *gob.Decoder
	enc *gob.Encoder
	out *bufio.Writer
}

func (w *worker) send(m message) error {
	if err := w.enc.Encode(m); err != nil {
		return err
	}
	return w.out.Flush()
}

func (w *worker) ask(name string) (reply, error) {
	var r reply
	if err := w.send(message{Open: name}); err != nil {
		return r, err
	}
	if err := w.dec.Decode(&r); err != nil {
		return r, err
	}
	switch {
	case r.Missing:
		return r, fs.ErrNotExist
	case r.Err != "":
		return r, errors.New(r.Err)
	}
	return r, nil
}

// Open implements fs.FS.
func (w *worker) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	r, err := w.ask(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if r.Dir {
		return &workerDir{name: name, rest: w.entries(name, r.Entries)}, nil
	}
	return newMemFile(name, r.Data), nil
}

func (w *worker) entries(dir string, list []dirEntry) []fs.DirEntry {
	entries := make([]fs.DirEntry, len(list))
	for i, e := range list {
		entries[i] = workerEntry{w, path.Join(dir, e.Name), e.Dir}
	}
	return entries
}

type workerEntry struct {
	w    *worker
	name string
	dir  bool
}

func (e workerEntry) Name() string               { return path.Base(e.name) }
func (e workerEntry) IsDir() bool                { return e.dir }
func (e workerEntry) Info() (fs.FileInfo, error) { return fs.Stat(e.w, e.name) }
func (e workerEntry) Type() fs.FileMode {
	if e.dir {
		return fs.ModeDir
	}
	return 0
}

// workerDir is an open folder.
type workerDir struct {
	name string
	rest []fs.DirEntry
}

func (d *workerDir) Name() string               { return path.Base(d.name) }
func (d *workerDir) Size() int64                { return 0 }
func (d *workerDir) Mode() fs.FileMode          { return fs.ModeDir | 0o555 }
func (d *workerDir) ModTime() time.Time         { return time.Time{} }
func (d *workerDir) IsDir() bool                { return true }
func (d *workerDir) Sys() any                   { return nil }
func (d *workerDir) Stat() (fs.FileInfo, error) { return d, nil }
func (d *workerDir) Close() error               { return nil }
func (d *workerDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}

// ReadDir implements fs.ReadDirFile.
func (d *workerDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(d.rest)
	} else if len(d.rest) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.rest))
	list := d.rest[:n]
	d.rest = d.rest[n:]
	return list, nil
}
