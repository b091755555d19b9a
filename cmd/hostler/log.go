package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
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
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, fmt.Errorf("-log-format=%s: it is text or json", o.format)
}
