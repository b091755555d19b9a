// Package fact holds the words that every other package of hostler shares: who a machine is, what it said,
// what it was told and when. It decides nothing, reads nothing and imports nothing of ours, so that no two
// packages need to know each other only to name the same thing.
package fact

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// MAC is an Ethernet address. Its text form is lower case with colons, whatever form it was parsed from.
type MAC [6]byte

// ParseMAC reads the forms that people and firmware write: aa:bb:cc:dd:ee:ff, aa-bb-..., aabb.ccdd.eeff,
// twelve bare digits, in either case, and the hardware type prefix 01- of a BOOTIF argument.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	digits := make([]byte, 0, 14)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ':' || c == '-' || c == '.':
		case c >= '0' && c <= '9':
			digits = append(digits, c-'0')
		case c >= 'a' && c <= 'f':
			digits = append(digits, c-'a'+10)
		case c >= 'A' && c <= 'F':
			digits = append(digits, c-'A'+10)
		default:
			return m, fmt.Errorf("%q is not a MAC address", s)
		}
		if len(digits) > 14 {
			return m, fmt.Errorf("%q is not a MAC address", s)
		}
	}
	if len(digits) == 14 && digits[0] == 0 && digits[1] == 1 {
		digits = digits[2:]
	}
	if len(digits) != 12 {
		return m, fmt.Errorf("%q is not a MAC address", s)
	}
	for i := range m {
		m[i] = digits[2*i]<<4 | digits[2*i+1]
	}
	return m, nil
}

// String gives aa:bb:cc:dd:ee:ff.
func (m MAC) String() string { return m.join(':') }

// AppendTo appends the String form.
func (m MAC) AppendTo(b []byte) []byte { return append(b, m.join(':')...) }

// Dashed gives aa-bb-cc-dd-ee-ff, as pxelinux and GRUB name their files.
func (m MAC) Dashed() string { return m.join('-') }

func (m MAC) join(sep byte) string {
	const hex = "0123456789abcdef"
	var b [17]byte
	for i, x := range m {
		if i > 0 {
			b[3*i-1] = sep
		}
		b[3*i], b[3*i+1] = hex[x>>4], hex[x&15]
	}
	return string(b[:])
}

// IsZero reports whether no address was set.
func (m MAC) IsZero() bool { return m == MAC{} }

// MarshalText writes the String form.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads any form that ParseMAC reads.
func (m *MAC) UnmarshalText(b []byte) (err error) { *m, err = ParseMAC(string(b)); return err }

// NodeName is the name of a declared machine, unique in a fleet.
type NodeName string

// Revision names one state of a source: "main@sha1:HEX" for a commit, "dir@sha256:HEX" for a directory's contents.
type Revision string

// Short is the revision with its hash cut to 12 digits, for people.
func (r Revision) Short() string {
	if i := strings.LastIndexByte(string(r), ':'); i >= 0 && len(r) > i+13 {
		return string(r[:i+13])
	}
	return string(r)
}

// Digest is a SHA-256 in lower case hexadecimal, 64 digits; empty when unknown.
type Digest string

// Terms are what a machine was given to boot. They hold for that boot, whatever is decided meanwhile.
type Terms struct {
	Revision Revision `json:"-"`
	Boots    bool     `json:"boots,omitempty"`    // it was given something to boot, and not told to wait
	Install  Digest   `json:"install,omitempty"`  // what it has installed when it reports that it is ready; empty: nothing
	Image    string   `json:"image,omitempty"`    // whose files it was given
	Override string   `json:"override,omitempty"` // the order that decided it; empty: none did
}

// BootID names one boot of one machine: a ULID, public, sortable by time.
type BootID string

// Token proves that a request belongs to a boot: 26 random base32 characters. Secret until the boot is ready.
type Token string

// Stage is how far a boot has come. Later stages compare greater.
type Stage uint8

// The stages of a boot, in order.
const (
	StageNone Stage = iota
	StageDiscover
	StageOffer
	StageRequest
	StageAck
	StageLoader
	StageScript
	StageKernel
	StageInitrd
	StageConfig
	StageReady
)

var stageNames = [...]string{"none", "discover", "offer", "request", "ack", "loader", "script", "kernel", "initrd", "config", "ready"}

// String gives the stage's name in lower case.
func (s Stage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return fmt.Sprintf("stage(%d)", uint8(s))
}

