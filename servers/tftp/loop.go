package tftp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hostler/render/fact"
)

// loop is the one goroutine that reads and writes packets, for all transfers: a block costs it two system calls and a share of
// a third, no timer and no switch between goroutines. What may wait for a disk or a lock, which is looking a name up, opening a file and reading
// ahead in it, is done by goroutines of its own; they hand their results over with post. Nothing else touches its fields.
type loop struct {
	*Server
	epoll  int
	wake   int    // eventfd: something was posted
	in     *inbox // of the server's own port
	reply  *inbox // of transfers
	out    *outbox
	limits *limits

	listeners map[int32]socket
	bySocket  map[int32]*transfer
	byPeer    map[netip.AddrPort]*transfer // a client's port has one transfer at a time
	unmet     []*transfer                  // in the order of their beginning; some have acknowledged something, or ended, since

	now      time.Time
	nextTick time.Time
	pending  int       // goroutines that will post
	stopping bool      // no new requests
	cut      time.Time // when what still runs then is ended

	mu     sync.Mutex
	posted []func()
}

func newLoop(s *Server) (*loop, error) {
	l := &loop{
		Server: s, epoll: -1, wake: -1, in: newInbox(), reply: newInbox(), limits: newLimits(s.MaxTransfers, s.perClient()),
		listeners: map[int32]socket{}, bySocket: map[int32]*transfer{}, byPeer: map[netip.AddrPort]*transfer{},
	}
	l.out = newOutbox(func(n int, _ error) { s.counters.lost.Add(uint64(n)) })
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("serving TFTP: %w", os.NewSyscallError("epoll_create1", err))
	}
	l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = l.watch(l.wake)
	}
	for _, sock := range s.sockets {
		if err == nil {
			err = l.watch(int(sock))
		}
		l.listeners[int32(sock)] = sock
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("serving TFTP: %w", err)
	}
	return l, nil
}

func (l *loop) watch(fd int) error {
	err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	return os.NewSyscallError("epoll_ctl", err)
}

func (l *loop) close() {
	for _, fd := range []int{l.epoll, l.wake} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// stop ends the loop: when the running transfers have ended, or the time is over.
func (l *loop) stop(drain time.Duration) {
	l.post(func() { l.stopping, l.cut = true, l.now.Add(drain) })
}

// post has the loop call f soon.
func (l *loop) post(f func()) {
	l.mu.Lock()
	first := len(l.posted) == 0
	l.posted = append(l.posted, f)
	l.mu.Unlock()
	if first {
		_, _ = unix.Write(l.wake, binary.NativeEndian.AppendUint64(nil, 1))
	}
}

// run goes on until it was told to stop and nothing is left to do.
func (l *loop) run() error {
	events := make([]unix.EpollEvent, 64)
	for !l.ended() {
		n, err := unix.EpollWait(l.epoll, events, l.sleep())
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("serving TFTP: %w", os.NewSyscallError("epoll_wait", err))
		}
		l.now = l.Now()
		for _, e := range events[:max(n, 0)] {
			if sock, ok := l.listeners[e.Fd]; ok {
				l.listen(sock)
			} else if t := l.bySocket[e.Fd]; t != nil {
				l.hear(t)
			} else if e.Fd == int32(l.wake) {
				l.handle()
			}
		}
		if len(l.byPeer) > 0 && !l.now.Before(l.nextTick) {
			l.nextTick = l.now.Add(l.tick())
			for _, t := range l.byPeer {
				if l.stopping && !l.now.Before(l.cut) {
					l.finish(t, errStopping)
				}
				l.step(t, nil)
			}
		}
		l.out.flush()
	}
	return nil
}

// hungTime is how long files that are being opened or read are waited for after the drain: no longer for a disk that hangs.
const hungTime = 3 * time.Second

func (l *loop) ended() bool {
	return l.stopping && (len(l.byPeer) == 0 && l.pending == 0 || !l.now.Before(l.cut.Add(hungTime)))
}

// tick is how often the transfers are looked at for what is overdue.
func (s *Server) tick() time.Duration { return max(s.Timeout/40, time.Millisecond) }

// sleep is how long to wait for packets, in milliseconds: for ever when there is no transfer.
func (l *loop) sleep() int {
	until := l.nextTick
	switch {
	case len(l.byPeer) > 0:
	case l.stopping:
		until = l.cut.Add(hungTime)
	default:
		return -1
	}
	return max(int((until.Sub(l.now)+time.Millisecond-1)/time.Millisecond), 0)
}

// handle does what was posted.
func (l *loop) handle() {
	var b [8]byte
	_, _ = unix.Read(l.wake, b[:])
	l.mu.Lock()
	fs := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range fs {
		f()
	}
}

