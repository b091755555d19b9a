package tftp

import (
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"hostler/render/fact"
)

// pace is how patient a sender is.
type pace struct {
	first   time.Duration // until the first packet is sent again, before any round trip was measured
	least   time.Duration // the same, however short the round trips are
	most    time.Duration // the same, however often it was in vain
	vanish  time.Duration // after which a machine that never answered is given up
	silence time.Duration // after which one that gets no further is
}

// newPace doubles its pauses up to 8 seconds, for a timeout of 1: atftp ignores a block that comes again, and says what it has only when it has
// heard nothing for 5.
func newPace(timeout time.Duration) pace {
	return pace{first: timeout, least: timeout / 10, most: 8 * timeout, vanish: 10 * timeout, silence: 30 * timeout}
}

// slowest is the average rate, in bytes a second, that a machine must keep after the first minute: one that reads slower does
// so to hold the transfer.
const slowest = 8 << 10

// Why a transfer ended early.
var (
	errSilent = errors.New("the machine stopped answering")
	errSlow   = errors.New("the machine reads too slowly")
)

// clientError is an ERROR packet of the machine.
type clientError struct {
	code uint16
	text string
}

func (e clientError) Error() string { return e.text }

// sender sends one file to one machine: in blocks (RFC 1350), one by one or in windows (RFC 7440), after an option acknowledgement
// if there is one (RFC 2347). It has no socket, no clock and no goroutine: it is told what came and how late it is, and
// says what to send.
//
// A block is sent again only when the time is over, or, in windows, once when the machine says that it misses one. An
// acknowledgement that comes twice never makes a block go out twice: the sorcerer's apprentice of RFC 1123 section 4.2.3.1.
type sender struct {
	terms
	pace
	emit func(op, block uint16, content []byte)
	src  *source
	oack []byte // until it is acknowledged

	// Blocks, counted without wrapping around. acked <= sent <= furthest.
	acked, sent, furthest int64
	last                  int64 // 0 until it was sent once
	gap                   int64 // where a window was last sent again for a gap
	met                   bool  // the machine has acknowledged something

	began, heard, due time.Time // heard: when it last got further
	pushed            time.Time // when blocks were sent last
	inVain            int       // how often in a row
	resent            int       // packets, in all
	rtt               rtt

	done bool
	err  error // why, when it is done without success
}

// start sends the first packet.
func (s *sender) start(now time.Time) {
	s.began, s.heard = now, now
	s.gap = -1
	if len(s.oack) > 0 {
		s.emit(opOACK, 0, s.oack)
		s.rtt.sent(0, now)
		s.due = now.Add(s.wait())
		return
	}
	s.push(now)
}

// receive is told what the machine sent to its transfer. Anything but acknowledgements and errors means nothing here.
func (s *sender) receive(p []byte, now time.Time) {
	if s.done || len(p) < 4 {
		return
	}
	n := binary.BigEndian.Uint16(p[2:])
	switch binary.BigEndian.Uint16(p) {
	case opACK:
		s.ack(n, now)
	case opERROR:
		s.end(clientError{n, fact.Printable(strings.TrimRight(string(p[4:]), "\x00"))})
	}
}

func (s *sender) ack(n uint16, now time.Time) {
	if len(s.oack) > 0 {
		if n != 0 {
			return
		}
		s.oack = nil
		s.further(0, now)
		s.push(now)
		return
	}
	// Numbers wrap around at 65,535: only the distance from what is acknowledged counts.
	d := int64(n - uint16(s.acked))
	switch {
	case d > s.furthest-s.acked:
		return // late, from before
	case d > 0:
		s.acked += d
		s.further(s.acked, now)
		if s.last > 0 && s.acked == s.last {
			s.end(nil)
			return
		}
		s.sent = max(s.sent, s.acked)
		s.missed(now)
	case s.window == 1 || !s.missed(now):
		return
	}
	s.push(now)
}

// missed goes back to what is acknowledged when the machine says that it misses a block of a window (RFC 7440 section 4). It is
// believed once for each block, and not before an answer to what was sent last can have come: until then it speaks of what was sent
// before, and every packet that is out of order would bring a window twice.
func (s *sender) missed(now time.Time) bool {
	if s.sent == s.acked || s.gap == s.acked || now.Sub(s.pushed) < s.rtt.smooth/2 {
		return false
	}
	s.gap = s.acked
	s.sent = s.acked
	return true
}

