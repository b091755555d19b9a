package tftp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/late"
	"hostler/spec"
)

// machine is the one declared machine of these tests. Clients on the loopback interface have its address.
var machine = struct {
	mac  fact.MAC
	name fact.NodeName
	addr netip.Addr
}{fact.MAC{0x52, 0x54, 0, 0, 0, 1}, "c0001", netip.MustParseAddr("127.0.0.1")}

// other is a second one, which never asks.
var other = struct {
	mac  fact.MAC
	name fact.NodeName
}{fact.MAC{0x52, 0x54, 0, 0, 0, 2}, "c0002"}

// files are what the loaders of the fleet consist of, by the names that machines know.
var files = map[string][]byte{
	"small.efi": pattern(100),
	"multi.efi": pattern(1400), // two blocks of 512 and a rest
	"exact.efi": pattern(1024), // two blocks of 512: a third, empty one ends it
	"large.efi": pattern(1 << 20),
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> (i / 512 % 3))
	}
	return b
}

func digest(b []byte) fact.Digest {
	h := sha256.Sum256(b)
	return fact.Digest(hex.EncodeToString(h[:]))
}

// snapshotOf is a fleet of one machine that boots lpxelinux.0's way, and the loader files.
func snapshotOf(files map[string][]byte) (*render.Snapshot, error) {
	f := &spec.Fleet{
		Language: 1,
		Images: []spec.Image{{Name: "rocky9", Files: []spec.ImageFile{
			{Role: "kernel", Name: "vmlinuz", File: spec.FileRef{Path: "vmlinuz"}},
		}}},
		Subnets:  []spec.Subnet{{Name: "lab", CIDR: netip.MustParsePrefix("127.0.0.0/8"), DHCP: "full", Unknown: -1}},
		Profiles: []spec.Profile{{Subnet: "lab", Image: "rocky9", Settings: spec.Settings{Boot: spec.BootNet}}},
		Nodes: []spec.Node{{Name: machine.name, Address: "node.c0001", Interfaces: []spec.Interface{
			{Name: "boot", MAC: machine.mac, Subnet: "lab", Addr: machine.addr, Boot: true},
		}}, {Name: other.name, Address: "node.c0002", Interfaces: []spec.Interface{
			{Name: "boot", MAC: other.mac, Subnet: "lab", Addr: netip.MustParseAddr("127.0.0.77"), Boot: true},
		}}},
	}
	artifacts := render.Artifacts{"path:vmlinuz": {Digest: digest([]byte("kernel")), Size: 6}}
	for name, content := range files {
		ref := spec.FileRef{Path: name}
		f.Loaders = append(f.Loaders, spec.Loader{Name: name, Kind: spec.LoaderIPXE, FileName: name, File: ref})
		artifacts[ref.ID()] = render.Artifact{Digest: digest(content), Size: int64(len(content))}
	}
	s, ds := render.Render(f, artifacts, render.Assignments{})
	if ds.HasErrors() {
		return nil, ds
	}
	return s, nil
}

// blobs has the files in memory, unless a test puts something else in their place.
type blobs map[fact.Digest]func() (io.ReadSeekCloser, error)

// opened is a file in memory that counts how many of its kind are open.
type opened struct {
	*bytes.Reader
	count *atomic.Int32
}

func (o opened) Close() error { o.count.Add(-1); return nil }

// memoryBlobs fails the test when a file is open after the server has ended.
func memoryBlobs(t testing.TB, files map[string][]byte) blobs {
	b, count := blobs{}, &atomic.Int32{}
	for _, content := range files {
		b[digest(content)] = func() (io.ReadSeekCloser, error) {
			count.Add(1)
			return opened{bytes.NewReader(content), count}, nil
		}
	}
	t.Cleanup(func() {
		if n := count.Load(); n != 0 {
			t.Errorf("%d files are still open", n)
		}
	})
	return b
}

func (b blobs) Open(d fact.Digest) (io.ReadSeekCloser, error) {
	open, ok := b[d]
	if !ok {
		return nil, errors.New("open /var/lib/hostler/blobs/" + string(d) + ": no such file or directory")
	}
	return open()
}

type leases map[netip.Addr]fact.Lease

func (l leases) Holder(a netip.Addr) (fact.Lease, bool) { v, ok := l[a]; return v, ok }

type boots struct{}

func (boots) Script(fact.MAC, fact.NodeName, netip.Addr, fact.Terms) (fact.BootID, fact.Token, error) {
	return "01JB00T", "T0KEN", nil
}

// events collects what the server reports.
type events struct {
	mu  sync.Mutex
	got []fact.Event
	ch  chan fact.Event
}

func (e *events) add(ev fact.Event) {
	e.mu.Lock()
	e.got = append(e.got, ev)
	e.mu.Unlock()
	e.ch <- ev
}

// next is the next event, which must come soon. Its time, its duration and how much was sent again are taken away: the rest is for comparing.
func (e *events) next(t testing.TB) fact.Event {
	t.Helper()
	select {
	case ev := <-e.ch:
		if ev.Time.IsZero() || ev.Duration < 0 {
			t.Errorf("event at %v took %v", ev.Time, ev.Duration)
		}
		ev.Time, ev.Duration, ev.Resent = time.Time{}, 0, 0
		return ev
	case <-time.After(10 * time.Second):
		t.Fatal("no event came")
		return fact.Event{}
	}
}

// none fails when there are events that the test did not expect.
func (e *events) none(t testing.TB) {
	t.Helper()
	select {
	case ev := <-e.ch:
		t.Errorf("unexpected event: %+v", ev)
	default:
	}
}

type fixture struct {
	*Server
	addr   netip.AddrPort
	events *events
	stop   func() // returns when Serve has
}

// start serves on the loopback interface until the test ends.
func start(t testing.TB, change func(*Config)) fixture {
	t.Helper()
	return startWith(t, files, change)
}

// startWith serves other files.
func startWith(t testing.TB, files map[string][]byte, change func(*Config)) fixture {
	t.Helper()
	snap, err := snapshotOf(files)
	if err != nil {
		t.Fatal(err)
	}
	ev := &events{ch: make(chan fact.Event, 10000)}
	c := Config{
		Addr:    netip.MustParseAddrPort("127.0.0.1:0"),
		Current: func() (*render.Snapshot, fact.Revision) { return snap, "dir@sha256:1" },
		Blobs:   memoryBlobs(t, files),
		Leases:  leases{machine.addr: {Addr: machine.addr, MAC: machine.mac, Node: machine.name, State: fact.Bound}},
		Boots:   boots{},
		Base:    late.Base{Port: 8080},
		Event:   ev.add,
		Log:     slog.New(slog.DiscardHandler),
		Now:     time.Now,
		Drain:   10 * time.Millisecond,
	}
	if change != nil {
		change(&c)
	}
	s, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return fixture{s, s.Addrs()[0], ev, stop}
}
