package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// logOptions say what the server's log looks like.
type logOptions struct {
	format, level string
	debug         bool
}

func (o *logOptions) flags(fs *flag.FlagSet) {
	fs.StringVar(&o.format, "log-format", "text", "The `form` of a line of the log: text (key=value) or json.")
	fs.StringVar(&o.level, "log-level", "info", "The least `level` that is logged: debug has every request and reply, info what was granted, refused or went wrong,\n"+
		"warn only what went wrong, error only what somebody must do something about.")
	fs.BoolVar(&o.debug, "debug", false, "The same as -log-level=debug.")
}

func (o *logOptions) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	switch o.level {
	case "debug", "info", "warn", "error":
		_ = level.UnmarshalText([]byte(o.level)) // it knows these four
	default:
		return nil, fmt.Errorf("-log-level=%s: it is debug, info, warn or error", o.level)
	}
	if o.debug {
		level = slog.LevelDebug
	}
	options := &slog.HandlerOptions{Level: level}
	switch o.format {
	case "text":
		return slog.New(sparing{slog.NewTextHandler(w, options), &errorsLogged{}}), nil
	case "json":
		return slog.New(sparing{slog.NewJSONHandler(w, options), &errorsLogged{}}), nil
	}
	return nil, fmt.Errorf("-log-format=%s: it is text or json", o.format)
}

// sparing keeps a fault that each request meets again from filling the disk that the state is on: errors may carry a stack.
type sparing struct {
	slog.Handler
	logged *errorsLogged
}

const mostErrors = 30 // with one message, in a minute

func (h sparing) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelError {
		return h.Handler.Handle(ctx, r)
	}
	n := h.logged.count(r.Message, r.Time)
	if n > mostErrors {
		return nil
	}
	if n == mostErrors {
		r.AddAttrs(slog.String("note", "further lines like this one are left out for a minute"))
	}
	return h.Handler.Handle(ctx, r)
}

func (h sparing) WithAttrs(as []slog.Attr) slog.Handler {
	return sparing{h.Handler.WithAttrs(as), h.logged}
}
func (h sparing) WithGroup(name string) slog.Handler {
	return sparing{h.Handler.WithGroup(name), h.logged}
}

// errorsLogged counts errors by message, for a minute. Messages are constants of this program.
type errorsLogged struct {
	mu    sync.Mutex
	begun time.Time
	n     map[string]int
}

func (e *errorsLogged) count(message string, now time.Time) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d := now.Sub(e.begun); d < 0 || d >= time.Minute { // the clock may be set back
		e.begun, e.n = now, map[string]int{}
	}
	e.n[message]++
	return e.n[message]
}
