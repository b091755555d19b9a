package dhcp

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"hostler/render"
	"hostler/render/fact"
)

// replies lets through what DHCP servers send to clients: IPv4, UDP, not a later fragment, to the client's port.
func replies(port int) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: etherLen + 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 6},
		bpf.LoadAbsolute{Off: etherLen + 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 4},
		bpf.LoadMemShift{Off: etherLen},
		bpf.LoadIndirect{Off: etherLen + 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: 1},
		bpf.RetConstant{Val: 2048},
		bpf.RetConstant{Val: 0},
	}
}

// earSocket opens the socket that hears other DHCP servers. It never gets what this host sends: the kernel shows that to
// sockets for all protocols only.
func earSocket(ifi net.Interface, port int) (*packet.Conn, error) {
	filter, err := bpf.Assemble(replies(port))
	if err != nil {
		return nil, err
	}
	return packet.Listen(&ifi, packet.Raw, unix.ETH_P_IP, &packet.Config{Filter: filter})
}

// overhear reports other DHCP servers on the wire until the socket is closed. Without the capability for it, or on an
// interface that is not Ethernet, they only show in requests that take up their offers.
func (s *Server) overhear(a *attachment) {
	if a.ear == nil {
		return
	}
	for b := make([]byte, 2048); ; {
		n, _, err := a.ear.ReadFrom(b)
		switch {
		case errors.Is(err, unix.ENETDOWN): // told once; the interface may come up again
			continue
		case err != nil:
			return
		}
		s.heard(a, b[:n])
	}
}

// heard looks at one frame that may come from another DHCP server.
func (s *Server) heard(a *attachment, frame []byte) {
	x := &exchange{start: s.cfg.Now(), link: a, result: fact.Refused}
	defer s.survive(x)
	src, payload := unframe(frame)
	resp, err := dhcpv4.FromBytes(payload)
	if err != nil || resp.OpCode != dhcpv4.OpcodeBootReply {
		return
	}
	m := fact.Message(resp.MessageType())
	if m != fact.Offer && m != fact.Ack {
		return
	}
	id := cmp.Or(addrOf(resp.Options[optServerID]), src) // a reply without its server's name breaks RFC 2131, and machines take it
	x.facts = fact.Facts{Message: fact.Discover, Arch: fact.NoArch, Xid: binary.BigEndian.Uint32(resp.TransactionID[:]), Ingress: *a.ingress.Load()}
	if hardware(resp, &x.facts.MAC) != nil || slices.Contains(x.facts.Ingress.Owned, id) || slices.Contains(x.facts.Ingress.Owned, src) {
		return
	}
	// What others offer to machines that are met with silence here is their own business.
	snap, rev := s.cfg.Current()
	if snap == nil {
		return
	}
	c := snap.Select(&x.facts)
	if c.Ignore != "" || c.None != "" || !snap.Alone(c.Subnet) {
		return
	}
	x.node, x.subnet, x.revision = c.Node, c.Subnet, rev
	x.detail = fmt.Sprintf("%s on %s answered with %s of %s, from %s", id, a.ifi.Name, m, addrOf(resp.YourIPAddr), net.HardwareAddr(frame[6:12]))
	if s.report.notice(x, render.Notice{Kind: render.ForeignServer, Subject: id.String()}) {
		e := x.event(x.start, "DHCP "+m.String(), fact.StageNone)
		e.Peer, e.Result, e.Detail = src, x.result, "another server: "+x.detail
		s.cfg.Event(e)
	}
}

// unframe takes a UDP payload out of an Ethernet frame; nothing if there is none.
func unframe(b []byte) (src netip.Addr, payload []byte) {
	if len(b) < etherLen+ipUDPLen {
		return src, nil
	}
	h := b[etherLen:]
	ihl, total := int(h[0]&15)*4, int(binary.BigEndian.Uint16(h[2:]))
	if h[0]>>4 != 4 || ihl < 20 || total > len(h) || total < ihl+8 {
		return src, nil
	}
	return addrOf(h[12:16]), h[ihl+8 : total]
}