// listen reads what came to the server's own port: requests, and in single-port mode everything.
func (l *loop) listen(sock socket) {
	n, err := l.in.read(int(sock), packetsIn)
	if err != nil {
		l.Log.Warn("receiving TFTP requests", "err", err)
	}
	for i := range n {
		p, peer := l.in.packet(i)
		if len(p) < 2 {
			continue
		}
		op := binary.BigEndian.Uint16(p)
		if l.SinglePort && (op == opACK || op == opERROR) {
			// That of a transfer that has ended is not answered: the client may use the port for another by now.
			if t := l.byPeer[peer]; t != nil {
				l.step(t, p)
			}
			continue
		}
		// RFC 1350 section 7: an ERROR is never answered. RFC 1123 section 4.2.3.5: nor is a request by broadcast.
		if a := l.in.arrival(i); op != opERROR && !a.cast && !l.stopping && peer.Port() != 0 {
			l.request(sock, p, peer, a)
		}
	}
}

// hear reads what came to a transfer's own port.
func (l *loop) hear(t *transfer) {
	if n, _ := l.reply.read(t.to.fd, 1); n == 0 {
		return
	}
	p, peer := l.reply.packet(0)
	if peer == t.peer {
		l.step(t, p)
		return
	}
	l.counters.strangers.Add(1)
	if len(p) >= 2 && binary.BigEndian.Uint16(p) != opERROR {
		l.refuse(&dest{fd: t.to.fd, name: sockaddr(peer)}, codeUnknownPeer, "unknown transfer")
	}
}

func (l *loop) refuse(to *dest, code uint16, text string) {
	l.out.add(to, opERROR, code, append([]byte(text), 0))
}

// request answers a packet to the server's own port, or has a goroutine look for the file.
func (l *loop) request(sock socket, p []byte, peer netip.AddrPort, a arrival) {
	l.counters.requests.Add(1)
	to := dest{fd: int(sock), name: sockaddr(peer), control: from(a.asked)}
	r, err := parseRequest(p)
	e := fact.Event{Time: l.now, Peer: peer.Addr(), What: "Read Request", Stage: fact.StageLoader, File: fact.Printable(r.name), Result: fact.Refused}
	switch {
	case err != nil:
		e.What, e.Stage, e.Detail = "TFTP packet", fact.StageNone, err.Error()
		l.refuse(&to, codeIllegal, "illegal TFTP operation")
		l.report(e)
		return
	case r.write:
		e.What, e.Stage, e.Detail = "Write Request", fact.StageNone, "files cannot be written"
		l.refuse(&to, codeAccess, "files cannot be written")
		l.report(e)
		return
	case l.repeated(p, peer):
		l.counters.repeated.Add(1)
		return
	}
	if l.limits.running >= l.limits.most {
		l.makeRoom()
	}
	if refusal := l.limits.enter(peer, r.name); refusal != "" {
		e.Detail = refusal
		l.report(e)
		return
	}
	t := &transfer{req: r, raw: string(p), peer: peer, to: to, arrival: a, began: l.now}
	l.byPeer[peer] = t
	l.counters.running.Add(1)
	l.background(t, func() func() { return l.prepare(t) })
}

// repeated reports whether a request is one that is being answered. A client that heard nothing sends it again, and must not get a second
// transfer, nor an ERROR. Another request from the same port, or the same after a pause, as of a machine that was reset, ends the
// transfer that the client is no longer interested in.
func (l *loop) repeated(p []byte, peer netip.AddrPort) bool {
	t := l.byPeer[peer]
	if t != nil && l.bySocket[int32(t.to.fd)] == t {
		l.hear(t) // the abort of a size probe may have come before, to another port
		t = l.byPeer[peer]
	}
	if t == nil {
		return false
	}
	if t.raw == string(p) && (t.sender == nil || !t.sender.met || l.now.Sub(t.sender.heard) < l.Timeout) {
		return true
	}
	l.finish(t, errAskedAgain)
	return false
}

// await notes that a machine has yet to answer. Those that have, or that were given up, are forgotten by and by.
func (l *loop) await(t *transfer) {
	if len(l.unmet) >= 2*l.limits.most {
		l.unmet = slices.DeleteFunc(l.unmet, func(t *transfer) bool { return t.ended || t.sender.met })
	}
	l.unmet = append(l.unmet, t)
}

// makeRoom ends the oldest transfer whose machine has not answered yet: a flood of requests with invented addresses fills every place with
// such, while an honest machine answers within milliseconds.
func (l *loop) makeRoom() {
	for len(l.unmet) > 0 {
		t := l.unmet[0]
		l.unmet[0], l.unmet = nil, l.unmet[1:]
		if !t.ended && !t.sender.met {
			l.finish(t, errDisplaced)
			return
		}
	}
}

// background runs f in a goroutine of its own, and what it returns in the loop. A panic ends the transfer, not the process.
func (l *loop) background(t *transfer, f func() func()) {
	l.pending++
	l.work.Go(func() {
		then := func() {
			if t.sender != nil {
				t.sender.src.reading = false
			}
			l.finish(t, errInternal)
			l.release(t)
		}
		defer func() {
			if p := recover(); p != nil {
				l.logPanic(t, p)
			}
			l.post(func() {
				l.pending--
				then()
			})
		}()
		then = f()
	})
}
