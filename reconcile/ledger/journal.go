package ledger

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The lease journal is a row of files. Each begins with a header (magic, format, a random salt) and holds frames: one
// batch of records, written at once and made durable by one fdatasync. Every frame has a checksum that is seeded with
// the salt, so that no host name a client sends can pass for a frame.
//
// Only the last frame of the last file can be unfinished after a crash, since the next one is written when it is durable. Nobody was
// told of its leases: it is cut off on open. A broken frame with a good one behind it is damage: leases that
// machines were told of would be missing, and their addresses given twice. That is an error on open, for a person to decide.
//
// A file has room for some frames in advance, filled with zeros: a write inside a file costs the disk less than one that makes it
// longer, since its length and the place of its blocks need not be written too. Zeros are no frame.
const (
	journalFormat = 1
	journalMagic  = "hostler-leases"
	journalHeader = len(journalMagic) + 2 + 8
	frameMagic    = "HLJ1"
	frameHeader   = len(frameMagic) + 4 + 4
	frameLimit    = 16 << 20
	journalRoom   = 512 << 10 // bytes, some 5,000 records
)

// ErrDamaged means that a file of the state has lost its middle. Nothing was changed.
var ErrDamaged = errors.New("file is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is one batch: the records, and the clock when it was written.
type frame struct {
	raw, t  int64
	records []record
}

func checksum(salt, size, payload []byte) uint32 {
	c := crc32.Update(0, castagnoli, salt)
	return crc32.Update(crc32.Update(c, castagnoli, size), castagnoli, payload)
}

// encodeFrame appends a frame to b.
func encodeFrame(b, salt []byte, f frame) []byte {
	start := len(b)
	b = append(b, frameMagic...)
	b = append(b, make([]byte, 8)...)
	b = binary.BigEndian.AppendUint64(b, uint64(f.raw))
	b = binary.BigEndian.AppendUint64(b, uint64(f.t))
	for i := range f.records {
		b = f.records[i].encode(b)
	}
	head, payload := b[start+len(frameMagic):start+frameHeader], b[start+frameHeader:]
	binary.BigEndian.PutUint32(head, uint32(len(payload)))
	binary.BigEndian.PutUint32(head[4:], checksum(salt, head[:4], payload))
	return b
}

// decodeFrame reads the frame at the beginning of b, and says how long it is.
func decodeFrame(b, salt []byte) (f frame, size int, ok bool) {
	if len(b) < frameHeader || string(b[:len(frameMagic)]) != frameMagic {
		return f, 0, false
	}
	head := b[len(frameMagic):frameHeader]
	n := binary.BigEndian.Uint32(head)
	if n < 16 || n > frameLimit || uint64(n) > uint64(len(b)-frameHeader) {
		return f, 0, false
	}
	payload := b[frameHeader : frameHeader+int(n)]
	if binary.BigEndian.Uint32(head[4:]) != checksum(salt, head[:4], payload) {
		return f, 0, false
	}
	f.raw, f.t = number(payload), number(payload[8:])
	for rest := payload[16:]; len(rest) > 0; {
		var r record
		if rest, ok = r.decode(rest); !ok {
			return f, 0, false
		}
		f.records = append(f.records, r)
	}
	return f, frameHeader + int(n), true
}

// decodeJournal reads a whole file and gives its frames and the length of its sound part; what follows that is an
// unfinished frame. The errors are ErrNewerFormat and ErrDamaged.
func decodeJournal(b []byte) (frames []frame, sound int, err error) {
	if len(b) < journalHeader {
		return nil, 0, nil // the file was just being created
	}
	if string(b[:len(journalMagic)]) != journalMagic {
		return nil, 0, fmt.Errorf("%w: not a lease journal", ErrDamaged)
	}
	if v := binary.BigEndian.Uint16(b[len(journalMagic):]); v > journalFormat {
		return nil, 0, fmt.Errorf("%w: its format is %d, this one reads up to %d", ErrNewerFormat, v, journalFormat)
	}
	salt := b[len(journalMagic)+2 : journalHeader]
	for at := journalHeader; at < len(b); {
		f, size, ok := decodeFrame(b[at:], salt)
		if !ok {
			if next := soundFrame(b, at+1, salt); next > 0 {
				return frames, at, fmt.Errorf("%w: at byte %d, and goes on at byte %d", ErrDamaged, at, next)
			}
			return frames, at, nil
		}
		frames = append(frames, f)
		at += size
	}
	return frames, len(b), nil
}

// soundFrame finds the next good frame from a place on; 0 if there is none.
func soundFrame(b []byte, from int, salt []byte) int {
	for from < len(b) {
		i := bytes.Index(b[from:], []byte(frameMagic))
		if i < 0 {
			return 0
		}
		from += i
		if _, _, ok := decodeFrame(b[from:], salt); ok {
			return from
		}
		from++
	}
	return 0
}

// journal is the file that is being appended to.
type journal struct {
	dir  string
	seq  uint64 // of the file that is being written
	f    *os.File
	salt []byte
	size int64
	room int64 // bytes of the file that are there already, zeros from size on
	torn bool  // what is behind size must be cut off before the next frame
	buf  []byte
}

func (j *journal) name(seq uint64) string {
	return filepath.Join(j.dir, fmt.Sprintf("leases-%016d.journal", seq))
}

// sequence lists the journal files of a directory, oldest first.
func (j *journal) sequence() ([]uint64, error) {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return nil, err
	}
	var seqs []uint64
	for _, e := range entries {
		s, isJournal := strings.CutPrefix(e.Name(), "leases-")
		s, ends := strings.CutSuffix(s, ".journal")
		if n, err := strconv.ParseUint(s, 10, 64); err == nil && isJournal && ends {
			seqs = append(seqs, n)
		}
	}
	slices.Sort(seqs)
	return seqs, nil
}

