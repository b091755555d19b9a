package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render/fact"
)

var killRounds = flag.Int("kill-rounds", 100, "how often TestKill kills the server")

// killSpec has room for a crowd that nobody declared, and says which round it is.
const killSpec = `spec {
  language = 1
}
variable "files" { type = string }
store "lab" {
  local { path = var.files }
}
image "live" {
  file "kernel" {
    store = store.lab
    key   = "vmlinuz"
  }
}
group "all" {
  image       = image.live
  kernel_args = { round = 0 }
  lease { default = "1h" }
}
subnet "room" {
  cidr    = "10.77.0.0/16"
  unknown = group.all
  pool "strangers" {
    range  = "10.77.8.0-10.77.15.255"
    serves = "unknown"
  }
}
`

// TestKill kills the server at random moments, while a crowd takes, renews and releases addresses and while commits come in. Whatever was
// acknowledged must be there afterwards, no address may have two owners, and what is served is a whole revision.
func TestKill(t *testing.T) {
	released(t)
	l, c, repo := crowdLab(t, 1500)
	files := l.files()
	whole := ""
	for round := range *killRounds {
		s := l.serve("-var", "files="+files, repo)
		wholeRevision(t, l.script("02:00:00:00:00:00"), &whole, round)
		c.check(s.leases())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond+rand.N(300*time.Millisecond))
		committed := make(chan struct{})
		go func() { defer close(committed); l.round(repo, round+1) }()
		c.run(ctx)
		cancel()
		s.kill(syscall.SIGKILL)
		<-committed
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	if c.count() < 10**killRounds {
		t.Errorf("%d rounds had %d ACKs only: the server was hardly under load", *killRounds, c.count())
	}
	t.Logf("%d rounds, %d ACKs, %d releases", *killRounds, c.count(), c.releases)
}

var (
	roundIn  = regexp.MustCompile(`round=(\d+)`)
	ownTexts = regexp.MustCompile(`(round|boot|r|rev|revision)=[^ &\n]*|hostler\.boot=\S*`)
)

// wholeRevision holds that a script is that of one revision, and of none that was not committed yet.
func wholeRevision(t *testing.T, script string, whole *string, last int) {
	t.Helper()
	m := roundIn.FindStringSubmatch(script)
	if m == nil {
		t.Fatalf("no whole script:\n%s", script)
	}
	if n, _ := strconv.Atoi(m[1]); n > last {
		t.Fatalf("round %d is served, and %d was the last to be committed", n, last)
	}
	rest := anonymous(script)
	if *whole == "" {
		*whole = rest
	}
	if rest != *whole {
		t.Fatalf("the script is of no revision:\n%s\nwant\n%s", rest, *whole)
	}
}

// crowd is machines behind a relay agent, who remember what was acknowledged.
type crowd struct {
	t    *testing.T
	conn *net.UDPConn
	n    int
	pace time.Duration // between two messages

	mu       sync.Mutex
	xids     map[fact.MAC]uint32 // of the last message that asks for something
	owns     map[fact.MAC]netip.Addr
	owner    map[netip.Addr]fact.MAC
	acks     int
	releases int
}

var crowdServer, crowdRelay = netip.MustParseAddrPort("10.77.0.1:67"), netip.MustParseAddr("10.77.0.2")

func newCrowd(t *testing.T, l *lab, n int) *crowd {
	c := &crowd{t: t, n: n, pace: 200 * time.Microsecond, xids: map[fact.MAC]uint32{}, owns: map[fact.MAC]netip.Addr{}, owner: map[netip.Addr]fact.MAC{}}
	err := inNamespace(l.machine, func() (err error) {
		c.conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: crowdRelay.AsSlice(), Port: 67})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var listener sync.WaitGroup
	listener.Go(c.listen)
	t.Cleanup(func() { c.conn.Close(); listener.Wait() })
	return c
}

// run lets machines ask until ctx ends.
func (c *crowd) run(ctx context.Context) {
	tick := time.NewTicker(c.pace)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			i := rand.N(c.n)
			c.act(fact.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)})
		case <-ctx.Done():
			return
		}
	}
}

