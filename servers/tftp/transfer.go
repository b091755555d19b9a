package tftp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime/debug"
	"time"

	"hostler/render/fact"
)

var (
	errAskedAgain = errors.New("the machine asked for something else")
	errDisplaced  = errors.New("the machine did not acknowledge the first packet, and others were waiting")
	errInternal   = errors.New("internal error")
	errStopping   = errors.New("server is stopping")
)

// transfer is one request that is being answered.
type transfer struct {
	req     request
	raw     string // the packet
	peer    netip.AddrPort
	to      dest
	arrival arrival
	began   time.Time
	ended   bool
	found           // empty until it has begun
	trace   *trace  // nil when nobody wants it
	sender  *sender // nil until it has begun, and when there is nothing to send
}

// found is what became of a request: a file, or a refusal.
type found struct {
	event   fact.Event
	content *content
	refusal *refusal
}

// refusal is why there is no file: one text for the operator, another for the machine.
type refusal struct {
	detail string
	code   uint16
	text   string
}

// prepare finds the file, and reads its beginning. It runs in a goroutine of its own, and only reads what the request said.
func (l *loop) prepare(t *transfer) func() {
	f := l.find(&t.req, t.arrival.asked, l.eventOf(t))
	if f.refusal != nil {
		return func() { l.begin(t, f, nil) }
	}
	opened := f.content
	defer func() {
		if opened != nil { // a panic is on its way
			opened.Close()
		}
	}()
	mtu := ethernet
	if t.req.blksize > 512 {
		mtu = mtuOf(t.arrival.index)
	}
	terms, oack := t.req.negotiate(f.content.size, mtu)
	size, r := f.content.size, io.Reader(f.content)
	if t.req.netascii {
		size, r = -1, &netascii{r: bufio.NewReader(r)}
	}
	s := &sender{terms: terms, pace: newPace(l.Timeout), src: newSource(r, size, terms), oack: oack}
	s.src.filled(s.src.readFull(s.src.room(0, 0)))
	s.emit = func(op, block uint16, content []byte) {
		l.out.add(&t.to, op, block, content)
		l.emitted(t, op, block, content)
	}
	opened = nil
	return func() { l.begin(t, f, s) }
}

func (l *loop) eventOf(t *transfer) fact.Event {
	return fact.Event{Time: t.began, Peer: t.peer.Addr(), What: "Read Request", Stage: fact.StageLoader, File: fact.Printable(t.req.name)}
}

// begin sends the first packet, from a port of its own.
func (l *loop) begin(t *transfer, f found, s *sender) {
	t.found, t.sender = f, s
	switch {
	case t.ended: // while the file was looked for
		l.release(t)
		return
	case t.refusal != nil:
		l.trace(t)
		l.giveUp(t, t.refusal.code, t.refusal.text)
		l.finish(t, nil)
		return
	}
	l.trace(t)
	if !l.SinglePort {
		sock, err := newSocket(netip.AddrPortFrom(t.arrival.asked, 0), nil)
		if err == nil {
			err = l.watch(int(sock))
		}
		if err != nil {
			l.Log.Error("opening a socket for a TFTP transfer", "peer", t.peer, "err", err)
			l.finish(t, errInternal)
			return
		}
		t.to = dest{fd: int(sock), name: t.to.name}
		t.trace.moved(t.to.fd)
		l.bySocket[int32(sock)] = t
	}
	l.await(t)
	t.sender.start(l.now)
	l.advance(t)
}

// step gives a transfer a packet, or, without one, the time.
func (l *loop) step(t *transfer, p []byte) {
	if t.ended || t.sender == nil {
		return
	}
	if p != nil {
		l.received(t, p)
		t.sender.receive(p, l.now)
	} else {
		t.sender.tick(l.now)
		t.sender.overdue(l.now)
	}
	l.advance(t)
}

