package dhcp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"hostler/render/fact"
)

// Suboptions of option 82 (RFC 3046 section 2.0).
const (
	subCircuit = 1
	subRemote  = 2
)

// said is what a request of a machine that nobody declared is kept of.
func (x *exchange) said() *fact.Said {
	f := &x.facts
	s := &fact.Said{
		Arch: f.Arch, UUID: uuidText(f.UUID), VendorClass: fact.Printable(f.VendorClass), Hostname: fact.Printable(f.Hostname), Relay: f.GIAddr,
	}
	if x.req == nil {
		return s
	}
	for b := x.req.Options[optRelay]; len(b) >= 2 && 2+int(b[1]) <= len(b); b = b[2+int(b[1]):] {
		switch data := b[2 : 2+int(b[1])]; b[0] {
		case subCircuit:
			s.Circuit = agentText(data)
		case subRemote:
			s.Remote = agentText(data)
		}
	}
	return s
}

// uuidText is option 97 (RFC 4578 section 2.3) with the first three fields as SMBIOS has them, in little-endian order: so do dmidecode, and the
// label on the machine.
func uuidText(raw string) string {
	if len(raw) != 17 || raw[0] != 0 {
		return ""
	}
	b := []byte(raw[1:])
	slices.Reverse(b[0:4])
	slices.Reverse(b[4:6])
	slices.Reverse(b[6:8])
	h := hex.EncodeToString(b)
	if strings.Trim(h, "0") == "" || strings.Trim(h, "f") == "" { // firmware that was never told its own
		return ""
	}
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// agentText is what a relay agent calls a port or itself. Most send text. The default of Cisco's switches, which others took over, is a type
// and a length before VLAN, module and port in the one, and before the switch's MAC in the other.
func agentText(b []byte) string {
	if s := strings.TrimRight(string(b), "\x00"); s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }) {
		return fact.Printable(s)
	}
	switch {
	case len(b) == 6 && b[0] == 0 && b[1] == 4:
		return fmt.Sprintf("vlan %d port %d/%d", binary.BigEndian.Uint16(b[2:]), b[4], b[5])
	case len(b) == 8 && b[0] == 0 && b[1] == 6:
		return fact.MAC(b[2:]).String()
	case len(b) == 6:
		return fact.MAC(b).String()
	}
	return fact.Printable(hex.EncodeToString(b))
}
