package dhcp

import (
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hostler/render"
	"hostler/render/fact"
)

// noticed waits for one notice, and gives it without times.
func (s *served) noticed(t *testing.T, kind render.NoticeKind, subject string) string {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) { // notices tell nobody that they came
		for _, n := range s.State().Notices {
			if n.Kind == kind && n.Subject == subject {
				return fmt.Sprintf("%s %s, %d times: %s", n.MAC, n.Node, n.Count, n.Detail)
			}
		}
	}
	t.Fatalf("no notice of %s %s: %+v", kind, subject, s.State().Notices)
	return ""
}

// TestNotices shows what is wrong around the server: a full pool, a relay agent that nobody declared, a server that nobody knows,
// and an address that two machines use.
func TestNotices(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, nil, seg.server)
	c := seg.raw(t)
	for i := range 3 {
		a := netip.AddrFrom4([4]byte{10, 77, 0, byte(100 + i)})
		_, _ = s.leases.Offer(fact.Claim{MAC: fact.MAC{2, 0, 0, 0, 0, byte(i)}, Subnet: "lab", Pool: "boot", Ranges: []fact.Range{{First: a, Last: a}}})
	}
	us := opt(54, as4("10.77.0.1")...)
	for i, x := range []struct {
		p             wirePacket
		kind          render.NoticeKind
		subject, want string
	}{
		{wirePacket{mac: n2, options: message(fact.Discover)}, render.PoolExhausted, "pool boot of subnet lab",
			n2.String() + " n2, 1 times: pool boot: exhausted: no address is free: pool boot of subnet lab"},
		{wirePacket{mac: n2, giaddr: "192.0.2.7", options: message(fact.Discover, opt(82, 5, 4, 10, 77, 0, 0))}, render.UnknownRelay, "192.0.2.7",
			n2.String() + " , 1 times: no subnet: nothing is declared for relay 192.0.2.7"},
		{wirePacket{mac: n1, options: message(fact.Request, opt(50, 10, 77, 0, 11), opt(54, 10, 77, 0, 66))}, render.ForeignServer, "10.77.0.66",
			n1.String() + " n1, 1 times: request: selects server 10.77.0.66"},
		{wirePacket{mac: n1, options: message(fact.Request, opt(50, 10, 77, 0, 11), us)}, "", "", ""},
		{wirePacket{mac: n1, options: message(fact.Decline, opt(50, 10, 77, 0, 11), us)}, render.AddressConflict, "10.77.0.11",
			n1.String() + " n1, 1 times: 10.77.0.11 is used by another machine too; it is declared, so it stays in use"},
	} {
		x.p.xid = uint32(i + 1)
		if x.kind == "" {
			c.ask(x.p)
			continue
		}
		c.send(x.p.bytes())
		if got := s.noticed(t, x.kind, x.subject); got != x.want {
			t.Errorf("got  %s\nwant %s", got, x.want)
		}
		s.waitLog(t, "level=WARN msg=\"dhcp: "+string(x.kind)+"\" subject=")
	}
}

