package dhcp

import (
	"encoding/binary"
	"net"
	"net/netip"
)

const etherLen = 14

// frame wraps a payload in UDP, IPv4 and Ethernet, for a machine that has no address yet and so cannot answer
// the ARP request that the kernel would send first.
func frame(srcMAC, dstMAC net.HardwareAddr, src, dst netip.AddrPort, payload []byte) []byte {
	b := make([]byte, etherLen+ipUDPLen+len(payload))
	copy(b[0:6], dstMAC)
	copy(b[6:12], srcMAC)
	binary.BigEndian.PutUint16(b[12:], 0x0800)

	h, u := b[etherLen:etherLen+20], b[etherLen+20:]
	s, d := src.Addr().As4(), dst.Addr().As4()
	h[0] = 0x45 // version 4, five words of header
	binary.BigEndian.PutUint16(h[2:], uint16(ipUDPLen+len(payload)))
	binary.BigEndian.PutUint16(h[6:], 0x4000) // do not fragment: with it the identification may be zero (RFC 6864)
	h[8] = 64                                 // time to live
	h[9] = 17                                 // UDP
	copy(h[12:16], s[:])
	copy(h[16:20], d[:])
	binary.BigEndian.PutUint16(h[10:], ^fold(sum(0, h)))

	binary.BigEndian.PutUint16(u[0:], src.Port())
	binary.BigEndian.PutUint16(u[2:], dst.Port())
	binary.BigEndian.PutUint16(u[4:], uint16(8+len(payload)))
	copy(u[8:], payload)
	pseudo := sum(sum(sum(17+uint32(len(u)), s[:]), d[:]), u) // RFC 768: addresses, protocol and length count too
	check := ^fold(pseudo)
	if check == 0 {
		check = 0xffff // zero would say that there is no checksum
	}
	binary.BigEndian.PutUint16(u[6:], check)
	return b
}

// sum adds the 16-bit words of b (RFC 1071). A datagram is too short to overflow it.
func sum(acc uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		acc += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		acc += uint32(b[0]) << 8
	}
	return acc
}

func fold(acc uint32) uint16 {
	for acc > 0xffff {
		acc = acc>>16 + acc&0xffff
	}
	return uint16(acc)
}
