package reconcile

import (
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

// InChild evaluates in a child process of this program. The parser overflows the stack on deep nesting, which no recover catches,
// and expressions can run for hours; neither may end the server.
func InChild(l Limits) Evaluate {
	l = l.orDefaults()
	return func(ctx context.Context, in spec.Input) (*spec.Fleet, spec.Diagnostics, error) {
		wall, cancel := context.WithTimeout(ctx, l.Wall)
		defer cancel()
		c, err := startChild(wall)
		if err != nil {
			return nil, nil, fmt.Errorf("starting the evaluation: %w", err)
		}
		res, talkErr := c.talk(in, l)
		waitErr := c.stop(talkErr == nil)
		switch {
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case talkErr == nil:
			return res.Fleet, res.Diags, nil
		case wall.Err() != nil:
			return nil, stopped(fmt.Sprintf("It took longer than %s.", l.Wall)), nil
		default:
			return nil, stopped(cause(c.stderr.String(), waitErr)), nil
		}
	}
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
		case strings.Contains(line, "out of memory") || strings.Contains(line, "cannot allocate memory"):
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

// child is a running evaluation.
type child struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	stderr *head
}

func startChild(ctx context.Context) (*child, error) {
	c := &child{stderr: &head{limit: 16 << 10}}
	c.cmd = exec.CommandContext(ctx, "/proc/self/exe", WorkerArg)
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
	return c, c.cmd.Start()
}

// talk sends the input, and answers the child's questions for files until it has a result.
func (c *child) talk(in spec.Input, l Limits) (result, error) {
	enc, dec := gob.NewEncoder(c.in), gob.NewDecoder(c.out)
	if err := enc.Encode(request{Vars: in.Vars, Limits: l}); err != nil {
		return result{}, err
	}
	for {
		var m message
		if err := dec.Decode(&m); err != nil {
			return result{}, err
		}
		if m.Result != nil {
			return *m.Result, nil
		}
		if err := enc.Encode(answer(in.Files, m.Open)); err != nil {
			return result{}, err
		}
	}
}

// stop ends the child and waits for it.
func (c *child) stop(done bool) error {
	c.in.Close()
	if !done {
		// A child that died closed its end of the pipe; give the kernel's verdict precedence over ours.
		timer := time.AfterFunc(time.Second, func() { _ = c.cmd.Process.Kill() })
		defer timer.Stop()
	}
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
