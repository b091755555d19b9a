package dhcp

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredhcp/coredhcp/config"
	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render/fact"
)

func TestLimiter(t *testing.T) {
	l := limiter{last: make(map[limitKey]time.Time)}
	start := time.Unix(1000, 0)
	at := func(k limitKey, d time.Duration, want bool) {
		t.Helper()
		if got := l.allow(k, start.Add(d)); got != want {
			t.Errorf("%v after %s: %v", k, d, got)
		}
	}
	a, b := limitKey{mac: n1, what: "no reply"}, limitKey{mac: n2, what: "no reply"}
	at(a, 0, true)
	at(a, time.Second, false)
	at(limitKey{mac: n1, what: "other"}, time.Second, true) // another thing about the same machine
	at(b, time.Second, true)                                // the same thing about another one
	at(a, 59*time.Second, false)
	at(a, time.Minute, true)
	for i := range 3 * limitSize {
		l.allow(limitKey{mac: fact.MAC{2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)}, what: "no reply"}, start)
	}
	if len(l.last) > limitSize {
		t.Errorf("%d machines are remembered", len(l.last))
	}
}

// TestUnknownMachinesInLog has somebody make addresses up: the log stays readable, and declared machines are in it.
func TestUnknownMachinesInLog(t *testing.T) {
	rec := newRecorder()
	now := time.Unix(1_800_000_000, 0)
	r := newReport(&Config{Event: rec.event, Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(rec, nil))})
	refuse := func(mac fact.MAC, node fact.NodeName) {
		x := &exchange{facts: fact.Facts{Message: fact.Discover, MAC: mac, Arch: fact.NoArch}, node: node, start: now}
		x.refuse("because")
		r.request(x)
	}
	flood := func(want int) {
		t.Helper()
		rec.log.Reset()
		for i := range 3 * limitSize {
			refuse(fact.MAC{2, byte(now.Unix()), 0, byte(i >> 16), byte(i >> 8), byte(i)}, "")
		}
		if got := strings.Count(rec.log.String(), "\n"); got != want {
			t.Errorf("%d lines, not %d", got, want)
		}
	}
	flood(limitUnknown + 1)
	if last := "msg=\"dhcp: too many unknown machines, leaving out further lines about them\" for=1m0s\n"; !strings.HasSuffix(rec.log.String(), last) {
		t.Error("the last line does not say that there would be more")
	}
	refuse(n1, "n1")
	if !strings.Contains(rec.log.String(), "node=n1") {
		t.Error("a declared machine is left out")
	}
	now = now.Add(30 * time.Second)
	flood(0)
	now = now.Add(30 * time.Second)
	flood(limitUnknown + 1)
	now = now.Add(-24 * time.Hour) // the clock is set right
	flood(limitUnknown + 1)
}

// TestFullOrSlowInLog holds that neither requests that leave no room in the reply nor a disk that fails now and then fill the log.
func TestFullOrSlowInLog(t *testing.T) {
	rec := newRecorder()
	now := time.Unix(1_800_000_000, 0)
	r := newReport(&Config{Event: rec.event, Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(rec, nil))})
	for i := range 1000 {
		x := &exchange{facts: fact.Facts{Message: fact.Discover, MAC: n1, Arch: fact.NoArch}, node: "n1", start: now}
		r.shortened(x, []uint8{6, 15})
		r.leaseError(fmt.Sprintf("the disk is %d leases behind", i))
		r.leaseError("")
	}
	now = now.Add(time.Minute)
	r.leaseError("disk full")
	const want = `level=WARN msg="dhcp: reply too large, leaving options out" mac=52:54:00:77:00:01 what="DHCP Discover" client=os node=n1 err="options [6 15] did not fit"
level=ERROR msg="dhcp: a lease was not written, so its machine gets no ACK" err="the disk is 0 leases behind"
level=INFO msg="dhcp: leases are written again"
level=ERROR msg="dhcp: a lease was not written, so its machine gets no ACK" err="disk full"
`
	got := regexp.MustCompile(`time=\S+ `).ReplaceAllString(rec.log.String(), "")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := r.lastLeaseError(); got != "disk full" {
		t.Error(got)
	}
}

// TestOverflow sends more requests than there is room for, to a server that is busy: the rest is dropped and counted,
// and what was taken is answered.
func TestOverflow(t *testing.T) {
	busy, entered := make(chan struct{}), make(chan struct{}, 1)
	register(t, plugin("busy", func(_, resp *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, bool) {
		select {
		case entered <- struct{}{}:
		default:
		}
		<-busy
		return resp, false
	}))
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, func(c *Config) { c.Before = []config.PluginConfig{{Name: "busy"}} }, seg.server)
	c := seg.raw(t)
	c.send(wirePacket{xid: 1, mac: n1, options: message(fact.Discover)}.bytes())
	<-entered
	for range requestQueue + 10 {
		c.send(wirePacket{xid: 2, mac: n1, options: message(fact.Discover)}.bytes())
	}
	s.waitLog(t, "too many requests at once")
	for deadline := time.Now().Add(patience); s.State().Received < requestQueue+11 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // counters tell nobody that they changed
	}
	close(busy)
	s.wait(t, "the answers", func() bool { return s.State().Replied == requestQueue+1 })
	if st := s.State(); st.Received != requestQueue+11 || st.Dropped != 10 {
		t.Errorf("%+v", st)
	}
}

