package bootsim

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"hostler/render"
	"hostler/render/fact"
)

// Memory is a network that a snapshot answers, without sockets: leases are empty at first, and a machine gets the lowest free
// address.
type Memory struct {
	Snapshot *render.Snapshot
	Ingress  fact.Ingress            // where the machine's packets come in
	GIAddr   netip.Addr              // the relay agent that passes them on; invalid: none
	Late     func(fact.Text) string  // fills late values
	Ignored  string                  // why the last request had no answer, for people who can look behind the network
	leases   map[fact.MAC]netip.Addr // who has what
}

// Errors as a machine sees them.
var (
	errNotFound = errors.New("not found")
	errSilence  = errors.New("no answer")
)

// Offline is a Memory for a machine of a snapshot when no server is running: the boot server is the first address of the
// machine's subnet that could be one, and listens on port 8080.
func Offline(s *render.Snapshot, mac fact.MAC) *Memory {
	m := &Memory{Snapshot: s}
	server := netip.MustParseAddr("192.0.2.1") // RFC 5737: an example
	info, declared := s.Node(mac.String())
	for i := range s.Fleet().Subnets {
		sn := &s.Fleet().Subnets[i]
		if declared && sn.Name != info.Subnet || !declared && sn.Unknown < 0 && i < len(s.Fleet().Subnets)-1 {
			continue // a stranger is played where strangers are answered, or else on the last subnet, to hear why it is not
		}
		server = exampleServer(s, sn.CIDR.Masked(), sn.Gateway)
		for _, a := range sn.BootServers {
			server = a
			break
		}
		m.Ingress.Prefixes = []netip.Prefix{netip.PrefixFrom(server, sn.CIDR.Bits())}
		if !sn.CIDR.Contains(server) { // a boot server elsewhere is reached through a relay agent
			m.GIAddr = sn.Gateway
			if len(sn.Relays) > 0 {
				m.GIAddr = sn.Relays[0]
			}
		}
		break
	}
	m.Ingress.Interface, m.Ingress.Owned = "example", []netip.Addr{server}
	base := "http://" + netip.AddrPortFrom(server, 8080).String()
	m.Late = func(t fact.Text) string {
		return t.Fill(func(k fact.Late, arg string) string {
			switch k {
			case fact.LateServer:
				return server.String()
			case fact.LateBase, fact.LateSecure:
				return base
			case fact.LateGRUB:
				return "(http," + netip.AddrPortFrom(server, 8080).String() + ")"
			case fact.LateBoot:
				return "none"
			case fact.LateSeed:
				return base + "/cloud-init/boot=none"
			case fact.LateConfig:
				return base + "/config/" + url.PathEscape(arg) + "?boot=none"
			case fact.LateRetries:
				return "0"
			case fact.LatePresign:
				return unsigned(arg)
			}
			return fact.NewLate(k, arg).String()
		})
	}
	return m
}

// unsigned is the URL of an object in S3 with a sign that its signature is missing.
func unsigned(object string) string {
	o, err := fact.ParseObject(object)
	if err != nil {
		return fact.NewLate(fact.LatePresign, object).String()
	}
	return o.URL() + "?X-Amz-Expires=" + strconv.Itoa(int(o.TTL.Seconds())) + "&X-Amz-Signature=(when-asked)"
}

// exampleServer is the first address of a subnet that is nobody's.
func exampleServer(s *render.Snapshot, p netip.Prefix, gateway netip.Addr) netip.Addr {
	a := p.Addr().Next()
	for range 256 {
		if _, taken := s.Node(a.String()); !taken && a != gateway {
			break
		}
		a = a.Next()
	}
	return a
}

