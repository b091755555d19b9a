package tftp

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestDnsmasq sends the same packets to hostler and to dnsmasq and holds what comes back from both against
// testdata/dnsmasq.txt:
//
//	# a case
//	> a packet of the client; a request comes from a new port, to the server's port; "again" is the request once more, "!" another client
//	< the packet of both servers, or "nothing"
//	hostler < and dnsmasq < where they differ; then a line before says why
//
// Texts of errors are left out: dnsmasq's name the path of the file and the client.
func TestDnsmasq(t *testing.T) {
	if !insideNamespace(t) {
		return
	}
	for _, args := range [][]string{{"link", "set", "lo", "mtu", "1500", "up"}, {"addr", "add", "127.0.0.2/8", "dev", "lo"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	dir := t.TempDir()
	files := map[string][]byte{
		"small.bin": pattern(100), "multi.bin": pattern(1400), "exact.bin": pattern(1024), "empty.bin": nil, "dir/file.bin": pattern(10),
		"text.bin": []byte("one\ntwo\r\nthree\n"),
	}
	for name, content := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	theirs := netip.MustParseAddrPort("127.0.0.2:69")
	cmd := exec.Command("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--enable-tftp", "--tftp-root="+dir,
		"--user=root", "--pid-file=", "--tftp-max=1000", "--listen-address=127.0.0.2", "--bind-interfaces")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	ours := startWith(t, files, func(c *Config) { c.Addr, c.MaxPerClient = netip.MustParseAddrPort("127.0.0.1:69"), 1000 })
	for try := 0; try < 50 && newPeer(t, theirs).ask("RRQ small.bin octet") == "nothing"; try++ {
	}

	const golden = "testdata/dnsmasq.txt"
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	got := compare(t, string(want), ours.addr, theirs)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("behaviour differs (-want +got):\n%s\n%s", diff, &log)
	}
}

// compare plays the client's lines of a script against both servers and writes it anew with their answers.
func compare(t *testing.T, script string, ours, theirs netip.AddrPort) string {
	var out strings.Builder
	a, b := &conversation{t: t, server: ours}, &conversation{t: t, server: theirs}
	why := ""
	for line := range strings.Lines(script) {
		switch {
		case strings.HasPrefix(line, "> "):
			out.WriteString(line)
			sent := strings.TrimSpace(line[2:])
			x, y := a.say(sent), b.say(sent)
			if x == y {
				out.WriteString("< " + x + "\n")
				why = ""
				continue
			}
			if why == "" {
				t.Errorf("after %q: hostler says %q, dnsmasq says %q, and nothing says why", sent, x, y)
			}
			out.WriteString("hostler < " + x + "\ndnsmasq < " + y + "\n")
		case strings.HasPrefix(line, "why: "):
			why = line
			out.WriteString(line)
		case strings.HasPrefix(line, "<"), strings.HasPrefix(line, "hostler <"), strings.HasPrefix(line, "dnsmasq <"):
		default:
			out.WriteString(line)
		}
	}
	return out.String()
}

// conversation is one client's with one server.
type conversation struct {
	t       *testing.T
	server  netip.AddrPort
	p       *peer
	request string
}

func (c *conversation) say(line string) string {
	switch first, rest, _ := strings.Cut(line, " "); {
	case first == "again":
		to := c.p.to
		c.p.to = c.server
		c.p.send(c.request)
		c.p.to = to
		return c.p.hear()
	case first == "!":
		stranger := newPeer(c.t, c.p.to)
		return stranger.ask(rest)
	case first != "ACK" && first != "ERROR" || c.p == nil || strings.HasSuffix(line, "to port 69"):
		if c.p != nil {
			c.p.conn.Close() // what is still coming is not ours
		}
		c.p, c.request = newPeer(c.t, c.server), strings.TrimSuffix(line, " to port 69")
		return c.p.ask(c.request)
	}
	return c.p.ask(line)
}

func (p *peer) ask(line string) string {
	p.send(line)
	return p.hear()
}

// hear is the next packet, without the text of an error, and with DATA's content if it is short.
func (p *peer) hear() string {
	got := p.receive(150 * time.Millisecond)
	if f := strings.Fields(got); f[0] == "ERROR" {
		return "ERROR " + f[1]
	}
	return got
}

// insideNamespace runs the calling test again as another process in a network namespace of its own, and reports whether this is it.
func insideNamespace(t *testing.T) bool {
	if os.Getenv("HOSTLER_TEST_NAMESPACE") != "" {
		return true
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v", "-test.timeout=2m"}
	if *update {
		args = append(args, "-update")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "HOSTLER_TEST_NAMESPACE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("in the namespace: %v\n%s", err, out)
	}
	return false
}
