package tftp

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// A client that heard nothing repeats its request. There must be one transfer, undisturbed: an ERROR for the second
// request would reach a client that still waits for its first packet.
func TestRepeatedRequest(t *testing.T) {
	srv := start(t, nil)
	p := newPeer(t, srv.addr)
	first := p.to
	for range 3 {
		p.to = first
		p.send("RRQ small.efi octet tsize=0")
	}
	got := []string{p.receive(2 * time.Second), p.receive(200 * time.Millisecond)}
	if diff := cmp.Diff([]string{"OACK tsize=100", "nothing"}, got); diff != "" {
		t.Fatalf("answers to a request that was sent three times (-want +got):\n%s", diff)
	}
	p.send("ACK 0")
	if got, want := p.receive(2*time.Second), "DATA 1, 100 bytes (last)"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	p.send("ACK 1")
	if e := srv.events.next(t); e.Result != fact.OK || e.Bytes != 100 {
		t.Errorf("event %+v", e)
	}
	srv.stop()
	srv.events.none(t)
	if got := srv.State(); got.Requests != 3 || got.Repeated != 2 || got.OK != 1 {
		t.Errorf("%+v", got)
	}
}

// Some clients send probe and request from the same port, the second while the server still looks at the abort.
func TestProbeAndRequestFromOnePort(t *testing.T) {
	srv := start(t, nil)
	for range 50 {
		p := newPeer(t, srv.addr)
		port69 := p.to
		p.send("RRQ small.efi octet tsize=0")
		if got := p.receive(2 * time.Second); got != "OACK tsize=100" {
			t.Fatal(got)
		}
		p.send("ERROR 8 User aborted the transfer")
		p.to = port69
		p.send("RRQ small.efi octet blksize=600")
		got := p.receive(2 * time.Second)
		if got != "OACK blksize=600" {
			t.Fatal(got)
		}
		p.send("ACK 0")
		if got = p.receive(2 * time.Second); got != "DATA 1, 100 bytes (last)" {
			t.Fatal(got)
		}
		p.send("ACK 1")
		if a, b := srv.events.next(t).Result, srv.events.next(t).Result; a != fact.Probe || b != fact.OK {
			t.Fatalf("results %s and %s, want probe and ok", a, b)
		}
	}
}

func TestMachineThatVanishes(t *testing.T) {
	srv := start(t, func(c *Config) { c.Timeout = 20 * time.Millisecond })
	t.Run("after the option acknowledgement", func(t *testing.T) {
		newPeer(t, srv.addr).send("RRQ small.efi octet tsize=0")
		want := event(fact.Failed, 0, "the machine did not acknowledge the first packet")
		if diff := cmp.Diff(want, srv.events.next(t), addrs); diff != "" {
			t.Errorf("event (-want +got):\n%s", diff)
		}
	})
	t.Run("after a size probe", func(t *testing.T) { // it says nothing, and asks for the content from another port
		probe := newPeer(t, srv.addr)
		probe.send("RRQ small.efi octet tsize=0")
		probe.receive(2 * time.Second)
		if _, e := newPeer(t, srv.addr).fetch("RRQ small.efi octet"); e != "" {
			t.Fatal(e)
		}
		got := []fact.Event{srv.events.next(t), srv.events.next(t)}
		if diff := cmp.Diff([]fact.Event{event(fact.OK, 100, ""), event(fact.Probe, 0, "")}, got, addrs); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
	t.Run("in the middle", func(t *testing.T) {
		p := newPeer(t, srv.addr)
		p.send("RRQ multi.efi octet")
		p.receive(2 * time.Second)
		p.send("ACK 1")
		want := event(fact.Failed, 1024, "the machine stopped answering after 1024 of 1400 bytes")
		want.File = "multi.efi"
		if diff := cmp.Diff(want, srv.events.next(t), addrs); diff != "" {
			t.Errorf("event (-want +got):\n%s", diff)
		}
	})
}

var addrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func event(r fact.Result, bytes int64, detail string) fact.Event {
	return fact.Event{
		MAC: machine.mac, Node: machine.name, Revision: "dir@sha256:1", Stage: fact.StageLoader, What: "Read Request",
		File: "small.efi", Peer: machine.addr, Bytes: bytes, Result: r, Detail: detail,
	}
}

// Whoever is over a bound hears nothing, and is served when it asks again.
func TestLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		detail string
	}{
		"of one client": {func(c *Config) { c.MaxPerClient = 2 }, "too many transfers of one client at once"},
		"of all":        {func(c *Config) { c.MaxTransfers = 2 }, "too many transfers at once"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := start(t, func(c *Config) { tt.change(c) })
			var busy []*peer
			for range 2 {
				p := newPeer(t, srv.addr)
				p.send("RRQ multi.efi octet")
				p.receive(2 * time.Second)
				p.send("ACK 1")
				p.receive(2 * time.Second)
				busy = append(busy, p)
			}
			p := newPeer(t, srv.addr)
			p.send("RRQ small.efi octet")
			want := event(fact.Refused, 0, tt.detail)
			want.MAC, want.Node, want.Revision = fact.MAC{}, "", ""
			if diff := cmp.Diff(want, srv.events.next(t), addrs); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
			if got := p.receive(20 * time.Millisecond); got != "nothing" {
				t.Errorf("the third request: %s", got)
			}
			busy[0].send("ERROR 0 stop")
			srv.events.next(t)
			if _, got := p.fetch("RRQ small.efi octet"); got != "" {
				t.Errorf("when there is room: %s", got)
			}
		})
	}
}

