package tftp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hostler/render"
	client "hostler/render/bootsim/tftp"
	"hostler/render/fact"
	"hostler/servers/late"
)

// The benchmarks run hostler, dnsmasq and tftpd-hpa one after the other as processes of their own in one network namespace, and the
// clients as another process in a second one, with a cable between. This program is hostler and the clients too, when
// these variables say so.
const (
	roleServe = "HOSTLER_TFTP_SERVE" // the folder with the file
	roleFetch = "HOSTLER_TFTP_FETCH" // a load as JSON
)

const benchSize = 100 << 20

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(roleServe) != "":
		os.Exit(status(benchServe(os.Getenv(roleServe))))
	case os.Getenv(roleFetch) != "":
		os.Exit(status(benchFetch(os.Getenv(roleFetch))))
	}
	os.Exit(m.Run())
}

func status(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// benchServe serves the folder's files until it is killed.
func benchServe(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.bin"))
	if err != nil {
		return err
	}
	found, paths := map[string][]byte{}, folder{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		found[filepath.Base(name)], paths[digest(b)] = b, name
	}
	snap, err := snapshotOf(found)
	if err != nil {
		return err
	}
	clear(found)
	s, err := Listen(Config{
		Current: func() (*render.Snapshot, fact.Revision) { return snap, "bench" }, Blobs: paths, Leases: leases{}, Boots: boots{},
		Base: late.Base{Port: 8080}, Event: func(fact.Event) {}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Now: time.Now,
		SinglePort: os.Getenv("HOSTLER_TFTP_SINGLE") != "", MaxPerClient: 1000,
	})
	if err != nil {
		return err
	}
	return s.Serve(context.Background())
}

// folder has files on disk, as the reconciler does.
type folder map[fact.Digest]string

func (f folder) Open(d fact.Digest) (io.ReadSeekCloser, error) { return os.Open(f[d]) }

// load is what the clients do.
type load struct {
	Server  netip.AddrPort
	File    string
	Clients int
	Block   int
	Window  int
	Sum     string // of the file
}

// benchFetch lets the clients read the file, each all of it, and checks what they got.
func benchFetch(text string) error {
	var l load
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return err
	}
	errs := make([]error, l.Clients)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = l.fetch() })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *load) fetch() error {
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	f, err := client.Open(conn, l.Server, client.Request{Name: l.File, BlockSize: l.Block, Window: l.Window, Tries: 20})
	if err != nil {
		return err
	}
	h := sha256.New()
	if l.Sum == "" {
		_, err = io.Copy(io.Discard, f)
		return err
	}
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != l.Sum {
		return fmt.Errorf("got other content: %s", got)
	}
	return nil
}

// cable is two namespaces, and a link between them: servers have 10.3.0.1, clients 10.3.0.2.
type cable struct {
	t    testing.TB
	near string // process ids
	far  string
	dir  string
}

func newCable(t testing.TB) *cable {
	c := &cable{t: t, near: namespace(t), far: namespace(t), dir: t.TempDir()}
	for _, args := range [][]string{
		{c.near, "link", "set", "lo", "up"},
		{c.near, "link", "add", "srv", "type", "veth", "peer", "name", "cli", "netns", c.far},
		{c.near, "addr", "add", "10.3.0.1/24", "dev", "srv"},
		{c.near, "link", "set", "srv", "up"},
		{c.far, "addr", "add", "10.3.0.2/24", "dev", "cli"},
		{c.far, "link", "set", "cli", "up"},
	} {
		if out, err := inside(args[0], append([]string{"ip"}, args[1:]...)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args[1:], err, out)
		}
	}
	if err := os.Chmod(c.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return c
}

// file makes a file of that size, and gives its digest.
func (c *cable) file(name string, size int) string {
	b := bytes.Repeat(pattern(1<<20), size>>20+1)[:size]
	if err := os.WriteFile(filepath.Join(c.dir, name), b, 0o644); err != nil {
		c.t.Fatal(err)
	}
	return string(digest(b))
}