// MarshalText writes the String form.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the String form.
func (s *Stage) UnmarshalText(b []byte) error {
	for i, n := range stageNames {
		if n == string(b) {
			*s = Stage(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not a boot stage", b)
}

// Client is which program on the machine is talking. A boot passes through them in this order.
type Client uint8

// The clients, in the order in which a boot meets them.
const (
	ClientUnknown Client = iota
	ClientROM            // firmware or a PXE ROM
	ClientIPXE           // iPXE, recognised by its user class or option 175
	ClientOS             // an operating system's DHCP client
)

var clientNames = [...]string{"unknown", "rom", "ipxe", "os"}

// String gives the client's name in lower case.
func (c Client) String() string {
	if int(c) < len(clientNames) {
		return clientNames[c]
	}
	return fmt.Sprintf("client(%d)", uint8(c))
}

// MarshalText writes the String form.
func (c Client) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the String form; an unknown name is ClientUnknown.
func (c *Client) UnmarshalText(b []byte) error {
	*c = ClientUnknown
	for i, n := range clientNames {
		if n == string(b) {
			*c = Client(i)
		}
	}
	return nil
}

// Range is a run of addresses, both ends included. Parsed ranges are IPv4 with First not after Last.
type Range struct {
	First netip.Addr `json:"first"`
	Last  netip.Addr `json:"last"`
}

// Contains reports whether a lies in the range.
func (r Range) Contains(a netip.Addr) bool { return r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0 }

// String gives "first-last".
func (r Range) String() string { return r.First.String() + "-" + r.Last.String() }

// Event is one step of one boot, as a server saw it. Timeline, diagnosis and metrics are all derived from events.
type Event struct {
	Time     time.Time     `json:"time"`
	Boot     BootID        `json:"boot,omitempty"` // filled in by the timeline when the server does not know it
	MAC      MAC           `json:"mac"`            // zero when the peer could not be attributed to a machine
	Node     NodeName      `json:"node,omitempty"`
	Subnet   string        `json:"subnet,omitempty"`   // of a DHCP message, when one serves it
	Revision Revision      `json:"revision,omitempty"` // of the snapshot that answered
	Stage    Stage         `json:"stage"`
	Client   Client        `json:"client"`
	Xid      uint32        `json:"xid,omitempty"` // DHCP transaction
	What     string        `json:"what"`          // "DHCP Discover", "Read Request", "GET", ... as the protocol names it
	File     string        `json:"file,omitempty"`
	Peer     netip.Addr    `json:"peer"`
	Bytes    int64         `json:"bytes,omitempty"`    // sent to the machine
	Resent   int           `json:"resent,omitempty"`   // packets that were sent more than once
	Duration time.Duration `json:"duration,omitempty"` // nanoseconds
	Result   Result        `json:"result"`
	Status   int           `json:"status,omitempty"` // of an HTTP answer
	Detail   string        `json:"detail,omitempty"` // reason of a refusal, text of an error
	Said     *Said         `json:"-"`                // with a DHCP request of a machine that nobody declared
}

// Result is how a step ended.
type Result string

// The results. A size probe (TFTP with tsize, then an abort) is a success of its own kind, not an error.
const (
	OK      Result = "ok"
	Probe   Result = "probe"
	Refused Result = "refused" // a decision: the machine gets no answer, or a negative one
	Failed  Result = "failed"  // a transfer or an action broke
)

// LeaseState is what a dynamic address is doing.
type LeaseState string

// The states of a lease.
const (
	Offered  LeaseState = "offered"  // promised in an OFFER, in memory only
	Bound    LeaseState = "bound"    // acknowledged, on disk
	Released LeaseState = "released" // given back; the client is still remembered for the address
	Expired  LeaseState = "expired"
	Declined LeaseState = "declined" // the machine found somebody else using the address; nobody gets it until the lease expires
)

// Lease is an address in use by one machine. One machine (MAC) holds one address in a subnet, whatever client
// identifier its ROM, its iPXE and its operating system send.
type Lease struct {
	Addr     netip.Addr `json:"address"`
	MAC      MAC        `json:"mac"`
	Node     NodeName   `json:"node,omitempty"` // empty for a machine that nobody declared
	Subnet   string     `json:"subnet"`
	Pool     string     `json:"pool,omitempty"` // empty for a declared address
	State    LeaseState `json:"state"`
	Start    time.Time  `json:"start"`
	Expires  time.Time  `json:"expires"`
	Hostname string     `json:"hostname,omitempty"`
}

// Claim asks for an address: the fixed one, or one from the ranges.
type Claim struct {
	MAC      MAC
	Node     NodeName
	Subnet   string
	Pool     string        // empty with Fixed
	Fixed    netip.Addr    // a declared address; no range is looked at
	Ranges   []Range       // free for leasing: excluded and declared addresses are already cut out. Shared, read-only
	Pools    []string      // the pool of each range; nil when Pool is that of all. Shared, read-only
	Want     netip.Addr    // what the client asks for, preferred when it is free and inside the ranges
	For      time.Duration // lease time
	Hostname string
}

// PoolOf is the pool that an address of the claim lies in.
func (c *Claim) PoolOf(a netip.Addr) string {
	for i, name := range c.Pools {
		if c.Ranges[i].Contains(a) {
			return name
		}
	}
	return c.Pool
}