// DHCP asks the snapshot, and on a subnet whose addresses the site's own DHCP server gives, an example of such a server.
func (m *Memory) DHCP(f fact.Facts) ([]Reply, error) {
	f.Ingress, f.GIAddr = m.Ingress, m.GIAddr
	if f.BootServer {
		f.GIAddr = netip.Addr{} // relay agents have no part in a unicast request
	}
	c := m.Snapshot.Select(&f)
	var replies []Reply
	if c.Proxy && !f.BootServer {
		replies = m.site(&f, &c)
	}
	if !c.Proxy || f.Message == fact.Discover || f.BootServer { // else it is the other server's
		m.Ignored = c.Ignore
	}
	if c.Ignore == "" {
		var addr netip.Addr
		if c.NeedsAddress(&f) {
			addr = m.take(&c.Claim)
		}
		a := m.Snapshot.Answer(&f, &c, addr)
		if m.Ignored = a.Ignore; a.Ignore == "" {
			replies = append(replies, Reply{
				Message: a.Message, YIAddr: a.YIAddr, SIAddr: a.SIAddr, ServerID: a.ServerID,
				BootFile: m.Late(a.BootFile), Options: a.Options,
			})
		}
	}
	if len(replies) == 0 {
		return nil, errSilence
	}
	return replies, nil
}

func (m *Memory) take(c *fact.Claim) netip.Addr {
	if m.leases == nil {
		m.leases = map[fact.MAC]netip.Addr{}
	}
	if c.Fixed.IsValid() {
		m.leases[c.MAC] = c.Fixed
		return c.Fixed
	}
	if a, ok := m.leases[c.MAC]; ok {
		return a
	}
	for _, r := range c.Ranges {
		for a := r.First; r.Contains(a); a = a.Next() {
			if !m.taken(a) {
				m.leases[c.MAC] = a
				return a
			}
		}
	}
	return netip.Addr{}
}

func (m *Memory) taken(a netip.Addr) bool {
	for _, b := range m.leases {
		if a == b {
			return true
		}
	}
	return false
}

// TFTP asks the snapshot. Any server address answers.
func (m *Memory) TFTP(_ netip.Addr, name string, _ bool) (File, error) {
	var mac fact.MAC
	for x := range m.leases {
		mac = x // one machine boots at a time
	}
	f, ok := m.Snapshot.File(name, mac)
	if !ok && strings.Contains(name, "(") { // digest unknown
		return File{}, nil
	}
	if !ok {
		return File{}, errNotFound
	}
	return m.contents(f), nil
}

func (m *Memory) contents(f render.File) File {
	if f.Text != "" {
		text := m.Late(f.Text)
		return File{Size: int64(len(text)), Text: text}
	}
	return File{Size: f.Size, Digest: f.Digest}
}

// HTTP asks the snapshot. Of what lies on other servers it knows nothing.
func (m *Memory) HTTP(address string) (File, error) {
	rest, ok := strings.CutPrefix(address, m.Late(fact.NewLate(fact.LateBase, "")))
	if !ok {
		return File{}, nil
	}
	path, query, _ := strings.Cut(rest, "?")
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	switch {
	case path == "/boot/v1/bootscript":
		return m.script(query)
	case len(parts) == 3 && parts[0] == "files" && strings.HasPrefix(parts[1], "("): // digest unknown
		return File{}, nil
	case len(parts) == 3 && parts[0] == "files":
		if f, ok := m.Snapshot.Blob(fact.Digest(parts[1])); ok {
			return m.contents(f), nil
		}
	}
	return File{}, errNotFound
}

func (m *Memory) script(query string) (File, error) {
	v, err := url.ParseQuery(query)
	if err != nil {
		return File{}, err
	}
	q := render.Query{Name: v.Get("name"), NID: v.Get("nid"), Arch: v.Get("arch")}
	if s := v.Get("mac"); s != "" {
		if q.MAC, err = fact.ParseMAC(s); err != nil {
			return File{}, err
		}
		q.Addr = m.leases[q.MAC]
	}
	retry, _ := strconv.Atoi(v.Get("retry"))
	text := m.Late(m.Snapshot.Script(q, retry).Text)
	return File{Size: int64(len(text)), Text: text}, nil
}
