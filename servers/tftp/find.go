package tftp

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/late"
)

// content is an opened file.
type content struct {
	io.ReadSeekCloser
	size int64
}

// What a machine hears of every refusal: no more than that there is no such file, or that it may not have it.
func notFound(detail string) *refusal { return &refusal{detail, codeNotFound, "file not found"} }
func noAccess(detail string) *refusal { return &refusal{detail, codeAccess, "access violation"} }

// find looks the file up and opens it.
func (s *Server) find(r *request, local netip.Addr, e fact.Event) (f found) {
	defer func() { f.event = e }()
	snap, rev := s.Current()
	if !s.SinglePort {
		s.recognise(snap, &e)
	}
	name, ok := cleanName(r.name)
	if !ok {
		f.refusal = noAccess("not a name of a file")
		return f
	}
	if snap == nil {
		f.refusal = notFound("no revision is in force yet")
		return f
	}
	e.Revision = rev
	file, ok := s.lookup(snap, name, &e)
	if !ok {
		file, ok = s.pinned(name, &e)
	}
	if !ok {
		f.refusal = notFound("no such file")
		return f
	}
	e.Stage = file.Stage
	switch {
	case file.URL != "":
		f.refusal = notFound("the file is not served by TFTP")
	case file.Text != "":
		f.content, f.refusal = s.generate(file, local, &e)
	default:
		f.content, f.refusal = s.open(file, &e)
	}
	return f
}

// lookup finds the file of a name. A name may have a machine in front, by MAC or name: c0001/ipxe.efi is ipxe.efi. Behind an address translator
// that tells machines apart, as does a name with a MAC in it; addresses do not.
func (s *Server) lookup(snap *render.Snapshot, name string, e *fact.Event) (render.File, bool) {
	f, ok := snap.File(name, e.MAC)
	if !ok {
		who, rest, cut := strings.Cut(name, "/")
		n, declared := snap.Node(who)
		if !cut || !declared || !e.MAC.IsZero() && e.Node != n.Name {
			return render.File{}, false
		}
		if f, ok = snap.File(rest, n.MAC); !ok {
			return render.File{}, false
		}
		f.Node = n.Name
	}
	if n, declared := snap.Node(string(f.Node)); s.SinglePort && declared {
		e.MAC, e.Node = n.MAC, n.Name
	}
	return f, true
}

// pinned finds a file that a boot under way was told to fetch before the current revision came.
func (s *Server) pinned(name string, e *fact.Event) (render.File, bool) {
	for _, older := range s.Older() {
		if f, ok := s.lookup(older, name, e); ok && f.Pinned {
			return f, true
		}
	}
	return render.File{}, false
}

// recognise finds the machine by its lease, or, when another DHCP server gave it its address, by the address that it
// was declared with.
func (s *Server) recognise(snap *render.Snapshot, e *fact.Event) {
	lease, held := s.Leases.Holder(e.Peer)
	switch {
	case !held && snap != nil:
		e.MAC, e.Node, _ = snap.At(e.Peer)
	case held && snap == nil:
		e.MAC, e.Node = lease.MAC, lease.Node
	case held: // a lease outlives the revision that it was made in: another machine may be the node by now
		e.MAC, e.Node = lease.MAC, ""
		if n, ok := snap.Whose(render.Query{MAC: lease.MAC}); ok {
			e.Node = n.Name
		}
	}
}

// generate fills the late values of a generated file in. The boot's token goes only to the machine itself, which its address
// tells: behind an address translator nobody gets one.
func (s *Server) generate(f render.File, local netip.Addr, e *fact.Event) (*content, *refusal) {
	v := late.Values{Server: local, Base: s.Base.URL(local), Signer: s.Signer}
	if !s.SinglePort && !e.MAC.IsZero() && e.Node == f.Node {
		terms := f.Terms
		terms.Revision = e.Revision
		var err error
		if v.Boot, v.Token, err = s.Boots.Script(e.MAC, e.Node, e.Peer, terms); err != nil {
			s.Log.Warn("naming a boot", "node", e.Node, "mac", e.MAC, "err", err)
		}
		e.Boot = v.Boot
	}
	text := late.Append(nil, f.Text, &v)
	if v.Failed != nil {
		s.Log.Error("filling in a file", "file", f.Name, "node", f.Node, "err", v.Failed)
		return nil, notFound("filling it in: see the log")
	}
	return &content{ReadSeekCloser: nopCloser{bytes.NewReader(text)}, size: int64(len(text))}, nil
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

func (s *Server) open(f render.File, e *fact.Event) (*content, *refusal) {
	file, err := s.Blobs.Open(f.Digest)
	if err == nil {
		var size int64
		if size, err = length(file); err == nil && size != f.Size {
			err = errors.New("its size is not the one that was rendered")
		}
		if err == nil {
			return &content{ReadSeekCloser: file, size: size}, nil
		}
		file.Close()
	}
	s.Log.Error("opening a file", "file", e.File, "digest", f.Digest, "err", err)
	return nil, notFound("opening the file: see the log")
}

func length(f io.Seeker) (int64, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return size, err
}