// further notes that the machine has got on.
func (s *sender) further(block int64, now time.Time) {
	s.rtt.acked(block, now)
	s.met, s.heard, s.inVain = true, now, 0
}

// push sends what the window allows and the source has.
func (s *sender) push(now time.Time) {
	from, again := s.sent, s.resent
	for s.sent < s.acked+int64(s.window) && (s.last == 0 || s.sent < s.last) {
		content, last, ok := s.src.block(s.sent+1, s.blksize)
		if !ok {
			if s.src.err != nil {
				s.end(s.src.err)
			}
			break
		}
		s.sent++
		if s.sent <= s.furthest {
			s.resent++
		}
		if last {
			s.last = s.sent
		}
		s.emit(opDATA, uint16(s.sent), content)
	}
	s.furthest = max(s.furthest, s.sent)
	if s.sent > from {
		s.pushed = now
	}
	switch {
	case s.resent > again:
		s.rtt.unclear() // Karn: an acknowledgement could be that of either
	case s.sent > from:
		s.rtt.sent(s.sent, now)
	}
	s.due = now.Add(s.wait())
}

// tick is told what time it is, often.
func (s *sender) tick(now time.Time) {
	if s.done {
		return
	}
	if s.src.reading && s.sent == s.acked && len(s.oack) == 0 { // it is us who are slow
		s.heard = now
		return
	}
	if now.Sub(s.heard) >= s.patience() {
		s.end(errSilent)
		return
	}
	if now.Before(s.due) {
		return
	}
	s.inVain++
	if len(s.oack) > 0 {
		s.resent++
		s.rtt.unclear()
		s.emit(opOACK, 0, s.oack)
		s.due = now.Add(s.wait())
		return
	}
	s.sent = s.acked
	s.push(now)
}

// overdue ends a transfer whose machine acknowledges block after block, but does not want it to end.
func (s *sender) overdue(now time.Time) {
	if took := now.Sub(s.began); !s.done && took > time.Minute && s.acked*int64(s.blksize) < slowest*int64((took-time.Minute)/time.Second) {
		s.end(errSlow)
	}
}

// patience is longer for a machine that asked for long pauses, within reason.
func (s *sender) patience() time.Duration {
	if s.met {
		return s.silence
	}
	return max(s.vanish, min(3*s.timeout, s.silence))
}

// wait is how long to wait for an acknowledgement before sending again: what RFC 6298 does for TCP, bounded more narrowly. A machine that
// asked for a timeout (RFC 2349) is not waited for longer than that, and exactly as long while nothing was measured. Curl and
// U-Boot always ask for 5 seconds; on a link where something is lost now and then, to keep to that each time would take minutes.
func (s *sender) wait() time.Duration {
	w, most := s.first, s.most
	if s.timeout > 0 {
		w, most = s.timeout, s.timeout
	}
	if s.rtt.known {
		w = max(s.rtt.smooth+4*s.rtt.spread, s.least)
	}
	return min(w<<min(s.inVain, 8), most)
}

func (s *sender) end(err error) {
	if !s.done {
		s.done, s.err = true, err
	}
}

// bytes of the file that were sent at least once.
func (s *sender) bytes() int64 {
	if s.last > 0 && s.furthest == s.last {
		return s.src.base + int64(s.src.n)
	}
	return s.furthest * int64(s.blksize)
}

// lastMissing reports whether only the last acknowledgement did not come: some ROMs never send it, and it can be lost after the machine
// has got everything and closed its port.
func (s *sender) lastMissing() bool {
	return s.met && s.last > 0 && s.furthest == s.last && s.acked >= s.last-int64(s.window)
}

// rtt estimates the time of a round trip, as RFC 6298 does. Of packets in flight one is timed.
type rtt struct {
	known          bool
	smooth, spread time.Duration
	block          int64 // being timed; -1: none
	at             time.Time
}

func (r *rtt) sent(block int64, now time.Time) { r.block, r.at = block, now }
func (r *rtt) unclear()                        { r.block = -1 }

func (r *rtt) acked(block int64, now time.Time) {
	if block != r.block {
		return
	}
	r.block = -1
	took := now.Sub(r.at)
	if !r.known {
		r.known, r.smooth, r.spread = true, took, took/2
		return
	}
	r.spread += ((r.smooth - took).Abs() - r.spread) / 4
	r.smooth += (took - r.smooth) / 8
}
