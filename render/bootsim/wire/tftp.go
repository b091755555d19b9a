package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"hostler/render/bootsim"
)

// TFTP opcodes (RFC 1350, RFC 2347), and the block size that ROMs ask for.
const (
	opRead, opData, opAck, opError, opOptions = 1, 3, 4, 5, 6
	blockSize                                 = 1456
)

// TFTP implements bootsim.Network: with probe as firmware asks for a size, with tsize and then error 8 (RFC 2349).
func (w *Card) TFTP(server netip.Addr, name string, probe bool) (bootsim.File, error) {
	var c *net.UDPConn
	err := w.ns.do(func() (err error) { c, err = net.ListenUDP("udp4", nil); return err })
	if err != nil {
		return bootsim.File{}, err
	}
	defer c.Close()
	t := &tftpClient{c: c, to: netip.AddrPortFrom(server, 69)}
	size, err := t.open(name, probe)
	if err != nil {
		return bootsim.File{}, err
	}
	if probe {
		abort := append(binary.BigEndian.AppendUint16([]byte{0, opError}, 8), "User aborted the transfer\x00"...)
		_, err := c.WriteToUDPAddrPort(abort, t.to)
		return bootsim.File{Size: size}, err
	}
	return fetched(t, strings.Contains(name, "pxelinux.cfg") || strings.Contains(name, "grub.cfg"))
}

// tftpClient reads one file, block by block.
type tftpClient struct {
	c     *net.UDPConn
	to    netip.AddrPort // the server's port 69, and then the transfer's
	block uint16
	rest  []byte
	last  bool
	sent  []byte // the packet to repeat when nothing comes
}

// open asks for the file, and gives the size that the server says.
func (t *tftpClient) open(name string, probe bool) (size int64, err error) {
	options := []string{name, "octet", "tsize", "0"}
	if !probe {
		options = append(options, "blksize", strconv.Itoa(blockSize))
	}
	t.sent = append([]byte{0, opRead}, strings.Join(options, "\x00")+"\x00"...)
	op, body, err := t.exchange()
	if err != nil {
		return 0, err
	}
	if op != opOptions {
		return 0, errors.New("the server acknowledges no options")
	}
	fields := strings.Split(string(body), "\x00")
	for i := 0; i+1 < len(fields); i += 2 {
		if strings.EqualFold(fields[i], "tsize") {
			size, _ = strconv.ParseInt(fields[i+1], 10, 64)
		}
	}
	t.acknowledge()
	return size, nil
}

func (t *tftpClient) acknowledge() { t.sent = binary.BigEndian.AppendUint16([]byte{0, opAck}, t.block) }

// Read implements io.Reader.
func (t *tftpClient) Read(p []byte) (int, error) {
	for len(t.rest) == 0 {
		if t.last {
			_, err := t.c.WriteToUDPAddrPort(t.sent, t.to) // the acknowledgement of the last block
			if err == nil {
				err = io.EOF
			}
			return 0, err
		}
		op, body, err := t.exchange()
		if err != nil {
			return 0, err
		}
		if op != opData || len(body) < 2 || binary.BigEndian.Uint16(body) != t.block+1 {
			continue // a repeated block
		}
		t.block++
		t.rest, t.last = bytes.Clone(body[2:]), len(body)-2 < blockSize
		t.acknowledge()
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

// exchange sends what is to be sent and waits for the next packet, a few times.
func (t *tftpClient) exchange() (op uint16, body []byte, err error) {
	buf := make([]byte, 2048)
	for range 5 {
		if _, err := t.c.WriteToUDPAddrPort(t.sent, t.to); err != nil {
			return 0, nil, err
		}
		t.c.SetReadDeadline(time.Now().Add(time.Second))
		n, from, err := t.c.ReadFromUDPAddrPort(buf)
		if err != nil || n < 4 || from.Addr().Unmap() != t.to.Addr() {
			continue
		}
		t.to = netip.AddrPortFrom(t.to.Addr(), from.Port())
		op, body = binary.BigEndian.Uint16(buf), buf[2:n]
		if op == opError {
			if binary.BigEndian.Uint16(body) == 1 {
				return 0, nil, errors.New("not found")
			}
			return 0, nil, fmt.Errorf("error %d: %s", binary.BigEndian.Uint16(body), bytes.TrimRight(body[2:], "\x00"))
		}
		return op, body, nil
	}
	return 0, nil, errors.New("no answer")
}
