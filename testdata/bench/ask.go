package main

import "net/netip"

// Where fields lie in a DHCP packet (RFC 2131 section 2), and in those that ask makes.
const (
	ciaddrAt    = 12
	yiaddrAt    = 16
	giaddrAt    = 24
	chaddrAt    = 28
	cookieAt    = 236
	optionsAt   = 240
	requestedAt = optionsAt + 3 + 6 + 2 // behind the message type and the server's name
	shortest    = 300                   // RFC 951 section 3
)

// Values of option 53.
const (
	typeDiscover = 1
	typeOffer    = 2
	typeRequest  = 3
	typeAck      = 5
	typeRelease  = 7
)

func addr4(text string) [4]byte { return netip.MustParseAddr(text).As4() }

// ask is the request that brings a machine into a state, as a relay agent passes it on, without what is the machine's own.
func ask(s state) []byte {
	b := make([]byte, optionsAt, shortest)
	server, relay := addr4(serverAddr), addr4(clientAddr)
	b[0], b[1], b[2], b[3] = 1, 1, 6, 1 // BOOTREQUEST, Ethernet, length of an address, hops
	copy(b[giaddrAt:], relay[:])
	b[chaddrAt] = 6 // locally administered
	copy(b[cookieAt:], "\x63\x82\x53\x63")
	typ := map[state]byte{discovering: typeDiscover, requesting: typeRequest, renewing: typeRequest, released: typeRelease}[s]
	b = append(b, 53, 1, typ)
	switch s {
	case requesting:
		b = append(append(b, 54, 4), server[:]...)
		b = append(b, 50, 4, 0, 0, 0, 0)
	case released:
		b = append(append(b, 54, 4), server[:]...)
	}
	b = append(b, 55, 7, 1, 28, 2, 3, 15, 6, 12) // what perfdhcp asks for
	b = append(b, 255)
	return b[:shortest]
}

// messageType is a reply's, 0 if it has none.
func messageType(b []byte) byte {
	for rest := b[optionsAt:]; len(rest) > 2 && rest[0] != 255; {
		if rest[0] == 0 {
			rest = rest[1:]
			continue
		}
		n := 2 + int(rest[1])
		if rest[0] == 53 {
			return rest[2]
		}
		rest = rest[min(n, len(rest)):]
	}
	return 0
}
