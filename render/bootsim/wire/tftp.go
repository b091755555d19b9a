package wire

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"hostler/render/bootsim"
	"hostler/render/bootsim/tftp"
)

// blockSize is what ROMs ask for.
const blockSize = 1456

// TFTP implements bootsim.Network.
func (w *Card) TFTP(server netip.Addr, name string, probe bool) (bootsim.File, error) {
	return readTFTP(w.ns.udp(nil), server, tftpRequest(name, probe, cardPatience))
}

// patience is how often a packet is sent, and how long its answer is waited for.
type patience struct {
	times int
	wait  time.Duration
}

// cardPatience is less than firmware has: somebody waits for the transcript.
var cardPatience = patience{5, time.Second}

// udp opens sockets in the namespace, on an address of it.
func (ns *namespace) udp(from net.IP) func() (*net.UDPConn, error) {
	return func() (c *net.UDPConn, err error) {
		err = ns.do(func() (err error) { c, err = net.ListenUDP("udp4", &net.UDPAddr{IP: from}); return err })
		return c, err
	}
}

// tftpRequest is what a ROM asks for. With probe it asks for the size, with tsize and then error 8 (RFC 2349).
func tftpRequest(name string, probe bool, p patience) tftp.Request {
	req := tftp.Request{Name: name, Wait: p.wait, Tries: p.times}
	if probe {
		req.Probe = true
	} else {
		req.Size, req.BlockSize = true, blockSize
	}
	return req
}

// readTFTP reads a file, or its size.
func readTFTP(open func() (*net.UDPConn, error), server netip.Addr, req tftp.Request) (bootsim.File, error) {
	c, err := open()
	if err != nil {
		return bootsim.File{}, err
	}
	defer c.Close()
	f, err := tftp.Open(c, netip.AddrPortFrom(server, 69), req)
	if e, ok := errors.AsType[tftp.Error](err); ok && e.Code == 1 {
		return bootsim.File{}, errors.New("not found")
	}
	if err != nil {
		return bootsim.File{}, err
	}
	if f.Size < 0 {
		return bootsim.File{}, errors.New("the server acknowledges no options")
	}
	if req.Probe {
		return bootsim.File{Size: f.Size}, f.Abort(8, "User aborted the transfer")
	}
	return fetched(f, generated(req.Name))
}

// generated reports whether a file is a loader's configuration, whose text says what comes next.
func generated(name string) bool {
	return strings.Contains(name, "pxelinux.cfg") || strings.Contains(name, "grub.cfg") ||
		strings.HasSuffix(name, "config.txt") || strings.HasSuffix(name, "cmdline.txt")
}