// replay calls f with every durable batch, cuts the last file's unfinished end off and prepares for appending.
func (j *journal) replay(f func(frame)) error {
	seqs, err := j.sequence()
	if err != nil {
		return err
	}
	for i, seq := range seqs {
		b, err := os.ReadFile(j.name(seq))
		if err != nil {
			return err
		}
		frames, sound, err := decodeJournal(b)
		if err == nil && i < len(seqs)-1 && len(bytes.TrimLeft(b[sound:], "\x00")) > 0 {
			err = fmt.Errorf("%w: at byte %d", ErrDamaged, sound)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", j.name(seq), err)
		}
		for _, fr := range frames {
			f(fr)
		}
		if j.seq = seq; i < len(seqs)-1 {
			continue
		}
		if sound == 0 { // not even its header was finished: it is created again
			j.seq--
			break
		}
		j.size, j.room, j.torn = int64(sound), int64(sound), sound < len(b)
		j.salt = b[len(journalMagic)+2 : journalHeader]
		if j.f, err = os.OpenFile(j.name(seq), os.O_RDWR, 0); err != nil {
			return err
		}
		return j.mend()
	}
	return j.rotate()
}

// rotate goes on in a new file. If that fails, the old one stays in use.
func (j *journal) rotate() error {
	if j.f != nil { // what a failed write left behind must not come back when the power is cut: another file follows
		if err := errors.Join(j.f.Truncate(j.size), j.f.Sync()); err != nil {
			return err
		}
		j.torn, j.room = false, j.size
	}
	next := &journal{dir: j.dir, seq: j.seq + 1, salt: make([]byte, 8)}
	rand.Read(next.salt)
	header := binary.BigEndian.AppendUint16([]byte(journalMagic), journalFormat)
	header = append(header, next.salt...)
	path := j.name(next.seq)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	next.f = f
	if err = next.write(header); err == nil {
		err = syncDir(j.dir)
	}
	if err != nil {
		f.Close()
		os.Remove(path)
		return err
	}
	if j.f != nil {
		_ = j.close() // every byte of it is durable already
	}
	next.buf = j.buf
	*j = *next
	return nil
}

// append makes a batch durable. When it fails the journal is as before, and it may be tried again.
func (j *journal) append(f frame) error {
	if err := j.mend(); err != nil {
		return fmt.Errorf("writing %s: %w", j.name(j.seq), cause(err))
	}
	j.buf = encodeFrame(j.buf[:0], j.salt, f)
	err := j.write(j.buf)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) { // there may be room for the frame alone
		j.torn = true
		if err = j.mend(); err == nil {
			err = j.writeOnly(j.buf)
		}
	}
	if err != nil {
		j.torn = true
		_ = j.mend() // if it cannot be mended now, the next append tries again before it writes
		return fmt.Errorf("writing %s: %w", j.name(j.seq), cause(err))
	}
	return nil
}

// write makes b durable, and room for what follows it where there is no more.
func (j *journal) write(b []byte) error {
	if j.size+int64(len(b)) <= j.room {
		return j.writeOnly(b)
	}
	n := len(b)
	b = append(b, make([]byte, journalRoom)...)
	if err := j.writeOnly(b); err != nil {
		return err
	}
	j.room = j.size
	j.size -= int64(len(b) - n)
	return nil
}

func (j *journal) writeOnly(b []byte) error {
	if _, err := j.f.WriteAt(b, j.size); err != nil {
		return err
	}
	if err := unix.Fdatasync(int(j.f.Fd())); err != nil {
		return os.NewSyscallError("fdatasync", err)
	}
	j.size += int64(len(b))
	return nil
}

// mend cuts off what a failed write left behind.
func (j *journal) mend() error {
	if !j.torn {
		return nil
	}
	if err := j.f.Truncate(j.size); err != nil {
		return err
	}
	j.torn, j.room = false, j.size
	return nil
}

// close gives back the room that was not used.
func (j *journal) close() error {
	return errors.Join(j.f.Truncate(j.size), j.f.Close())
}

// forget removes files whose leases are in the store.
func (j *journal) forget(upTo uint64) error {
	seqs, err := j.sequence()
	for _, seq := range seqs {
		if seq <= upTo && err == nil {
			err = os.Remove(j.name(seq))
		}
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
