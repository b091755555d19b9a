package dhcp

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render/fact"
)

// exchange is one request on its way to a reply. It travels beside the packets, because coredhcp's handlers see
// nothing but packets.
type exchange struct {
	facts    fact.Facts
	peer     netip.AddrPort
	start    time.Time
	link     *attachment // where the request came in; nil under coredhcp's own server
	server   netip.Addr  // that a reply leaves from; invalid: not decided
	node     fact.NodeName
	subnet   string
	revision fact.Revision
	result   fact.Result
	detail   string
	check    string // how to look for the offered address on the network; empty: not at all
	tries    int    // addresses that were found in use before this one
	req      *dhcpv4.DHCPv4
	d        *datagram   // that the request came in, and whose memory it is; nil under coredhcp's own server
	handled  bool        // by our place in the chain
	silent   bool        // no reply, and no refusal: the request was another server's
	commit   *fact.Lease // must be durable before the reply leaves
	lease    fact.Lease  // what commit points to
}

// addressed takes down how the request came: from which address, and whether to one of ours or to everybody.
func (x *exchange) addressed(to netip.Addr) {
	if a := x.peer.Addr(); a.IsValid() && !a.IsUnspecified() {
		x.facts.From = a
	}
	if slices.Contains(x.facts.Ingress.Owned, to) {
		x.facts.To = to
	}
}

// blank is where the reply begins.
func (x *exchange) blank() *dhcpv4.DHCPv4 {
	if x.d == nil {
		return new(dhcpv4.DHCPv4)
	}
	return &x.d.resp
}

// refuse records that the machine gets no answer, and why.
func (x *exchange) refuse(why string) { x.result, x.detail = fact.Refused, why }

// leave records that the request was another server's to answer, and why.
func (x *exchange) leave(why string) { x.silent, x.detail = true, why }

// request is the event of the request itself.
func (x *exchange) request() fact.Event {
	what := "DHCP " + x.facts.Message.String()
	if x.facts.Message == fact.BOOTP {
		what = "BOOTP Request"
	}
	e := x.event(x.start, what, requestStage(x.facts.Message))
	e.Peer, e.Result, e.Detail = x.peer.Addr(), x.result, x.detail
	if x.node == "" {
		e.Said = x.said()
	}
	return e
}

// reply is the event of the reply, whether it left or not.
func (x *exchange) reply(now time.Time, resp *dhcpv4.DHCPv4, bytes int, err error) fact.Event {
	m := fact.Message(resp.MessageType())
	what := "DHCP " + m.String()
	if m == fact.BOOTP {
		what = "BOOTP Reply"
	}
	e := x.event(now, what, replyStage(x.facts.Message, m))
	e.Duration, e.Bytes, e.Result = now.Sub(x.start), int64(bytes), fact.OK
	e.File, e.Peer = bootFile(resp), addrOf(resp.YourIPAddr)
	if !e.Peer.IsValid() {
		e.Peer = x.facts.CIAddr
	}
	if m == fact.Nak {
		e.Result, e.Detail = fact.Refused, string(resp.Options[optReason])
	}
	if err != nil {
		e.Result, e.Detail, e.Bytes = fact.Failed, err.Error(), 0
	}
	return e
}

func (x *exchange) event(at time.Time, what string, stage fact.Stage) fact.Event {
	return fact.Event{
		Time: at, MAC: x.facts.MAC, Node: x.node, Subnet: x.subnet, Revision: x.revision, Stage: stage,
		Client: x.facts.Client(), Xid: x.facts.Xid, What: what,
	}
}

// received is the request's packet.
func (x *exchange) received(d *datagram) fact.Packet {
	to := cmp.Or(d.to, broadcastAddr)
	return fact.Packet{
		Time: x.start, MAC: x.facts.MAC, Node: x.node, Proto: fact.ProtoDHCP,
		From: d.peer, To: netip.AddrPortFrom(to, d.link.portOf(d.boot)), Payload: d.buf[:d.n], Size: d.n,
	}
}

var broadcastAddr = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func bootFile(resp *dhcpv4.DHCPv4) string {
	if resp.BootFileName != "" {
		return resp.BootFileName
	}
	return string(resp.Options[optBootFile])
}

// requestStage is the stage that a message brings a boot to. The others are no part of booting.
func requestStage(m fact.Message) fact.Stage {
	switch m {
	case fact.Discover, fact.BOOTP:
		return fact.StageDiscover
	case fact.Request:
		return fact.StageRequest
	}
	return fact.StageNone
}

func replyStage(request, reply fact.Message) fact.Stage {
	switch {
	case reply == fact.Offer:
		return fact.StageOffer
	case reply == fact.Ack && request == fact.Request, reply == fact.BOOTP:
		return fact.StageAck
	}
	return requestStage(request)
}

// beside holds the exchanges that are in the chain now, by their request packet.
type beside struct {
	mu sync.Mutex
	m  map[*dhcpv4.DHCPv4]*exchange
}

func (b *beside) put(req *dhcpv4.DHCPv4, x *exchange) {
	b.mu.Lock()
	b.m[req] = x
	b.mu.Unlock()
}

func (b *beside) get(req *dhcpv4.DHCPv4) *exchange {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.m[req]
}

func (b *beside) drop(req *dhcpv4.DHCPv4) {
	b.mu.Lock()
	delete(b.m, req)
	b.mu.Unlock()
}
