package tftp

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hostler/render/fact"
)

// link is a cable between a network namespace (10.4.0.1) and another one (10.4.0.2) that delays, loses and reorders packets. netem would do
// that too, but not every kernel has it: these are two tun devices, and this process is the wire.
type link struct {
	delay   time.Duration
	loss    float64 // of packets, in each direction
	reorder float64 // of packets, which are delayed twice as long

	near   string // process ids
	far    string
	ends   [2]*os.File
	closed sync.WaitGroup
}

func newLink(t testing.TB, delay time.Duration, loss, reorder float64) *link {
	l := &link{delay: delay, loss: loss, reorder: reorder, near: strconv.Itoa(os.Getpid()), far: namespace(t)}
	if os.Getenv("HOSTLER_TEST_NAMESPACE") == "" { // the host's own namespace is left alone
		l.near = namespace(t)
	}
	for i, pid := range []string{l.near, l.far} {
		f, err := tun(pid)
		if err != nil {
			t.Fatalf("making a tun device: %v", err)
		}
		l.ends[i] = f
		addr, peer := fmt.Sprintf("10.4.0.%d", i+1), fmt.Sprintf("10.4.0.%d", 2-i)
		for _, args := range [][]string{{"addr", "add", addr, "peer", peer, "dev", "wire0"}, {"link", "set", "wire0", "txqueuelen", "10000", "up"}} {
			if out, err := inside(pid, append([]string{"ip"}, args...)...).CombinedOutput(); err != nil {
				t.Fatalf("ip %v: %v: %s", args, err, out)
			}
		}
	}
	l.closed.Go(func() { l.carry(l.ends[0], l.ends[1], rand.New(rand.NewPCG(1, 1))) })
	l.closed.Go(func() { l.carry(l.ends[1], l.ends[0], rand.New(rand.NewPCG(1, 2))) })
	t.Cleanup(func() {
		l.ends[0].Close()
		l.ends[1].Close()
		l.closed.Wait()
	})
	return l
}

// carry takes packets from one end to the other until the ends are closed.
func (l *link) carry(from, to *os.File, r *rand.Rand) {
	type packet struct {
		at   time.Time
		data []byte
	}
	ahead := make(chan packet, 10_000)
	l.closed.Go(func() {
		for p := range ahead {
			time.Sleep(time.Until(p.at))
			_, _ = to.Write(p.data)
		}
	})
	defer close(ahead)
	var late sync.WaitGroup
	defer late.Wait()
	buf := make([]byte, 65536)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p := packet{time.Now().Add(l.delay), bytes.Clone(buf[:n])}
		switch x := r.Float64(); {
		case x < l.loss:
		case x < l.loss+l.reorder:
			late.Go(func() {
				time.Sleep(2 * l.delay)
				_, _ = to.Write(p.data)
			})
		default:
			ahead <- p
		}
	}
}

// tun makes a tun device in the network namespace of a process. The thread must come back: when it ends, so do the processes that
// it has started (Pdeathsig).
func tun(pid string) (*os.File, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer own.Close()
	ns, err := os.Open("/proc/" + pid + "/ns/net")
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	defer func() {
		if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err)
		}
	}()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq("wire0")
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "wire0"), nil
}

// TestRackOnBadLink lets 100 clients of all kinds read a loader at once through a link that delays every packet by a millisecond, loses
// two in a hundred in each direction and lets others overtake one in a hundred. Everybody gets every byte.
func TestRackOnBadLink(t *testing.T) {
	for _, single := range []bool{false, true} {
		t.Run(fmt.Sprintf("single=%v", single), func(t *testing.T) { rackOnBadLink(t, single) })
	}
}

