package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// flood is what strangers send a second. It is bounded so that it means the same on every machine: it is a nuisance, not a race for the
// processor.
const (
	floodDiscovers = 1000 // each from a MAC of its own
	floodMalformed = 500  // to DHCP's port, cut off, garbled or noise
	floodTFTP      = 300  // requests of which half are for a file that is there, and none is ever acknowledged
	floodHTTP      = 100  // connections, a third of which send nothing, a third noise, and a third a request for a script
)

// TestFlood boots the declared machines of a room while strangers flood every port. No machine is lost or forgotten, and what is kept of
// the strangers is bounded.
func TestFlood(t *testing.T) {
	released(t)
	const machines = 60
	l, s, repo, files := stormLab(t, machines, 100_000, 200_000)
	must(t, "ip", "-n", l.machine, "addr", "add", "10.78.0.2/32", "dev", "lo") // the strangers', which is none of the machines'
	must(t, "ip", "-n", l.machine, "route", "add", "10.77.0.1", "dev", "eth0", "src", "10.78.0.2")
	must(t, "ip", "-n", l.server, "route", "add", "10.78.0.0/24", "dev", "eth0")
	calm := s.usage()
	f := l.flood(0)
	s.eventually("the flood to be on its way", func() bool { return f.sent("DISCOVER") > 2*floodDiscovers })
	r, out, err := l.storm(repo, files, "-over=2s", "-hurry")
	if err != nil || r.Ready != machines || len(r.Failures) > 0 {
		t.Errorf("in the flood: %v\n%s", err, out)
	}
	t.Logf("%d of %d machines ready in %s, %d messages sent again, beside %s", r.Ready, machines, r.Elapsed.Round(time.Millisecond), r.Resent, f)
	const remembered = 4096 // strangers in the timeline
	s.eventually("more strangers than are remembered", func() bool { return f.sent("DISCOVER") > remembered+1000 })
	f.stop()
	flooded := s.usage()
	t.Logf("before: %s; afterwards: %s", calm, flooded)
	if flooded.resident > 512<<20 { // the race detector takes several times what the program does
		t.Errorf("memory went from %s to %s", size(calm.resident), size(flooded.resident))
	}
	s.eventually("the connections to end", func() bool {
		u := s.usage()
		return u.files < calm.files+20 && u.goroutines < calm.goroutines+20
	})
	nodes, _ := s.hostler("nodes", "-json")
	if got := strings.Count(nodes, `"ready"`); got < machines {
		t.Errorf("the server knows of %d ready machines of %d", got, machines)
	}
	if out, _ := s.hostler("inbox", "-json"); strings.Count(out, `"mac"`) != remembered {
		t.Errorf("the inbox has %d machines", strings.Count(out, `"mac"`))
	}
	if out, code := s.hostler("boots", "m00001"); code != exitOK || !strings.Contains(out, "ready") {
		t.Errorf("what was declared has no boots any more:\n%s", out)
	}
	if n := strings.Count(s.log.String(), "\n"); n > 2000 {
		t.Errorf("%d lines of log", n)
	}
}

// flooding is a flood that goes on.
type flooding struct {
	t    testing.TB
	stop func()

	mu     sync.Mutex
	counts map[string]int
}

func (f *flooding) sent(what string) int { f.mu.Lock(); defer f.mu.Unlock(); return f.counts[what] }

func (f *flooding) String() string { f.mu.Lock(); defer f.mu.Unlock(); return fmt.Sprint(f.counts) }

// flood begins a flood from the machines' side, of the server's ports or of those so far above them.
func (l *lab) flood(above int) *flooding {
	l.t.Helper()
	f := &flooding{t: l.t, counts: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	var senders sync.WaitGroup
	f.stop = func() { cancel(); senders.Wait() }
	l.t.Cleanup(f.stop)
	dhcp, tftp := l.udp(67+above), l.udp(69+above)
	senders.Go(func() { f.every(ctx, "DISCOVER", floodDiscovers, func(n uint32) { dhcp.Write(strange(n).ToBytes()) }) })
	senders.Go(func() { f.every(ctx, "malformed", floodMalformed, func(n uint32) { dhcp.Write(malformed(n)) }) })
	senders.Go(func() {
		f.every(ctx, "TFTP", floodTFTP, func(n uint32) {
			tftp.Write([]byte("\x00\x01" + []string{"undionly.kpxe", "../etc/passwd"}[n%2] + "\x00octet\x00blksize\x001468\x00"))
		})
	})
	var conns sync.WaitGroup
	slots := make(chan struct{}, 300) // open at once
	senders.Go(func() {
		f.every(ctx, "HTTP", floodHTTP, func(n uint32) {
			select {
			case slots <- struct{}{}:
			default:
				return
			}
			conns.Go(func() { defer func() { <-slots }(); l.strangeHTTP(ctx, 8080+above, n) })
		})
		conns.Wait()
	})
	return f
}

// every does something so often a second.
func (f *flooding) every(ctx context.Context, what string, rate int, do func(uint32)) {
	const ticks = 50
	tick := time.NewTicker(time.Second / ticks)
	defer tick.Stop()
	for n := uint32(0); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for range rate / ticks {
			n++
			do(n)
		}
		f.mu.Lock()
		f.counts[what] += rate / ticks
		f.mu.Unlock()
	}
}

// udp is a socket to a port of the server.
func (l *lab) udp(port int) (c net.Conn) {
	l.t.Helper()
	err := inNamespace(l.machine, func() (err error) {
		c, err = net.Dial("udp4", fmt.Sprintf("10.77.0.1:%d", port))
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	return c
}

// strange is a DISCOVER of a machine that nobody declared, a third of them by way of a relay agent.
func strange(n uint32) *dhcpv4.DHCPv4 {
	mac := binary.BigEndian.AppendUint32([]byte{2, 0xf1}, n)
	p, _ := dhcpv4.New(dhcpv4.WithHwAddr(mac), dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover), dhcpv4.WithBroadcast(n%2 == 0))
	if n%3 == 0 {
		p.GatewayIPAddr = net.IPv4(10, 77, 0, 9)
	}
	return p
}

// malformed is a DISCOVER that is cut off, or has noise in it, or is nothing but noise.
func malformed(n uint32) []byte {
	b := strange(n).ToBytes()
	switch n % 3 {
	case 0:
		return b[:int(n)%len(b)]
	case 1:
		rand.Read(b[236:])
	default:
		rand.Read(b)
	}
	return b
}

// strangeHTTP is a connection that says nothing, or nonsense, or asks in the name of nobody, and is never closed first.
func (l *lab) strangeHTTP(ctx context.Context, port int, n uint32) {
	var c net.Conn
	err := inNamespace(l.machine, func() (err error) {
		c, err = net.DialTimeout("tcp4", fmt.Sprintf("10.77.0.1:%d", port), time.Second)
		return err
	})
	if err != nil {
		return // refused is an answer
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	noise := make([]byte, 200)
	switch n % 3 {
	case 1:
		rand.Read(noise)
		c.Write(noise)
	case 2:
		fmt.Fprintf(c, "GET /boot/v1/bootscript?mac=02:f1:00:00:%02x:%02x HTTP/1.1\r\nHost: x\r\n\r\n", byte(n>>8), byte(n))
	}
	for err == nil {
		_, err = c.Read(noise)
	}
}
