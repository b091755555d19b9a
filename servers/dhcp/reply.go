package dhcp

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render"
	"hostler/render/fact"
)

const (
	headerLen   = 236 + 4 + 1 // fixed fields, magic cookie, end option
	fileLen     = 127         // of the file field, without its terminating zero
	minDatagram = 576         // what every host accepts (RFC 2131 section 2, RFC 2132 section 9.10)
	bootpLen    = 300         // of a BOOTP packet (RFC 951 section 3); no reply is shorter
	ipUDPLen    = 20 + 8
)

// newReply starts the reply to a request with what RFC 2131 section 4.3.1 table 3 copies from it, and with
// the message type that plugins of coredhcp expect to find there.
func newReply(resp, req *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	*resp = dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeBootReply,
		HWType:        req.HWType,
		TransactionID: req.TransactionID,
		Flags:         req.Flags,
		ClientIPAddr:  ip(netip.Addr{}),
		YourIPAddr:    ip(netip.Addr{}),
		ServerIPAddr:  ip(netip.Addr{}),
		GatewayIPAddr: req.GatewayIPAddr,
		ClientHWAddr:  req.ClientHWAddr,
		Options:       emptied(resp.Options),
	}
	echo(resp, req)
	switch req.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		resp.Options[optMessage] = []byte{byte(fact.Offer)}
	case dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeInform:
		resp.Options[optMessage] = []byte{byte(fact.Ack)}
	}
	return resp
}

// echo copies what a client or its relay agent wants back unchanged: the relay's information (RFC 3046 section 2.2), the client
// identifier (RFC 6842) and the machine's UUID (PXE 2.1: some ROMs ignore a reply without it). Not the subnet selection of RFC 3011:
// an echo would say that it was honoured.
func echo(resp, req *dhcpv4.DHCPv4) {
	for _, code := range [...]uint8{optRelay, optClientID, optUUID} {
		if b, ok := req.Options[code]; ok {
			resp.Options[code] = b
		}
	}
}

// fill writes the answer into a reply. What plugins before ours put there stays, except in a NAK, where
// RFC 2131 table 3 allows next to nothing.
func fill(resp, req *dhcpv4.DHCPv4, f *fact.Facts, a *render.Answer, bootFile string) {
	if a.Message == fact.Nak {
		clear(resp.Options)
		if a.Reason != "" {
			resp.Options[optReason] = []byte(a.Reason)
		}
	}
	echo(resp, req)
	if a.Message != fact.BOOTP { // RFC 1534 section 2: what BOOTP does not know is not told
		resp.Options[optMessage] = []byte{byte(a.Message)}
		resp.Options[optServerID] = ip(a.ServerID)
	}
	if a.Message == fact.Nak {
		delete(resp.Options, optUUID)
		if f.GIAddr.IsValid() {
			// The client has no address that the relay could send to: table 3 has the server force the broadcast flag.
			resp.SetBroadcast()
		}
		return
	}
	if a.Message == fact.Ack || a.Message == fact.BOOTP {
		resp.ClientIPAddr = req.ClientIPAddr
	}
	resp.YourIPAddr, resp.ServerIPAddr = ip(a.YIAddr), ip(a.SIAddr)
	for _, o := range a.Options {
		resp.Options[o.Code] = slices.Clip(o.Data)
	}
	if bootFile == "" {
		return
	}
	if len(bootFile) <= fileLen {
		resp.BootFileName = bootFile
	}
	// Long names only fit into the option; whoever did not ask for it could not boot by it in the field either.
	if len(bootFile) > fileLen || bytes.IndexByte([]byte(f.Params), optBootFile) >= 0 {
		resp.Options[optBootFile] = []byte(bootFile)
	}
}

// limit is how many bytes a reply may have. Option 57 counts the IP datagram (RFC 2132 section 9.10). A BOOTP client
// has room for 64 bytes of options (RFC 951 section 3).
func limit(f *fact.Facts, mtu int) int {
	if f.Message == fact.BOOTP && f.MaxSize == 0 {
		return bootpLen
	}
	n := max(f.MaxSize, minDatagram)
	if mtu >= minDatagram {
		n = min(n, mtu)
	}
	return n - ipUDPLen
}