// TestDeclaredFirst answers a declared machine before the strangers that came earlier and still wait.
func TestDeclaredFirst(t *testing.T) {
	busy, entered := make(chan struct{}), make(chan struct{}, 10)
	register(t, plugin("busy", func(_, resp *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, bool) {
		entered <- struct{}{}
		<-busy
		return resp, false
	}))
	seg := newSegment(t, "10.77.0.1/24")
	s := &served{recorder: newRecorder(), leases: newLeases(t)}
	cfg := s.config(t, seg.server)
	cfg.Before = []config.PluginConfig{{Name: "busy"}}
	var err error
	if s.Server, err = Listen(cfg); err != nil {
		t.Fatal(err)
	}
	s.workers = s.workers[:1]
	serveOn(t, s)
	c := seg.raw(t)
	send := func(xid uint32, mac fact.MAC) {
		c.send(wirePacket{xid: xid, mac: mac, options: message(fact.Discover)}.bytes())
	}
	send(1, fact.MAC{2, 0, 0, 0, 0, 1})
	<-entered
	for xid := uint32(2); xid < 6; xid++ {
		send(xid, fact.MAC{2, 0, 0, 0, 0, byte(xid)})
	}
	send(6, n1)
	waits := func() bool {
		w := s.workers[0]
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.declared.n > 0
	}
	for deadline := time.Now().Add(patience); !waits() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // queues tell nobody that they changed
	}
	close(busy)
	var order []uint32
	s.wait(t, "the last stranger", func() bool {
		order = nil
		for _, e := range s.events {
			if e.What == "DHCP Discover" {
				order = append(order, e.Xid)
			}
		}
		return len(order) == 6
	})
	if want := []uint32{1, 6, 2, 3, 4, 5}; !slices.Equal(order, want) {
		t.Errorf("answered in the order %v, want %v", order, want)
	}
}

// TestLogs writes one line for a decision, with the names that all of hostler uses, and none of coredhcp's own.
func TestLogs(t *testing.T) {
	rec := newRecorder()
	r := newReport(&Config{Event: rec.event, Now: time.Now, Log: slog.New(slog.NewTextHandler(rec, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))})
	x := &exchange{facts: fact.Facts{Message: fact.Request, MAC: n1, Arch: fact.NoArch}, node: "n1", revision: testRevision, result: fact.OK}
	resp := &dhcpv4.DHCPv4{YourIPAddr: ip(addr("10.77.0.11")), Options: dhcpv4.Options{optMessage: {byte(fact.Ack)}}}
	for range 2 {
		r.request(x)
		r.reply(x, resp, 300, nil)
	}
	stranger := *x
	stranger.node = ""
	r.reply(&stranger, resp, 300, nil)
	x.refuse("unknown machine")
	r.request(x)
	r.request(x)
	r.leaseError("disk full")
	r.leaseError("disk full")
	r.leaseError("")
	ack := "level=INFO msg=\"dhcp: DHCP ACK\" mac=52:54:00:77:00:01 what=\"DHCP ACK\" client=os node=n1 revision=main@sha1:0123456789ab address=10.77.0.11\n"
	want := ack + `level=INFO msg="dhcp: no reply" mac=52:54:00:77:00:01 what="DHCP Request" client=os node=n1 revision=main@sha1:0123456789ab err="unknown machine"
level=ERROR msg="dhcp: a lease was not written, so its machine gets no ACK" err="disk full"
level=INFO msg="dhcp: leases are written again"
`
	if got := rec.log.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestStopWithSlowDisk sends the ACK of a lease that is written while the server stops.
func TestStopWithSlowDisk(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := &served{recorder: newRecorder(), leases: newLeases(t)}
	slow := make(chan func(error), 1)
	s.leases.disk = func(write func(error)) { slow <- write }
	var err error
	if s.Server, err = Listen(s.config(t, seg.server)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	c := seg.raw(t)
	c.send(wirePacket{xid: 1, mac: n1, options: message(fact.Request, opt(50, as4("10.77.0.11")...))}.bytes())
	write := <-slow
	cancel()
	s.waitLog(t, "dhcp: stopping")
	write(nil)
	if p := c.receive(1, 68); p.MessageType() != dhcpv4.MessageTypeAck {
		t.Error(p.Summary())
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestStopWithHangingDisk ends although a lease is never written.
func TestStopWithHangingDisk(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := &served{recorder: newRecorder(), leases: newLeases(t)}
	hangs := make(chan struct{}, 1)
	s.leases.disk = func(func(error)) { hangs <- struct{}{} }
	var err error
	if s.Server, err = Listen(s.config(t, seg.server)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx) }()
	seg.raw(t).send(wirePacket{xid: 1, mac: n1, options: message(fact.Request, opt(50, as4("10.77.0.11")...))}.bytes())
	<-hangs
	cancel()
	if err := <-done; err != nil || !strings.Contains(s.log.String(), "stopped although leases are still being written") {
		t.Errorf("%v: %s", err, s.log.String())
	}
}
