// Package tftp reads files by TFTP as boot firmware does, and with windows, which some firmware has: for playing
// machines, and for measuring servers. It knows nothing of hostler.
package tftp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// The opcodes of RFC 1350 section 5 and RFC 2347.
const opRead, opData, opAck, opError, opOptions = 1, 3, 4, 5, 6

// Request is what to ask for.
type Request struct {
	Name      string
	Size      bool          // ask for the size too (RFC 2349)
	Probe     bool          // ask for the size only: the caller is going to abort
	BlockSize int           // to ask for (RFC 2348); 0: the 512 bytes of RFC 1350
	Window    int           // to ask for (RFC 7440); 0: one block at a time
	Wait      time.Duration // before a packet is sent again; 0: a second
	Tries     int           // 0: 5
}

// Error is an ERROR packet of the server.
type Error struct {
	Code uint16
	Text string
}

func (e Error) Error() string { return fmt.Sprintf("error %d: %s", e.Code, e.Text) }

// File is being read.
type File struct {
	Size    int64             // as the server said; -1 if it did not
	Options map[string]string // that the server acknowledged, by their names in lower case
	Resent  int               // packets of ours

	req     Request
	conn    *net.UDPConn
	to      netip.AddrPort // the server's port, and then the transfer's
	met     bool           // to is the transfer's
	blksize int
	window  int

	received int64 // blocks, counted without wrapping around
	since    int   // blocks since the last acknowledgement
	gap      bool  // the server was told that one is missing
	last     bool

	buf      []byte
	rest     []byte // of buf, not given to the reader yet
	sent     []byte // the packet to repeat when nothing comes
	deadline time.Time
}

// Open sends the request and waits for the first answer. The socket is used until the file was read, and not closed.
func Open(conn *net.UDPConn, server netip.AddrPort, req Request) (*File, error) {
	if req.Wait == 0 {
		req.Wait = time.Second
	}
	if req.Tries == 0 {
		req.Tries = 5
	}
	f := &File{Size: -1, req: req, conn: conn, to: server, blksize: 512, window: 1, buf: make([]byte, max(req.BlockSize, 1024)+4)}
	f.sent = req.packet()
	if err := f.send(); err != nil {
		return nil, err
	}
	return f, f.next()
}

func (r *Request) packet() []byte {
	words := []string{r.Name, "octet"}
	option := func(name string, value int, asked bool) {
		if asked {
			words = append(words, name, strconv.Itoa(value))
		}
	}
	option("tsize", 0, r.Size || r.Probe)
	option("blksize", r.BlockSize, r.BlockSize > 0)
	option("windowsize", r.Window, r.Window > 0)
	return append([]byte{0, opRead}, strings.Join(words, "\x00")+"\x00"...)
}

// Abort ends the transfer, as firmware does after it has asked for the size.
func (f *File) Abort(code uint16, text string) error {
	f.sent = append(binary.BigEndian.AppendUint16([]byte{0, opError}, code), text+"\x00"...)
	return f.send()
}

// Read implements io.Reader.
func (f *File) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		if f.last {
			return 0, io.EOF
		}
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

func (f *File) send() error {
	_, err := f.conn.WriteToUDPAddrPort(f.sent, f.to)
	return err
}

// next waits until the transfer has got further: by a block, or by the acknowledgement of options.
func (f *File) next() error {
	for try := 0; try < f.req.Tries; {
		p, err := f.receive()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			try++
			f.Resent++
			f.since, f.gap = 0, false
			if err := f.send(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		further, err := f.take(p)
		if further || err != nil {
			return err
		}
	}
	return errors.New("no answer")
}

// receive gives a packet of the server.
func (f *File) receive() ([]byte, error) {
	for {
		// Setting a deadline costs as much as a packet.
		if now := time.Now(); f.deadline.Sub(now) < f.req.Wait/2 {
			f.deadline = now.Add(f.req.Wait)
			if err := f.conn.SetReadDeadline(f.deadline); err != nil {
				return nil, err
			}
		}
		n, from, err := f.conn.ReadFromUDPAddrPort(f.buf)
		if err != nil {
			f.deadline = time.Time{}
			return nil, err
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if n < 4 || from.Addr() != f.to.Addr() || f.met && from != f.to {
			continue
		}
		if !f.met {
			f.met, f.to = true, from
		}
		return f.buf[:n], nil
	}
}

// take looks at a packet, and acknowledges it when that is due.
func (f *File) take(p []byte) (further bool, err error) {
	n := binary.BigEndian.Uint16(p[2:])
	switch op := binary.BigEndian.Uint16(p); {
	case op == opError:
		return false, Error{n, string(bytes.TrimRight(p[4:], "\x00"))}
	case op == opOptions && f.received == 0:
		first := f.Options == nil
		if err := f.options(p[2:]); err != nil {
			return false, err
		}
		if !f.req.Probe {
			f.acknowledge()
			err = f.send()
		}
		return first, err
	case op != opData:
		return false, nil
	case n == uint16(f.received+1):
		f.received++
		f.since++
		f.gap = false
		f.rest, f.last = p[4:], len(p)-4 < f.blksize
		if !f.last && f.since < f.window {
			return true, nil
		}
		f.acknowledge()
		return true, f.send()
	case n == uint16(f.received) || !f.gap && int16(n-uint16(f.received)) > 0:
		// The server did not hear the acknowledgement; or blocks are missing, which it is told once.
		f.gap = n != uint16(f.received)
		f.acknowledge()
		return false, f.send()
	}
	return false, nil
}

func (f *File) acknowledge() {
	f.since = 0
	f.sent = binary.BigEndian.AppendUint16([]byte{0, opAck}, uint16(f.received))
}

// options takes in what the server acknowledged.
func (f *File) options(p []byte) error {
	f.Options = map[string]string{}
	words := strings.Split(string(p), "\x00")
	for i := 0; i+1 < len(words); i += 2 {
		f.Options[strings.ToLower(words[i])] = words[i+1]
	}
	for name, to := range map[string]*int{"blksize": &f.blksize, "windowsize": &f.window} {
		if text, ok := f.Options[name]; ok {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > 65535 {
				return fmt.Errorf("the server acknowledges %s=%q", name, text)
			}
			*to = n
		}
	}
	if size, err := strconv.ParseInt(f.Options["tsize"], 10, 64); err == nil {
		f.Size = size
	}
	return nil
}
