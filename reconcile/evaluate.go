package reconcile

import (
	"bufio"
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"

	"hostler/spec"
)

// Evaluate turns spec text into a fleet. The error is for what has nothing to do with the text: no process could be started.
type Evaluate func(context.Context, spec.Input) (*spec.Fleet, spec.Diagnostics, error)

// Limits bound one evaluation. Zero values stand for a minute of wall clock, a minute of processor, and 4 GiB.
type Limits struct {
	Wall   time.Duration
	CPU    time.Duration
	Memory int64 // bytes
}

func (l Limits) orDefaults() Limits {
	if l.Wall <= 0 {
		l.Wall = time.Minute
	}
	if l.CPU <= 0 {
		l.CPU = time.Minute
	}
	if l.Memory <= 0 {
		l.Memory = 4 << 30
	}
	return l
}

// WorkerArg is the first argument that makes the program call WorkerMain.
const WorkerArg = "spec-worker"

// InChild evaluates in a child process of this program, each time in a new one. The parser overflows the stack on deep nesting,
// which no recover catches, and expressions can run for hours; neither may end the server.
func InChild(l Limits) Evaluate {
	return func(ctx context.Context, in spec.Input) (*spec.Fleet, spec.Diagnostics, error) {
		w := &warmChild{limits: l.orDefaults()}
		defer w.end()
		return w.evaluate(ctx, in)
	}
}

// warmChild evaluates like InChild, but keeps the child: it remembers the last good spec, and evaluates and sends only what
// differs. Where that child does not come to a result, a new one decides, so that no text is judged by what came before it.
// It belongs to one goroutine.
type warmChild struct {
	limits Limits
	child  *child
}

func (w *warmChild) evaluate(ctx context.Context, in spec.Input) (*spec.Fleet, spec.Diagnostics, error) {
	if w.child != nil {
		if res, why := w.ask(ctx, in); why == "" || ctx.Err() != nil {
			return res.Fleet, res.Diags, ctx.Err()
		}
	}
	var err error
	if w.child, err = startChild(w.limits); err != nil {
		w.child = nil
		return nil, nil, fmt.Errorf("starting the evaluation: %w", err)
	}
	res, why := w.ask(ctx, in)
	switch {
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case why != "":
		return nil, stopped(why), nil
	}
	return res.Fleet, res.Diags, nil
}

// ask has the child evaluate, and ends it when it is of no more use. why is a sentence when there is no result.
func (w *warmChild) ask(ctx context.Context, in spec.Input) (res result, why string) {
	wall, cancel := context.WithTimeout(ctx, w.limits.Wall)
	defer cancel()
	c := w.child
	res, err := c.talk(wall, in)
	if err == nil && !res.Last {
		return res, ""
	}
	waitErr := w.end()
	switch {
	case err == nil:
		return res, ""
	case wall.Err() != nil:
		return result{}, fmt.Sprintf("It took longer than %s.", w.limits.Wall)
	}
	return result{}, cause(c.stderr.String(), waitErr)
}

// end ends the child, if there is one, and waits for it.
func (w *warmChild) end() error {
	if w.child == nil {
		return nil
	}
	c := w.child
	w.child = nil
	return c.stop()
}

// codeStopped is the code of the diagnostic that stopped gives.
const codeStopped = "evaluation-stopped"

// stopped is the diagnostic of an evaluation that did not come to its end.
func stopped(why string) spec.Diagnostics {
	return spec.Diagnostics{{Severity: spec.Error, Code: codeStopped, Summary: "Evaluation was stopped",
		Detail: why + " Look for deeply nested brackets or templates, for expressions inside each other's loops, and for tables that multiply."}}
}

// cause makes a sentence of how the child ended: the first line of a Go crash, or the signal.
func cause(stderr string, waitErr error) string {
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		switch {
		case strings.Contains(line, "stack overflow") || strings.Contains(line, "stack exceeds"):
			return "The text is nested too deeply: the evaluation's stack overflowed."
		case strings.Contains(line, "out of memory") || strings.Contains(line, "cannot allocate memory"),
			strings.Contains(line, "pthread_create failed"), strings.Contains(line, "failed to create new OS thread"): // for want of a stack
			return "It needed more memory than it may have."
		case strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:"):
			return "The evaluation crashed (" + line + ")."
		}
	}
	var exit *exec.ExitError
	if errors.As(waitErr, &exit) && exit.String() == "signal: killed" {
		return "It used up the processor time or memory that it may have."
	}
	return fmt.Sprintf("The evaluation ended without a result (%v).", waitErr)
}

