package capture

import (
	"bufio"
	"encoding/binary"
	"io"
	"net/netip"

	"hostler/render/fact"
)

// The parts of a capture file and of a packet in it.
const (
	pcapMagic = 0xa1b23c4d // the classic format with nanoseconds
	ethernet  = 1          // its link type
	etherLen  = 14
	ipLen     = 20
	udpLen    = 8
	tcpLen    = 20
	protoTCP  = 6
	protoUDP  = 17
)

// WritePcap writes packets as a capture file. DHCP and TFTP packets have the payload as it was received or sent; of a block of a
// file the header only, with its true length beside it. Ethernet, IP and UDP headers are made up from the addresses: the servers
// do not see those of what they receive. A machine behind a relay agent has no Ethernet address here, and hardware has
// the servers'. HTTP heads stand in TCP segments that never were ones: without a handshake, and cut off where the contents begin.
func WritePcap(w io.Writer, packets []fact.Packet, hardware map[netip.Addr]fact.MAC) error {
	out := bufio.NewWriter(w)
	head := binary.LittleEndian.AppendUint32(nil, pcapMagic)
	head = binary.LittleEndian.AppendUint16(head, 2)
	head = binary.LittleEndian.AppendUint16(head, 4)
	head = append(head, make([]byte, 8)...) // time zone and accuracy, which nobody uses
	head = binary.LittleEndian.AppendUint32(head, 1<<16)
	head = binary.LittleEndian.AppendUint32(head, ethernet)
	_, _ = out.Write(head)      // bufio keeps its error
	next := map[stream]uint32{} // TCP sequence numbers
	for i := range packets {
		p := &packets[i]
		frame, whole := frameOf(p, hardware, next)
		rec := binary.LittleEndian.AppendUint32(nil, uint32(p.Time.Unix()))
		rec = binary.LittleEndian.AppendUint32(rec, uint32(p.Time.Nanosecond()))
		rec = binary.LittleEndian.AppendUint32(rec, uint32(len(frame)))
		rec = binary.LittleEndian.AppendUint32(rec, uint32(whole))
		_, _ = out.Write(append(rec, frame...))
	}
	return out.Flush()
}

// stream is one direction of a TCP connection.
type stream struct{ from, to netip.AddrPort }

// frameOf builds the frame around what is kept of a payload, and says how long it was on the wire.
func frameOf(p *fact.Packet, hardware map[netip.Addr]fact.MAC, next map[stream]uint32) (frame []byte, whole int) {
	src, dst := endsOf(p, hardware)
	b := append(append(make([]byte, 0, etherLen+ipLen+tcpLen+len(p.Payload)), dst[:]...), src[:]...)
	b = binary.BigEndian.AppendUint16(b, 0x0800)
	header, proto, size := udpLen, byte(protoUDP), max(p.Size, len(p.Payload))
	if p.Proto == fact.ProtoHTTP {
		header, proto = tcpLen, protoTCP
	}
	size = min(size, 1<<16-1-ipLen-tcpLen) // of HTTP, which is no datagram; a segment cut short is not waited for
	b = appendIP(b, p, proto, ipLen+header+size)
	if proto == protoTCP {
		b = appendTCP(b, p, size, next)
	} else {
		b = binary.BigEndian.AppendUint16(b, p.From.Port())
		b = binary.BigEndian.AppendUint16(b, p.To.Port())
		b = binary.BigEndian.AppendUint16(b, uint16(udpLen+size))
		b = binary.BigEndian.AppendUint16(b, 0) // no checksum (RFC 768): it is not known
	}
	return append(b, p.Payload[:min(len(p.Payload), size)]...), etherLen + ipLen + header + size
}

// endsOf are the Ethernet addresses.
func endsOf(p *fact.Packet, hardware map[netip.Addr]fact.MAC) (src, dst fact.MAC) {
	machine, server := p.MAC, hardware[p.From.Addr()]
	if p.Proto == fact.ProtoDHCP && len(p.Payload) >= 28 && binary.BigEndian.Uint32(p.Payload[24:]) != 0 { // giaddr
		machine = fact.MAC{}
	}
	if p.Sent {
		src, dst = server, machine
	} else {
		src, dst = machine, hardware[p.To.Addr()]
	}
	if p.To.Addr() == broadcast {
		dst = fact.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	return src, dst
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func appendIP(b []byte, p *fact.Packet, proto byte, total int) []byte {
	at := len(b)
	src, dst := p.From.Addr().As4(), p.To.Addr().As4()
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(total))
	b = append(b, 0, 0, 0x40, 0, 64, proto, 0, 0)
	b = append(append(b, src[:]...), dst[:]...)
	var sum uint32
	for i := at; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[at+10:], ^uint16(sum))
	return b
}

func appendTCP(b []byte, p *fact.Packet, size int, next map[stream]uint32) []byte {
	out, back := stream{p.From, p.To}, stream{p.To, p.From}
	seq := next[out] + 1
	next[out] += uint32(size)
	b = binary.BigEndian.AppendUint16(b, p.From.Port())
	b = binary.BigEndian.AppendUint16(b, p.To.Port())
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, next[back]+1)
	b = append(b, 5<<4, 0x18) // PSH and ACK
	b = binary.BigEndian.AppendUint16(b, 0xffff)
	return append(b, 0, 0, 0, 0)
}
