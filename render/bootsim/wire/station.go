package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"hostler/render/bootsim"
	"hostler/render/fact"
)

// Station plays a machine for somebody who looks for faults: it waits for every DHCP server that answers, takes down who did, and disturbs
// nobody. What it sends has the MAC of this host's own interface, or of a card that is made up; the machine's stands in its requests only,
// and their answers are asked for as broadcasts.
type Station struct {
	StationConfig
	ctx   context.Context
	ifi   *net.Interface
	conn  *net.UDPConn // speaks DHCP
	card  *Card        // nil: this host's own addresses are used
	http  *http.Client
	ear   *packet.Conn // sees MACs; nil without the capability for it
	ears  sync.WaitGroup
	lease bootsim.Reply // the last ACK
	asked fact.Facts    // for it
	keep  bool

	mu    sync.Mutex
	macs  map[netip.Addr]net.HardwareAddr
	heard []Heard
}

// StationConfig says where and how a station speaks.
type StationConfig struct {
	Interface string
	MAC       fact.MAC      // of the machine
	Alone     bool          // no address of this host is in the subnet: use a card with a MAC of its own, and the address that is leased
	Relay     netip.Addr    // speak as a relay agent with this address of this host; invalid: as the machine itself
	Link      netip.Addr    // with Relay: an address of the subnet that is asked for (RFC 3527)
	Server    netip.Addr    // with Relay: which server is asked
	Servers   []netip.Addr  // whose offer is preferred
	Wait      time.Duration // for answers to a DISCOVER; 0: three seconds
}

// Heard is a DHCP reply to the machine.
type Heard struct {
	bootsim.Reply
	From netip.Addr       // source address of the packet
	MAC  net.HardwareAddr // of its sender; nil: this host, or not seen
}

// OpenStation opens the sockets. Whatever the station does ends with ctx.
func OpenStation(ctx context.Context, c StationConfig) (_ *Station, err error) {
	s := &Station{StationConfig: c, ctx: ctx, macs: map[netip.Addr]net.HardwareAddr{}}
	s.Wait = cmp.Or(s.Wait, 3*time.Second)
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if c.Alone {
		return s, s.onCard()
	}
	if s.ifi, err = net.InterfaceByName(c.Interface); err != nil {
		return nil, fmt.Errorf("interface %q: %w", c.Interface, err)
	}
	s.http = httpClient(s.dial, answerTimeout)
	at := ":68"
	if c.Relay.IsValid() {
		at = netip.AddrPortFrom(c.Relay, 0).String()
	}
	if s.conn, err = listenOn(ctx, c.Interface, at); err != nil {
		return nil, fmt.Errorf("listening for DHCP replies on %s: %w", c.Interface, err)
	}
	s.listen()
	return s, nil
}

// dial binds what is for this host itself to the interface, as listenOn does.
func (s *Station) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: answerTimeout}
	to, err := netip.ParseAddrPort(addr)
	if own, aerr := s.ifi.Addrs(); err == nil && aerr == nil && slices.ContainsFunc(own, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr() == to.Addr()
	}) {
		d.Control = bindToDevice(s.Interface)
	}
	return d.DialContext(ctx, network, addr)
}

// onCard puts a card with a made-up MAC on the interface.
func (s *Station) onCard() (err error) {
	if s.card, err = New(s.Interface, madeUp(s.MAC)); err != nil {
		return err
	}
	s.conn, s.http = s.card.dhcp.(*net.UDPConn), s.card.http
	return s.card.ns.do(func() (err error) {
		if s.ifi, err = net.InterfaceByName(cardName); err == nil {
			s.listen()
		}
		return err
	})
}

// madeUp is a locally administered MAC that belongs to the machine's, and to no machine.
func madeUp(m fact.MAC) fact.MAC { return fact.MAC{0x06, m[1] ^ 0x68, m[2], m[3], m[4], m[5]} }

// listenOn opens a socket on an interface. It is bound to it also for what this host says to itself: the kernel then has it come in by the
// interface, where servers are bound that serve nothing else.
func listenOn(ctx context.Context, name, at string) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(network, address string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) // this host's own DHCP client
		}); cerr != nil {
			return cerr
		}
		if err != nil {
			return err
		}
		return bindToDevice(name)(network, address, c)
	}}
	c, err := lc.ListenPacket(ctx, "udp4", at)
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// listen takes down which MAC answers from which address. Without the capability for it, MACs are unknown.
func (s *Station) listen() {
	var err error
	if s.ear, err = listenRaw(s.ifi); err != nil {
		return
	}
	s.ears.Go(func() {
		for b := make([]byte, 2048); ; {
			n, _, err := s.ear.ReadFrom(b)
			if err != nil {
				return
			}
			if n < headersLen {
				continue
			}
			from := netip.AddrFrom4([4]byte(b[ethernetLen+12:]))
			s.mu.Lock()
			if len(s.macs) < mostServers {
				s.macs[from] = slices.Clone(net.HardwareAddr(b[6:12]))
			}
			s.mu.Unlock()
		}
	})
}

// mostServers bounds what is taken down of whoever answers.
const mostServers = 64

// Close gives the interface back.
func (s *Station) Close() {
	if s.ear != nil {
		s.ear.Close()
	}
	s.ears.Wait()
	if s.card != nil {
		s.card.Close()
	} else if s.conn != nil {
		s.conn.Close()
	}
}

// MTU is that of the interface.
func (s *Station) MTU() int { return s.ifi.MTU }

// Heard gives every DHCP reply to the machine so far.
func (s *Station) Heard() []Heard {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.heard)
	for i := range all {
		all[i].MAC = s.macs[all[i].From]
	}
	return all
}

