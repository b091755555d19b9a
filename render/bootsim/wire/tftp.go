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
	return readTFTP(w.ns, nil, server, name, probe, cardPatience)
}

// patience is how often a packet is sent, and how long its answer is waited for.
type patience struct {
	times int
	wait  time.Duration
}

// cardPatience is less than firmware has: somebody waits for the transcript.
var cardPatience = patience{5, time.Second}

// readTFTP reads a file from an address in the namespace. With probe it asks for the size as firmware does, with tsize and then error
// 8 (RFC 2349).
func readTFTP(ns *namespace, from net.IP, server netip.Addr, name string, probe bool, p patience) (bootsim.File, error) {
	var c *net.UDPConn
	err := ns.do(func() (err error) { c, err = net.ListenUDP("udp4", &net.UDPAddr{IP: from}); return err })
	if err != nil {
		return bootsim.File{}, err
	}
	defer c.Close()
	req := tftp.Request{Name: name, Wait: p.wait, Tries: p.times}
	if probe {
		req.Probe = true
	} else {
		req.Size, req.BlockSize = true, blockSize
	}
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
	if probe {
		return bootsim.File{Size: f.Size}, f.Abort(8, "User aborted the transfer")
	}
	return fetched(f, generated(name))
}

// generated reports whether a file is a loader's configuration, whose text says what comes next.
func generated(name string) bool {
	return strings.Contains(name, "pxelinux.cfg") || strings.Contains(name, "grub.cfg") ||
		strings.HasSuffix(name, "config.txt") || strings.HasSuffix(name, "cmdline.txt")
}
