package inbox

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/render/fact"
)

var (
	noon  = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	addrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	quiet = slog.New(slog.DiscardHandler)
)

func nobody(fact.MAC) bool { return false }

func open(t *testing.T) (*Inbox, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "inbox.json")
	return Open(path, quiet), path
}

func mac(n int) fact.MAC { return fact.MAC{0x00, 0x00, 0x0c, byte(n >> 16), byte(n >> 8), byte(n)} }

// asks is a DISCOVER of a machine that nobody declared.
func asks(n int, at time.Duration) *fact.Event {
	return &fact.Event{Time: noon.Add(at), MAC: mac(n), Subnet: "lab", Stage: fact.StageDiscover, Result: fact.Refused, Said: &fact.Said{Arch: 7}}
}

// A rack is plugged in: what the inbox says of a machine that boots the discovery image through a relay agent, and comes back an hour later.
func TestRecord(t *testing.T) {
	b, _ := open(t)
	said := &fact.Said{Arch: 7, UUID: "4c4c4544-0051-3010-8057-b5c04f4d3233", VendorClass: "PXEClient:Arch:00007:UNDI:003016",
		Relay: netip.MustParseAddr("10.0.0.2"), Circuit: "vlan 10 port 1/7", Remote: "sw-r1"}
	at := func(d time.Duration, e fact.Event) {
		e.Time, e.MAC, e.Subnet, e.Result = noon.Add(d), mac(1), "lab", fact.OK
		b.Record(&e)
	}
	at(0, fact.Event{Stage: fact.StageDiscover, Said: said})
	at(time.Second, fact.Event{Stage: fact.StageOffer})
	at(2*time.Second, fact.Event{Stage: fact.StageRequest, Said: said})
	at(4*time.Second, fact.Event{Stage: fact.StageLoader})
	at(9*time.Second, fact.Event{Stage: fact.StageScript, Peer: netip.MustParseAddr("10.0.0.200")})
	at(time.Hour, fact.Event{Stage: fact.StageRequest, Said: &fact.Said{Arch: fact.NoArch, VendorClass: "udhcp 1.36", Hostname: "inventory",
		Relay: said.Relay, Circuit: "vlan 10 port 1/9", Remote: "sw-r1"}})
	b.Record(&fact.Event{Time: noon, MAC: mac(2), Node: "n2", Stage: fact.StageDiscover, Said: said}) // declared
	b.Record(&fact.Event{Time: noon, Said: said})                                                     // nobody's
	b.Record(&fact.Event{Time: noon, MAC: mac(3), Stage: fact.StageAck})                              // forgotten

	want := []Machine{{
		MAC: mac(1), Vendor: "Cisco Systems", Arch: "x86_64-uefi", UUID: said.UUID, VendorClass: said.VendorClass, Hostname: "inventory", Subnet: "lab",
		Relay: said.Relay, Circuit: "vlan 10 port 1/9", Remote: "sw-r1", Peer: netip.MustParseAddr("10.0.0.200"),
		First: noon, Last: noon.Add(time.Hour), Requests: 4, Visits: 2, Stage: fact.StageScript,
	}}
	if diff := cmp.Diff(want, b.List(nobody), addrs); diff != "" {
		t.Error(diff)
	}
	if got := b.List(func(m fact.MAC) bool { return m == mac(1) }); len(got) != 0 {
		t.Errorf("a machine that is declared by now is listed: %v", got)
	}
}

// A hundred thousand addresses that somebody made up fill the inbox and no more. What came back, or got somewhere, is still there; of the
// rest the last ones are.
func TestFlood(t *testing.T) {
	b, _ := open(t)
	for n := range 100 {
		b.Record(asks(n, 0))
		b.Record(asks(n, time.Hour)) // was there again
	}
	for n := 100; n < 200; n++ {
		b.Record(asks(n, time.Hour))
		b.Record(&fact.Event{Time: noon.Add(time.Hour), MAC: mac(n), Stage: fact.StageLoader, Result: fact.OK})
	}
	for n := 1000; n < 101_000; n++ {
		b.Record(asks(n, 2*time.Hour+time.Duration(n)*time.Microsecond))
	}
	if len(b.seats) != most || b.passing.Len()+b.regular.Len() != most {
		t.Fatalf("%d machines are kept, %d and %d in the lists", len(b.seats), b.passing.Len(), b.regular.Len())
	}
	for n := range 200 {
		if b.seats[mac(n)] == nil {
			t.Fatalf("machine %d is forgotten", n)
		}
	}
	if b.seats[mac(100_999)] == nil || b.seats[mac(1000)] != nil {
		t.Error("it is not the newest that are kept")
	}
}

// Somebody who makes up addresses and uses each twice takes the regulars' room from those that were heard of longest ago, and nobody else's.
func TestFloodOfRegulars(t *testing.T) {
	b, _ := open(t)
	for n := range 20_000 {
		b.Record(asks(n, 0))
		b.Record(asks(n, time.Hour))
	}
	if len(b.seats) != most || b.regular.Len() != mostRegular {
		t.Fatalf("%d machines, %d of them regular", len(b.seats), b.regular.Len())
	}
	b.Record(asks(1<<20, time.Hour))
	if b.seats[mac(1<<20)] == nil {
		t.Error("a new machine finds no room")
	}
}

// What is known survives a restart, and a second flood after it.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, path := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- b.Serve(ctx) }()
		b.Record(asks(1, 0))
		b.Record(asks(1, time.Hour))
		b.Record(asks(2, time.Hour))
		time.Sleep(writeEvery + time.Second) // of the test's clock
		b.Record(asks(3, time.Hour))
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		again := Open(path, quiet)
		if diff := cmp.Diff(b.List(nobody), again.List(nobody), addrs); diff != "" {
			t.Error(diff)
		}
		if again.regular.Len() != 1 || again.passing.Len() != 2 {
			t.Errorf("%d regular, %d passing", again.regular.Len(), again.passing.Len())
		}
	})
}

// A file that somebody damaged, or a later version wrote, is left behind; the server starts.
func TestDamaged(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "cut": `{"format":1,"machines":[{"mac":"00:0`, "newer": `{"format":2}`} {
		path := filepath.Join(t.TempDir(), "inbox.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := Open(path, quiet).List(nobody); len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	b := Open(filepath.Join(f.TempDir(), "none"), quiet)
	b.Record(asks(1, 0))
	text, _ := json.Marshal(file{format, b.List(nobody)})
	f.Add(text)
	f.Add([]byte(`{"format":1,"machines":[{"mac":"000000000001","first_seen":"2026-11-01T12:00:00Z","last_seen":"2026-11-01T12:00:00Z","requests":-1}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		machines, err := decode(text)
		if err != nil {
			return
		}
		for _, m := range machines {
			if m.MAC.IsZero() || m.Visits < 1 || m.Requests < 0 || m.Last.Before(m.First) || len(m.Circuit) > mostText {
				t.Errorf("taken over: %+v", m)
			}
		}
		again, err := json.Marshal(file{format, machines})
		if err != nil {
			return // a time of the year 10000 has no text
		}
		if _, err := decode(again); err != nil {
			t.Errorf("cannot be read again: %v", err)
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	for name, e := range map[string]*fact.Event{"declared": {MAC: mac(1), Node: "n1"}, "stranger": asks(1, 0)} {
		b.Run(name, func(b *testing.B) {
			box := Open(filepath.Join(b.TempDir(), "none"), quiet)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if e.Node == "" {
					e.MAC = mac(i)
				}
				box.Record(e)
			}
		})
	}
}
