package tftp

import (
	"bufio"
	"errors"
	"io"
	"net/netip"
	"strings"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/late"
)

// content is an opened file and what became of reading it.
type content struct {
	io.ReadSeekCloser
	size int64
	stop <-chan struct{}
	buf  *bufio.Reader
	err  error // why reading ended early; the text the machine sees is another
}

// reader gives the content to pin/tftp, which sends the text of a reader's error to the machine.
func (c *content) reader(stop <-chan struct{}) io.Reader {
	c.stop = stop
	c.buf = bufio.NewReaderSize(c.ReadSeekCloser, 16<<10) // a block is 512 to 1,468 bytes
	return pinReader{c}
}

// pinReader hides every other method, so that pin/tftp does not seek by itself.
type pinReader struct{ c *content }

func (r pinReader) Read(p []byte) (int, error) {
	select {
	case <-r.c.stop:
		r.c.err = errStopping
		return 0, errStopping
	default:
	}
	n, err := r.c.buf.Read(p)
	if err != nil && err != io.EOF {
		r.c.err = err
		err = errInternal
	}
	return n, err
}

// find looks the file up and opens it. The refusal is for the operator; the machine only hears that there is no file.
func (s *Server) find(k key, local netip.Addr, e *fact.Event) (c *content, refusal string) {
	snap, rev := s.Current()
	s.recognise(snap, e)
	name, ok := cleanName(k.name)
	if !ok {
		return nil, "not a name of a file"
	}
	if snap == nil {
		return nil, "no revision is in force yet"
	}
	e.Revision = rev
	f, ok := snap.File(name, e.MAC)
	if !ok {
		return nil, "no such file"
	}
	e.Stage = f.Stage
	if f.URL != "" {
		return nil, "the file is not served by TFTP"
	}
	if f.Text != "" {
		return s.generate(f, local, e)
	}
	return s.open(f, e)
}

// recognise finds the machine by its lease, or, when another DHCP server gave it its address, by the address that it
// was declared with.
func (s *Server) recognise(snap *render.Snapshot, e *fact.Event) {
	if lease, held := s.Leases.Holder(e.Peer); held {
		e.MAC, e.Node = lease.MAC, lease.Node
	} else if snap != nil {
		if n, ok := snap.Node(e.Peer.String()); ok {
			e.MAC, e.Node = n.MAC, n.Name
		}
	}
}

// generate fills the late values of a generated file in. The boot's token goes only to the machine itself.
func (s *Server) generate(f render.File, local netip.Addr, e *fact.Event) (*content, string) {
	if !local.IsValid() || local.IsUnspecified() || local.IsMulticast() {
		return nil, "a generated file was requested by broadcast"
	}
	v := late.Values{Server: local, Base: s.Base.URL(local)}
	if !e.MAC.IsZero() && e.Node == f.Node {
		var err error
		if v.Boot, v.Token, err = s.Boots.Script(e.MAC, e.Node, e.Peer, e.Revision); err != nil {
			s.Log.Warn("naming a boot", "node", e.Node, "mac", e.MAC, "err", err)
		}
		e.Boot = v.Boot
	}
	text := late.Fill(f.Text, v)
	return &content{ReadSeekCloser: nopCloser{strings.NewReader(text)}, size: int64(len(text))}, ""
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

func (s *Server) open(f render.File, e *fact.Event) (*content, string) {
	file, err := s.Blobs.Open(f.Digest)
	if err == nil {
		var size int64
		if size, err = length(file); err == nil && size != f.Size {
			err = errors.New("its size is not the one that was rendered")
		}
		if err == nil {
			return &content{ReadSeekCloser: file, size: size}, ""
		}
		file.Close()
	}
	s.Log.Error("opening a file", "file", e.File, "digest", f.Digest, "err", err)
	return nil, "opening the file: see the log"
}

func length(f io.Seeker) (int64, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return size, err
}
