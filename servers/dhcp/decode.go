package dhcp

import (
	"bytes"
	"fmt"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

var magicCookie = []byte{99, 130, 83, 99}

// decode reads the first n bytes of a buffer, which has room for more, as a request. It is as lenient as servers have been to old
// clients: the end option may be missing, and a BOOTP request may have a vendor field that is not RFC 1497's.
func decode(buf []byte, n int) (*dhcpv4.DHCPv4, error) {
	const options = headerLen - 1 // where they begin
	if n >= options-4 && buf[0] == byte(dhcpv4.OpcodeBootRequest) && (n < options || !bytes.Equal(buf[options-4:options], magicCookie)) {
		n = options
		copy(buf[options-4:], magicCookie)
	}
	buf[n] = dhcpv4.OptionEnd.Code()
	req, err := parse(buf[:n+1])
	if err == nil && req.OpCode != dhcpv4.OpcodeBootRequest {
		err = fmt.Errorf("operation %d is not a request", req.OpCode)
	}
	return req, err
}