// act lets one machine ask for an address, renew the one that it has, or give it back.
func (c *crowd) act(mac fact.MAC) {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr, owns := c.owns[mac]
	xid := rand.Uint32()
	c.xids[mac] = xid
	switch {
	case !owns:
		c.send(mac, xid, dhcpv4.MessageTypeDiscover)
	case rand.N(5) > 0:
		c.send(mac, xid, dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(addr.AsSlice()))
	default:
		delete(c.xids, mac) // no ACK that is on its way means anything any more
		delete(c.owns, mac)
		delete(c.owner, addr)
		c.releases++
		c.send(mac, xid, dhcpv4.MessageTypeRelease, dhcpv4.WithClientIP(addr.AsSlice()),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(crowdServer.Addr().AsSlice())))
	}
}

func (c *crowd) send(mac fact.MAC, xid uint32, kind dhcpv4.MessageType, more ...dhcpv4.Modifier) {
	p, err := dhcpv4.New(append(more, dhcpv4.WithMessageType(kind), dhcpv4.WithHwAddr(mac[:]),
		dhcpv4.WithTransactionID(dhcpv4.TransactionID(binary.BigEndian.AppendUint32(nil, xid))), dhcpv4.WithRelay(crowdRelay.AsSlice()))...)
	if err != nil {
		c.t.Error(err)
		return
	}
	_, _ = c.conn.WriteToUDPAddrPort(p.ToBytes(), crowdServer) // refused while the server is dead
}

func (c *crowd) listen() {
	buf := make([]byte, 2048)
	for {
		n, _, err := c.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		p, err := dhcpv4.FromBytes(buf[:n])
		if err != nil {
			c.t.Error(err)
			continue
		}
		c.hear(p)
	}
}

// hear is a machine that gets an answer. Each ACK is held against all others.
func (c *crowd) hear(p *dhcpv4.DHCPv4) {
	c.mu.Lock()
	defer c.mu.Unlock()
	mac, xid := fact.MAC(p.ClientHWAddr), binary.BigEndian.Uint32(p.TransactionID[:])
	if c.xids[mac] != xid {
		return
	}
	addr, _ := netip.AddrFromSlice(p.YourIPAddr.To4())
	switch p.MessageType() {
	case dhcpv4.MessageTypeOffer:
		c.send(mac, xid, dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(addr.AsSlice())),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(crowdServer.Addr().AsSlice())))
	case dhcpv4.MessageTypeAck:
		if other, ok := c.owner[addr]; ok && other != mac {
			c.t.Errorf("%s was acknowledged to %s, and is %s's", addr, mac, other)
		}
		if had, ok := c.owns[mac]; ok && had != addr {
			c.t.Errorf("%s was acknowledged %s, and has %s", mac, addr, had)
		}
		c.owns[mac], c.owner[addr] = addr, mac
		c.acks++
	case dhcpv4.MessageTypeNak:
		if had, ok := c.owns[mac]; ok {
			c.t.Errorf("%s has %s and was refused it: %s", mac, had, p.Message())
		}
	}
}

// leases gives what the server knows.
func (r *running) leases() (leases []fact.Lease) {
	r.t.Helper()
	out, code := r.hostler("leases", "-json")
	if err := json.Unmarshal([]byte(out), &leases); err != nil || code != exitOK {
		r.t.Fatalf("%v: %s", err, out)
	}
	return leases
}

func (c *crowd) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acks
}

// check holds what the server knows after it came back against what the machines were told.
func (c *crowd) check(leases []fact.Lease) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	holder := map[netip.Addr]fact.MAC{}
	for _, l := range leases {
		if l.State != fact.Bound {
			continue
		}
		if other, ok := holder[l.Addr]; ok {
			c.t.Errorf("%s is leased to %s and to %s", l.Addr, other, l.MAC)
		}
		holder[l.Addr] = l.MAC
	}
	for mac, addr := range c.owns {
		if holder[addr] != mac {
			c.t.Errorf("%s was acknowledged to %s; after the crash it is leased to %s", addr, mac, holder[addr])
		}
	}
}
