package dhcp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"hostler/render/fact"
)

// route is how a reply reaches its client.
type route struct {
	to    netip.AddrPort
	frame bool // to the hardware address: the client has no address that the kernel could resolve
}

// routeOf decides as RFC 2131 section 4.1 says, with port the client's port (the relay agent listens on the server's, one lower).
func routeOf(x *exchange, resp *dhcpv4.DHCPv4, port int) route {
	client := func(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, uint16(port)) }
	broadcast := route{to: client(broadcastAddr)}
	yiaddr := addrOf(resp.YourIPAddr)
	switch f := &x.facts; {
	case f.BootServer && f.From.IsValid():
		return route{to: x.peer} // PXE 2.1 section 2.2.1: to the port that the client asked from
	case f.Message == fact.Inform && f.CIAddr.IsValid(): // RFC 2131 section 4.3.5: to the client, however the request came
		return route{to: client(f.CIAddr)}
	case f.Message == fact.Inform && !f.GIAddr.IsValid() && f.From.IsValid(): // some clients leave ciaddr empty
		return route{to: client(f.From)}
	case f.GIAddr.IsValid() && f.RelayPort: // RFC 8357 section 4
		return route{to: netip.AddrPortFrom(f.GIAddr, x.peer.Port())}
	case f.GIAddr.IsValid():
		return route{to: netip.AddrPortFrom(f.GIAddr, uint16(port-1))}
	case resp.MessageType() == dhcpv4.MessageTypeNak:
		return broadcast
	case f.CIAddr.IsValid() && f.CIAddr == yiaddr: // a DISCOVER can name anybody's
		return route{to: client(yiaddr)}
	case f.Broadcast || !yiaddr.IsValid():
		return broadcast
	default:
		return route{to: client(yiaddr), frame: true}
	}
}

// sourceOf is the address that a reply leaves from: the one that it calls the server's, if it is one of ours. It is not
// where a relay agent wants to be called the server, or where BOOTP has no such name.
func sourceOf(x *exchange, resp *dhcpv4.DHCPv4) netip.Addr {
	in := &x.facts.Ingress
	for _, a := range [...]netip.Addr{addrOf(resp.Options[optServerID]), x.server} {
		if slices.Contains(in.Owned, a) {
			return a
		}
	}
	if len(in.Prefixes) > 0 {
		return in.Prefixes[0].Addr()
	}
	return netip.Addr{}
}

// deliver sends the encoded reply. Where a frame cannot be sent, everybody on the segment gets it: every client
// listens to broadcasts, it only is louder.
func (s *Server) deliver(x *exchange, resp *dhcpv4.DHCPv4, payload []byte) error {
	a := x.link
	src, r := sourceOf(x, resp), routeOf(x, resp, a.port+1)
	if r.frame {
		from := netip.AddrPortFrom(src, uint16(a.port))
		if !src.IsValid() {
			from = netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(a.port))
		}
		err := a.unicast(resp.ClientHWAddr, from, r.to, payload)
		if err == nil {
			s.sent(x, src, r.to, payload)
			return nil
		}
		if errors.Is(err, unix.EMSGSIZE) { // says nothing of the interface: the client sent more to be echoed than a frame holds
			return fmt.Errorf("sending to %s on %s: %w", r.to, a.ifi.Name, unix.EMSGSIZE)
		}
		if a.noUnicast(err) {
			s.cfg.Log.Warn("dhcp: replies to machines without an address are broadcast", "interface", a.ifi.Name, "err", err)
		}
		r.to = netip.AddrPortFrom(broadcastAddr, r.to.Port())
	}
	conn := a.udp
	if x.facts.BootServer {
		if conn = a.bootConn(); conn == nil {
			return fmt.Errorf("sending to %s on %s: the boot server's port was closed", r.to, a.ifi.Name)
		}
	}
	if err := a.send(conn, src, r.to, payload); err != nil {
		return fmt.Errorf("sending to %s on %s: %w", r.to, a.ifi.Name, err)
	}
	s.sent(x, src, r.to, payload)
	return nil
}

// sent hands over a reply that left.
func (s *Server) sent(x *exchange, src netip.Addr, to netip.AddrPort, payload []byte) {
	s.cfg.Packet(fact.Packet{
		Time: s.cfg.Now(), MAC: x.facts.MAC, Node: x.node, Proto: fact.ProtoDHCP, Sent: true,
		From: netip.AddrPortFrom(src, x.link.portOf(x.facts.BootServer)), To: to, Payload: payload, Size: len(payload),
	})
}