// TestForeignServer hears dnsmasq answer one of our machines, and says so; but not where another server is expected, and not about
// machines that we would not answer.
func TestForeignServer(t *testing.T) {
	for _, x := range []struct {
		name   string
		mac    fact.MAC
		alone  bool
		notice bool
	}{
		{"a declared machine", n1, true, true},
		{"a machine that is met with silence here", stranger, true, false},
		{"where another server is expected", n1, false, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			seg := newSegment(t, "10.77.0.1/24")
			s := serve(t, func(c *Config) {
				f := testFleet()
				f.Subnets[0].Authoritative = x.alone
				c.Current = current(t, f)
			}, seg.server)
			seg.ip("link", "set", seg.client, "address", "02:00:00:00:00:01")
			for _, name := range []string{"m0", "m1"} { // a machine, and dnsmasq beside it
				seg.ip("link", "add", name, "link", seg.client, "type", "macvlan", "mode", "bridge")
			}
			seg.ip("link", "set", "m0", "address", x.mac.String(), "up")
			seg.ip("addr", "add", "10.77.0.66/24", "dev", "m1")
			seg.ip("link", "set", "m1", "up")
			cmd := seg.command(t, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=m1", "--bind-interfaces", "--user=root",
				"--dhcp-range=10.77.0.150,10.77.0.160", "--dhcp-broadcast", "--dhcp-authoritative", "--no-ping", "--dhcp-leasefile="+filepath.Join(t.TempDir(), "leases"), "--pid-file", "--log-facility=-")
			startDnsmasq(t, cmd)
			hook := script(t, "hook", "#!/bin/sh\nexit 0\n")
			// Its REQUEST selects one of the two servers: the other one gets to know it, too.
			if out, err := seg.command(t, "udhcpc", "-f", "-q", "-n", "-B", "-t", "5", "-T", "1", "-i", "m0", "-s", hook).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if x.notice {
				got := s.noticed(t, render.ForeignServer, "10.77.0.66")
				if !strings.HasPrefix(got, x.mac.String()+" n1, ") {
					t.Error(got)
				}
				return
			}
			if got := s.State().Notices; len(got) != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestHeard looks at frames on the client's port, made up and broken ones among them.
func TestHeard(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, nil, seg.server)
	c := seg.raw(t)
	everybody := netip.MustParseAddrPort("255.255.255.255:68")
	reply := wirePacket{op: 2, xid: 9, mac: n1, options: message(fact.Offer, opt(54, 10, 77, 0, 66), opt(51, 0, 0, 1, 0))}.bytes()
	copy(reply[16:], as4("10.77.0.150"))
	for _, cut := range []int{0, 10, 239, len(reply) - 1} {
		c.sendFrom(netip.MustParseAddrPort("10.77.0.66:67"), everybody, reply[:cut])
	}
	c.sendFrom(netip.MustParseAddrPort("10.77.0.66:67"), everybody, reply)
	if got, want := s.noticed(t, render.ForeignServer, "10.77.0.66"), fmt.Sprintf("%s n1, 1 times: 10.77.0.66 on %s answered with Offer of 10.77.0.150, from %s", n1, seg.server, c.hw); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want := "DHCP Offer none os 52:54:00:77:00:01 refused | n1 | main@sha1:0123456789ab | another server: 10.77.0.66 on " + seg.server + " answered with Offer of 10.77.0.150, from " + c.hw.String() + "\n"
	if got := describe(s.waitEvent(t, 9, "DHCP Offer")); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

// TestNoticesFlood has somebody make up relay agents: a few are kept, a full pool stays among the notices, and the log can be read.
func TestNoticesFlood(t *testing.T) {
	rec := newRecorder()
	now := time.Unix(1_800_000_000, 0)
	r := newReport(&Config{Event: rec.event, Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(rec, nil))})
	x := &exchange{facts: fact.Facts{MAC: n1}, node: "n1", detail: "because"}
	pool := render.Notice{Kind: render.PoolExhausted, Subject: "pool boot of subnet lab"}
	if !r.notice(x, pool) || r.notice(x, pool) {
		t.Error("a notice is news once")
	}
	for i := range 10_000 {
		now = now.Add(time.Millisecond)
		r.notice(x, render.Notice{Kind: render.UnknownRelay, Subject: fmt.Sprint(i)})
	}
	all := r.notices.list()
	if len(all) != mostNotices+1 || all[0].Subject != "9999" || all[mostNotices-1].Subject != "9984" {
		t.Errorf("%d notices: %+v", len(all), all)
	}
	want := Notice{Kind: render.PoolExhausted, Subject: pool.Subject, Detail: "because", MAC: n1, Node: "n1",
		First: time.Unix(1_800_000_000, 0), Last: time.Unix(1_800_000_000, 0), Count: 2}
	if d := cmp.Diff(want, all[mostNotices], cmpopts.IgnoreUnexported(Notice{})); d != "" {
		t.Error(d)
	}
	if got := strings.Count(rec.log.String(), "\n"); got != limitUnknown {
		t.Errorf("%d lines", got)
	}
	now = now.Add(time.Minute)
	if !r.notice(x, pool) {
		t.Error("a notice is news again after a minute")
	}
	now = now.Add(-time.Hour)
	if !r.notice(x, pool) {
		t.Error("the clock was set back")
	}
}
