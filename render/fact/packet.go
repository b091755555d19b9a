package fact

import (
	"net/netip"
	"time"
)

// Packet is one message between a machine and a server, as it was received or sent. Where the servers do not see the network
// itself (a TCP stream, the destination of a broadcast), the ends are what they must have been.
type Packet struct {
	Time    time.Time      `json:"time"`
	MAC     MAC            `json:"mac"`
	Node    NodeName       `json:"node,omitempty"` // empty for a machine that nobody declared
	Proto   Proto          `json:"proto"`
	Sent    bool           `json:"sent"` // by the server
	From    netip.AddrPort `json:"from"`
	To      netip.AddrPort `json:"to"`
	Payload []byte         `json:"payload"`           // of the UDP datagram or TCP segment. Only valid during the call that hands it over
	Size    int            `json:"size"`              // bytes of the whole message, of which Payload may be the beginning
	Skipped int            `json:"skipped,omitempty"` // messages of the same transfer that came before this one and are not kept
}

// Proto is what a packet's payload is.
type Proto string

// The protocols. An HTTP payload is the head of a request or of an answer, put together from what the server read and wrote.
const (
	ProtoDHCP Proto = "dhcp"
	ProtoTFTP Proto = "tftp"
	ProtoHTTP Proto = "http"
)
