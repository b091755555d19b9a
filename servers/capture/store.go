// Package capture keeps the last packets of each machine in memory, for the operator who wants to see what was really said,
// and writes them down as a table or a capture file. It takes no part in any conversation, and nothing that it keeps
// survives the process.
package capture

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"time"

	"hostler/render/fact"
)

// Bounds of what is kept. A boot takes some 8 KiB.
const (
	blockSize  = 2048                 // bytes; a packet never spans two
	perMachine = 16                   // blocks
	mostNodes  = 64 << 20 / blockSize // blocks of declared machines
	mostOthers = 4 << 20 / blockSize  // and of all others, so that made-up machines push out none that is declared
	headerSize = 8 + 1 + 6 + 6 + 4 + 4 + 2
)

// Store keeps packets. Its methods may be called from any goroutine, and do not wait.
type Store struct{ nodes, others class }

// New gives an empty store. It takes memory as it needs it, in blocks, and none any more once it has reached its bounds.
func New() *Store { return newStore(mostNodes, mostOthers) }

func newStore(nodes, others int) *Store {
	s := &Store{}
	s.nodes.open(nodes)
	s.others.open(others)
	return s
}

// Add keeps a packet of a machine, and forgets the oldest ones where there is no room: first of all the machine's own, when it has
// its share, else those of the machine that was silent for longest. A packet of no machine, or not of IPv4, is not kept.
func (s *Store) Add(p fact.Packet) {
	if p.MAC.IsZero() || !p.From.Addr().Is4() || !p.To.Addr().Is4() {
		return
	}
	if p.Node != "" {
		s.nodes.add(&p)
	} else {
		s.others.add(&p)
	}
}

// Packets gives what is kept of a machine, the oldest first.
func (s *Store) Packets(mac fact.MAC) []fact.Packet {
	all := append(s.nodes.packets(mac), s.others.packets(mac)...) // a machine may have been declared only lately
	slices.SortStableFunc(all, func(a, b fact.Packet) int { return a.Time.Compare(b.Time) })
	return all
}

// Size is how many bytes are taken, and by how many machines.
func (s *Store) Size() (bytes, machines int) {
	for _, c := range []*class{&s.nodes, &s.others} {
		c.mu.Lock()
		bytes += c.made * blockSize
		machines += len(c.byMAC)
		c.mu.Unlock()
	}
	return bytes, machines
}

// block is a piece of memory with packets in it, one behind the other.
type block struct {
	n   int
	buf [blockSize]byte
}

// conversation is what is kept of one machine. It hangs in a ring by the time when it was last added to.
type conversation struct {
	mac        fact.MAC
	blocks     []*block // oldest first
	prev, next *conversation
}

// class is machines that share a bound.
type class struct {
	mu    sync.Mutex
	most  int
	made  int // blocks
	free  []*block
	byMAC map[fact.MAC]*conversation
	ring  conversation // its next is the newest, its prev the one that was silent for longest
}

func (c *class) open(most int) {
	c.most, c.byMAC = most, map[fact.MAC]*conversation{}
	c.ring.next, c.ring.prev = &c.ring, &c.ring
}

func (c *class) add(p *fact.Packet) {
	payload := p.Payload[:min(len(p.Payload), blockSize-headerSize)]
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.byMAC[p.MAC]
	if v == nil {
		v = &conversation{mac: p.MAC}
		c.byMAC[p.MAC] = v
	} else {
		v.unlink()
	}
	v.prev, v.next = &c.ring, c.ring.next
	v.prev.next, v.next.prev = v, v
	b := v.last()
	if b == nil || b.n+headerSize+len(payload) > blockSize {
		b = c.block(v)
		v.blocks = append(v.blocks, b)
	}
	b.write(p, payload)
}

func (v *conversation) unlink() { v.prev.next, v.next.prev = v.next, v.prev }

func (v *conversation) last() *block {
	if len(v.blocks) == 0 {
		return nil
	}
	return v.blocks[len(v.blocks)-1]
}

// block finds room for a conversation.
func (c *class) block(v *conversation) *block {
	if len(v.blocks) < perMachine {
		if c.made < c.most {
			c.made++
			return &block{}
		}
		if old := c.ring.prev; len(c.free) == 0 && old != v {
			old.unlink()
			delete(c.byMAC, old.mac)
			c.free = append(c.free, old.blocks...)
		}
		if n := len(c.free); n > 0 {
			b := c.free[n-1]
			c.free = c.free[:n-1]
			b.n = 0
			return b
		}
	}
	b := v.blocks[0]
	copy(v.blocks, v.blocks[1:])
	v.blocks = v.blocks[:len(v.blocks)-1]
	b.n = 0
	return b
}

// protocols are numbered as they are kept.
var protocols = [...]fact.Proto{fact.ProtoDHCP, fact.ProtoTFTP, fact.ProtoHTTP}

func (b *block) write(p *fact.Packet, payload []byte) {
	flags := byte(max(slices.Index(protocols[:], p.Proto), 0)) << 1
	if p.Sent {
		flags |= 1
	}
	from, to := p.From.Addr().As4(), p.To.Addr().As4()
	w := binary.BigEndian.AppendUint64(b.buf[b.n:b.n], uint64(p.Time.UnixNano()))
	w = append(w, flags)
	w = binary.BigEndian.AppendUint16(append(w, from[:]...), p.From.Port())
	w = binary.BigEndian.AppendUint16(append(w, to[:]...), p.To.Port())
	w = binary.BigEndian.AppendUint32(w, uint32(p.Size))
	w = binary.BigEndian.AppendUint32(w, uint32(p.Skipped))
	w = binary.BigEndian.AppendUint16(w, uint16(len(payload)))
	w = append(w, payload...)
	b.n += len(w)
}

// read gives the packet at an offset, and where the next one is.
func (b *block) read(at int) (p fact.Packet, next int) {
	r := b.buf[at:b.n]
	addr := func(b []byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), binary.BigEndian.Uint16(b[4:]))
	}
	n := int(binary.BigEndian.Uint16(r[headerSize-2:]))
	p = fact.Packet{
		Time: time.Unix(0, int64(binary.BigEndian.Uint64(r))).UTC(), Sent: r[8]&1 != 0, Proto: protocols[r[8]>>1],
		From: addr(r[9:]), To: addr(r[15:]), Size: int(binary.BigEndian.Uint32(r[21:])), Skipped: int(binary.BigEndian.Uint32(r[25:])),
		Payload: slices.Clone(r[headerSize : headerSize+n]),
	}
	return p, at + headerSize + n
}

func (c *class) packets(mac fact.MAC) (all []fact.Packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.byMAC[mac]
	if v == nil {
		return nil
	}
	for _, b := range v.blocks {
		for at := 0; at < b.n; {
			var p fact.Packet
			p, at = b.read(at)
			p.MAC = mac
			all = append(all, p)
		}
	}
	return all
}

// Between keeps the packets of a span of time; a zero end is open.
func Between(packets []fact.Packet, first, last time.Time) []fact.Packet {
	return slices.DeleteFunc(packets, func(p fact.Packet) bool {
		return p.Time.Before(first) || !last.IsZero() && cmp.Compare(p.Time.UnixNano(), last.UnixNano()) > 0
	})
}
