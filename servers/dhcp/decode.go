package dhcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

var magicCookie = []byte{99, 130, 83, 99}

// decode reads the first n bytes of a buffer, which has room for more, as a request, which goes on using the buffer. It is as lenient as servers have been to old
// clients: the end option may be missing, and a BOOTP request may have a vendor field that is not RFC 1497's.
func decode(p *dhcpv4.DHCPv4, buf []byte, n int) error {
	const options = headerLen - 1 // where they begin
	if n >= options-4 && buf[0] == byte(dhcpv4.OpcodeBootRequest) && (n < options || !bytes.Equal(buf[options-4:options], magicCookie)) {
		n = options
		copy(buf[options-4:], magicCookie)
	}
	buf[n] = dhcpv4.OptionEnd.Code()
	err := parse(p, buf[:n+1])
	if err == nil && p.OpCode != dhcpv4.OpcodeBootRequest {
		err = fmt.Errorf("operation %d is not a request", p.OpCode)
	}
	return err
}

// fromBytes reads a packet as dhcpv4.FromBytes does, which a fuzz test holds it against, but copies neither the datagram nor its
// parts: that was a quarter of what a request allocates.
func fromBytes(p *dhcpv4.DHCPv4, b []byte) error {
	if len(b) < optionsAt {
		return fmt.Errorf("%d bytes are too few for a DHCP packet", len(b))
	}
	if !bytes.Equal(b[cookieAt:optionsAt], magicCookie) {
		return fmt.Errorf("malformed DHCP packet: got magic cookie %v, want %v", b[cookieAt:optionsAt], magicCookie)
	}
	address := func(at int) net.IP { return b[at : at+4 : at+4] }
	*p = dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeType(b[0]), HWType: iana.HWType(b[1]), HopCount: b[3],
		TransactionID: dhcpv4.TransactionID(b[4:8]), NumSeconds: binary.BigEndian.Uint16(b[8:]), Flags: binary.BigEndian.Uint16(b[10:]),
		ClientIPAddr: address(12), YourIPAddr: address(16), ServerIPAddr: address(20), GatewayIPAddr: address(24),
		ClientHWAddr:   b[chaddrAt : chaddrAt+min(int(b[2]), 16) : snameAt],
		ServerHostName: textIn(b[snameAt:fileAt]), BootFileName: textIn(b[fileAt:cookieAt]),
		Options: emptied(p.Options),
	}
	for rest := b[optionsAt:]; len(rest) > 0; {
		switch code := rest[0]; {
		case code == optEnd:
			return nil
		case code == 0: // padding
			rest = rest[1:]
		case len(rest) < 2 || len(rest) < 2+int(rest[1]):
			return io.ErrUnexpectedEOF
		default:
			n := 2 + int(rest[1])
			data := rest[2:n:n]
			if before, again := p.Options[code]; again { // RFC 3396 section 7
				data = append(before, data...)
			}
			p.Options[code], rest = data, rest[n:]
		}
	}
	if len(b) == optionsAt {
		return nil
	}
	return io.ErrUnexpectedEOF
}

// emptied is room for options: that of an earlier packet, if there was one.
func emptied(o dhcpv4.Options) dhcpv4.Options {
	if o == nil {
		return make(dhcpv4.Options)
	}
	clear(o)
	return o
}

// textIn is the text of a field that ends with zeros.
func textIn(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
