package timeline

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"hostler/render/fact"
)

const (
	format      = 1       // of a line; a greater one is left alone
	segmentSize = 8 << 20 // bytes; the oldest segment is removed whole
	longestLine = 64 << 10
)

// entry is one line of a segment: an event, or what the timeline itself has to remember of a boot.
type entry struct {
	Format   int           `json:"v"`
	Kind     string        `json:"kind"`
	Boot     fact.BootID   `json:"boot,omitempty"`
	MAC      fact.MAC      `json:"mac,omitzero"`
	Time     time.Time     `json:"time,omitzero"`
	Node     fact.NodeName `json:"node,omitempty"`
	Addr     netip.Addr    `json:"addr,omitzero"`
	Revision fact.Revision `json:"revision,omitempty"`
	Terms    fact.Terms    `json:"terms,omitzero"` // without the revision
	Hash     []byte        `json:"hash,omitempty"` // SHA-256 of a token
	Event    *fact.Event   `json:"event,omitempty"`
}

// The kinds of entry.
const (
	kindEvent = "event" // Event; Boot and MAC are the event's
	kindToken = "token" // a token was minted: Boot, MAC, Time, Node, Addr, Revision, Terms, Hash
	kindPin   = "pin"   // the script was given again: the same without Hash
	kindReady = "ready" // Boot, MAC, Time
)

// append appends the line: CRC-32C in hexadecimal, a blank, JSON, a line feed.
func (e *entry) append(b []byte) ([]byte, error) {
	e.Format = format
	start, text := len(b), len(b)+9
	b = append(b, "........ "...) // where the checksum comes
	if e.Kind == kindEvent && e.Event != nil {
		b = append(b, `{"v":1,"kind":"event","event":`...)
		b = append(appendEvent(b, e.Event), '}')
	} else {
		text, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		b = append(b, text...)
	}
	if size := len(b) - start; size >= longestLine {
		return nil, fmt.Errorf("an entry of %d bytes", size)
	}
	var crc [4]byte
	binary.BigEndian.PutUint32(crc[:], crc32.Checksum(b[text:], castagnoli))
	hex.Encode(b[start:], crc[:])
	return append(b, '\n'), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// decode reads a line without its line feed. What is torn, damaged or of a newer format is not ok, and the caller goes on.
func decode(line []byte) (e entry, ok bool) {
	sum, body, found := bytes.Cut(line, []byte{' '})
	var want [4]byte
	if n, err := hex.Decode(want[:], sum[:min(len(sum), 8)]); !found || len(sum) != 8 || err != nil || n != 4 {
		return e, false
	}
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(want[:]) {
		return e, false
	}
	if err := json.Unmarshal(body, &e); err != nil || e.Format != format {
		return e, false
	}
	if e.Kind == kindEvent {
		if e.Event == nil {
			return e, false
		}
		e.Boot, e.MAC, e.Time = e.Event.Boot, e.Event.MAC, e.Event.Time
	}
	return e, true
}

// place is where an entry is.
type place struct {
	seq uint64
	off int64
}

func (p place) less(q place) bool { return p.seq < q.seq || p.seq == q.seq && p.off < q.off }

// extent is where the entries of one boot are: between from, and the end of the line at to. Entries of other boots
// lie between them. The timeline's mutex protects it.
type extent struct {
	id       fact.BootID
	segments *segments
	from, to place
}

func (x *extent) add(p place) {
	if x.from == (place{}) || p.less(x.from) {
		x.from = p
	}
	if x.to.less(p) {
		x.to = p
	}
}

// segments is a bounded row of files. They are never synced: events are worth less than a fsync.
type segments struct {
	dir   string
	limit int64 // bytes of all files together

	mu     sync.Mutex
	sealed []sealed // oldest first
	f      *os.File
	seq    uint64
	size   int64
	torn   bool // the last write failed: the next line must begin with a line feed
}

type sealed struct {
	seq  uint64
	size int64
}

// openSegments begins a new file behind those that are there: the end of the last one may be torn.
func openSegments(dir string, limit int64) (*segments, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &segments{dir: dir, limit: limit}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		text, isSegment := strings.CutSuffix(f.Name(), ".events")
		seq, err := strconv.ParseUint(text, 10, 64)
		if info, infoErr := f.Info(); isSegment && err == nil && infoErr == nil {
			s.sealed = append(s.sealed, sealed{seq, info.Size()})
			s.seq = max(s.seq, seq)
		}
	}
	slices.SortFunc(s.sealed, func(a, b sealed) int { return int(int64(a.seq) - int64(b.seq)) })
	return s, s.next()
}

func (s *segments) path(seq uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%016d.events", seq))
}

// next goes on in a new file and removes the oldest while there is too much.
func (s *segments) next() error {
	f, err := os.OpenFile(s.path(s.seq+1), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if s.f != nil {
		s.f.Close()
		s.sealed = append(s.sealed, sealed{s.seq, s.size})
	}
	s.f, s.seq, s.size, s.torn = f, s.seq+1, 0, false
	total := int64(segmentSize)
	for i := len(s.sealed) - 1; i >= 0; i-- {
		if total += s.sealed[i].size; total > s.limit || s.sealed[i].size == 0 {
			total -= s.sealed[i].size
			if err := os.Remove(s.path(s.sealed[i].seq)); err == nil {
				s.sealed = slices.Delete(s.sealed, i, i+1)
			}
		}
	}
	return nil
}

// append writes lines with one call, and gives the place of the first.
func (s *segments) append(lines []byte) (first place, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		return first, os.ErrClosed
	}
	if s.size >= segmentSize {
		if err := s.next(); err != nil {
			return first, err
		}
	}
	first = place{s.seq, s.size}
	if s.torn {
		lines = append([]byte{'\n'}, lines...)
		first.off++
	}
	n, err := s.f.Write(lines)
	s.size += int64(n)
	s.torn = err != nil
	return first, err
}

// read calls f with every entry between two places, both included, with its place. Entries that cannot be read are left out.
func (s *segments) read(from, to place, f func(place, entry)) error {
	s.mu.Lock()
	seqs := []uint64{}
	for _, old := range s.sealed {
		seqs = append(seqs, old.seq)
	}
	seqs = append(seqs, s.seq)
	s.mu.Unlock()
	for _, seq := range seqs {
		if seq < from.seq || seq > to.seq {
			continue
		}
		file, err := os.Open(s.path(seq))
		if os.IsNotExist(err) {
			continue // it was the oldest just now
		}
		if err != nil {
			return err
		}
		err = scan(file, seq, from, to, f)
		file.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func scan(file io.ReadSeeker, seq uint64, from, to place, f func(place, entry)) error {
	off := int64(0)
	if seq == from.seq {
		off = from.off
	}
	if _, err := file.Seek(off, io.SeekStart); err != nil {
		return err
	}
	lines := newLines(file)
	for {
		line, size, err := lines.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		at := place{seq, off}
		off += int64(size)
		if to.less(at) {
			return nil
		}
		if e, ok := decode(line); ok {
			f(at, e)
		}
	}
}

func (s *segments) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		return nil
	}
	err := s.f.Close()
	s.f = nil
	return err
}
