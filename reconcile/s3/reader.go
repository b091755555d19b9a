package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"hostler/render/fact"
)

// Bounds of reading an object.
const (
	stallTime = 30 * time.Second // without a byte
	maxBreaks = 3                // connections that break, between which nothing is read
)

// ErrChanged is the end of reading an object that is another one by now.
var ErrChanged = errors.New("changed since it was observed")

// Reader reads one version of an object from any place on. It asks for nothing before the first Read, and again, from where it is, when a
// connection breaks.
type Reader struct {
	service *Service
	ctx     context.Context // of all requests
	object  fact.Object
	facts   Facts

	at     int64
	breaks int
	body   io.ReadCloser
	cancel context.CancelFunc
	stall  *time.Timer
}

// Open gives a reader of the object as it was when facts were asked for. ctx bounds all that it does; so does Close.
func (s *Service) Open(ctx context.Context, o fact.Object, f Facts) *Reader {
	return &Reader{service: s, ctx: ctx, object: o, facts: f}
}

// Read implements io.Reader. It gives io.EOF at the size that was observed and nowhere else.
func (r *Reader) Read(p []byte) (int, error) {
	for {
		if r.at >= r.facts.Size {
			return 0, io.EOF
		}
		err := r.connect()
		if err == nil {
			r.stall.Reset(stallTime)
			var n int
			n, err = r.body.Read(p[:min(int64(len(p)), r.facts.Size-r.at)])
			r.at += int64(n)
			if n > 0 {
				r.breaks = 0
				return n, nil
			}
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
		}
		r.disconnect()
		if refused := (*Refused)(nil); errors.As(err, &refused) || r.ctx.Err() != nil {
			return 0, r.named(err)
		}
		if r.breaks++; r.breaks > maxBreaks {
			return 0, r.named(err)
		}
	}
}

func (r *Reader) named(err error) error {
	if refused := (*Refused)(nil); errors.As(err, &refused) && refused.Status == http.StatusPreconditionFailed {
		err = ErrChanged
	}
	return fmt.Errorf("reading %s at byte %d: %w", r.object.URI(), r.at, err)
}

// connect asks for the object from where the reader is.
func (r *Reader) connect() error {
	if r.body != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(r.ctx)
	stall := time.AfterFunc(stallTime, cancel)
	headers := http.Header{"If-Match": {`"` + r.facts.ETag + `"`}}
	if r.at > 0 {
		headers["Range"] = []string{fmt.Sprintf("bytes=%d-", r.at)}
	}
	resp, err := r.service.Get(ctx, r.object, headers)
	if err == nil && r.at > 0 && resp.StatusCode != http.StatusPartialContent {
		resp.Body.Close()
		err = &Refused{Status: resp.StatusCode, Code: "NoRanges"}
	}
	if err != nil {
		stall.Stop()
		cancel()
		return err
	}
	r.body, r.cancel, r.stall = resp.Body, cancel, stall
	return nil
}

func (r *Reader) disconnect() {
	if r.body == nil {
		return
	}
	r.stall.Stop()
	r.cancel() // before Close, which would read on
	r.body.Close()
	r.body = nil
}

// Seek implements io.Seeker without asking anybody.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.facts.Size
	}
	if offset < 0 {
		return 0, errors.New("seeking: before the beginning")
	}
	if offset != r.at {
		r.disconnect()
		r.at = offset
	}
	return offset, nil
}

// Close implements io.Closer.
func (r *Reader) Close() error {
	r.disconnect()
	return nil
}