// A flood of requests from machines that do not exist fills every place; a real one is served nevertheless.
func TestFlood(t *testing.T) {
	srv := start(t, func(c *Config) { c.MaxTransfers, c.MaxPerClient = 4, 100 })
	for range 50 {
		newPeer(t, srv.addr).send("RRQ small.efi octet")
	}
	stillServes(t, srv) // it asks again when it hears nothing
	if n := srv.State().Running; n > 4 {
		t.Errorf("%d transfers are running", n)
	}
}

// TestNothingStays holds that a transfer leaves nothing behind in memory: a server answers millions.
func TestNothingStays(t *testing.T) {
	srv := start(t, func(c *Config) { c.MaxTransfers = 8 })
	p := newPeer(t, srv.addr)
	port69 := p.to
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	probes := func(n int) {
		for range n {
			p.to = port69
			p.send("RRQ large.efi octet tsize=0")
			if got := p.receive(2 * time.Second); got != "OACK tsize=1048576" {
				t.Fatal(got)
			}
			p.send("ERROR 8 User aborted the transfer")
			if e := srv.events.next(t); e.Result != fact.Probe {
				t.Fatal(e)
			}
		}
	}
	probes(20)
	before := heap()
	probes(500)
	if after := heap(); after > before+4<<20 { // each has read 32 KiB
		t.Errorf("500 transfers left %d KiB", (after-before)>>10)
	}
}

// breaking is a file whose reading goes wrong after the first bytes.
type breaking struct {
	*bytes.Reader
	left int
	fail func() error
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, b.fail()
	}
	n, err := b.Reader.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (b *breaking) Close() error { return nil }

