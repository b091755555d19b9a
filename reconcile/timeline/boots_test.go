package timeline

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler/render/fact"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the expected boots in testdata")

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// hand is a clock that tests turn by hand.
type hand struct {
	mu sync.Mutex
	t  time.Time
}

func (h *hand) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.t
}

func (h *hand) set(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.t = t
}

// marks remembers what was marked, or fails.
type marks struct {
	mu    sync.Mutex
	ready []string
	err   error
}

func (m *marks) Ready(_ context.Context, a Arrival) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.ready = append(m.ready, fmt.Sprintf("%s %s", a.Node, a.At.Format(time.TimeOnly)))
	}
	return m.err
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func open(t testing.TB, dir string, m Marks, now func() time.Time) *Timeline {
	t.Helper()
	tl, err := Open(dir, m, now, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tl.Close(); err != nil {
			t.Error(err)
		}
	})
	return tl
}

// player plays the lines of a scenario:
//
//	TIME MAC STAGE CLIENT key=value...    an event; keys: xid node what file bytes took result rev
//	TIME MAC script NODE REV              a call of Script
//	TIME MAC ready                        a call of Ready with that boot and token
//	TIME restart                          the process ends and another one begins
//
// TIME is the offset from the beginning, MAC the last byte in hexadecimal.
type player struct {
	*testing.T
	tl     *Timeline
	clock  *hand
	marks  *marks
	dir    string
	tokens map[fact.MAC][2]string
	names  map[fact.BootID]string // boots in the order of appearance
	out    strings.Builder
}

func TestBoots(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { testScenario(t, file) })
	}
}

func testScenario(t *testing.T, file string) {
	a, err := txtar.ParseFile(file)
	if err != nil || len(a.Files) != 2 {
		t.Fatalf("%s: %v, %d parts, want events and boots", file, err, len(a.Files))
	}
	p := &player{
		T: t, clock: &hand{t: epoch}, marks: &marks{}, dir: t.TempDir(),
		tokens: map[fact.MAC][2]string{}, names: map[fact.BootID]string{},
	}
	p.tl = open(t, p.dir, p.marks, p.clock.now)
	for line := range strings.Lines(string(a.Files[0].Data)) {
		if line = strings.TrimSpace(line); line != "" {
			p.play(line)
		}
	}
	got := p.show()
	// Whatever happened, another process tells the same of it.
	p.restart()
	if diff := cmp.Diff(got, p.show()); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	if *update {
		a.Files[1].Data = []byte(got)
		if err := os.WriteFile(file, txtar.Format(a), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(a.Files[1].Data), got); diff != "" {
		t.Errorf("boots (-want +got):\n%s", diff)
	}
}

func (p *player) restart() {
	if err := p.tl.Close(); err != nil {
		p.Fatal(err)
	}
	p.tl = open(p.T, p.dir, p.marks, p.clock.now)
}

func (p *player) play(line string) {
	f := strings.Fields(line)
	d, err := time.ParseDuration(f[0])
	if err != nil {
		p.Fatal(err)
	}
	p.clock.set(epoch.Add(d))
	if f[1] == "restart" {
		p.restart()
		return
	}
	last, err := strconv.ParseUint(f[1], 16, 8)
	if err != nil {
		p.Fatalf("%s: %v", line, err)
	}
	mac := fact.MAC{2, 0, 0, 0, 0, byte(last)}
	addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(last)})
	switch {
	case f[2] == "script" && len(f) == 5 && !strings.Contains(line, "="):
		boot, token, err := p.tl.Script(mac, fact.NodeName(f[3]), addr, fact.Terms{Revision: fact.Revision(f[4]), Boots: true})
		if err != nil {
			p.Fatalf("%s: %v", line, err)
		}
		p.tokens[mac] = [2]string{string(boot), string(token)}
	case f[2] == "play":
		p.tl.Play(mac, "")
	case f[2] == "ready" && len(f) == 3:
		if _, err := p.tl.Ready(fact.BootID(p.tokens[mac][0]), fact.Token(p.tokens[mac][1]), addr); err != nil {
			fmt.Fprintf(&p.out, "%s: %v\n", line, err)
		}
	default:
		if f[2] == "discover" { // boots are longer apart than an event waits for the disk
			p.tl.flush()
		}
		p.tl.Record(p.event(mac, addr, f))
	}
}

func (p *player) event(mac fact.MAC, addr netip.Addr, f []string) fact.Event {
	e := fact.Event{Time: p.clock.now(), MAC: mac, Peer: addr, Result: fact.OK}
	if err := e.Stage.UnmarshalText([]byte(f[2])); err != nil {
		p.Fatal(err)
	}
	e.Client.UnmarshalText([]byte(f[3]))
	for _, kv := range f[4:] {
		key, value, _ := strings.Cut(kv, "=")
		n, numErr := strconv.Atoi(value)
		switch key {
		case "xid":
			e.Xid = uint32(n)
		case "bytes":
			e.Bytes = int64(n)
		case "node":
			e.Node, numErr = fact.NodeName(value), nil
		case "what":
			e.What, numErr = value, nil
		case "file":
			e.File, numErr = value, nil
		case "rev":
			e.Revision, numErr = fact.Revision(value), nil
		case "detail":
			e.Detail, numErr = value, nil
		case "result":
			e.Result, numErr = fact.Result(value), nil
		case "took":
			e.Duration, numErr = time.ParseDuration(value)
		default:
			numErr = fmt.Errorf("unknown key")
		}
		if numErr != nil {
			p.Fatalf("%s: %v", kv, numErr)
		}
	}
	return e
}

// show writes every machine's boots, the newest first.
func (p *player) show() string {
	var b strings.Builder
	b.WriteString(p.out.String())
	for _, newest := range p.tl.Latest(nil) {
		for i, boot := range p.tl.Boots(newest.MAC, 0) {
			if i == 0 {
				without := boot
				without.Events, without.Omitted = nil, 0
				if diff := cmp.Diff(without, newest, cmp.AllowUnexported(Boot{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
					p.Errorf("Boots and Latest differ:\n%s", diff)
				}
			}
			since := boot.Since.Sub(epoch)
			fmt.Fprintf(&b, "%02x %q %s since %s, reached %s as %s, %s to %s, %d bytes, %d retries, revision %q\n", boot.MAC[5], boot.Node,
				boot.Outcome, since, boot.Stage, boot.Client, boot.Start.Sub(epoch), boot.Last.Sub(epoch), boot.Bytes, boot.Retries, boot.Revision)
			for _, s := range boot.Steps {
				fmt.Fprintf(&b, "   %s: %d from %s to %s, %d bad, %d bytes, took %s\n", s.Stage, s.Count, s.First.Sub(epoch), s.Last.Sub(epoch), s.Bad, s.Bytes, s.Duration)
			}
			fmt.Fprintf(&b, "   %d events\n", len(boot.Events))
		}
	}
	for _, m := range p.marks.ready {
		fmt.Fprintf(&b, "marked %s\n", m)
	}
	return b.String()
}
