package tftp

import "net/netip"

// limits bounds what is going on at the same time. Whoever is over a bound gets no answer, as from dnsmasq: an ERROR would end a boot
// that succeeds when the machine asks again.
type limits struct {
	most      int
	perClient int // 0: not bounded
	running   int
	clients   map[netip.Addr]*address
}

// address is what is known of one while it has transfers.
type address struct {
	running int
	newest  map[string]uint16 // the port of the last request for a file
}

// mostNames is more than any loader asks for while one file is sent.
const mostNames = 256

func newLimits(most, perClient int) *limits {
	return &limits{most: most, perClient: perClient, clients: map[netip.Addr]*address{}}
}

// enter counts a request, or says which bound refuses it.
func (l *limits) enter(peer netip.AddrPort, name string) (refusal string) {
	c := l.clients[peer.Addr()]
	switch {
	case l.running >= l.most:
		return "too many transfers at once"
	case c != nil && l.perClient > 0 && c.running >= l.perClient:
		return "too many transfers of one client at once"
	case c == nil:
		c = &address{newest: map[string]uint16{}}
		l.clients[peer.Addr()] = c
	case len(c.newest) >= mostNames:
		clear(c.newest) // who asks for ever new names while one transfer goes on must not use up memory
	}
	l.running++
	c.running++
	c.newest[name] = peer.Port()
	return ""
}

func (l *limits) leave(peer netip.Addr) {
	l.running--
	c := l.clients[peer]
	if c.running--; c.running == 0 {
		delete(l.clients, peer)
	}
}

// askedAgain reports whether the client has meanwhile requested the file from another port.
func (l *limits) askedAgain(peer netip.AddrPort, name string) bool {
	return l.clients[peer.Addr()].newest[name] != peer.Port()
}