func TestBadFiles(t *testing.T) {
	secret := &os.PathError{Op: "read", Path: "/var/lib/hostler/blobs/x", Err: errors.New("input/output error")}
	broken := func(fail func() error) func() (io.ReadSeekCloser, error) {
		return func() (io.ReadSeekCloser, error) {
			return &breaking{bytes.NewReader(files["multi.efi"]), 600, fail}, nil
		}
	}
	for name, tt := range map[string]struct {
		open   func() (io.ReadSeekCloser, error)
		client string
		result fact.Result
		event  string
		bytes  int64
	}{
		"missing": {
			func() (io.ReadSeekCloser, error) { return nil, secret },
			"ERROR 1 file not found", fact.Refused, "opening the file: see the log", 0,
		},
		"truncated": {
			func() (io.ReadSeekCloser, error) { return nopCloser{bytes.NewReader(nil)}, nil },
			"ERROR 1 file not found", fact.Refused, "opening the file: see the log", 0,
		},
		"breaks while it is read": {
			broken(func() error { return secret }),
			"ERROR 0 internal error", fact.Failed, secret.Error(), 512,
		},
		"panics while it is opened": {
			func() (io.ReadSeekCloser, error) { panic(secret) },
			"ERROR 0 internal error", fact.Failed, "internal error", 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			blobs := memoryBlobs(t, files)
			blobs[digest(files["multi.efi"])] = tt.open
			srv := start(t, func(c *Config) { c.Blobs = blobs })
			if _, got := newPeer(t, srv.addr).fetch("RRQ multi.efi octet"); got != tt.client {
				t.Errorf("the client got %q, want %q", got, tt.client)
			}
			want := event(tt.result, tt.bytes, tt.event)
			want.File = "multi.efi"
			if name == "panics while it is opened" {
				want.MAC, want.Node, want.Revision = fact.MAC{}, "", "" // it got no further
			}
			if diff := cmp.Diff(want, srv.events.next(t), addrs); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
			if _, got := newPeer(t, srv.addr).fetch("RRQ small.efi octet"); got != "" {
				t.Errorf("the next request: %s", got)
			}
		})
	}
}

