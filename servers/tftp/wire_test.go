package tftp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hostler/render/fact"
)

// TestClients reads every file with the clients that people use.
func TestClients(t *testing.T) {
	srv := start(t, nil)
	dir := t.TempDir()
	host, port := srv.addr.Addr().String(), fmt.Sprint(srv.addr.Port())
	clients := map[string]func(name, to string) *exec.Cmd{
		"tftp-hpa": func(name, to string) *exec.Cmd {
			return exec.Command("tftp", "-m", "octet", host, port, "-c", "get", name, to)
		},
		"curl": func(name, to string) *exec.Cmd {
			return exec.Command("curl", "-sS", "--max-time", "20", "-o", to, "tftp://"+host+":"+port+"/"+name)
		},
		"curl with large blocks": func(name, to string) *exec.Cmd {
			return exec.Command("curl", "-sS", "--max-time", "20", "--tftp-blksize", "1428", "-o", to, "tftp://"+host+":"+port+"/"+name)
		},
		"curl without options": func(name, to string) *exec.Cmd {
			return exec.Command("curl", "-sS", "--max-time", "20", "--tftp-no-options", "-o", to, "tftp://"+host+":"+port+"/"+name)
		},
	}
	for client, command := range clients {
		for name, want := range files {
			t.Run(client+"/"+name, func(t *testing.T) {
				to := filepath.Join(dir, name)
				if out, err := command(name, to).CombinedOutput(); err != nil || len(out) > 0 {
					t.Fatalf("%v: %s", err, out)
				}
				got, err := os.ReadFile(to)
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("got %d bytes, want %d: %v", len(got), len(want), err)
				}
				if e := srv.events.next(t); e.Result != fact.OK || e.Bytes != int64(len(want)) {
					t.Errorf("event %+v", e)
				}
			})
		}
	}
	t.Run("missing file", func(t *testing.T) {
		out, err := exec.Command("tftp", "-m", "octet", host, port, "-c", "get", "no-such", filepath.Join(dir, "no-such")).CombinedOutput()
		if !strings.Contains(string(out), "Error code 1: file not found") {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// TestRandomBytes throws garbage at the port; the server must go on serving.
func TestRandomBytes(t *testing.T) {
	srv := start(t, func(c *Config) { c.Timeout = 5 * time.Millisecond })
	p := newPeer(t, srv.addr)
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		b := make([]byte, r.IntN(600))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if len(b) > 1 && r.IntN(2) == 0 { // half of them with an opcode
			b[0], b[1] = 0, byte(r.IntN(7))
		}
		if _, err := p.conn.WriteToUDPAddrPort(b, srv.addr); err != nil {
			t.Fatal(err)
		}
	}
	stillServes(t, srv)
}

// stillServes reads a file, trying more than once as clients do: what was taken for requests may be on its way out, and
// the system may give the client the port of one that has just ended.
func stillServes(t *testing.T, srv fixture) {
	t.Helper()
	for try := 0; ; try++ {
		got, e := newPeer(t, srv.addr).fetch("RRQ multi.efi octet")
		if bytes.Equal(got, files["multi.efi"]) {
			return
		}
		if try == 20 {
			t.Fatalf("the server ails: %d bytes, %s", len(got), e)
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, line := range append(firmware, "RRQ small.efi octet tsize=0 blksize=1428", "RRQ small.efi netascii blksize=99999 tsize=x") {
		b, err := encode(line)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, c := range firmwareRequests(f) {
		f.Add(c.data)
	}
	srv := start(f, func(c *Config) {
		c.Timeout, c.MaxPerClient, c.Event = 10*time.Millisecond, 1000, func(fact.Event) {}
	})
	f.Fuzz(func(t *testing.T, packet []byte) {
		p := newPeer(t, srv.addr)
		if len(packet) > 1400 {
			return
		}
		if _, err := p.conn.WriteToUDPAddrPort(packet, srv.addr); err != nil {
			t.Fatal(err)
		}
		stillServes(t, srv)
	})
}

func TestListenErrors(t *testing.T) {
	taken, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(machine.addr, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, tt := range []struct {
		c    Config
		want string
	}{
		{
			Config{Addr: addr},
			"listening for TFTP: udp " + addr.String() + ": the port is taken: is another TFTP server, or another hostler, running",
		},
		{
			Config{Addr: addr, Interfaces: []string{"lo"}},
			"listening for TFTP: udp " + addr.String() + " on lo: the port is taken: is another TFTP server, or another hostler, running",
		},
		{
			Config{Addr: netip.MustParseAddrPort("192.0.2.1:69")},
			"listening for TFTP: udp 192.0.2.1:69: bind: cannot assign requested address",
		},
	} {
		s, err := Listen(tt.c)
		if err == nil {
			s.Close()
			t.Errorf("no error, want %s", tt.want)
		} else if err.Error() != tt.want {
			t.Errorf("got  %s\nwant %s", err, tt.want)
		}
	}
}

// TestInterfaces runs itself in a network namespace with two links to a second one. The server is bound to one link
// with two addresses, and must answer there, from the address that was asked, and nowhere else.
func TestInterfaces(t *testing.T) {
	if !insideNamespace(t) {
		return
	}
	far := namespace(t)
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
	}
	inside := func(args ...string) { run("nsenter", append([]string{"-t", far, "-n"}, args...)...) }
	run("ip", "link", "set", "lo", "up")
	for _, link := range []string{"a", "b"} {
		run("ip", "link", "add", "srv"+link, "type", "veth", "peer", "name", "cli"+link, "netns", far)
		run("ip", "link", "set", "srv"+link, "up")
		inside("ip", "link", "set", "cli"+link, "up")
	}
	run("ip", "addr", "add", "10.1.0.1/24", "dev", "srva")
	run("ip", "addr", "add", "10.1.0.2/24", "dev", "srva")
	run("ip", "addr", "add", "10.2.0.1/24", "dev", "srvb")
	inside("ip", "addr", "add", "10.1.0.9/24", "dev", "clia")
	inside("ip", "addr", "add", "10.2.0.9/24", "dev", "clib")

	get := func(server string) error {
		to := filepath.Join(t.TempDir(), "file")
		// tftp-hpa takes packets only from the address that it asked.
		out, err := exec.Command("nsenter", "-t", far, "-n", "timeout", "2", "tftp", "-m", "octet", server, "-c", "get", "multi.efi", to).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, files["multi.efi"]) {
			return fmt.Errorf("%d bytes arrived: %s", len(got), out)
		}
		return nil
	}
	for _, single := range []bool{false, true} {
		srv := start(t, func(c *Config) {
			c.Addr, c.Interfaces, c.SinglePort = netip.MustParseAddrPort("0.0.0.0:69"), []string{"srva"}, single
		})
		for _, server := range []string{"10.1.0.1", "10.1.0.2"} {
			if err := get(server); err != nil {
				t.Errorf("single port %v: %s: %v", single, server, err)
			}
		}
		if get("10.2.0.1") == nil {
			t.Errorf("single port %v: answered on an interface that was not named", single)
		}
		srv.stop()
	}
}

// namespace makes a second network namespace, that of a process which ends with the test, and gives its process id.
func namespace(t testing.TB) string {
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return fmt.Sprint(cmd.Process.Pid)
}
