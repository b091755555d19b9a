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

// deliver finds an encoded reply's way out. One that needs a frame is gone already. Where a frame cannot be sent, everybody on the segment
// gets the reply: every client listens to broadcasts, it only is louder.
func (s *Server) deliver(p *parcel) (gone bool, err error) {
	x, a := p.x, p.x.link
	r := routeOf(x, p.resp, a.port+1)
	p.src, p.to, p.conn = sourceOf(x, p.resp), r.to, a.udp
	if r.frame {
		from := netip.AddrPortFrom(p.src, uint16(a.port))
		if !p.src.IsValid() {
			from = netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(a.port))
		}
		err := a.unicast(p.resp.ClientHWAddr, from, r.to, p.payload)
		if err == nil {
			return true, nil
		}
		if errors.Is(err, unix.EMSGSIZE) { // says nothing of the interface: the client sent more to be echoed than a frame holds
			return false, p.failed(unix.EMSGSIZE)
		}
		if a.noUnicast(err) {
			s.cfg.Log.Warn("dhcp: replies to machines without an address are broadcast", "interface", a.ifi.Name, "err", err)
		}
		p.to = netip.AddrPortFrom(broadcastAddr, r.to.Port())
	}
	if x.facts.BootServer {
		if p.conn = a.bootConn(); p.conn == nil {
			return false, p.failed(errors.New("the boot server's port was closed"))
		}
	}
	return false, nil
}

// failed says what could not be sent.
func (p *parcel) failed(err error) error {
	return fmt.Errorf("sending to %s on %s: %w", p.to, p.x.link.ifi.Name, err)
}

// sent hands over a reply that left.
func (s *Server) sent(p *parcel) {
	x := p.x
	s.cfg.Packet(fact.Packet{
		Time: s.cfg.Now(), MAC: x.facts.MAC, Node: x.node, Proto: fact.ProtoDHCP, Sent: true,
		From: netip.AddrPortFrom(p.src, x.link.portOf(x.facts.BootServer)), To: p.to, Payload: p.payload, Size: len(p.payload),
	})
}
