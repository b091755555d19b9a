package timeline

import (
	"context"
	"encoding/binary"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/render/fact"
)

type noMarks struct{}

func (noMarks) Ready(context.Context, Arrival) error { return nil }

// TestProgress holds what is told of two boots: each stage once however often it is repeated, the end of a boot that was
// not ready, and that one is.
func TestProgress(t *testing.T) {
	now := time.Date(2026, 10, 2, 3, 4, 5, 0, time.UTC)
	tl, err := Open(t.TempDir(), noMarks{}, func() time.Time { return now }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer tl.Close()
	var got []Progress
	tl.OnProgress(func(p Progress) {
		tl.Latest(nil) // may be asked: the mutex is not held
		p.Boot, p.Revision, p.Terms = "", "", fact.Terms{}
		got = append(got, p)
	})
	mac := fact.MAC{2, 0, 0, 0, 0, 1}
	event := func(after time.Duration, stage fact.Stage, xid uint32, r fact.Result) {
		now = now.Add(after)
		tl.Record(fact.Event{Time: now, MAC: mac, Node: "c1", Stage: stage, Client: fact.ClientROM, Xid: xid, Result: r, Bytes: 1})
	}
	event(0, fact.StageDiscover, 1, fact.OK)
	event(time.Second, fact.StageDiscover, 1, fact.OK) // again: nothing new
	event(time.Second, fact.StageScript, 0, fact.OK)
	event(time.Second, fact.StageKernel, 0, fact.Refused) // did not get there
	event(time.Minute, fact.StageDiscover, 2, fact.OK)    // another boot
	boot, token, err := tl.Script(mac, "c1", addr1, fact.Terms{Revision: "r1"})
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	for range 2 { // a machine repeats itself
		if _, err := tl.Ready(boot, token, addr1); err != nil {
			t.Fatal(err)
		}
	}
	event(time.Hour, fact.StageDiscover, 3, fact.OK)
	at := func(s fact.Stage, o Outcome, after time.Duration) Progress {
		return Progress{MAC: mac, Node: "c1", Stage: s, Outcome: o, After: after}
	}
	want := []Progress{
		at(fact.StageDiscover, Booting, 0),
		at(fact.StageScript, Booting, 2*time.Second),
		at(fact.StageScript, Ended, 3*time.Second),
		at(fact.StageDiscover, Booting, 0),
		at(fact.StageReady, Ready, time.Second),
		at(fact.StageDiscover, Booting, 0), // the boot before was ready, and is not told of twice
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// room is a timeline with a hundred thousand machines.
func room(b *testing.B) *Timeline {
	tl, err := Open(b.TempDir(), noMarks{}, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { tl.Close() })
	for i := range 100_000 {
		mac := fact.MAC{2}
		binary.BigEndian.PutUint32(mac[2:], uint32(i))
		tl.Record(fact.Event{MAC: mac, Node: "n", Stage: fact.StageDiscover, Xid: uint32(i + 1), Result: fact.OK})
	}
	return tl
}

// BenchmarkEach is what a scrape costs, and how long an event waits for it at most.
func BenchmarkEach(b *testing.B) {
	tl := room(b)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		tl.Each(func(fact.MAC, fact.Stage, Outcome) { n++ })
		if n != 100_000 {
			b.Fatal(n)
		}
	}
}

// BenchmarkLatest is `hostler boots -state=stuck` with nothing stuck.
func BenchmarkLatest(b *testing.B) {
	tl := room(b)
	for b.Loop() {
		if boots := tl.Latest(func(_ fact.MAC, _ fact.Stage, o Outcome) bool { return o == Stuck }); len(boots) > 0 {
			b.Fatal(len(boots))
		}
	}
}
