package dhcp

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/rogpeppe/go-internal/txtar"

	"hostler/render"
	"hostler/render/fact"
)

var (
	testMAC = fact.MAC{0x52, 0x54, 0, 0x77, 0, 1}
	cmpAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// wirePacket builds a request byte by byte, as a client would, not with the library that reads it.
type wirePacket struct {
	op, htype, hlen byte
	xid             uint32
	flags           uint16
	ciaddr, giaddr  string
	mac             fact.MAC
	options         []byte // without the end option
}

func (p wirePacket) bytes() []byte {
	b := make([]byte, 240, 400)
	b[0], b[1], b[2] = 1, 1, 6
	if p.op != 0 {
		b[0] = p.op
	}
	if p.htype != 0 {
		b[1], b[2] = p.htype, p.hlen
	}
	b[4], b[5], b[6], b[7] = byte(p.xid>>24), byte(p.xid>>16), byte(p.xid>>8), byte(p.xid)
	b[10], b[11] = byte(p.flags>>8), byte(p.flags)
	for at, s := range map[int]string{12: p.ciaddr, 24: p.giaddr} {
		if s != "" {
			copy(b[at:], addr(s).AsSlice())
		}
	}
	if p.mac.IsZero() {
		p.mac = testMAC
	}
	copy(b[28:], p.mac[:])
	copy(b[236:], []byte{99, 130, 83, 99})
	return append(append(b, p.options...), 255)
}

func opts(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func opt(code byte, data ...byte) []byte { return append([]byte{code, byte(len(data))}, data...) }

func text(code byte, s string) []byte { return opt(code, []byte(s)...) }

func TestFacts(t *testing.T) {
	base := func(change func(*fact.Facts)) fact.Facts {
		f := fact.Facts{Message: fact.Discover, MAC: testMAC, Arch: fact.NoArch}
		change(&f)
		return f
	}
	discover := opt(53, 1)
	for _, c := range []struct {
		name string
		p    wirePacket
		want fact.Facts
	}{
		{"the least there is", wirePacket{options: discover}, base(func(*fact.Facts) {})},
		{"BOOTP has no message type", wirePacket{options: text(12, "old")}, base(func(f *fact.Facts) { f.Message, f.Hostname = fact.BOOTP, "old" })},
		{"a BIOS ROM", wirePacket{xid: 0x1020304, flags: 0x8000, options: opts(discover, opt(55, 1, 3, 67), opt(57, 5, 0xc0),
			opt(97, append([]byte{0}, bytes.Repeat([]byte{7}, 16)...)...), opt(93, 0, 0), opt(94, 1, 2, 1), text(60, "PXEClient:Arch:00000:UNDI:002001"))},
			base(func(f *fact.Facts) {
				f.Xid, f.Broadcast, f.Arch, f.Params, f.MaxSize = 0x1020304, true, 0, "\x01\x03\x43", 1472
				f.UUID, f.VendorClass = "\x00"+string(bytes.Repeat([]byte{7}, 16)), "PXEClient:Arch:00000:UNDI:002001"
			})},
		{"a list of architectures, in order of preference (RFC 4578 section 2.1)", wirePacket{options: opts(discover, opt(93, 0, 11, 0, 19, 0, 41, 7))},
			base(func(f *fact.Facts) { f.Arch, f.MoreArch = 11, []fact.Arch{19, 41} })},
		{"a list without end", wirePacket{options: opts(discover, opt(93, bytes.Repeat([]byte{0, 6}, 100)...))},
			base(func(f *fact.Facts) { f.Arch, f.MoreArch = 6, []fact.Arch{6, 6, 6, 6, 6, 6, 6, 6} })},
		{"an architecture of one byte is none", wirePacket{options: opts(discover, opt(93, 7))}, base(func(*fact.Facts) {})},
		{"user class as RFC 3004 has it", wirePacket{options: opts(discover, opt(77, append([]byte{4}, "iPXE"...)...))},
			base(func(f *fact.Facts) { f.UserClass, f.IPXE = "iPXE", true })},
		{"user class as iPXE has it", wirePacket{options: opts(discover, text(77, "iPXE"))},
			base(func(f *fact.Facts) { f.UserClass, f.IPXE = "iPXE", true })},
		{"the embedded loaders call themselves Tinkerbell", wirePacket{options: opts(discover, text(77, "Tinkerbell"))},
			base(func(f *fact.Facts) { f.UserClass, f.IPXE = "Tinkerbell", true })},
		{"iPXE as the second class of a list (RFC 3004)", wirePacket{options: opts(discover, opt(77, append([]byte{2, 'a', 'b', 4}, "iPXE"...)...))},
			base(func(f *fact.Facts) { f.UserClass, f.IPXE = "ab", true })},
		{"gPXE's bare text", wirePacket{options: opts(discover, text(77, "gPXE"))},
			base(func(f *fact.Facts) { f.UserClass, f.IPXE = "gPXE", true })},
		{"two classes: the first counts", wirePacket{options: opts(discover, opt(77, append(append([]byte{2}, "ab"...), 1, 'c')...))},
			base(func(f *fact.Facts) { f.UserClass = "ab" })},
		{"a class list that ends too early is text", wirePacket{options: opts(discover, opt(77, 2, 'a', 'b', 9, 'c'))},
			base(func(f *fact.Facts) { f.UserClass = "\x02ab\x09c" })},
		{"a class of length zero is text", wirePacket{options: opts(discover, opt(77, 0, 'a'))},
			base(func(f *fact.Facts) { f.UserClass = "\x00a" })},
		{"option 175 alone is iPXE too", wirePacket{options: opts(discover, opt(175, 177, 5, 1, 0x80, 0x86, 0x10, 0x0e))},
			base(func(f *fact.Facts) { f.IPXE = true })},
		{"a renewal through a relay that selects the link", wirePacket{ciaddr: "10.9.0.7", giaddr: "10.1.0.1",
			options: opts(opt(53, 3), opt(82, 1, 2, 'e', '1', 5, 4, 10, 9, 0, 0))},
			base(func(f *fact.Facts) {
				f.Message, f.CIAddr, f.GIAddr, f.Link = fact.Request, addr("10.9.0.7"), addr("10.1.0.1"), addr("10.9.0.0")
			})},
		{"everything that a relay agent may say, the first of each", wirePacket{giaddr: "10.1.0.1",
			options: opts(discover, opt(82, 11, 4, 10, 1, 0, 9, 5, 4, 10, 9, 0, 0, 19, 0, 5, 4, 10, 8, 0, 0, 11, 4, 10, 1, 0, 8))},
			base(func(f *fact.Facts) {
				f.GIAddr, f.Link, f.Override, f.RelayPort = addr("10.1.0.1"), addr("10.9.0.0"), addr("10.1.0.9"), true
			})},
		{"no server override is 0.0.0.0 (RFC 5107 section 4)", wirePacket{options: opts(discover, opt(82, 11, 4, 0, 0, 0, 0))}, base(func(*fact.Facts) {})},
		{"a client does not choose its subnet (RFC 3011)", wirePacket{options: opts(discover, opt(118, 10, 9, 0, 0))}, base(func(*fact.Facts) {})},
		{"relay information cut short says nothing", wirePacket{options: opts(discover, opt(82, 5, 4, 10, 9))}, base(func(*fact.Facts) {})},
		{"selecting", wirePacket{options: opts(opt(53, 3), opt(50, 10, 0, 0, 9), opt(54, 10, 0, 0, 1), opt(61, 1, 2, 3), text(12, "n1\x00"))},
			base(func(f *fact.Facts) {
				f.Message, f.Requested, f.ServerID, f.ClientID, f.Hostname = fact.Request, addr("10.0.0.9"), addr("10.0.0.1"), "\x01\x02\x03", "n1"
			})},
		{"0.0.0.0 is no address", wirePacket{options: opts(discover, opt(50, 0, 0, 0, 0), opt(54, 1, 2))}, base(func(*fact.Facts) {})},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := dhcpv4.FromBytes(c.p.bytes())
			if err != nil {
				t.Fatal(err)
			}
			got, err := factsOf(p, fact.Ingress{})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got, cmpAddr); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestFactsRefused(t *testing.T) {
	for _, c := range []struct {
		p    wirePacket
		want string
	}{
		{wirePacket{htype: 32, hlen: 0, options: opt(53, 1)}, "hardware type 32 with 0 address bytes: only Ethernet is served"},
		{wirePacket{htype: 1, hlen: 16, options: opt(53, 1)}, "hardware type 1 with 16 address bytes: only Ethernet is served"},
		{wirePacket{mac: fact.MAC{1, 0, 0x5e, 0, 0, 1}, options: opt(53, 1)}, "01:00:5e:00:00:01 is not the address of a machine"},
		{wirePacket{options: opt(53, 1, 2)}, "malformed message type (option 53): 01 02"},
		{wirePacket{options: opt(53)}, "malformed message type (option 53): "},
		{wirePacket{options: opt(53, 0)}, "malformed message type (option 53): 00"},
	} {
		p, err := dhcpv4.FromBytes(c.p.bytes())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := factsOf(p, fact.Ingress{}); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// TestDecode reads what old clients send, and refuses what is no request.
func TestDecode(t *testing.T) {
	whole := wirePacket{xid: 7, options: opts(opt(53, 1), text(12, "n1"))}.bytes()
	bootp := append(wirePacket{xid: 7}.bytes()[:236], make([]byte, 64)...) // as RFC 951 has it: a vendor field of zeros
	vendor := append(wirePacket{xid: 7}.bytes()[:236], "CMU and much more that is no option"...)
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"a DISCOVER", whole, "Discover n1"},
		{"without the end option", whole[:len(whole)-1], "Discover n1"},
		{"padded", append(whole, make([]byte, 60)...), "Discover n1"},
		{"an option cut short", whole[:len(whole)-2], "unexpected EOF"},
		{"BOOTP", bootp, "BOOTP "},
		{"BOOTP with a vendor field of its own", vendor, "BOOTP "},
		{"BOOTP without a vendor field", bootp[:236], "BOOTP "},
		{"too short", bootp[:235], "236 bytes are too few for a DHCP packet"},
		{"a reply", wirePacket{op: 2, options: opt(53, 2)}.bytes(), "operation 2 is not a request"},
	} {
		buf := bytes.Repeat(magicCookie, 512) // it was used before
		req := new(dhcpv4.DHCPv4)
		err := decode(req, buf, copy(buf, c.b))
		got := fmt.Sprint(err)
		if err == nil {
			f, err := factsOf(req, fact.Ingress{})
			if got = f.Message.String() + " " + f.Hostname; err != nil || f.Xid != 7 {
				t.Errorf("%s: %v %+v", c.name, err, f)
			}
		}
		if !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// FuzzFacts reads anything, and answers whatever can be read. The answer must be a packet that a client can read, of at
// least 300 and at most the allowed number of bytes.
func FuzzFacts(f *testing.F) {
	f.Add(wirePacket{options: opts(opt(53, 1), opt(55, 1, 3, 6, 67), opt(93, 0, 7), text(77, "iPXE"))}.bytes())
	f.Add(wirePacket{giaddr: "10.0.0.1", options: opts(opt(53, 3), opt(82, 5, 4, 10, 9, 0, 0), opt(97, 0, 1), opt(57, 2, 64))}.bytes())
	f.Add([]byte("not DHCP at all"))
	f.Add(overloaded(3, opt(93, 0, 7), text(77, "iPXE")))
	a, err := txtar.ParseFile(captures)
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range a.Files {
		if strings.HasSuffix(file.Name, ".hex") {
			f.Add(unhex(f, file.Data))
		}
	}
	for _, p := range firmwarePackets(f) {
		f.Add(p.data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		macIn(b)
		own := new(dhcpv4.DHCPv4)
		err := fromBytes(own, b)
		if err != nil {
			own = nil
		}
		if theirs, theirErr := dhcpv4.FromBytes(b); (err == nil) != (theirErr == nil) {
			t.Errorf("decoding: %v, the library: %v", err, theirErr)
		} else if d := cmp.Diff(theirs, own, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("decoded as by the library (-) and by us (+):\n%s", d)
		}
		p, err := parsed(b)
		if err != nil {
			return
		}
		facts, err := factsOf(p, fact.Ingress{Owned: []netip.Addr{addr("10.0.0.1")}})
		if err != nil {
			return
		}
		a := render.Answer{Message: fact.Offer, YIAddr: addr("10.0.0.9"), SIAddr: addr("10.0.0.1"), ServerID: addr("10.0.0.1"),
			Options: []render.Option{{Code: 1, Data: []byte{255, 255, 255, 0}}, {Code: 17, Data: bytes.Repeat([]byte{1}, 300)}}}
		resp := newReply(new(dhcpv4.DHCPv4), p)
		fill(resp, p, &facts, &a, "undionly.kpxe")
		size := limit(&facts, 1500)
		out, dropped := new(paper).encode(resp, &facts, size)
		for _, code := range dropped {
			delete(resp.Options, code)
		}
		if len(out) < 300 || len(out) > 1472+len(b) {
			t.Errorf("%d bytes", len(out))
		}
		back, err := parsed(out)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(resp, back, cmpopts.EquateEmpty()); d != "" {
			t.Error(d)
		}
		routeOf(&exchange{facts: facts}, resp, 68)
	})
}