// child is a process that evaluates.
type child struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	enc    *gob.Encoder
	dec    *gob.Decoder
	stderr *head
	nodes  []spec.Node       // of the last fleet that it sent
	sent   map[string]string // keys of the files that it was sent for the last spec
}

func startChild(l Limits) (*child, error) {
	c := &child{stderr: &head{limit: 16 << 10}, cmd: exec.Command("/proc/self/exe", WorkerArg), sent: map[string]string{}}
	c.cmd.Args[0] = os.Args[0]               // under the name that this program was called by
	c.cmd.Env = []string{"GOTRACEBACK=none"} // no secret of ours reaches it
	c.cmd.Dir = "/"
	c.cmd.Stderr = c.stderr
	c.cmd.WaitDelay = time.Second
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if c.out, err = c.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	c.enc, c.dec = gob.NewEncoder(c.in), gob.NewDecoder(bufio.NewReaderSize(c.out, 64<<10))
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	_ = c.enc.Encode(l) // a child that is gone already is noticed when it is asked
	return c, nil
}

// mostAhead is for how many nodes room is made because the child says that they will come.
const mostAhead = 200_000

// talk sends the input, and answers the child's questions for files until it has a result. When ctx ends, the child is killed.
func (c *child) talk(ctx context.Context, in spec.Input) (result, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.cmd.Process.Kill() })
	defer stop()
	if err := c.enc.Encode(request{Vars: in.Vars}); err != nil {
		return result{}, err
	}
	var fresh []spec.Node
	sent := map[string]string{}
	for {
		m := message{Nodes: fresh[len(fresh):]} // gob decodes into the room that there is; appending copies nothing then
		if err := c.dec.Decode(&m); err != nil {
			return result{}, err
		}
		switch {
		case m.Result != nil:
			c.sent = sent
			return *m.Result, c.take(m.Result, fresh)
		case len(m.Nodes) > 0:
			spec.Compact(m.Nodes)
			if fresh == nil {
				fresh = make([]spec.Node, 0, min(m.Fresh, mostAhead))
			}
			fresh = append(fresh, m.Nodes...)
		default:
			if err := c.enc.Encode(c.answer(in.Files, m.Open, sent)); err != nil {
				return result{}, err
			}
		}
	}
}

// take puts the nodes of a fleet together: new ones, and those of the last fleet. When all are of that, it is the same slice.
func (c *child) take(res *result, fresh []spec.Node) error {
	if res.Fleet == nil {
		return nil
	}
	nodes, err := join(c.nodes, fresh, res.Runs)
	res.Fleet.Nodes, c.nodes = nodes, nodes
	return err
}

// answer reads a file or folder for the child, unless it has the file; sent are those of this spec.
func (c *child) answer(files fs.FS, name string, sent map[string]string) reply {
	key := ""
	if r, ok := files.(*reading); ok {
		key = r.key(name)
	}
	if key != "" && c.sent[name] == key {
		if f, err := files.Open(name); err == nil { // it is kept with the revision all the same
			f.Close()
			sent[name] = key
			return reply{Same: true}
		}
	}
	r := answer(files, name)
	if r.Keep = key != "" && r.Err == "" && !r.Dir; r.Keep {
		sent[name] = key
	}
	return r
}

// stop ends the child and waits for it. One that is still at work did not do what it was asked.
func (c *child) stop() error {
	c.in.Close()
	// A child that died closed its end of the pipe; give the kernel's verdict precedence over ours.
	timer := time.AfterFunc(time.Second, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	return c.cmd.Wait()
}

// answer reads a file or folder for the child.
func answer(files fs.FS, name string) reply {
	f, err := files.Open(name)
	if err != nil {
		return replyError(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return replyError(err)
	} else if !st.IsDir() {
		b, err := io.ReadAll(f)
		if err != nil {
			return replyError(err)
		}
		return reply{Data: b}
	}
	entries, err := fs.ReadDir(files, name)
	if err != nil {
		return replyError(err)
	}
	r := reply{Dir: true}
	for _, e := range entries {
		r.Entries = append(r.Entries, dirEntry{e.Name(), e.IsDir()})
	}
	return r
}

func replyError(err error) reply {
	r := reply{Missing: errors.Is(err, fs.ErrNotExist)}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	r.Err = err.Error()
	return r
}

// head keeps the beginning of what is written to it: a crash begins with its reason.
type head struct {
	bytes.Buffer
	limit int
}

// Write implements io.Writer.
func (h *head) Write(p []byte) (int, error) {
	if room := h.limit - h.Len(); room > 0 {
		h.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
