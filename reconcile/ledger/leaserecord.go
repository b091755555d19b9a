package ledger

import (
	"encoding/binary"
	"net/netip"

	"hostler/render/fact"
)

// kind is what a journal record says.
type kind uint8

const (
	bound    kind = 1 // the lease holds from start until the time given
	released kind = 2 // the machine gave the address back at the time given
	declined kind = 3 // the address rests until the time given, and is nobody's; the lease is what its machine had
)

// record is one change of one address. Of the lease, released has address and MAC only.
type record struct {
	kind         kind
	lease        fact.Lease // without times: they are in our clock, below
	start, until int64
}

// encode appends kind, MAC, start, until, and then address and texts, each after its length.
func (r *record) encode(b []byte) []byte {
	b = append(append(b, byte(r.kind)), r.lease.MAC[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.start))
	b = binary.BigEndian.AppendUint64(b, uint64(r.until))
	addr := r.lease.Addr.AsSlice()
	b = append(append(b, byte(len(addr))), addr...)
	for _, s := range []string{string(r.lease.Node), r.lease.Subnet, r.lease.Pool, r.lease.Hostname} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return b
}

// decode reads one record and gives what follows it.
func (r *record) decode(b []byte) (rest []byte, ok bool) {
	const fixed = 1 + len(fact.MAC{}) + 8 + 8 + 1
	if len(b) < fixed {
		return nil, false
	}
	r.kind = kind(b[0])
	copy(r.lease.MAC[:], b[1:])
	r.start, r.until = number(b[7:]), number(b[15:])
	n := int(b[fixed-1])
	if len(b) < fixed+n || r.kind < bound || r.kind > declined {
		return nil, false
	}
	if r.lease.Addr, ok = netip.AddrFromSlice(b[fixed : fixed+n]); !ok {
		return nil, false
	}
	b = b[fixed+n:]
	var node string
	for _, s := range []*string{&node, &r.lease.Subnet, &r.lease.Pool, &r.lease.Hostname} {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, false
		}
		*s, b = string(b[n:n+int(size)]), b[n+int(size):]
	}
	r.lease.Node = fact.NodeName(node)
	if r.kind == bound {
		r.lease.State = fact.Bound
	}
	return b, true
}

// savedFormat is the format version of saved, savedClock and savedRun.
const savedFormat = 1

// saved is an address as a checkpoint keeps it in the store. Times are nanoseconds of our clock.
type saved struct {
	Lease fact.Lease  `json:"lease"`
	Start int64       `json:"start"`
	Until int64       `json:"until"`
	Rest  int64       `json:"rest,omitempty"`
	By    *fact.Lease `json:"by,omitempty"` // what the machine had that declined the address
}

// savedClock is the clock when a checkpoint was made.
type savedClock struct {
	Raw int64 `json:"raw"`
	T   int64 `json:"t"`
}

// savedRun is the clock at a moment in a run of the host, and when that began by the clock of that moment.
type savedRun struct {
	Run     string `json:"run"`
	Started int64  `json:"started"`
	Raw     int64  `json:"raw"`
	T       int64  `json:"t"`
}

// Keys of the store. An address's text follows the first.
const (
	keyLease = "lease/"
	keyClock = "lease-clock"
	keyRun   = "lease-run"
)
