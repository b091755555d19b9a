package reconcile

import (
	"io"
	"log/slog"
	"sync"
	"time"
)

// Fetch is a file on its way from a store.
type Fetch struct {
	File  string    `json:"file"` // as the spec names it
	Done  int64     `json:"done"` // bytes
	Size  int64     `json:"size"` // -1: the store does not say
	Since time.Time `json:"since"`
}

// progress is how far the fetch that runs has come, for whoever asks, and for the log now and then.
type progress struct {
	log *slog.Logger
	now func() time.Time

	mu     sync.Mutex
	fetch  Fetch
	logged time.Time
}

// sayEvery is how often the log hears of a fetch that takes long.
const sayEvery = 10 * time.Second

func (p *progress) begin(file string, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logged = p.now()
	p.fetch = Fetch{File: file, Size: size, Since: p.logged}
}

func (p *progress) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetch.Done += int64(n)
	if now := p.now(); now.Sub(p.logged) >= sayEvery {
		p.logged = now
		p.log.Info("fetching a file", "file", p.fetch.File, "bytes", p.fetch.Done, "size", p.fetch.Size, "duration", now.Sub(p.fetch.Since))
	}
}

func (p *progress) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, took := p.fetch, p.now().Sub(p.fetch.Since)
	p.fetch = Fetch{}
	if err != nil {
		p.log.Warn("fetching a file broke off", "file", f.File, "bytes", f.Done, "size", f.Size, "duration", took, "err", err)
		return
	}
	p.log.Info("file fetched", "file", f.File, "bytes", f.Done, "duration", took)
}

// current is the fetch that runs; nil: none does.
func (p *progress) current() *Fetch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fetch.File == "" {
		return nil
	}
	f := p.fetch
	return &f
}

// keep reads a file from a store into the blobs, and tells how far it is.
func (o *observer) keep(r io.Reader, file string, size int64) (known, error) {
	o.progress.begin(file, size)
	k, err := o.digest(&counted{r, o.progress})
	o.progress.end(err)
	return k, err
}

type counted struct {
	io.Reader
	p *progress
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.p.add(n)
	return n, err
}
