package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"hostler/render/fact"
	"hostler/servers/late"
)

// BenchmarkPacket is what one request costs between its socket and its reply's: decode, select, take, answer, encode.
func BenchmarkPacket(b *testing.B) {
	for _, c := range []struct {
		name    string
		options []byte
	}{
		{"discover", message(fact.Discover, biosROM)},
		{"discover-ipxe", message(fact.Discover, ipxe)},
		{"renew", message(fact.Request, linux, opt(50, as4("10.77.0.11")...))},
	} {
		b.Run(c.name, func(b *testing.B) {
			cfg := Config{Current: current(b, testFleet()), Leases: newLeases(b), Base: late.Base{Port: 8080}, Log: slog.New(slog.DiscardHandler)}
			r := newResponder(cfg)
			in := fact.Ingress{Interface: "eth1", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.77.0.1/24")}, Owned: []netip.Addr{addr("10.77.0.1")}}
			packet := wirePacket{mac: n1, options: c.options}.bytes()
			b.ReportAllocs()
			d := new(datagram) // as all requests after the first ones
			for b.Loop() {
				x, req := &d.x, &d.req
				*x = exchange{start: time.Now(), result: fact.OK}
				err := parse(req, packet)
				if err != nil {
					b.Fatal(err)
				}
				if x.facts, err = factsOf(req, in); err != nil {
					b.Fatal(err)
				}
				resp := newReply(&d.resp, req)
				if !r.decide(x, req, resp) {
					b.Fatal(x.detail)
				}
				if p, _ := d.paper.encode(resp, &x.facts, limit(&x.facts, 1500)); len(p) < 300 {
					b.Fatal("short")
				}
			}
		})
	}
}

// stormWindow is how many machines of a storm are in the middle of their exchange at one time.
const stormWindow = 64

// BenchmarkStorm is a rack that is switched on: every machine is new, asks through a relay agent, and gets a lease that is on
// disk before its ACK. One operation is one exchange of four packets over a veth pair, with the load generator on the same
// processors. The limit to compare with is the same storm with leases that are not written.
func BenchmarkStorm(b *testing.B) {
	for _, c := range []struct {
		name    string
		durable bool
	}{{"durable", true}, {"memory", false}} {
		b.Run(c.name, func(b *testing.B) {
			seg := newSegment(b, "10.79.0.1/24")
			seg.ip("addr", "add", "10.79.0.2/24", "dev", seg.client)
			s := serve(b, func(cfg *Config) {
				cfg.Event, cfg.Log = func(fact.Event) {}, slog.New(slog.DiscardHandler)
				f := testFleet()
				f.Subnets[1].CIDR = netip.MustParsePrefix("10.128.0.0/9")
				f.Subnets[1].Pools[0].Ranges = []fact.Range{span("10.128.0.1", "10.255.255.0")} // for any number of machines
				cfg.Current = current(b, f)
				if !c.durable {
					cfg.Leases = forgetful{cfg.Leases}
				}
			}, seg.server)
			conn := seg.relay(b)
			b.ResetTimer()
			st := &storm{conn: conn, machines: b.N}
			st.run(b)
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "exchanges/s")
			b.ReportMetric(float64(st.again), "resent")
			if state := s.State(); state.Failed > 0 {
				b.Errorf("%+v", state)
			}
		})
	}
}

// forgetful leases are never written.
type forgetful struct{ Leases }

func (forgetful) Bind(_ fact.Lease, done func(error)) { done(nil) }

// relay opens the relay agent's socket on the client's end of the wire.
func (s *segment) relay(t testing.TB) *net.UDPConn {
	t.Helper()
	type result struct {
		conn *net.UDPConn
		err  error
	}
	ch := make(chan result)
	go func() {
		runtime.LockOSThread() // as in raw
		var r result
		defer func() { ch <- r }()
		fd, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", s.pid))
		if r.err = err; err != nil {
			return
		}
		defer fd.Close()
		if r.err = unix.Setns(int(fd.Fd()), unix.CLONE_NEWNET); r.err == nil {
			r.conn, r.err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 79, 0, 2), Port: 67})
		}
	}()
	r := <-ch
	if r.err != nil {
		t.Fatal(r.err)
	}
	_ = r.conn.SetReadBuffer(4 << 20)
	t.Cleanup(func() { r.conn.Close() })
	return r.conn
}

// storm plays machines behind one relay agent, a bounded number at a time. What is not answered is sent again.
type storm struct {
	conn     *net.UDPConn
	machines int
	again    int
}