// advance reads ahead when that is due, and ends the transfer when it is done.
func (l *loop) advance(t *transfer) {
	s := t.sender
	if s.done {
		l.finish(t, s.err)
		return
	}
	room := s.src.room(s.acked*int64(s.blksize), s.sent*int64(s.blksize))
	if len(room) == 0 {
		return
	}
	s.src.reading = true
	l.background(t, func() func() {
		n, err := s.src.readFull(room)
		return func() { l.readOn(t, n, err) }
	})
}

// readOn takes in what was read ahead.
func (l *loop) readOn(t *transfer, n int, err error) {
	t.sender.src.reading = false
	if t.ended {
		l.release(t)
		return
	}
	t.sender.src.filled(n, err)
	t.sender.push(l.now)
	l.advance(t)
}

// finish ends a transfer and reports how it went: an error is why it ended early.
func (l *loop) finish(t *transfer, err error) {
	if t.ended {
		return
	}
	t.ended = true
	if t.event.Time.IsZero() {
		t.event = l.eventOf(t) // it never began
	}
	l.judge(t, err)
	l.counters.running.Add(-1)
	l.limits.leave(t.peer.Addr())
	delete(l.byPeer, t.peer)
	if l.bySocket[int32(t.to.fd)] == t {
		l.out.flush() // before the descriptor means something else
		delete(l.bySocket, int32(t.to.fd))
		socket(t.to.fd).close()
	}
	if s := t.sender; s != nil {
		t.event.Bytes, t.event.Resent = s.bytes(), s.resent
	}
	t.event.Duration = l.now.Sub(t.began)
	l.traceEnd(t)
	l.report(t.event)
	l.release(t)
}

// release gives the file back, and what was read of it, unless it is being read: then that is done once it was.
func (l *loop) release(t *transfer) {
	if t.sender != nil && t.sender.src.reading {
		return
	}
	if t.content != nil {
		t.content.Close()
		t.content = nil
	}
	t.sender = nil
}

// judge says in the event how the transfer ended, and tells the machine if it waits for more.
func (l *loop) judge(t *transfer, err error) {
	e, s := &t.event, t.sender
	_, byClient := errors.AsType[clientError](err)
	switch {
	case t.refusal != nil:
		e.Result, e.Detail = fact.Refused, t.refusal.detail
	case err == nil:
		e.Result = fact.OK
	case s != nil && t.req.size && !s.met && (byClient || err == errAskedAgain || err == errSilent && l.limits.askedAgain(t.peer, t.req.name)):
		// RFC 2349 lets a client learn the size and stop; EDK2 sends error 8, other firmware error 0 or nothing at all.
		e.Result = fact.Probe
	case (err == errSilent || err == errAskedAgain || err == errStopping) && s != nil && s.lastMissing():
		e.Result, e.Detail = fact.OK, "the last block was not acknowledged"
	case byClient:
		e.Result, e.Detail = fact.Failed, "the machine gave up: "+err.Error()
	case err == errSilent && !s.met:
		e.Result, e.Detail = fact.Failed, "the machine did not acknowledge the first packet"
	case err == errSilent || err == errSlow:
		e.Result, e.Detail = fact.Failed, fmt.Sprintf("%v after %d of %d bytes", err, s.bytes(), t.content.size)
	case err == errAskedAgain || err == errDisplaced:
		e.Result, e.Detail = fact.Failed, err.Error()
	case err == errStopping:
		e.Result, e.Detail = fact.Failed, err.Error()
		l.giveUp(t, codeUndefined, errStopping.Error())
	default: // of reading the file: the operator sees why
		e.Result, e.Detail = fact.Failed, err.Error()
		l.giveUp(t, codeUndefined, errInternal.Error())
	}
}

// giveUp sends a machine an ERROR in place of the file.
func (l *loop) giveUp(t *transfer, code uint16, text string) {
	l.refuse(&t.to, code, text)
	l.emitted(t, opERROR, code, append([]byte(text), 0))
}

func (l *loop) report(e fact.Event) {
	l.counters.count(&e)
	l.Event(e)
}

func (l *loop) logPanic(t *transfer, p any) {
	l.Log.Error("panic while answering a TFTP request", "file", fact.Printable(t.req.name), "peer", t.peer.Addr(), "err", p, "stack", string(debug.Stack()))
}
