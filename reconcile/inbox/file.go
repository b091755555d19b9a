package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"hostler/render/fact"
)

const (
	format     = 1        // of the file; another one is left alone
	mostBytes  = 16 << 20 // of the file: several times what a full inbox takes
	mostText   = 256      // bytes of a field
	writeEvery = 30 * time.Second
)

type file struct {
	Format   int       `json:"format"`
	Machines []Machine `json:"machines"`
}

// Serve writes the inbox to its file twice a minute while it changes, and when ctx ends. Who kills the process loses half a minute of it.
func (b *Inbox) Serve(ctx context.Context) error {
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.write()
		case <-ctx.Done():
			b.write()
			return nil
		}
	}
}

// write replaces the file. A disk that refuses it costs only what would be known after a restart.
func (b *Inbox) write() {
	b.mu.Lock()
	changed := b.changed
	b.changed = false
	b.mu.Unlock()
	if !changed {
		return
	}
	if err := replace(b.path, file{format, b.copy()}); err != nil {
		b.log.Warn("writing the inbox of undeclared machines", "err", err)
		b.mu.Lock()
		b.changed = true
		b.mu.Unlock()
	}
}

func replace(path string, f file) error {
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".inbox-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

func read(path string) ([]Machine, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostBytes+1))
	if err != nil {
		return nil, err
	}
	machines, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %v", path, err)
	}
	return machines, nil
}

// decode reads the file, and leaves out what no machine can be.
func decode(text []byte) ([]Machine, error) {
	if len(text) > mostBytes {
		return nil, fmt.Errorf("it is larger than %d bytes", mostBytes)
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, err
	}
	if f.Format != format {
		return nil, fmt.Errorf("its format is %d, and this version knows %d", f.Format, format)
	}
	kept := f.Machines[:0]
	for _, m := range f.Machines {
		if m.MAC.IsZero() || m.First.IsZero() || m.Last.Before(m.First) {
			continue
		}
		m.Vendor = ""
		for _, text := range []*string{&m.Arch, &m.UUID, &m.VendorClass, &m.Hostname, &m.Subnet, &m.Circuit, &m.Remote} {
			if *text = fact.Printable(*text); len(*text) > mostText {
				*text = ""
			}
		}
		m.Requests, m.Visits = max(m.Requests, 0), max(m.Visits, 1)
		kept = append(kept, m)
	}
	return kept, nil
}
