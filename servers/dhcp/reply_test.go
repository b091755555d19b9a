package dhcp

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render"
	"hostler/render/fact"
)

// decoded reads a request as the server does.
func decoded(t testing.TB, p wirePacket) (*dhcpv4.DHCPv4, fact.Facts) {
	t.Helper()
	req, err := dhcpv4.FromBytes(p.bytes())
	if err != nil {
		t.Fatal(err)
	}
	f, err := factsOf(req, fact.Ingress{Owned: []netip.Addr{addr("10.0.0.1"), addr("10.1.0.1")}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}})
	if err != nil {
		t.Fatal(err)
	}
	return req, f
}

func TestRoute(t *testing.T) {
	discover, request, inform := message(fact.Discover), message(fact.Request), message(fact.Inform)
	for _, c := range []struct {
		name   string
		p      wirePacket
		reply  fact.Message
		yiaddr string
		want   string
	}{
		{"no address yet: to the hardware", wirePacket{options: discover}, fact.Offer, "10.0.0.9", "frame 10.0.0.9:68"},
		{"cannot take unicast", wirePacket{flags: 0x8000, options: discover}, fact.Offer, "10.0.0.9", "10.0.0.9 255.255.255.255:68"},
		{"renewing", wirePacket{ciaddr: "10.0.0.9", options: request}, fact.Ack, "10.0.0.9", "10.0.0.9:68"},
		{"renewing wins over the flag", wirePacket{ciaddr: "10.0.0.9", flags: 0x8000, options: request}, fact.Ack, "10.0.0.9", "10.0.0.9:68"},
		{"a DISCOVER that names somebody else's address", wirePacket{ciaddr: "192.0.2.7", options: discover}, fact.Offer, "10.0.0.9", "frame 10.0.0.9:68"},
		{"the same beside the site's server", wirePacket{ciaddr: "192.0.2.7", options: discover}, fact.Offer, "", "255.255.255.255:68"},
		{"a NAK reaches a client whose address is wrong", wirePacket{ciaddr: "10.0.0.9", options: request}, fact.Nak, "", "255.255.255.255:68"},
		{"relayed", wirePacket{giaddr: "10.9.0.1", options: discover}, fact.Offer, "10.0.0.9", "10.9.0.1:67"},
		{"relayed NAK", wirePacket{giaddr: "10.9.0.1", options: request}, fact.Nak, "", "10.9.0.1:67"},
		{"relayed renewal", wirePacket{giaddr: "10.9.0.1", ciaddr: "10.0.0.9", options: request}, fact.Ack, "10.0.0.9", "10.9.0.1:67"},
		{"inform", wirePacket{ciaddr: "10.0.0.9", options: inform}, fact.Ack, "", "10.0.0.9:68"},
		{"inform without ciaddr: to where it came from", wirePacket{options: inform}, fact.Ack, "", "10.0.0.77:68"},
		{"relayed inform", wirePacket{giaddr: "10.9.0.1", ciaddr: "10.0.0.9", options: inform}, fact.Ack, "", "10.0.0.9:68"},
		{"relayed inform without ciaddr", wirePacket{giaddr: "10.9.0.1", options: inform}, fact.Ack, "", "10.9.0.1:67"},
		{"a relay agent on a port of its own", wirePacket{giaddr: "10.9.0.1", options: opts(discover, opt(82, 1, 1, 'x', 19, 0))}, fact.Offer, "10.0.0.9", "10.9.0.1:5067"},
		{"no address in the reply", wirePacket{options: discover}, fact.Offer, "", "255.255.255.255:68"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, f := decoded(t, c.p)
			resp := newReply(new(dhcpv4.DHCPv4), req)
			resp.Options[optMessage] = []byte{byte(c.reply)}
			if c.yiaddr != "" {
				resp.YourIPAddr = ip(addr(c.yiaddr))
			}
			x := &exchange{facts: f, peer: netip.MustParseAddrPort("10.0.0.77:5067")}
			x.addressed(addr("10.0.0.1"))
			r := routeOf(x, resp, 68)
			got := r.to.String()
			if r.frame {
				got = "frame " + got
			}
			if want := c.want[strings.LastIndexByte(strings.TrimPrefix(c.want, "frame "), ' ')+1:]; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestSource(t *testing.T) {
	req, f := decoded(t, wirePacket{options: message(fact.Discover)})
	resp := newReply(new(dhcpv4.DHCPv4), req)
	for _, c := range []struct{ id, server, want string }{
		{"10.1.0.1", "10.0.0.1", "10.1.0.1"},
		{"10.9.9.9", "10.1.0.1", "10.1.0.1"}, // a relay agent wants to be called the server
		{"", "10.1.0.1", "10.1.0.1"},         // BOOTP
		{"10.9.9.9", "", "10.0.0.1"},
		{"", "", "10.0.0.1"},
	} {
		delete(resp.Options, optServerID)
		if c.id != "" {
			resp.Options[optServerID] = as4(c.id)
		}
		x := &exchange{facts: f}
		x.server, _ = netip.ParseAddr(c.server)
		if got := sourceOf(x, resp); got != addr(c.want) {
			t.Errorf("server %q: got %s, want %s", c.id, got, c.want)
		}
	}
	if got := sourceOf(new(exchange), resp); got.IsValid() {
		t.Errorf("an interface without an address: %s", got)
	}
}

func TestLimit(t *testing.T) {
	for _, c := range []struct{ asked, mtu, want int }{
		{0, 1500, 548},      // what everybody can take
		{64, 1500, 548},     // less than the minimum is no size
		{1472, 1500, 1444},  // a datagram of that size
		{65535, 1500, 1472}, // no fragments
		{9000, 9000, 8972},
		{1500, 0, 1472},
	} {
		if got := limit(&fact.Facts{Message: fact.Discover, MaxSize: c.asked}, c.mtu); got != c.want {
			t.Errorf("limit(%d, %d) = %d, want %d", c.asked, c.mtu, got, c.want)
		}
	}
}

func TestFill(t *testing.T) {
	long := "http://10.0.0.1/" + strings.Repeat("x", 120)
	for _, c := range []struct {
		name, file string
		params     []byte
		field      string
		option     string
	}{
		{"the field alone", "a.efi", []byte{1}, "a.efi", ""},
		{"and the option when asked for", "a.efi", []byte{1, 67}, "a.efi", "a.efi"},
		{"too long for the field", long, []byte{1}, "", long},
		{"none", "", []byte{1, 67}, "", ""},
	} {
		req, f := decoded(t, wirePacket{options: message(fact.Request, opt(55, c.params...))})
		resp := newReply(new(dhcpv4.DHCPv4), req)
		fill(resp, req, &f, &render.Answer{Message: fact.Ack, YIAddr: addr("10.0.0.9"), SIAddr: addr("10.0.0.1"), ServerID: addr("10.0.0.1")}, c.file)
		back, err := dhcpv4.FromBytes(resp.ToBytes())
		if err != nil || back.BootFileName != c.field || string(back.Options[optBootFile]) != c.option {
			t.Errorf("%s: %v %v", c.name, err, back.Summary())
		}
	}
}

// TestFillNak leaves nothing of what plugins put into a reply before it became a NAK (RFC 2131 table 3).
func TestFillNak(t *testing.T) {
	req, f := decoded(t, wirePacket{giaddr: "10.9.0.1", options: message(fact.Request, opt(61, 1, 2), opt(82, 1, 1, 'x'), opt(97, 0, 1))})
	resp := newReply(new(dhcpv4.DHCPv4), req)
	resp.Options[26] = []byte{5, 0xdc}
	fill(resp, req, &f, &render.Answer{Message: fact.Nak, Reason: "wrong address", ServerID: addr("10.0.0.1")}, "")
	want := dhcpv4.Options{53: {6}, 54: {10, 0, 0, 1}, 56: []byte("wrong address"), 61: {1, 2}, 82: {1, 1, 'x'}}
	if d := cmp.Diff(want, resp.Options); d != "" || !resp.IsBroadcast() {
		t.Error(d, resp.FlagsToString())
	}
}

// TestFrame checks the headers byte by byte, and both checksums, also of odd lengths.
func TestFrame(t *testing.T) {
	for _, payload := range [][]byte{{}, {0xff}, []byte("abc"), bytes.Repeat([]byte{0xff}, 1472)} {
		b := frame(net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2},
			netip.MustParseAddrPort("10.0.0.1:67"), netip.MustParseAddrPort("10.0.0.9:68"), payload)
		want := append([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0}, byte((28+len(payload))>>8), byte(28+len(payload)),
			0, 0, 0x40, 0, 64, 17, b[24], b[25], 10, 0, 0, 1, 10, 0, 0, 9, 0, 67, 0, 68, byte((8+len(payload))>>8), byte(8+len(payload)), b[40], b[41])
		if d := cmp.Diff(append(want, payload...), b); d != "" {
			t.Error(d)
		}
		if got := fold(sum(0, b[14:34])); got != 0xffff {
			t.Errorf("IP checksum: sum is %04x", got)
		}
		pseudo := sum(uint32(17+len(b)-34), b[26:34])
		if got := fold(sum(pseudo, b[34:])); got != 0xffff {
			t.Errorf("UDP checksum of %d bytes: sum is %04x", len(payload), got)
		}
	}
}