func rackOnBadLink(t *testing.T, single bool) {
	if !insideNamespace(t) {
		return
	}
	l := newLink(t, time.Millisecond, 0.02, 0.01)
	content := pattern(100 << 10)
	srv := startWith(t, map[string][]byte{"loader.efi": content}, func(c *Config) {
		c.Addr, c.MaxPerClient, c.SinglePort = netip.MustParseAddrPort("10.4.0.1:69"), 200, single
	})
	dir := t.TempDir()
	command := func(args ...string) func(to string) error {
		return func(to string) error {
			args := append([]string(nil), args...)
			for i := range args {
				if args[i] == "FILE" {
					args[i] = to
				}
			}
			out, err := inside(l.far, args...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%v: %w: %s", args, err, out)
			}
			got, err := os.ReadFile(to)
			if err == nil && !bytes.Equal(got, content) {
				err = fmt.Errorf("%v: got %d bytes: %s", args, len(got), out)
			}
			return err
		}
	}
	fetch := func(block, window int) func(string) error {
		sum := fmt.Sprintf("%x", sha256.Sum256(content))
		load := load{Server: srv.addr, File: "loader.efi", Clients: 1, Block: block, Window: window, Sum: sum}
		return func(string) error { return load.run(l.far) }
	}
	kinds := []func(string) error{
		fetch(0, 0), fetch(1428, 0), fetch(1428, 4), fetch(1428, 16), fetch(512, 64), fetch(1428, 0), fetch(1428, 0),
		command("curl", "-sS", "--max-time", "100", "--tftp-blksize", "1428", "-o", "FILE", "tftp://10.4.0.1/loader.efi"),
		command("tftp", "-m", "octet", "10.4.0.1", "-c", "get", "loader.efi", "FILE"),
		// Without options: atftp gives up when an option acknowledgement that was sent again crosses its own answer.
		command("atftp", "-g", "-r", "loader.efi", "-l", "FILE", "10.4.0.1"),
	}
	var wg sync.WaitGroup
	errs := make([]error, 100)
	for i := range errs {
		wg.Go(func() { errs[i] = kinds[i%len(kinds)](filepath.Join(dir, strconv.Itoa(i))) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
	srv.stop()
	if got := srv.State(); got.OK != 100 || got.Resent == 0 || got.Failed > 0 {
		t.Errorf("%+v", got)
	}
}

// TestNAT has machines behind a translator of addresses, as a Kubernetes service with source NAT is one: requests to its port 69 go to the server and
// come from its own address, which is, to make it worse, leased to one of the machines.
func TestNAT(t *testing.T) {
	if !insideNamespace(t) {
		return
	}
	gateway, machines := namespace(t), namespace(t)
	self := strconv.Itoa(os.Getpid())
	for _, args := range [][]string{
		{self, "ip", "link", "set", "lo", "up"},
		{self, "ip", "link", "add", "srv", "type", "veth", "peer", "name", "uplink", "netns", gateway},
		{self, "ip", "addr", "add", "10.5.0.1/24", "dev", "srv"},
		{self, "ip", "link", "set", "srv", "up"},
		{gateway, "ip", "addr", "add", "10.5.0.2/24", "dev", "uplink"},
		{gateway, "ip", "link", "set", "uplink", "up"},
		{gateway, "ip", "link", "add", "downlink", "type", "veth", "peer", "name", "cli", "netns", machines},
		{gateway, "ip", "addr", "add", "10.6.0.1/24", "dev", "downlink"},
		{gateway, "ip", "link", "set", "downlink", "up"},
		{machines, "ip", "addr", "add", "10.6.0.2/24", "dev", "cli"},
		{machines, "ip", "link", "set", "cli", "up"},
		{self, "ip", "route", "add", "default", "via", "10.5.0.2"},
		{machines, "ip", "route", "add", "default", "via", "10.6.0.1"},
		{gateway, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"},
		{gateway, "nft", "add table ip nat; add chain ip nat pre { type nat hook prerouting priority -100; }; " +
			"add chain ip nat post { type nat hook postrouting priority 100; }; " +
			"add rule ip nat pre iif downlink udp dport 69 dnat to 10.5.0.1; add rule ip nat post oif uplink masquerade"},
	} {
		if out, err := inside(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	translated := netip.MustParseAddr("10.5.0.2")
	srv := start(t, func(c *Config) {
		c.Addr, c.SinglePort, c.MaxPerClient = netip.MustParseAddrPort("0.0.0.0:69"), true, 1
		c.Leases = leases{translated: {Addr: translated, MAC: machine.mac, Node: machine.name, State: fact.Bound}}
	})
	get := func(name string) (string, error) {
		to := filepath.Join(t.TempDir(), "file")
		out, err := inside(machines, "timeout", "10", "tftp", "-m", "octet", "10.6.0.1", "-c", "get", name, to).CombinedOutput()
		got, rerr := os.ReadFile(to)
		if err != nil || rerr != nil || len(out) > 0 {
			return "", fmt.Errorf("%s: %v %v: %s", name, err, rerr, out)
		}
		return string(got), nil
	}
	for _, tt := range []struct {
		file string
		node fact.NodeName
		mac  fact.MAC
	}{
		{"pxelinux.cfg/01-52-54-00-00-00-01", machine.name, machine.mac},
		{"pxelinux.cfg/01-52-54-00-00-00-02", other.name, other.mac},
		{"52-54-00-00-00-02/small.efi", other.name, other.mac},
		{"c0001/small.efi", machine.name, machine.mac},
		{"small.efi", "", fact.MAC{}},
	} {
		if _, err := get(tt.file); err != nil {
			t.Error(err)
			continue
		}
		e := srv.events.next(t)
		if e.Result != fact.OK || e.Node != tt.node || e.MAC != tt.mac || e.Peer != translated || e.Boot != "" {
			t.Errorf("%s: event %+v", tt.file, e)
		}
	}
	if _, err := get("c0003/small.efi"); err == nil {
		t.Error("a machine that is not declared was served a file by its name")
	}
	// They all have one address, and are many.
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() { _, errs[i] = get("large.efi") })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}