// A panic while reading ahead, in another goroutine, must not end the process either.
func TestPanicWhileReading(t *testing.T) {
	blobs := memoryBlobs(t, files)
	blobs[digest(files["large.efi"])] = func() (io.ReadSeekCloser, error) {
		return &breaking{bytes.NewReader(files["large.efi"]), 100_000, func() error { panic("disk") }}, nil
	}
	srv := start(t, func(c *Config) { c.Blobs = blobs })
	if _, got := newPeer(t, srv.addr).fetch("RRQ large.efi octet"); got != "ERROR 0 internal error" {
		t.Error(got)
	}
	got := srv.events.next(t)
	want := event(fact.Failed, got.Bytes, "internal error")
	want.File = "large.efi"
	if diff := cmp.Diff(want, got, addrs); diff != "" || got.Bytes > 100_000 || got.Bytes < 50_000 {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestNoRevisionYet(t *testing.T) {
	srv := start(t, func(c *Config) {
		c.Current = func() (*render.Snapshot, fact.Revision) { return nil, "" }
	})
	if _, got := newPeer(t, srv.addr).fetch("RRQ small.efi octet"); got != "ERROR 1 file not found" {
		t.Error(got)
	}
	want := event(fact.Refused, 0, "no revision is in force yet")
	want.Revision = ""
	if diff := cmp.Diff(want, srv.events.next(t), addrs); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

// A generated configuration carries this server's address and the boot's token.
func TestGenerated(t *testing.T) {
	other := netip.MustParseAddr("127.0.0.9")
	for name, tt := range map[string]struct {
		known leases
		from  netip.Addr
		boot  string
		mac   fact.MAC
		node  fact.NodeName
	}{
		"to the machine with the lease": {
			leases{other: {MAC: machine.mac, Node: machine.name}}, other, "01JB00T.T0KEN", machine.mac, machine.name,
		},
		"to a machine whose declared address another server assigned": {
			leases{}, machine.addr, "01JB00T.T0KEN", machine.mac, machine.name,
		},
		"to anybody else, who gets no token": {
			leases{}, other, "none", fact.MAC{}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := start(t, func(c *Config) { c.Leases = tt.known })
			got, e := newPeerAt(t, srv.addr, tt.from).fetch("RRQ pxelinux.cfg/01-52-54-00-00-00-01 octet")
			if e != "" {
				t.Fatal(e)
			}
			for _, want := range []string{
				"http://127.0.0.1:8080/files/" + string(digest([]byte("kernel"))) + "/vmlinuz",
				"hostler.boot=" + tt.boot + "\n",
			} {
				if !strings.Contains(string(got), want) {
					t.Errorf("%s is missing in:\n%s", want, got)
				}
			}
			ev := srv.events.next(t)
			if ev.Boot != fact.BootID(strings.TrimSuffix(strings.TrimSuffix(tt.boot, ".T0KEN"), "none")) || ev.MAC != tt.mac || ev.Node != tt.node || ev.Stage != fact.StageScript {
				t.Errorf("event %+v", ev)
			}
		})
	}
}

// A boot that began before the current revision gets the files that it was told to fetch, by their digest, and nothing else of then.
func TestPinnedFiles(t *testing.T) {
	srv := start(t, func(c *Config) {
		then, err := snapshotOf(files)
		if err != nil {
			t.Fatal(err)
		}
		now, ds := render.Render(&spec.Fleet{Language: 1}, nil, render.Assignments{})
		if now == nil {
			t.Fatal(ds)
		}
		c.Current = func() (*render.Snapshot, fact.Revision) { return now, "dir@sha256:2" }
		c.Older = func() []*render.Snapshot { return []*render.Snapshot{then} }
	})
	for name, want := range map[string]string{
		"files/" + string(digest(files["multi.efi"])) + "/vmlinuz": string(files["multi.efi"]),
		"multi.efi": "",
		"files/" + string(digest([]byte("nothing"))) + "/vmlinuz": "",
		"pxelinux.cfg/01-52-54-00-00-00-01":                       "",
	} {
		got, e := newPeer(t, srv.addr).fetch("RRQ " + name + " octet")
		if string(got) != want || (e == "") != (want != "") {
			t.Errorf("%s: %d bytes, %q", name, len(got), e)
		}
		srv.events.next(t)
	}
}

// A transfer that hangs must not hold up the end, nor leave its socket behind.
func TestStop(t *testing.T) {
	descriptors := func() int {
		all, err := filepath.Glob("/proc/self/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before, goroutines := descriptors(), runtime.NumGoroutine()
	srv := start(t, func(c *Config) { c.Timeout = 50 * time.Millisecond })
	peers := []*peer{newPeer(t, srv.addr), newPeer(t, srv.addr)}
	peers[0].send("RRQ large.efi octet")
	peers[1].send("RRQ large.efi octet tsize=0")
	for _, p := range peers {
		p.receive(2 * time.Second)
	}
	srv.stop()
	for _, p := range peers {
		p.conn.Close()
	}
	if after := descriptors(); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	// A goroutine that has said that it is done is counted until it has returned.
	for try := 0; runtime.NumGoroutine() > goroutines && try < 500; try++ {
		time.Sleep(10 * time.Millisecond)
	}
	if after := runtime.NumGoroutine(); after > goroutines {
		t.Errorf("%d goroutines before, %d after", goroutines, after)
	}
}

// A disk that hangs must not hold up the end either.
func TestStopWithoutDisk(t *testing.T) {
	hangs, asked := make(chan bool), make(chan bool)
	defer close(hangs)
	files := map[string][]byte{"small.efi": []byte("loader")}
	srv := startWith(t, files, func(c *Config) {
		c.Blobs = blobs{digest(files["small.efi"]): func() (io.ReadSeekCloser, error) {
			close(asked)
			<-hangs
			return nil, errors.New("input/output error")
		}}
	})
	newPeer(t, srv.addr).send("RRQ small.efi octet")
	<-asked
	srv.stop()
}

// TestLeaseOfAnEarlierNode: a machine that the node was once keeps its lease for a while, and gets nothing of the node's.
func TestLeaseOfAnEarlierNode(t *testing.T) {
	from := netip.MustParseAddr("127.0.0.9")
	srv := start(t, func(c *Config) {
		c.Leases = leases{from: {MAC: fact.MAC{0x52, 0x54, 0, 0, 0, 0x99}, Node: machine.name}}
	})
	got, e := newPeerAt(t, srv.addr, from).fetch("RRQ " + string(machine.name) + "/pxelinux.cfg/01-52-54-00-00-00-01 octet")
	if e == "" || len(got) > 0 {
		t.Errorf("%s, %q", got, e)
	}
	if ev := srv.events.next(t); ev.Node != "" || ev.Boot != "" {
		t.Errorf("event %+v", ev)
	}
}
