package tftp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	pin "github.com/pin/tftp/v3"

	"hostler/render/fact"
)

// What clients see of an error, word for word: pin/tftp sends a handler's error to the machine as it is.
var (
	errNotFound  = errors.New("file not found")
	errBusy      = errors.New("server is busy")
	errDuplicate = errors.New("duplicate request")
	errStopping  = errors.New("server is stopping")
	errInternal  = errors.New("internal error")
	errReadOnly  = errors.New("files cannot be written")
)

// read answers one read request; pin/tftp calls it in a goroutine of its own. It never returns nil without
// having sent something, since then nobody would close pin/tftp's socket.
func (s *Server) read(name string, rf io.ReaderFrom) error {
	out, ok := rf.(pin.OutgoingTransfer)
	if !ok {
		return errInternal
	}
	remote := out.RemoteAddr()
	k := key{unmap(remote.AddrPort()), name}
	e := fact.Event{Time: s.Now(), Stage: fact.StageLoader, What: "Read Request", File: printable(name), Peer: k.peer.Addr()}
	t, err := s.admit(k)
	if err == errDuplicate {
		return err
	}
	if err != nil {
		e.Result, e.Detail = fact.Refused, err.Error()
		s.Event(e)
		return err
	}
	defer s.transfers.leave(k)
	defer s.transfers.finish(t)
	return s.attend(t, rf, out, e)
}

// attend sends the file when it is the transfer's turn, and reports how that went.
func (s *Server) attend(t *transfer, rf io.ReaderFrom, out pin.OutgoingTransfer, e fact.Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.Log.Error("panic while answering a TFTP request", "file", e.File, "peer", e.Peer, "err", p, "stack", string(debug.Stack()))
			err = errInternal
			e.Result, e.Detail = fact.Failed, errInternal.Error()
		}
		e.Duration = s.Now().Sub(e.Time)
		s.Event(e)
	}()
	select {
	case s.transfers.slots <- struct{}{}:
		defer func() { <-s.transfers.slots }()
	case <-time.After(s.Patience):
		e.Result, e.Detail = fact.Refused, "too many transfers at once"
		return errBusy
	}
	return s.send(t, rf, out, &e)
}

// admit waits until the request is the only one of its kind. A repeated request must not be answered while the first is: an
// ERROR would end the transfer that the client is waiting for. It is served after all when the first was only a
// probe for the size, for some clients use the same port for both.
func (s *Server) admit(k key) (*transfer, error) {
	if !s.transfers.enter(k) {
		return nil, errBusy
	}
	for {
		t, first := s.transfers.claim(k)
		if first {
			return t, nil
		}
		select {
		case <-t.done:
			if t.probe {
				continue
			}
		case <-s.stopping:
		}
		s.transfers.leave(k)
		return nil, errDuplicate
	}
}

// send finds the file, sends it and judges how that went.
func (s *Server) send(t *transfer, rf io.ReaderFrom, out pin.OutgoingTransfer, e *fact.Event) error {
	local := netip.Addr{}
	if info, ok := rf.(pin.RequestPacketInfo); ok {
		local, _ = netip.AddrFromSlice(info.LocalIP())
	}
	c, refusal := s.find(t.key, local.Unmap(), e)
	if refusal != "" {
		e.Result, e.Detail = fact.Refused, refusal
		return errNotFound
	}
	defer c.Close()
	out.SetSize(c.size)
	sent, err := rf.ReadFrom(c.reader(s.stopping))
	e.Bytes = sent
	switch timeout, ok := errors.AsType[net.Error](err); {
	case err == nil:
		e.Result = fact.OK
	case c.err != nil:
		e.Result, e.Detail = fact.Failed, c.err.Error()
	case !t.acked && t.sized && (!ok || s.transfers.askedAgain(t.key)):
		// RFC 2349 lets a client learn the size and stop; EDK2 sends error 8, other firmware error 0 or nothing at all.
		e.Result, t.probe = fact.Probe, true
		err = nil
	case ok && timeout.Timeout() && !t.acked:
		e.Result, e.Detail = fact.Failed, "the machine did not acknowledge the first packet"
	case ok && timeout.Timeout():
		e.Result, e.Detail = fact.Failed, fmt.Sprintf("the machine stopped answering after %d of %d bytes", sent, c.size)
	default:
		e.Result, e.Detail = fact.Failed, printable(err.Error())
	}
	return err
}

// write refuses: nothing is ever written by TFTP.
func (s *Server) write(name string, wt io.WriterTo) error {
	e := fact.Event{Time: s.Now(), What: "Write Request", File: printable(name), Result: fact.Refused, Detail: errReadOnly.Error()}
	if in, ok := wt.(pin.IncomingTransfer); ok {
		remote := in.RemoteAddr()
		e.Peer = unmap(remote.AddrPort()).Addr()
	}
	s.Event(e)
	return errReadOnly
}

func unmap(ap netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()) }
