package wire

import (
	"errors"
	"net"
	"net/netip"
	"strings"

	"hostler/render/bootsim"
	"hostler/render/bootsim/tftp"
)

// blockSize is what ROMs ask for.
const blockSize = 1456

// TFTP implements bootsim.Network: with probe as firmware asks for a size, with tsize and then error 8 (RFC 2349).
func (w *Card) TFTP(server netip.Addr, name string, probe bool) (bootsim.File, error) {
	var c *net.UDPConn
	err := w.ns.do(func() (err error) { c, err = net.ListenUDP("udp4", nil); return err })
	if err != nil {
		return bootsim.File{}, err
	}
	defer c.Close()
	req := tftp.Request{Name: name, Size: true, BlockSize: blockSize}
	if probe {
		req = tftp.Request{Name: name, Probe: true}
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
	return fetched(f, strings.Contains(name, "pxelinux.cfg") || strings.Contains(name, "grub.cfg"))
}
