package reconcile

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hostler/spec"
)

// The conversation with a child is two gob streams: the limits; then, for each evaluation, a request, the child's questions and our
// replies, the nodes that are new, and the result. Files are sent when they are asked for, so a large repository with a small spec
// costs little; what was sent and is the same is not sent again.
type (
	request struct {
		Vars map[string]string
	}
	message struct {
		Open   string      // a file or folder that the child wants
		Fresh  int         // how many nodes are new; before the first of them
		Nodes  []spec.Node // new ones, a part of them
		Result *result
	}
	reply struct {
		Data    []byte
		Keep    bool // the data may be asked for again
		Same    bool // it is what was kept
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
		Fleet *spec.Fleet // without nodes
		Runs  []run       // its nodes
		Diags spec.Diagnostics
		Last  bool // the child has used up its processor time, and ends
	}
)

// lifetime is after how many evaluations at the limit of processor time a child ends: the kernel's limit is for its whole life.
const lifetime = 20

// sendNodes is how many nodes are sent together, so that they are read while the next are written.
const sendNodes = 2000

// WorkerMain is the child's main: it evaluates specs until its input ends. It gives the exit status.
func WorkerMain(stdin io.Reader, stdout io.Writer) int {
	out := bufio.NewWriterSize(stdout, 64<<10)
	w := &worker{dec: gob.NewDecoder(bufio.NewReader(stdin)), enc: gob.NewEncoder(out), out: out}
	var l Limits
	if w.dec.Decode(&l) != nil || restrain(l) != nil {
		return 1
	}
	for {
		var req request
		switch err := w.dec.Decode(&req); {
		case err == io.EOF:
			return 0
		case err != nil:
			return 1
		}
		last, err := allow(l.CPU)
		if err != nil || w.evaluate(req, last) != nil {
			return 1
		}
		if last {
			return 0
		}
		runtime.GC() // now, when nobody waits: the next evaluation mostly ends before the collector would have to work beside it
	}
}

// evaluate makes one fleet, and sends what of it the parent does not have.
func (w *worker) evaluate(req request, last bool) error {
	w.used = map[string][]byte{}
	f, ds := w.evaluator.Parse(spec.Input{Files: w, Vars: req.Vars})
	w.kept = w.used
	res := result{Diags: ds, Last: last}
	if f != nil {
		without := *f
		without.Nodes = nil
		res.Fleet, res.Runs = &without, diffNodes(w.nodes, f.Nodes)
		w.nodes = f.Nodes
		at, fresh := 0, freshIn(res.Runs)
		for _, r := range res.Runs {
			if r.From < 0 {
				for part := range slices.Chunk(f.Nodes[at:at+r.Count], sendNodes) {
					if err := w.enc.Encode(message{Fresh: fresh, Nodes: part}); err != nil {
						return err
					}
				}
			}
			at += r.Count
		}
	}
	return w.send(message{Result: &res})
}

// restrain sets the limits of this process. Memory is limited as data, not as address space: the Go runtime
// reserves far more addresses than it uses.
func restrain(l Limits) error {
	debug.SetMemoryLimit(l.Memory / 4 * 3)
	debug.SetGCPercent(50) // what is kept is most of what there is: a third less memory for a tenth more time
	debug.SetMaxStack(64 << 20)
	// Where the host has less memory than the limit, this process is the one to end, and not the server.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	memory := unix.Rlimit{Cur: uint64(l.Memory), Max: uint64(l.Memory)}
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &memory); err != nil {
		return fmt.Errorf("limiting memory: %w", err)
	}
	whole := seconds(lifetime * l.CPU)
	if err := unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: whole, Max: whole}); err != nil {
		return fmt.Errorf("limiting processor time: %w", err)
	}
	// The runtime ignores the signal of the soft limit, which is that of one evaluation.
	spent := make(chan os.Signal, 1)
	signal.Notify(spent, unix.SIGXCPU)
	go func() { // for as long as the process lives
		<-spent
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	}()
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

// allow gives the next evaluation its processor time; last says that there would not be enough for one more.
func allow(cpu time.Duration) (last bool, err error) {
	var used unix.Rusage
	var limit unix.Rlimit
	if err := errors.Join(unix.Getrusage(unix.RUSAGE_SELF, &used), unix.Getrlimit(unix.RLIMIT_CPU, &limit)); err != nil {
		return false, err
	}
	spent := time.Duration(used.Utime.Nano() + used.Stime.Nano())
	limit.Cur = min(limit.Max, seconds(spent+cpu))
	return seconds(spent+2*cpu) > limit.Max, unix.Setrlimit(unix.RLIMIT_CPU, &limit)
}

// seconds rounds up, as the kernel counts in whole ones.
func seconds(d time.Duration) uint64 { return uint64((d + time.Second - 1) / time.Second) }

// worker is the child's end of the pipes, and the repository as the child sees it.
type worker struct {
	dec       *gob.Decoder
	enc       *gob.Encoder
	out       *bufio.Writer
	evaluator spec.Evaluator
	nodes     []spec.Node       // of the last fleet that was sent
	kept      map[string][]byte // files of the last spec that need not be sent again
	used      map[string][]byte // those of this one
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
	case r.Same:
		r.Data = w.kept[name]
		w.used[name] = r.Data
	case r.Keep:
		w.used[name] = r.Data
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
