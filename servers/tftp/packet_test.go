package tftp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// peer is one port of a client.
type peer struct {
	t    testing.TB
	conn *net.UDPConn
	to   netip.AddrPort // the server's port; that of the transfer once there is one
	data []byte         // received so far
	size int            // of a block
}

func newPeer(t testing.TB, server netip.AddrPort) *peer {
	t.Helper()
	return newPeerAt(t, server, machine.addr)
}

func newPeerAt(t testing.TB, server netip.AddrPort, at netip.Addr) *peer {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &peer{t: t, conn: conn, to: server, size: 512}
}

// send sends a packet in the notation of the replay files: "RRQ small.efi octet tsize=0", "ACK 1", "ERROR 8 text".
func (p *peer) send(line string) {
	p.t.Helper()
	b, err := encode(line)
	if err == nil {
		_, err = p.conn.WriteToUDPAddrPort(b, p.to)
	}
	if err != nil {
		p.t.Fatalf("sending %q: %v", line, err)
	}
}

// receive is the next packet in the same notation, or "nothing" after the time.
func (p *peer) receive(wait time.Duration) string {
	p.t.Helper()
	buf := make([]byte, 65536)
	if err := p.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		p.t.Fatal(err)
	}
	n, from, err := p.conn.ReadFromUDPAddrPort(buf)
	if os.IsTimeout(err) {
		return "nothing"
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.to = from
	return p.decode(buf[:n])
}

func encode(line string) ([]byte, error) {
	f := strings.Fields(line)
	num := func(i int) uint16 {
		n, _ := strconv.Atoi(f[i])
		return uint16(n)
	}
	u16 := binary.BigEndian.AppendUint16
	switch {
	case len(f) >= 3 && (f[0] == "RRQ" || f[0] == "WRQ"):
		op := uint16(opRRQ)
		if f[0] == "WRQ" {
			op = opWRQ
		}
		name := strings.NewReplacer(`\xff`, "\xff", `\x00`, "\x00").Replace(f[1])
		b := append(u16(nil, op), name+"\x00"+f[2]+"\x00"...)
		for _, o := range f[3:] {
			b = append(b, strings.Replace(o, "=", "\x00", 1)+"\x00"...)
		}
		return b, nil
	case len(f) == 2 && f[0] == "HEX":
		return hex.DecodeString(f[1])
	case len(f) == 2 && f[0] == "ACK":
		return u16(u16(nil, opACK), num(1)), nil
	case len(f) >= 2 && f[0] == "ERROR":
		return append(u16(u16(nil, opERROR), num(1)), strings.Join(f[2:], " ")+"\x00"...), nil
	}
	return nil, fmt.Errorf("cannot be sent")
}

func (p *peer) decode(b []byte) string {
	if len(b) < 4 {
		return fmt.Sprintf("malformed % x", b)
	}
	n := binary.BigEndian.Uint16(b[2:])
	switch binary.BigEndian.Uint16(b) {
	case opDATA:
		last := ""
		if len(b)-4 < p.size {
			last = " (last)"
		}
		if int(n) == len(p.data)/p.size+1 {
			p.data = append(p.data, b[4:]...)
		}
		return fmt.Sprintf("DATA %d, %d bytes%s", n, len(b)-4, last)
	case opERROR:
		return fmt.Sprintf("ERROR %d %s", n, strings.TrimRight(string(b[4:]), "\x00"))
	case opOACK:
		f := strings.Split(strings.TrimSuffix(string(b[2:]), "\x00"), "\x00")
		var options []string // their order means nothing (RFC 2347)
		for o := range slices.Chunk(f, 2) {
			options = append(options, strings.Join(o, "="))
			if o[0] == "blksize" {
				p.size, _ = strconv.Atoi(o[1])
			}
		}
		slices.Sort(options)
		return "OACK " + strings.Join(options, " ")
	}
	return fmt.Sprintf("unexpected % x", b)
}

// fetch reads a file to its end and gives it; or the error that the server sent.
func (p *peer) fetch(request string) (content []byte, serverError string) {
	p.t.Helper()
	p.send(request)
	for {
		got := p.receive(2 * time.Second)
		switch kind, rest, _ := strings.Cut(got, " "); kind {
		case "OACK":
			p.send("ACK 0")
		case "DATA":
			block, _, _ := strings.Cut(rest, ",")
			p.send("ACK " + block)
			if strings.HasSuffix(rest, "(last)") {
				return p.data, ""
			}
		default:
			return nil, got
		}
	}
}