// inside runs a command in the network namespace of a process.
func inside(pid string, args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"-t", pid, "-n", "--"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// contenders are the servers, by name.
func (c *cable) contenders() []contender {
	self := func(env ...string) func() *exec.Cmd {
		return func() *exec.Cmd {
			cmd := inside(c.near, os.Args[0])
			cmd.Env = append(append(os.Environ(), roleServe+"="+c.dir), env...)
			return cmd
		}
	}
	return []contender{
		{"hostler", self()},
		{"hostler-single-port", self("HOSTLER_TFTP_SINGLE=1")},
		{"dnsmasq", func() *exec.Cmd {
			return inside(c.near, "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--enable-tftp", "--tftp-root="+c.dir,
				"--user=root", "--pid-file=", "--log-facility=/dev/null", "--tftp-max=1000")
		}},
		{"tftpd-hpa", func() *exec.Cmd {
			return inside(c.near, hpa(), "--foreground", "--listen", "--address", "10.3.0.1:69", "--user", "root", "--secure", c.dir)
		}},
	}
}

type contender struct {
	name  string
	serve func() *exec.Cmd
}

// hpa is where tftpd-hpa is: installed, or unpacked by testdata/lab/install.sh, so that it does not begin to serve.
func hpa() string {
	if path, err := exec.LookPath("in.tftpd"); err == nil {
		return path
	}
	cache, _ := os.UserCacheDir()
	return filepath.Join(cache, "hostler-lab", "guest", "tftpd-hpa", "usr", "sbin", "in.tftpd")
}

// with runs a server until f returns.
func (c *cable) with(b testing.TB, s contender, f func()) {
	cmd := s.serve()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
		if b.Failed() {
			b.Logf("%s: %s", s.name, &out)
		}
	}()
	for try := 0; ; try++ { // until it answers
		err := c.fetch(load{File: "ready.bin", Clients: 1, Block: 512})
		if err == nil {
			break
		}
		if try == 20 {
			b.Fatalf("%s does not serve: %v", s.name, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	f()
}

// fetch runs the clients at the other end.
func (c *cable) fetch(l load) error {
	l.Server = netip.MustParseAddrPort("10.3.0.1:69")
	return l.run(c.far)
}

// run runs the clients in the network namespace of a process.
func (l *load) run(pid string) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	cmd := inside(pid, os.Args[0])
	cmd.Env = append(os.Environ(), roleFetch+"="+string(text))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// BenchmarkPeers reads 100 MB in blocks of 1,428 bytes: by one client, and by 100 clients a hundredth each.
func BenchmarkPeers(b *testing.B) {
	c := newCable(b)
	c.file("ready.bin", 1)
	c.file("large.bin", benchSize)
	c.file("part.bin", benchSize/100)
	for _, l := range []load{
		{File: "large.bin", Clients: 1, Block: 1428},
		{File: "part.bin", Clients: 100, Block: 1428},
		{File: "large.bin", Clients: 1, Block: 1428, Window: 16},
	} {
		for _, s := range c.contenders() {
			if l.Window > 0 && !strings.HasPrefix(s.name, "hostler") {
				continue // they have no windows
			}
			b.Run(fmt.Sprintf("clients=%d/window=%d/%s", l.Clients, max(l.Window, 1), s.name), func(b *testing.B) {
				c.with(b, s, func() {
					b.SetBytes(benchSize)
					for b.Loop() {
						if err := c.fetch(l); err != nil {
							b.Fatal(err)
						}
					}
				})
			})
		}
	}
}

// BenchmarkDelay reads 4 MB through a link where packets take half a millisecond in each direction: one block at a time, and in windows.
func BenchmarkDelay(b *testing.B) {
	l := newLink(b, time.Millisecond/2, 0, 0)
	dir := b.TempDir()
	const size = 4 << 20
	if err := os.WriteFile(filepath.Join(dir, "file.bin"), pattern(size), 0o644); err != nil {
		b.Fatal(err)
	}
	srv := inside(l.near, os.Args[0])
	srv.Env = append(os.Environ(), roleServe+"="+dir)
	if err := srv.Start(); err != nil {
		b.Fatal(err)
	}
	defer srv.Wait()
	defer srv.Process.Kill()
	for _, window := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				load := load{Server: netip.MustParseAddrPort("10.4.0.1:69"), File: "file.bin", Clients: 1, Block: 1428, Window: window}
				if err := load.run(l.far); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
