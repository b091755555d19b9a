package dhcp

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// patience is how long a test waits for something that has to happen. Nothing is timed by it.
const patience = 10 * time.Second

// inNamespace tells the tests that they already run in a network namespace of their own.
const inNamespace = "HOSTLER_TEST_NETNS"

// TestMain runs the tests once more, in a network namespace that ends with them: ports 67 and 68 are free there, and
// nothing that is sent leaves it.
func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) != "" {
		run("ip", "link", "set", "lo", "up")
		os.Exit(m.Run())
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "in a network namespace:", err)
		os.Exit(1)
	}
}

func run(name string, args ...string) {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%s %s: %v: %s", name, strings.Join(args, " "), err, out))
	}
}

// segment is a wire: a server's interface here, a client's interface in a namespace of its own.
type segment struct {
	server, client string
	pid            int // of a process in the client's namespace
}

var segments atomic.Int32

// newSegment makes a wire with the server's address on it.
func newSegment(t testing.TB, address string) *segment {
	t.Helper()
	n := segments.Add(1)
	s := &segment{server: fmt.Sprintf("s%d", n), client: fmt.Sprintf("c%d", n)}
	s.pid = newNamespace(t)
	run("ip", "link", "add", s.server, "type", "veth", "peer", "name", s.client)
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", s.server).Run() }) // a test may have removed it
	run("ip", "link", "set", s.client, "netns", fmt.Sprint(s.pid))
	if address != "" {
		run("ip", "addr", "add", address, "dev", s.server)
	}
	run("ip", "link", "set", s.server, "up")
	s.ip("link", "set", s.client, "address", testMAC.String(), "up")
	s.ip("link", "set", "lo", "up")
	s.carrier(t)
	return s
}

// carrier waits until the kernel has noticed that both ends are up: until then it throws away what is sent.
func (s *segment) carrier(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		here, err := exec.Command("ip", "-o", "link", "show", "dev", s.server).Output()
		there, err2 := s.command(t, "ip", "-o", "link", "show", "dev", s.client).Output()
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if strings.Contains(string(here), "state UP") && strings.Contains(string(there), "state UP") {
			return
		}
	}
	t.Fatalf("%s and %s do not come up", s.server, s.client)
}

// newNamespace starts a process in a network namespace of its own, which lives until the test ends, or this process does.
func newNamespace(t testing.TB) int {
	t.Helper()
	cmd := exec.Command("cat") // ends when its input does
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

// ip runs ip in the client's namespace.
func (s *segment) ip(args ...string) {
	run("nsenter", append(s.enter(), append([]string{"ip"}, args...)...)...)
}

func (s *segment) enter() []string { return []string{"-t", fmt.Sprint(s.pid), "-n", "--"} }

// command prepares a command that will run in the client's namespace, and be killed when the test ends.
func (s *segment) command(t testing.TB, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, "nsenter", append(s.enter(), args...)...)
}

// script writes an executable file.
func script(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// rawClient speaks DHCP in Ethernet frames, as a ROM does, and sees replies as they are on the wire.
type rawClient struct {
	t      testing.TB
	conn   *packet.Conn
	hw     net.HardwareAddr
	server netip.Addr // source address of the last reply
	to     netip.Addr // and its destination
	toHW   net.HardwareAddr
	length int    // of its payload
	port   uint16 // that it left from
	fromHW net.HardwareAddr
	codes  []byte // of its options, in their order
}

// raw opens a raw client on the client's end of the wire.
func (s *segment) raw(t testing.TB) *rawClient {
	t.Helper()
	type result struct {
		conn *packet.Conn
		hw   net.HardwareAddr
		err  error
	}
	ch := make(chan result)
	go func() {
		var r result
		defer func() { ch <- r }()
		lockThread()
		fd, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", s.pid))
		if r.err = err; err != nil {
			return
		}
		defer fd.Close()
		if r.err = unix.Setns(int(fd.Fd()), unix.CLONE_NEWNET); r.err != nil {
			return
		}
		var ifi *net.Interface
		if ifi, r.err = net.InterfaceByName(s.client); r.err != nil {
			return
		}
		r.hw = ifi.HardwareAddr
		r.conn, r.err = packet.Listen(ifi, packet.Raw, unix.ETH_P_IP, nil)
	}()
	r := <-ch
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { r.conn.Close() })
	return &rawClient{t: t, conn: r.conn, hw: r.hw}
}

var broadcastHW = net.HardwareAddr{255, 255, 255, 255, 255, 255}

// send broadcasts a payload from port 68 to port 67.
func (c *rawClient) send(payload []byte) {
	c.t.Helper()
	c.sendFrom(netip.MustParseAddrPort("0.0.0.0:68"), netip.MustParseAddrPort("255.255.255.255:67"), payload)
}

func (c *rawClient) sendFrom(from, to netip.AddrPort, payload []byte) {
	c.t.Helper()
	if _, err := c.conn.WriteTo(frame(c.hw, broadcastHW, from, to, payload), &packet.Addr{HardwareAddr: broadcastHW}); err != nil {
		c.t.Fatal(err)
	}
}

// receive waits for the reply to a transaction, at a port.
func (c *rawClient) receive(xid uint32, port uint16) *dhcpv4.DHCPv4 {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	for b := make([]byte, 4096); ; {
		n, _, err := c.conn.ReadFrom(b)
		if err != nil {
			c.t.Fatalf("waiting for the reply to %08x: %v", xid, err)
		}
		if p := c.parse(b[:n], port); p != nil && binary.BigEndian.Uint32(p.TransactionID[:]) == xid {
			return p
		}
	}
}

func (c *rawClient) parse(b []byte, port uint16) *dhcpv4.DHCPv4 {
	if len(b) < etherLen+ipUDPLen || b[etherLen+9] != 17 || binary.BigEndian.Uint16(b[etherLen+22:]) != port {
		return nil
	}
	h := b[etherLen:]
	if fold(sum(0, h[:20])) != 0xffff {
		c.t.Errorf("bad IP checksum: % x", h[:20])
	}
	n := int(binary.BigEndian.Uint16(h[24:])) // a short frame is padded
	p, err := dhcpv4.FromBytes(h[28 : 20+n])
	if err != nil || p.OpCode != dhcpv4.OpcodeBootReply {
		return nil
	}
	c.toHW, c.server, c.to = net.HardwareAddr(append([]byte(nil), b[:6]...)), addrOf(h[12:16]), addrOf(h[16:20])
	c.length, c.port = n-8, binary.BigEndian.Uint16(h[20:])
	c.fromHW, c.codes = net.HardwareAddr(append([]byte(nil), b[6:12]...)), nil
	for o := h[28+headerLen-1 : 20+n]; len(o) > 2 && o[0] != 0 && o[0] != 255; o = o[2+int(o[1]):] {
		c.codes = append(c.codes, o[0])
	}
	return p
}

// ask sends a request and waits for its reply.
func (c *rawClient) ask(p wirePacket) *dhcpv4.DHCPv4 {
	c.t.Helper()
	c.send(p.bytes())
	return c.receive(p.xid, 68)
}

func (c *rawClient) String() string {
	return fmt.Sprintf("from %s to %s at %s", c.server, c.to, c.toHW)
}

// localCommand prepares a command that runs in the server's namespace.
func (s *segment) localCommand(t testing.TB, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, args[0], args[1:]...)
}

// lockThread ties the goroutine to a thread that ends with it: whatever is done to the thread stays there.
func lockThread() { runtime.LockOSThread() }
