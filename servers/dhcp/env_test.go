package dhcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler/reconcile/ledger"
	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/late"
	"hostler/spec"
)

func span(first, last string) fact.Range { return fact.Range{First: addr(first), Last: addr(last)} }

// testFleet has a subnet "lab" that keeps silent towards strangers, with one declared address and one node from the pool, and a
// subnet "open" for anybody, also behind the relay agent 10.79.0.2.
func testFleet() *spec.Fleet {
	node := func(name, mac, address string) spec.Node {
		m, err := fact.ParseMAC(mac)
		if err != nil {
			panic(err)
		}
		a, _ := netip.ParseAddr(address)
		return spec.Node{Name: fact.NodeName(name), Address: "node." + name,
			Interfaces: []spec.Interface{{Name: "boot", MAC: m, Subnet: "lab", Addr: a, Boot: true}}}
	}
	settings := spec.Settings{Boot: spec.BootNet, Lease: spec.Lease{Default: 10 * time.Minute}}
	return &spec.Fleet{
		Language: 1,
		Loaders: []spec.Loader{
			{Name: "ipxe-bios", Kind: spec.LoaderIPXE, ClientArch: []fact.Arch{0}, FileName: "undionly.kpxe", File: spec.FileRef{Builtin: "undionly.kpxe"}, Builtin: true},
			{Name: "ipxe-uefi", Kind: spec.LoaderIPXE, ClientArch: []fact.Arch{7, 9}, FileName: "ipxe.efi", File: spec.FileRef{Builtin: "ipxe.efi"}, Builtin: true},
		},
		Subnets: []spec.Subnet{
			{Name: "lab", CIDR: netip.MustParsePrefix("10.77.0.0/24"), Gateway: addr("10.77.0.254"), DHCP: "full", Authoritative: true, Unknown: -1, Default: 0,
				Pools: []spec.Pool{{Name: "boot", Ranges: []fact.Range{span("10.77.0.100", "10.77.0.102")}, Serves: spec.ServesBoot}}},
			{Name: "open", CIDR: netip.MustParsePrefix("10.78.0.0/16"), DHCP: "full", Authoritative: true, Unknown: 1, Default: 1, Relays: []netip.Addr{addr("10.79.0.2")},
				Pools: []spec.Pool{{Name: "any", Ranges: []fact.Range{span("10.78.1.0", "10.78.250.255")}, Serves: spec.ServesAny}}},
		},
		Profiles: []spec.Profile{{Subnet: "lab", Settings: settings}, {Subnet: "open", Settings: settings}},
		Nodes:    []spec.Node{node("n1", "52:54:00:77:00:01", "10.77.0.11"), node("n2", "52:54:00:77:00:02", "")},
	}
}

const testRevision = fact.Revision("main@sha1:0123456789abcdef0123456789abcdef01234567")

// current renders a fleet once.
func current(t testing.TB, f *spec.Fleet) func() (*render.Snapshot, fact.Revision) {
	t.Helper()
	s, ds := render.Render(f, render.Artifacts{
		"builtin:undionly.kpxe": {Digest: fact.Digest(strings.Repeat("1", 64)), Size: 70000},
		"builtin:ipxe.efi":      {Digest: fact.Digest(strings.Repeat("2", 64)), Size: 1000000},
	}, render.Assignments{})
	if s == nil {
		t.Fatal(ds)
	}
	return func() (*render.Snapshot, fact.Revision) { return s, testRevision }
}

// testLeases are real leases on a disk that a test may make slow, or break.
type testLeases struct {
	*ledger.Leases
	disk func(write func(error)) // nil: at once
}

func newLeases(t testing.TB) *testLeases {
	t.Helper()
	dir := t.TempDir()
	store, err := ledger.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.OpenLeases(filepath.Join(dir, "leases"), store, ledger.SystemClock(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(l.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	return &testLeases{Leases: l}
}

func (l *testLeases) Bind(lease fact.Lease, done func(error)) {
	write := func(err error) {
		if err != nil {
			done(err)
			return
		}
		l.Leases.Bind(lease, done)
	}
	if l.disk == nil {
		write(nil)
		return
	}
	l.disk(write)
}

// recorder keeps events and log lines, so that a test can wait for them.
type recorder struct {
	mu     sync.Mutex
	events []fact.Event
	log    strings.Builder
	more   chan struct{} // closed and replaced when something was added
}

func newRecorder() *recorder { return &recorder{more: make(chan struct{})} }

func (r *recorder) add(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.more)
	r.more = make(chan struct{})
}

func (r *recorder) event(e fact.Event) { r.add(func() { r.events = append(r.events, e) }) }

func (r *recorder) Write(b []byte) (n int, err error) {
	r.add(func() { n, err = r.log.Write(b) })
	return n, err
}

// wait waits until something holds of what was recorded.
func (r *recorder) wait(t testing.TB, what string, holds func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		r.mu.Lock()
		ok, more := holds(), r.more
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-more:
		case <-timeout:
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Fatalf("waiting for %s: events:\n%s\nlog:\n%s", what, describe(r.events...), r.log.String())
		}
	}
}

// waitEvent waits for the event of one message of a transaction.
func (r *recorder) waitEvent(t testing.TB, xid uint32, what string) (e fact.Event) {
	t.Helper()
	r.wait(t, what, func() bool {
		i := slices.IndexFunc(r.events, func(e fact.Event) bool { return e.Xid == xid && e.What == what })
		if i >= 0 {
			e = r.events[i]
		}
		return i >= 0
	})
	return e
}

func (r *recorder) waitLog(t testing.TB, part string) {
	t.Helper()
	r.wait(t, "a log line with "+part, func() bool { return strings.Contains(r.log.String(), part) })
}

// said is every event so far, as text.
func (r *recorder) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return describe(r.events...)
}

// describe writes events as text, without times.
func describe(events ...fact.Event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%s %s %s %s %s", e.What, e.Stage, e.Client, e.MAC, e.Result)
		for _, s := range []string{string(e.Node), e.Revision.Short(), e.File, e.Detail} {
			if s != "" {
				b.WriteString(" | " + s)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// served is a running server with what it reported.
type served struct {
	*Server
	*recorder
	leases *testLeases
}

// serve runs a server until the test ends. change may be nil.
func serve(t testing.TB, change func(*Config), interfaces ...string) *served {
	t.Helper()
	s := &served{recorder: newRecorder(), leases: newLeases(t)}
	cfg := s.config(t, interfaces...)
	if change != nil {
		change(&cfg)
	}
	var err error
	if s.Server, err = Listen(cfg); err != nil {
		t.Fatal(err)
	}
	serveOn(t, s)
	return s
}

// serveOn serves on a server's open sockets until the test ends.
func serveOn(t testing.TB, s *served) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func (s *served) config(t testing.TB, interfaces ...string) Config {
	return Config{
		Interfaces: interfaces, Current: current(t, testFleet()), Leases: s.leases, Event: s.recorder.event,
		Base: late.Base{Port: 8080}, Log: slog.New(slog.NewTextHandler(s.recorder, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}
