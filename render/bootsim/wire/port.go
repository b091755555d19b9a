package wire

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"hostler/render/fact"
)

// Lengths of the headers before a DHCP message.
const (
	ethernetLen = 14
	ipLen       = 20
	udpLen      = 8
	headersLen  = ethernetLen + ipLen + udpLen
)

// port is a raw socket on an interface, by which machines without an address speak DHCP, each with its own MAC.
type port struct {
	conn *packet.Conn
	done chan struct{}

	mu      sync.Mutex
	waiting map[exchange]chan *dhcpv4.DHCPv4
}

// exchange is whose a reply is. Among ten thousand machines, two that are served at the same time may choose the same transaction id.
type exchange struct {
	mac fact.MAC
	xid dhcpv4.TransactionID
}

func exchangeOf(p *dhcpv4.DHCPv4) (e exchange) {
	copy(e.mac[:], p.ClientHWAddr)
	e.xid = p.TransactionID
	return e
}

// openPort listens for what DHCP servers send to clients, and for nothing else: not for the files that the machines fetch.
func openPort(name string) (*port, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	conn, err := listenRaw(ifi)
	if err != nil {
		return nil, err
	}
	p := &port{conn: conn, done: make(chan struct{}), waiting: map[exchange]chan *dhcpv4.DHCPv4{}}
	go p.read()
	return p, nil
}

// listenRaw hears what DHCP servers send to clients, to whichever MAC.
func listenRaw(ifi *net.Interface) (*packet.Conn, error) {
	filter, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: ethernetLen + 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 5},
		bpf.LoadAbsolute{Off: ethernetLen + 6, Size: 2}, // fragments have no port
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 3},
		bpf.LoadAbsolute{Off: ethernetLen + ipLen + 2, Size: 2}, // DHCP servers send no IP options
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 68, SkipTrue: 1},
		bpf.RetConstant{Val: 2048},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return nil, err
	}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_IP, &packet.Config{Filter: filter})
	if err != nil {
		return nil, fmt.Errorf("listening for raw packets on %s (this needs root): %w", ifi.Name, err)
	}
	if err := conn.SetPromiscuous(true); err != nil { // replies are sent to the machines' MACs
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (p *port) close() {
	p.conn.Close()
	<-p.done
}

// read hands each reply to the machine that waits for it.
func (p *port) read() {
	defer close(p.done)
	buf := make([]byte, 2048)
	for {
		n, _, err := p.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if n < headersLen {
			continue
		}
		reply, err := dhcpv4.FromBytes(buf[headersLen:n])
		if err != nil || reply.OpCode != dhcpv4.OpcodeBootReply {
			continue
		}
		p.deliver(reply)
	}
}

func (p *port) deliver(reply *dhcpv4.DHCPv4) {
	p.mu.Lock()
	ch := p.waiting[exchangeOf(reply)]
	p.mu.Unlock()
	select {
	case ch <- reply: // to nobody, when nobody waits
	default: // it has one already
	}
}

// expect gives the channel on which the reply to a request will come, until forget.
func (p *port) expect(request *dhcpv4.DHCPv4) chan *dhcpv4.DHCPv4 {
	ch := make(chan *dhcpv4.DHCPv4, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting[exchangeOf(request)] = ch
	return ch
}

func (p *port) forget(request *dhcpv4.DHCPv4) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, exchangeOf(request))
}

// send broadcasts a request from a machine without an address.
func (p *port) send(mac fact.MAC, request *dhcpv4.DHCPv4) error {
	_, err := p.conn.WriteTo(frame(mac, request.ToBytes()), &packet.Addr{HardwareAddr: net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}})
	return err
}

// frame puts the headers before a DHCP message that is broadcast. Over IPv4, UDP may go without a checksum (RFC 768).
func frame(mac fact.MAC, payload []byte) []byte {
	b := make([]byte, headersLen, headersLen+len(payload))
	copy(b, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	copy(b[6:], mac[:])
	binary.BigEndian.PutUint16(b[12:], unix.ETH_P_IP)
	ip := b[ethernetLen:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(ipLen+udpLen+len(payload)))
	to := netip.AddrFrom4([4]byte{255, 255, 255, 255}).As4()
	copy(ip[16:], to[:])
	var sum uint32
	for i := 0; i < ipLen; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	udp := ip[ipLen:]
	binary.BigEndian.PutUint16(udp, 68)
	binary.BigEndian.PutUint16(udp[2:], 67)
	binary.BigEndian.PutUint16(udp[4:], uint16(udpLen+len(payload)))
	return append(b, payload...)
}