// DHCP implements bootsim.Network.
func (s *Station) DHCP(f fact.Facts) ([]bootsim.Reply, error) {
	request, err := s.encode(&f)
	if err != nil {
		return nil, err
	}
	for range 3 {
		if err := s.ctx.Err(); err != nil {
			return nil, err
		}
		if err := s.send(request, &f); err != nil {
			return nil, err
		}
		replies, err := s.replies(request, &f)
		if err != nil || len(replies) > 0 {
			return replies, err
		}
	}
	return nil, errors.New("no answer")
}

func (s *Station) encode(f *fact.Facts) (*dhcpv4.DHCPv4, error) {
	p, err := encodeFacts(f)
	if err == nil && s.Relay.IsValid() {
		p.GatewayIPAddr = s.Relay.AsSlice()
		// Link selection (RFC 3527), and replies to the port that this comes from (RFC 8357): the other one is the server's.
		p.Options[82] = append(append([]byte{5, 4}, s.Link.AsSlice()...), 19, 0)
	}
	return p, err
}

func (s *Station) send(p *dhcpv4.DHCPv4, f *fact.Facts) error {
	to := &net.UDPAddr{IP: net.IPv4bcast, Port: 67}
	switch {
	case f.BootServer:
		to = &net.UDPAddr{IP: f.ServerID.AsSlice(), Port: 4011}
		p.SetUnicast()
	case s.Relay.IsValid():
		to.IP = s.Server.AsSlice()
	case f.Message == fact.Release:
		to.IP = f.ServerID.AsSlice()
	}
	_, err := s.conn.WriteTo(p.ToBytes(), to)
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("sending is not permitted: a firewall of this host drops it: %w", err)
	}
	return err
}

// replies waits for what comes back: to a DISCOVER for the whole time, since another server may be slower.
func (s *Station) replies(request *dhcpv4.DHCPv4, f *fact.Facts) (replies []bootsim.Reply, err error) {
	if err := s.conn.SetReadDeadline(time.Now().Add(s.Wait)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(s.ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for buf := make([]byte, 1500); ; {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil { // time is up
			return s.usual(replies, f), nil
		}
		p, err := dhcpv4.FromBytes(buf[:n])
		if err != nil || p.TransactionID != request.TransactionID || p.OpCode != dhcpv4.OpcodeBootReply {
			continue
		}
		r := decodeReply(p)
		s.mu.Lock()
		if len(s.heard) < mostServers {
			s.heard = append(s.heard, Heard{Reply: r, From: from.Addr().Unmap()})
		}
		s.mu.Unlock()
		if replies = append(replies, r); f.Message == fact.Discover {
			continue
		}
		if r.Message == fact.Ack && !f.BootServer {
			s.lease, s.asked = r, *f
			if s.card != nil {
				err = s.card.ns.configure(s.card.link, p)
				return replies, err
			}
		}
		return replies, nil
	}
}

// usual puts the offer first that is to be taken: of the servers that are looked at, with an address, and if it can be with a boot file
// (RFC 2131 section 4.4.1 leaves the choice to the client; PXE 2.1 section 2.2.3 prefers those).
func (s *Station) usual(replies []bootsim.Reply, f *fact.Facts) []bootsim.Reply {
	if f.Message == fact.Discover {
		slices.SortStableFunc(replies, func(a, b bootsim.Reply) int { return s.rank(&b) - s.rank(&a) })
	}
	return replies
}

func (s *Station) rank(r *bootsim.Reply) int {
	n := 0
	if slices.Contains(s.Servers, r.ServerID) {
		n += 4
	}
	if r.YIAddr.IsValid() {
		n += 2
	}
	if r.BootFile != "" {
		n++
	}
	return n
}

// Keep has Release leave the lease alone: it is a live machine's.
func (s *Station) Keep() { s.keep = true }

// Release gives the lease back (RFC 2131 section 4.4.6); it has no answer.
func (s *Station) Release() error {
	if !s.lease.YIAddr.IsValid() || s.keep {
		return nil
	}
	f := s.asked
	f.Message, f.CIAddr, f.Requested, f.ServerID = fact.Release, s.lease.YIAddr, netip.Addr{}, s.lease.ServerID
	p, err := s.encode(&f)
	if err != nil {
		return err
	}
	s.lease = bootsim.Reply{}
	return s.send(p, &f)
}

// TFTP implements bootsim.Network.
func (s *Station) TFTP(server netip.Addr, name string, probe bool) (bootsim.File, error) {
	return readTFTP(s.udp, server, tftpRequest(name, probe, cardPatience))
}

// TFTPBlocks reads a file in blocks of a size, which machines ask for that are not ROMs.
func (s *Station) TFTPBlocks(server netip.Addr, name string, size int) (bootsim.File, error) {
	req := tftpRequest(name, false, cardPatience)
	req.BlockSize = size
	return readTFTP(s.udp, server, req)
}

func (s *Station) udp() (c *net.UDPConn, err error) {
	if s.card != nil {
		c, err = s.card.ns.udp(nil)()
	} else {
		c, err = listenOn(s.ctx, s.Interface, ":0")
	}
	if err == nil {
		context.AfterFunc(s.ctx, func() { c.Close() })
	}
	return c, err
}

// HTTP implements bootsim.Network.
func (s *Station) HTTP(url string) (bootsim.File, error) { return get(s.ctx, s.http, url) }

// Ask sends a request without reading more than the head of the answer.
func (s *Station) Ask(method, url, byteRange string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(s.ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
	}
	resp, err := s.http.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	return resp, err
}
