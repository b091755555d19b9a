package httpd

import (
	"io"
	"math"
	"net/http"
	"time"
)

// response counts what is sent, and gives a client that takes nothing any more only so long.
type response struct {
	http.ResponseWriter
	stall  time.Duration
	status int
	sent   int64
	err    error // of the connection
}

// mostAtOnce is what a client must take within a StallTimeout: with a minute, 70 kbit/s.
const mostAtOnce = 512 << 10

// extend gives the client its time again. Writers without deadlines, as in tests, have none.
func (w *response) extend() {
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.stall))
}

// Unwrap serves http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader remembers the status.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	if err != nil {
		w.err = err
	}
	return n, err
}

// ReadFrom copies half a MiB at a time, each with a deadline of its own, in the form in which net/http and package net see that
// the source is a file and leave the copying to the kernel: one io.LimitedReader around an *os.File, never two.
func (w *response) ReadFrom(src io.Reader) (n int64, err error) {
	left := int64(math.MaxInt64)
	if l, ok := src.(*io.LimitedReader); ok {
		src, left = l.R, l.N
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	for left > 0 {
		w.extend()
		chunk := min(left, mostAtOnce)
		m, err := io.Copy(w.ResponseWriter, &io.LimitedReader{R: src, N: chunk})
		n, left, w.sent = n+m, left-m, w.sent+m
		if err != nil {
			w.err = err
			return n, err
		}
		if m < chunk {
			break
		}
	}
	return n, nil
}