func (st *storm) run(b *testing.B) {
	server := netip.MustParseAddrPort("10.79.0.1:67")
	send := func(i int, options []byte) {
		p := wirePacket{xid: uint32(i), giaddr: "10.79.0.2", mac: fact.MAC{2, 0, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}, options: options}
		if _, err := st.conn.WriteToUDPAddrPort(p.bytes(), server); err != nil && err != syscall.ENOBUFS {
			b.Error(err)
		}
	}
	discover := message(fact.Discover, biosROM)
	next, open := 0, map[uint32]bool{}
	start := func() {
		if next < st.machines {
			open[uint32(next)] = true
			send(next, discover)
			next++
		}
	}
	for range stormWindow {
		start()
	}
	buf := make([]byte, 2048)
	for deadline := time.Now().Add(time.Minute); len(open) > 0; {
		_ = st.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, _, err := st.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			for xid := range open {
				st.again++
				send(int(xid), discover)
			}
			if time.Now().After(deadline) {
				b.Fatalf("%d exchanges do not end", len(open))
			}
			continue
		}
		p, err := dhcpv4.FromBytes(buf[:n])
		if err != nil {
			b.Fatal(err)
		}
		xid := uint32(p.TransactionID[0])<<24 | uint32(p.TransactionID[1])<<16 | uint32(p.TransactionID[2])<<8 | uint32(p.TransactionID[3])
		switch {
		case !open[xid]: // an answer to what was sent again
		case p.MessageType() == dhcpv4.MessageTypeOffer:
			send(int(xid), selecting(p, biosROM))
		case p.MessageType() == dhcpv4.MessageTypeAck:
			delete(open, xid)
			start()
		default:
			b.Fatal(p.Summary())
		}
	}
}

const (
	floodRate   = 5000 // datagrams a second, each fifth of them malformed
	floodPeriod = 5 * time.Millisecond
)

// BenchmarkFlood has declared machines get their leases, one each 5 ms, while somebody sends DISCOVERs from addresses that he makes up, and
// datagrams that are none. The limit to compare with is the same flood to a port that nobody has: what it costs the network and
// the processors alone.
func BenchmarkFlood(b *testing.B) {
	for _, c := range []struct {
		name string
		port uint16 // 0: no flood
	}{{"none", 0}, {"closed-port", 6767}, {"dhcp", 67}} {
		b.Run(c.name, func(b *testing.B) {
			seg := newSegment(b, "10.79.0.1/24")
			seg.ip("addr", "add", "10.79.0.2/24", "dev", seg.client)
			f := testFleet()
			f.Subnets[0].Relays, f.Subnets[1].Relays = []netip.Addr{addr("10.79.0.2")}, nil // the subnet that is silent towards strangers
			serve(b, func(cfg *Config) {
				cfg.Event, cfg.Log, cfg.Current = func(fact.Event) {}, slog.New(slog.DiscardHandler), current(b, f)
			}, seg.server)
			conn := seg.relay(b)
			end := make(chan struct{})
			sent := make(chan int)
			if c.port != 0 {
				go func() { sent <- flood(conn, netip.AddrPortFrom(addr("10.79.0.1"), c.port), end) }()
			}
			b.ResetTimer()
			var took []time.Duration
			lost := 0
			for i := range b.N {
				next := time.Now().Add(floodPeriod)
				if d := boot(b, conn, uint32(i)); d > 0 {
					took = append(took, d)
				} else {
					lost++
				}
				time.Sleep(time.Until(next))
			}
			b.StopTimer()
			close(end)
			if c.port != 0 {
				b.ReportMetric(float64(<-sent)/b.Elapsed().Seconds(), "flood/s")
			}
			slices.Sort(took)
			if n := len(took); n > 0 {
				b.ReportMetric(float64(took[n/2].Microseconds()), "p50-us")
				b.ReportMetric(float64(took[min(n-1, n*99/100)].Microseconds()), "p99-us")
			}
			b.ReportMetric(float64(lost), "lost")
		})
	}
}

// flood sends until end is closed, at most as fast as it says, and tells how much it was.
func flood(conn *net.UDPConn, to netip.AddrPort, end <-chan struct{}) (n int) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-end:
			return n
		case <-tick.C:
		}
		for range floodRate / 100 {
			p := wirePacket{xid: rand.Uint32() | 1<<31, giaddr: "10.79.0.2", mac: fact.MAC{2, 1, byte(rand.Int()), byte(rand.Int()), byte(rand.Int()), byte(rand.Int())}, options: message(fact.Discover, biosROM)}.bytes()
			if n%5 == 0 {
				p = p[:200+rand.IntN(len(p)-200)]
			}
			_, _ = conn.WriteToUDPAddrPort(p, to)
			n++
		}
	}
}

// boot is the four messages of n1, and how long they took; 0 when there was no ACK within a second.
func boot(b *testing.B, conn *net.UDPConn, xid uint32) time.Duration {
	begun := time.Now()
	send := func(options []byte) {
		p := wirePacket{xid: xid, giaddr: "10.79.0.2", mac: n1, options: options}
		_, _ = conn.WriteToUDPAddrPort(p.bytes(), netip.MustParseAddrPort("10.79.0.1:67"))
	}
	send(message(fact.Discover, biosROM))
	_ = conn.SetReadDeadline(begun.Add(time.Second))
	for buf := make([]byte, 2048); ; {
		n, _, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return 0
		}
		p, err := dhcpv4.FromBytes(buf[:n])
		switch {
		case err != nil:
			b.Fatal(err)
		case binary.BigEndian.Uint32(p.TransactionID[:]) != xid:
		case p.MessageType() == dhcpv4.MessageTypeOffer:
			send(selecting(p, biosROM))
		case p.MessageType() == dhcpv4.MessageTypeAck:
			return time.Since(begun)
		}
	}
}
