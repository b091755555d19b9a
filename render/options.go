package render

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"time"

	"hostler/spec"
)

// option is an encoded DHCP option with when it is sent.
type option struct {
	Option
	always bool // even if the client did not ask for it
}

// Option codes (RFC 2132; 208 to 211: RFC 5071).
const (
	optMask         = 1
	optRouter       = 3
	optDNS          = 6
	optHostname     = 12
	optDomain       = 15
	optBroadcast    = 28
	optNTP          = 42
	optVendor       = 43
	optLeaseTime    = 51
	optRenewal      = 58
	optRebinding    = 59
	optVendorClass  = 60
	optServerName   = 66
	optIPXE         = 175 // iPXE's own encapsulated options
	subNoProxy      = 176 // of 175: do not wait for proxyDHCP offers
	optMagic        = 208
	optConfigFile   = 209
	optPathPrefix   = 210
	optRebootTime   = 211
	maxOptionLength = 255
)

// profile is a spec.Profile with its network options, encoded once for all its nodes.
type profile struct {
	options []option
	leaves  leaves
	hash    [sha256.Size]byte // of the leaves
}

func (s *Snapshot) indexProfiles() {
	s.profiles = make([]profile, len(s.fleet.Profiles))
	for i := range s.fleet.Profiles {
		p := &s.fleet.Profiles[i]
		if j, ok := s.bySubnet[p.Subnet]; ok {
			s.profiles[i].options = encodeOptions(s.subnets[j].Subnet, &p.Settings)
		}
	}
}

// encodeOptions are the options of machines with these settings on a subnet, ascending. An option written out in the
// spec replaces the one that hostler would work out itself.
func encodeOptions(sn *spec.Subnet, st *spec.Settings) []option {
	os := map[uint8]option{}
	put := func(code uint8, always bool, data []byte) {
		if len(data) > 0 {
			os[code] = option{Option{code, data}, always}
		}
	}
	if p := sn.CIDR.Masked(); p.IsValid() && p.Addr().Is4() {
		put(optMask, true, binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-p.Bits())))
		put(optBroadcast, false, addrs(lastAddr(p)))
	}
	put(optRouter, true, addrs(sn.Gateway))
	put(optDNS, false, addrs(st.DNS...))
	put(optDomain, false, []byte(st.Domain))
	put(optNTP, false, addrs(st.NTP...))
	for _, o := range st.Options {
		if o.Remove {
			delete(os, o.Code)
		} else {
			put(o.Code, o.Force || o.Code == optMask || o.Code == optRouter, o.Data)
		}
	}
	list := make([]option, 0, len(os))
	for _, o := range os {
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b option) int { return int(a.Code) - int(b.Code) })
	return list
}

func addrs(as ...netip.Addr) []byte {
	var b []byte
	for _, a := range as {
		if a.Is4() {
			x := a.As4()
			b = append(b, x[:]...)
		}
	}
	return b
}

// optionsFor are the options of a node on a subnet; a node that sets none of its own shares its profile's.
func (s *Snapshot) optionsFor(sn *subnet, n *spec.Node) []option {
	i := s.profileOn(sn, n)
	own := n.Own
	if own == nil || len(own.Options) == 0 && own.DNS == nil && own.NTP == nil && own.Domain == "" {
		if i == n.Profile {
			return s.profiles[i].options
		}
		return sn.options
	}
	st := *s.settings(i)
	if own.DNS != nil {
		st.DNS = own.DNS
	}
	if own.NTP != nil {
		st.NTP = own.NTP
	}
	if own.Domain != "" {
		st.Domain = own.Domain
	}
	st.Options = slices.Concat(st.Options, own.Options) // the later one of a code wins
	return encodeOptions(sn.Subnet, &st)
}

// reply collects the options that go into one answer.
type reply struct {
	params string
	all    []option // that the layers set, whether the client asks for them or not
	opts   []Option
}

// wants reports whether a client asks for an option. One that sends no list takes what it gets (RFC 2131 section 3.5).
func (r *reply) wants(code uint8) bool {
	return r.params == "" || strings.IndexByte(r.params, code) >= 0
}

// put adds an option; an option that is there already, because the author wrote it, stays.
func (r *reply) put(code uint8, data []byte) {
	i, found := slices.BinarySearchFunc(r.opts, code, func(o Option, c uint8) int { return int(o.Code) - int(c) })
	if !found && len(data) > 0 {
		r.opts = slices.Insert(r.opts, i, Option{code, data})
	}
}

func (r *reply) putTimes(lease time.Duration) {
	seconds := func(d time.Duration) []byte {
		return binary.BigEndian.AppendUint32(nil, uint32(min(d/time.Second, 1<<32-1)))
	}
	r.put(optLeaseTime, seconds(lease))
	r.put(optRenewal, seconds(lease/2))     // RFC 2131 section 4.4.5: T1 at half,
	r.put(optRebinding, seconds(lease*7/8)) // T2 at seven eighths
}
