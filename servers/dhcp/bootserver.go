package dhcp

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"hostler/render"
	"hostler/render/fact"
)

// lookAtRevision is how soon the boot server's port follows a revision that begins or ceases to need it.
const lookAtRevision = time.Second

// watchBoot opens the boot server's port on every interface while a subnet of the revision in force has dhcp = "proxy", and closes
// it afterwards: where nobody needs it, it is another program's to have. again tries a port once more that could not be had.
func (s *Server) watchBoot(wg *sync.WaitGroup, again bool) {
	snap, _ := s.cfg.Current()
	wanted := snap != nil && snap.Proxies()
	for _, a := range s.attachments() {
		switch conn, err := a.bootConn(), a.bootProblem(); {
		case !wanted:
			if a.closeBoot(); conn != nil {
				s.cfg.Log.Info("dhcp: no subnet needs boot requests any more", "interface", a.ifi.Name)
			}
		case conn == nil && (again || err == nil):
			conn, err = listen(a.ifi, s.cfg.BootPort)
			if err != nil {
				if a.setBoot(nil, err) {
					s.cfg.Log.Warn("dhcp: not serving boot requests", "interface", a.ifi.Name, "err", err)
				}
				continue
			}
			a.setBoot(conn, nil)
			s.cfg.Log.Info("dhcp: serving boot requests", "interface", a.ifi.Name, "port", s.cfg.BootPort)
			wg.Go(func() { s.read(a, conn, true) })
		}
	}
}

func (a *attachment) bootConn() *socket {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.boot
}

func (a *attachment) bootProblem() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bootErr
}

// setBoot keeps the socket of the boot server's port, or why there is none, and says whether that is news.
func (a *attachment) setBoot(conn *socket, err error) (news bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	news = err != nil && (a.bootErr == nil || a.bootErr.Error() != err.Error())
	a.boot, a.bootErr = conn, err
	return news
}

// portOf is the port that a request came in by, and its reply leaves by.
func (a *attachment) portOf(boot bool) uint16 {
	if conn := a.bootConn(); boot && conn != nil {
		return conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	}
	return uint16(a.port)
}

func (a *attachment) closeBoot() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.boot != nil {
		a.boot.Close()
	}
	a.boot, a.bootErr = nil, nil
}

// stopReading ends the readers. Replies can still be sent.
func (a *attachment) stopReading() {
	past := time.Unix(1, 0)
	_ = a.udp.SetReadDeadline(past)
	if a.ear != nil {
		_ = a.ear.SetReadDeadline(past)
	}
	if conn := a.bootConn(); conn != nil {
		_ = conn.SetReadDeadline(past)
	}
}

// acquaintances are the addresses that a site's own DHCP server gave to machines, as far as their requests told. TFTP and
// HTTP know a machine by its address; with a lease of ours that is a matter of course. They are in memory only.
type acquaintances struct {
	mu     sync.Mutex
	byAddr map[netip.Addr]fact.Lease
	older  map[netip.Addr]fact.Lease
}

// mostMet bounds what is remembered, twice: strangers can make requests up.
const mostMet = 1 << 16

// learn takes a machine's address from its request: what it asks the site's server for by broadcast, or has when it asks us.
func (m *acquaintances) learn(f *fact.Facts, c *render.Choice, snap *render.Snapshot) {
	addr := f.CIAddr
	if !addr.IsValid() {
		addr = f.Requested
	}
	if f.Message != fact.Request || !addr.IsValid() || !snap.Within(c.Subnet, addr) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byAddr == nil || len(m.byAddr) >= mostMet {
		m.byAddr, m.older = make(map[netip.Addr]fact.Lease), m.byAddr
	}
	m.byAddr[addr] = fact.Lease{Addr: addr, MAC: f.MAC, Node: c.Node, Subnet: c.Subnet}
}

// Met gives the machine that was last heard to have an address of a site's own DHCP server, and whether there is one.
func (s *Server) Met(addr netip.Addr) (fact.Lease, bool) {
	s.met.mu.Lock()
	defer s.met.mu.Unlock()
	if l, ok := s.met.byAddr[addr]; ok {
		return l, true
	}
	l, ok := s.met.older[addr]
	return l, ok
}
