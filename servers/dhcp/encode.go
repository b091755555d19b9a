package dhcp

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render/fact"
)

// Where the fields lie that options may be put into when there is no room for them (RFC 2132 section 9.3).
const (
	snameAt    = 44
	fileAt     = 108
	cookieAt   = 236
	optionsAt  = cookieAt + 4
	optEnd     = 255
	inFile     = 1 // values of option 52
	inSName    = 2
	mostOption = 255 // bytes of one option; longer ones are repeated (RFC 3396)
)

// parse reads a request. The library does not know options that stand in the file and sname fields: their parts are joined to those
// before them, in this order (RFC 3396 section 5).
func parse(p *dhcpv4.DHCPv4, b []byte) error {
	if err := fromBytes(p, b); err != nil {
		return err
	}
	overload := p.Options[optOverload]
	delete(p.Options, optOverload)
	if len(overload) != 1 {
		return nil
	}
	for _, field := range []struct {
		bit  byte
		b    []byte
		text *string
	}{{inFile, b[fileAt:cookieAt], &p.BootFileName}, {inSName, b[snameAt:fileAt], &p.ServerHostName}} {
		if overload[0]&field.bit == 0 {
			continue
		}
		*field.text = ""
		if err := p.Options.FromBytes(field.b); err != nil {
			return fmt.Errorf("options in a field (option 52): %w", err)
		}
	}
	return nil
}

// item is one option on its way into a packet.
type item struct {
	code uint8
	data []byte
	area int // of layout; -1: nowhere
}

// layout is the room for options: their own field, the file field and the sname field.
type layout struct {
	room [3]int
	used [3]int
}

// paper is what replies are written on, one after the other.
type paper struct {
	items   []item
	payload []byte
}

// encode writes a reply in at most size bytes, its options in the order in which the client lists them (RFC 2132 section 9.8). When they do
// not fit, they go into the file and sname fields as far as these are empty (section 9.3), and what still does not fit is
// left out: first what the client did not ask for, and then what it asked for last. It gives the codes of those. Options
// without which the reply would mean something else, or be ignored, stay.
func (p *paper) encode(resp *dhcpv4.DHCPv4, f *fact.Facts, size int) (b []byte, dropped []uint8) {
	p.items = itemsOf(p.items[:0], resp.Options, f.Params)
	items := p.items
	relay, relayed := resp.Options[optRelay]
	var l layout
	if l.room[0] = size - headerLen; relayed {
		l.room[0] -= optionLen(relay)
	}
	if need := lengthOf(items); need > l.room[0] && f.Message != fact.BOOTP { // BOOTP knows no option 52
		l.overload(resp)
	}
	dropped = l.place(items)
	var areas [3][]byte
	areas[0] = append(p.payload[:0], make([]byte, optionsAt)...)
	putHeader(areas[0], resp)
	for _, it := range items {
		if it.area >= 0 {
			areas[it.area] = appendOption(areas[it.area], it.code, it.data)
		}
	}
	b = areas[0]
	if overload := l.fields(); overload != 0 {
		b = appendOption(b, optOverload, []byte{overload})
		copy(b[fileAt:], closed(areas[1]))
		copy(b[snameAt:], closed(areas[2]))
	}
	if relayed {
		b = appendOption(b, optRelay, relay) // the last one (RFC 3046 section 2.1)
	}
	b = append(b, optEnd)
	if len(b) < bootpLen {
		b = append(b, make([]byte, bootpLen-len(b))...)
	}
	p.payload = b
	return b, dropped
}

// putHeader writes what stands before the options (RFC 2131 section 2) into zeros.
func putHeader(b []byte, p *dhcpv4.DHCPv4) {
	b[0], b[1], b[2], b[3] = byte(p.OpCode), byte(p.HWType), byte(len(p.ClientHWAddr)), p.HopCount
	copy(b[4:8], p.TransactionID[:])
	binary.BigEndian.PutUint16(b[8:], p.NumSeconds)
	binary.BigEndian.PutUint16(b[10:], p.Flags)
	for i, a := range [...]net.IP{p.ClientIPAddr, p.YourIPAddr, p.ServerIPAddr, p.GatewayIPAddr} {
		copy(b[12+4*i:16+4*i], a.To4())
	}
	copy(b[chaddrAt:snameAt], p.ClientHWAddr)
	copy(b[snameAt:fileAt-1], p.ServerHostName)
	copy(b[fileAt:cookieAt-1], p.BootFileName)
	copy(b[cookieAt:], magicCookie)
}

// itemsOf lists options in the order in which they are written: the type of the message and the server, what the client asked for, and
// the others.
func itemsOf(items []item, o dhcpv4.Options, params string) []item {
	listed := [256]bool{optRelay: true, optEnd: true, 0: true} // or written otherwise
	list := func(code uint8) {
		if data, ok := o[code]; ok && !listed[code] {
			listed[code] = true
			items = append(items, item{code: code, data: data})
		}
	}
	list(optMessage)
	list(optServerID)
	for i := range len(params) {
		list(params[i])
	}
	asked := len(items)
	for code := range o {
		list(code)
	}
	slices.SortFunc(items[asked:], func(a, b item) int { return int(a.code) - int(b.code) })
	return items
}

// overload makes room in the fields that the reply leaves empty, and for option 52 itself.
func (l *layout) overload(resp *dhcpv4.DHCPv4) {
	if resp.BootFileName == "" {
		l.room[1] = cookieAt - fileAt - 1 // the end option
	}
	if resp.ServerHostName == "" {
		l.room[2] = fileAt - snameAt - 1
	}
	l.room[0] -= 3
}

// place says where each option goes, and gives those that have no room.
func (l *layout) place(items []item) (dropped []uint8) {
	for _, first := range []bool{true, false} {
		for i := range items {
			it := &items[i]
			if indispensable(it.code) != first {
				continue
			}
			n := optionLen(it.data)
			it.area = slices.IndexFunc([]int{0, 1, 2}, func(a int) bool { return l.used[a]+n <= l.room[a] })
			if it.area < 0 && first {
				it.area = 0
			}
			if it.area < 0 {
				dropped = append(dropped, it.code)
				continue
			}
			l.used[it.area] += n
		}
	}
	return dropped
}

// fields is the value of option 52.
func (l *layout) fields() (v byte) {
	if l.used[1] > 0 {
		v |= inFile
	}
	if l.used[2] > 0 {
		v |= inSName
	}
	return v
}

// indispensable reports whether a reply would mean something else without an option, or be ignored.
func indispensable(code uint8) bool {
	switch code {
	case optMask, optRouter, optVendorInfo, optLeaseTime, optMessage, optServerID, optRenewal, optRebinding, optVendor,
		optClientID, optBootFile, optUUID, optConfigFile, optPathPrefix:
		return true
	}
	return false
}

// closed ends the options of a field, if there are any.
func closed(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return append(b, optEnd)
}

func appendOption(b []byte, code uint8, data []byte) []byte {
	for {
		n := min(len(data), mostOption)
		b = append(append(b, code, byte(n)), data[:n]...)
		if data = data[n:]; len(data) == 0 {
			return b
		}
	}
}

func lengthOf(items []item) (n int) {
	for i := range items {
		n += optionLen(items[i].data)
	}
	return n
}

// optionLen is what an option takes on the wire.
func optionLen(b []byte) int { return len(b) + 2*max(1, (len(b)+mostOption-1)/mostOption) }
