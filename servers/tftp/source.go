package tftp

import (
	"errors"
	"io"
)

// readAhead is how much of a file is in memory beyond what the machine may ask for again. It is all that a transfer
// holds of it: a thousand machines that fetch one loader have a thousand times this, not a thousand copies.
const readAhead = 32 << 10

var errShort = errors.New("the file became shorter while it was sent")

// source is the part of a file that is being sent: from the first byte that was not acknowledged to what was read ahead.
// One goroutine at a time reads into the free part; nobody else touches that meanwhile.
type source struct {
	r       io.Reader
	size    int64  // of the whole; -1 when only reading tells
	buf     []byte // what there is, and room
	n       int    // bytes there are
	base    int64  // where buf begins in the file
	eof     bool
	err     error
	reading bool
}

func newSource(r io.Reader, size int64, t terms) *source {
	room := int64(readAhead + t.blksize*t.window)
	if size >= 0 {
		room = min(room, size)
	}
	return &source{r: r, size: size, buf: make([]byte, room), eof: size == 0}
}

// block is the content of block i, which counts from 1, and whether it is the last one. It reports false as long as the
// content has not been read.
func (s *source) block(i int64, size int) (content []byte, last, ok bool) {
	from := int((i-1)*int64(size) - s.base)
	if s.n-from >= size {
		return s.buf[from : from+size], false, true
	}
	if s.eof {
		return s.buf[from:s.n], true, true
	}
	return nil, false, false
}

// room says where to read to, after forgetting what lies before acked; nothing when there is still enough to send.
func (s *source) room(acked, sent int64) []byte {
	if s.reading || s.eof || s.err != nil || s.base+int64(s.n)-sent > int64(len(s.buf))/4 {
		return nil
	}
	done := int(min(acked-s.base, int64(s.n)))
	copy(s.buf, s.buf[done:s.n])
	s.n -= done
	s.base += int64(done)
	return s.buf[s.n:]
}

// filled takes in what was read to the room.
func (s *source) filled(n int, err error) {
	s.n += n
	got := s.base + int64(s.n)
	switch end := err == io.EOF || err == io.ErrUnexpectedEOF; {
	case err != nil && !end:
		s.err = err
	case got == s.size || end && s.size < 0:
		s.eof = true
	case end:
		s.err = errShort
	}
}

// readFull reads until there is no room or nothing more. It is the only code here that may wait for a disk.
func (s *source) readFull(room []byte) (int, error) {
	if s.size >= 0 {
		room = room[:min(int64(len(room)), s.size-s.base-int64(s.n))]
	}
	return io.ReadFull(s.r, room)
}

// netascii reads a text as RFC 1350 wants it sent in that mode: a line ends in CR LF, a CR of its own is followed by a NUL.
type netascii struct {
	r    io.ByteReader
	next byte // to give before reading on
	held bool
}

func (a *netascii) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if a.held {
			p[n], a.held = a.next, false
			n++
			continue
		}
		b, err := a.r.ReadByte()
		if err != nil {
			return n, err
		}
		switch b {
		case '\n':
			b, a.next, a.held = '\r', '\n', true
		case '\r':
			a.next, a.held = 0, true
		}
		p[n] = b
		n++
	}
	return n, nil
}
