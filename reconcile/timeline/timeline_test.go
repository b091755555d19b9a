package timeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hostler/render/fact"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	addr1 = netip.MustParseAddr("10.0.0.1")
	addr2 = netip.MustParseAddr("10.0.0.2")
	mac1  = fact.MAC{2, 0, 0, 0, 0, 1}
)

func script(t testing.TB, tl *Timeline) (fact.BootID, fact.Token) {
	t.Helper()
	boot, token, err := tl.Script(mac1, "n1", addr1, fact.Terms{Revision: "r1"})
	if err != nil {
		t.Fatal(err)
	}
	return boot, token
}

func TestTokens(t *testing.T) {
	m := &marks{}
	tl := open(t, t.TempDir(), m, time.Now)
	boot, token := script(t, tl)
	if !regexp.MustCompile(`^[A-Z2-7]{26}$`).MatchString(string(token)) || len(boot) != 26 {
		t.Errorf("boot %q, token %q", boot, token)
	}
	if again, same := script(t, tl); again != boot || same != token {
		t.Error("the second request of a boot got another boot or token")
	}
	for _, c := range []struct {
		name  string
		boot  fact.BootID
		token fact.Token
		addr  netip.Addr
		ok    bool
	}{
		{"right", boot, token, addr1, true},
		{"the address as a dual-stack socket writes it", boot, token, netip.AddrFrom16(addr1.As16()), true},
		{"another address", boot, token, addr2, false},
		{"another boot", "01ARZ3NDEKTSV4RRFFQ69G5FAV", token, addr1, false},
		{"another token", boot, token[:25] + "!", addr1, false},
		{"no token", boot, "", addr1, false},
	} {
		node, rev, ok := tl.Check(c.boot, c.token, c.addr)
		if ok != c.ok || ok && (node != "n1" || rev != "r1") {
			t.Errorf("%s: %s, %s, %t", c.name, node, rev, ok)
		}
		if !c.ok {
			if _, err := tl.Ready(c.boot, c.token, c.addr); !errors.Is(err, ErrNoBoot) {
				t.Errorf("%s: Ready: %v", c.name, err)
			}
		}
	}
	for range 2 { // the machine repeats itself when it lost the answer
		if node, err := tl.Ready(boot, token, addr1); node != "n1" || err != nil {
			t.Errorf("Ready: %s, %v", node, err)
		}
	}
	if len(m.ready) != 1 {
		t.Errorf("marked %v", m.ready)
	}
	if _, _, ok := tl.Check(boot, token, addr1); ok {
		t.Error("the token of a boot that is ready is still good")
	}
	if next, other := script(t, tl); next == boot || other == token {
		t.Error("the next boot has the same id or token")
	}
}

// What cannot be written down has not happened: the machine comes again.
func TestReadyIsDurableFirst(t *testing.T) {
	m := &marks{err: errors.New("disk full")}
	tl := open(t, t.TempDir(), m, time.Now)
	boot, token := script(t, tl)
	if _, err := tl.Ready(boot, token, addr1); err == nil || err.Error() != "disk full" {
		t.Errorf("Ready: %v", err)
	}
	if _, _, ok := tl.Check(boot, token, addr1); !ok || tl.Latest(nil)[0].Outcome != Booting {
		t.Error("the boot counts as ready")
	}
	m.err = nil
	if _, err := tl.Ready(boot, token, addr1); err != nil || tl.Latest(nil)[0].Outcome != Ready {
		t.Errorf("the second time: %v", err)
	}
}

// The token is a secret: the files have its hash only.
func TestTokenIsNotOnDisk(t *testing.T) {
	dir := t.TempDir()
	tl := open(t, dir, &marks{}, time.Now)
	_, token := script(t, tl)
	tl.Close()
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*"))
	seen := false
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		seen = seen || bytes.Contains(b, []byte(`"kind":"token"`))
		if bytes.Contains(b, []byte(token)) {
			t.Errorf("%s has the token", f)
		}
		if info, _ := os.Stat(f); info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", f, info.Mode())
		}
	}
	if !seen {
		t.Errorf("no token was kept in %v", files)
	}
}

func discover(mac fact.MAC, node fact.NodeName, xid uint32, at time.Time) fact.Event {
	return fact.Event{Time: at, MAC: mac, Node: node, Stage: fact.StageDiscover, Client: fact.ClientROM, Xid: xid, What: "DHCP Discover", Result: fact.OK}
}

// Strangers push out each other, but no node, neither from memory nor from disk.
func TestStrangersAreBounded(t *testing.T) {
	dir := t.TempDir()
	tl := open(t, dir, &marks{}, time.Now)
	tl.Record(discover(mac1, "n1", 1, epoch))
	for i := range 10_000 {
		tl.Record(discover(fact.MAC{6, 0, 0, 0, byte(i >> 8), byte(i)}, "", 1, epoch.Add(time.Duration(i)*time.Second)))
		if i%1000 == 0 {
			tl.flush() // none is to be lost in this test
		}
	}
	check := func(what string) {
		t.Helper()
		boots := tl.Latest(nil)
		if len(boots) != mostStrangers+1 || len(tl.machines) != mostStrangers+1 || boots[len(boots)-1].Node != "n1" {
			t.Errorf("%s: %d boots, %d machines, the last of %q", what, len(boots), len(tl.machines), boots[len(boots)-1].Node)
		}
		if b := tl.Boots(fact.MAC{6, 0, 0, 0, 9999 >> 8, 9999 & 255}, 1); len(b) != 1 || len(b[0].Events) != 1 {
			t.Errorf("%s: the last stranger has %v", what, b)
		}
		if b := tl.Boots(mac1, 1); len(b) != 1 || len(b[0].Events) != 1 {
			t.Errorf("%s: the node has %v", what, b)
		}
	}
	check("running")
	tl.Close()
	tl = open(t, dir, &marks{}, time.Now)
	check("restarted")
	if n := tl.Lost(); n != 0 {
		t.Errorf("%d events were lost", n)
	}
}

func TestBootsOfANodeAreBounded(t *testing.T) {
	dir := t.TempDir()
	tl := open(t, dir, &marks{}, time.Now)
	for i := range 50 {
		tl.Record(discover(mac1, "n1", uint32(i+1), epoch.Add(time.Duration(i)*time.Hour)))
	}
	for _, what := range []string{"running", "restarted"} {
		boots := tl.Boots(mac1, 0)
		if len(boots) != mostBoots || !boots[0].Start.Equal(epoch.Add(49*time.Hour)) || !boots[19].Start.Equal(epoch.Add(30*time.Hour)) {
			t.Errorf("%s: %d boots, from %s to %s", what, len(boots), boots[0].Start, boots[len(boots)-1].Start)
		}
		if n := len(tl.Boots(mac1, 3)); n != 3 {
			t.Errorf("%s: %d of 3 boots", what, n)
		}
		tl.Close()
		tl = open(t, dir, &marks{}, time.Now)
	}
}

// The oldest segments go when there is too much.
func TestSegmentsAreBounded(t *testing.T) {
	dir := t.TempDir()
	s, err := openSegments(dir, 3*segmentSize)
	if err != nil {
		t.Fatal(err)
	}
	line := append(bytes.Repeat([]byte("x"), 1<<20-1), '\n')
	for range 100 {
		if _, err := s.append(line); err != nil {
			t.Fatal(err)
		}
	}
	s.close()
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != 3 {
		t.Errorf("%d files of %d bytes are left, want 3: %v", len(files), segmentSize, files)
	}
	if s, err = openSegments(dir, 3*segmentSize); err != nil || s.seq != 14 {
		t.Errorf("reopened: segment %d, %v", s.seq, err)
	}
	s.close()
}

// A crash leaves a torn line, a bad disk worse. What is whole is told; the rest is passed over.
func TestTornSegments(t *testing.T) {
	dir := t.TempDir()
	tl := open(t, dir, &marks{}, time.Now)
	for i := range 3 {
		tl.Record(discover(mac1, "n1", 7, epoch.Add(time.Duration(i)*time.Second)))
	}
	tl.Close()
	path := filepath.Join(dir, "nodes", "0000000000000001.events")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for name, c := range map[string]struct {
		data []byte
		want int
	}{
		"torn":             {whole[:len(whole)-5], 2},
		"torn at the end":  {whole[:len(whole)-1], 3}, // only the line feed is missing
		"a damaged middle": {bytes.Join([][]byte{lines[0], bytes.Replace(lines[1], []byte("n1"), []byte("n2"), 1), lines[2]}, nil), 2},
		"a long line":      {bytes.Join([][]byte{lines[0], bytes.Repeat([]byte("x"), 3*longestLine), []byte("\n"), lines[1], lines[2]}, nil), 3},
		"an empty line":    {bytes.Join([][]byte{lines[0], []byte("\n"), lines[1], lines[2]}, nil), 3},
		"empty":            {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			os.Remove(filepath.Join(dir, "nodes", "0000000000000002.events"))
			tl := open(t, dir, &marks{}, time.Now)
			defer tl.Close()
			got := 0
			for _, b := range tl.Boots(mac1, 0) {
				got += len(b.Events)
			}
			if got != c.want {
				t.Errorf("%d events, want %d", got, c.want)
			}
		})
	}
}

// Events that come faster than the disk takes them are counted, not waited for. Their boot still knows of them.
func TestRecordNeverBlocks(t *testing.T) {
	tl := open(t, t.TempDir(), &marks{}, time.Now)
	tl.nodes.mu.Lock() // the disk hangs
	const n = 3 * mostQueued
	for i := range n {
		tl.Record(discover(mac1, "n1", 7, epoch.Add(time.Duration(i)*time.Millisecond)))
	}
	lost := tl.Lost()
	tl.nodes.mu.Unlock()
	if lost < n-2*mostQueued || lost > n-mostQueued {
		t.Errorf("%d of %d events were lost", lost, n)
	}
	b := tl.Boots(mac1, 1)[0]
	if b.Steps[0].Count != n || len(b.Events) != mostEvents || b.Omitted != int(n-lost)-mostEvents {
		t.Errorf("%d counted, %d listed, %d omitted", b.Steps[0].Count, len(b.Events), b.Omitted)
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tl := open(t, t.TempDir(), &marks{}, time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		var wg sync.WaitGroup
		wg.Go(func() {
			tl.Follow(ctx, func(e fact.Event) { got = append(got, fmt.Sprintf("%s %s %t", e.What, e.Node, e.Boot != "")) })
		})
		synctest.Wait()
		tl.Record(discover(mac1, "n1", 1, time.Time{}))
		tl.Record(fact.Event{MAC: mac1, Stage: fact.StageLoader, What: "Read Request", Result: fact.OK})
		tl.Record(fact.Event{What: "GET", Peer: addr2, Result: fact.Refused})
		synctest.Wait()
		cancel()
		wg.Wait()
		tl.Record(discover(mac1, "n1", 1, time.Time{}))
		if diff := cmp.Diff([]string{"DHCP Discover n1 true", "Read Request n1 true", "GET  false"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

// A follower that hangs costs nobody anything but itself.
func TestFollowSlowly(t *testing.T) {
	tl := open(t, t.TempDir(), &marks{}, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	hang, began := make(chan bool), make(chan bool, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer close(hang)
	wg.Go(func() {
		tl.Follow(ctx, func(fact.Event) {
			select {
			case began <- true:
			default:
			}
			<-hang
		})
	})
	for len(tl.Latest(nil)) == 0 || len(began) == 0 {
		tl.Record(discover(mac1, "n1", 1, epoch))
	}
	before := tl.Lost()
	for range mostFollowed + 100 {
		tl.Record(discover(mac1, "n1", 1, epoch))
		tl.flush()
	}
	if n := tl.Lost() - before; n < 100 {
		t.Errorf("only %d events were dropped", n)
	}
}

// TestStuck holds when a silent machine is called stuck: after as long as its stage takes.
func TestStuck(t *testing.T) {
	for stage := fact.StageDiscover; stage < fact.StageReady; stage++ {
		synctest.Test(t, func(t *testing.T) {
			tl := open(t, t.TempDir(), &marks{}, time.Now)
			e := discover(mac1, "n1", 1, time.Time{})
			e.Stage = stage
			tl.Record(e)
			last := time.Now()
			time.Sleep(patience[stage])
			if b := tl.Latest(nil)[0]; b.Outcome != Booting || !b.Since.Equal(last) {
				t.Errorf("%s after %s: %s since %s", stage, patience[stage], b.Outcome, b.Since)
			}
			time.Sleep(time.Second)
			if b := tl.Latest(nil)[0]; b.Outcome != Stuck || !b.Since.Equal(last) {
				t.Errorf("%s later: %s since %s", stage, b.Outcome, b.Since)
			}
		})
	}
}

// TestPlayed holds that a play is no boot of the machine: not stuck, not one of those that failed, and nobody is told of its progress.
func TestPlayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		tl := open(t, dir, &marks{}, time.Now)
		tl.OnProgress(func(p Progress) { t.Errorf("told of %+v", p) })
		for range 5 {
			tl.Play(mac1, "n1")
			tl.Record(discover(mac1, "n1", 1, time.Time{}))
			time.Sleep(time.Minute)
		}
		time.Sleep(time.Hour)
		look := func(tl *Timeline) {
			t.Helper()
			if b := tl.Boots(mac1, 0); len(b) != 5 || b[0].Outcome != Played || b[4].Outcome != Played || b[0].Stage != fact.StageDiscover || b[0].Again != 0 {
				t.Errorf("got %+v", b)
			}
		}
		look(tl)
		tl.Close()
		tl = open(t, dir, &marks{}, time.Now)
		look(tl)
		tl.Record(discover(mac1, "n1", 7, time.Time{}))
		if b := tl.Latest(nil)[0]; b.Outcome != Booting || b.Again != 0 {
			t.Errorf("the machine itself: %+v", b)
		}
	})
}

// A client chooses file names, and a plugin what it says: they are cut, so that no line gets too long to be read back.
// TestAsked: when a machine last asked for what does not depend on which boot that was, and survives a restart.
func TestAsked(t *testing.T) {
	dir, at := t.TempDir(), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	now := func() time.Time { return at.Add(time.Hour) }
	tl := open(t, dir, nil, now)
	mac := fact.MAC{2, 0, 0, 0, 0, 9}
	say := func(after time.Duration, stage fact.Stage, file string, r fact.Result) {
		tl.Record(fact.Event{Time: at.Add(after), MAC: mac, Node: "n9", Stage: stage, Client: fact.ClientIPXE, File: file, Result: r})
	}
	tl.Record(discover(mac, "n9", 1, at))
	say(time.Second, fact.StageScript, "bootscript", fact.OK)
	say(2*time.Second, fact.StageConfig, "user-data", fact.OK)
	say(3*time.Second, fact.StageConfig, "meta-data", fact.OK)
	say(4*time.Second, fact.StageConfig, "config/x", fact.Refused)
	tl.Record(discover(mac, "n9", 2, at.Add(time.Minute)))
	say(2*time.Minute, fact.StageScript, "bootscript", fact.OK)
	say(3*time.Minute, fact.StageScript, "bootscript", fact.Refused)
	for range 2 {
		script, config, o := tl.Asked(mac)
		if !script.Equal(at.Add(2*time.Minute)) || !config.Equal(at.Add(2*time.Second)) || o != Stuck {
			t.Errorf("script %s, configuration %s, %s", script, config, o)
		}
		if err := tl.Close(); err != nil {
			t.Fatal(err)
		}
		tl = open(t, dir, nil, now)
	}
	if script, config, o := tl.Asked(fact.MAC{4}); !script.IsZero() || !config.IsZero() || o != "" {
		t.Errorf("a machine that was never seen: %s, %s, %q", script, config, o)
	}
}

func TestLongTexts(t *testing.T) {
	tl := open(t, t.TempDir(), &marks{}, time.Now)
	e := discover(mac1, "n1", 1, epoch)
	e.File, e.Detail = strings.Repeat("\x00", 100_000), strings.Repeat("<", 100_000)
	tl.Record(e)
	if b := tl.Boots(mac1, 1)[0]; len(b.Events) != 1 || len(b.Events[0].Detail) != longestText {
		t.Errorf("%d events", len(b.Events))
	}
}

func TestRevisions(t *testing.T) {
	tl := open(t, t.TempDir(), &marks{}, time.Now)
	boot, token := script(t, tl)
	if diff := cmp.Diff(map[fact.Revision]bool{"r1": true}, tl.Revisions(time.Now().Add(-time.Hour))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[fact.Revision]bool{}, tl.Revisions(time.Now().Add(time.Hour))); diff != "" {
		t.Error(diff)
	}
	if _, err := tl.Ready(boot, token, addr1); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[fact.Revision]bool{}, tl.Revisions(time.Time{})); diff != "" {
		t.Error(diff)
	}
}

// Whatever a line holds, decoding it ends, and what it holds is kept when it is written again.
func FuzzDecode(f *testing.F) {
	e := discover(mac1, "n1", 1, epoch)
	e.Boot = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	for _, seed := range []entry{{Kind: kindEvent, Event: &e}, {Kind: kindToken, Boot: e.Boot, MAC: mac1, Time: epoch, Hash: []byte("h"), Addr: addr1}} {
		line, err := seed.append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line[9 : len(line)-1]) // the checksum is added below, else nothing would get past it
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		decode(body)
		e, ok := decode(sealedLine(body))
		if !ok {
			return
		}
		line, err := e.append(nil)
		if err != nil {
			return
		}
		again, ok := decode(bytes.TrimSuffix(line, []byte("\n")))
		if diff := cmp.Diff(e, again, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); !ok || diff != "" {
			t.Errorf("%t %s", ok, diff)
		}
	})
}

func sealedLine(body []byte) []byte {
	return append(fmt.Appendf(nil, "%08x ", crc32.Checksum(body, castagnoli)), body...)
}

// TestTokenOfAnEarlierNode: once a machine is no longer declared, its boot proves to be no node's: that may be another machine by now.
func TestTokenOfAnEarlierNode(t *testing.T) {
	tl := open(t, t.TempDir(), &marks{}, time.Now)
	boot, token := script(t, tl)
	if node, rev, ok := tl.Check(boot, token, addr1); node != "n1" || rev != "r1" || !ok {
		t.Fatal(node, rev, ok)
	}
	if again, same, err := tl.Script(mac1, "", addr1, fact.Terms{Revision: "r2"}); again != boot || same != token || err != nil {
		t.Error(again, same, err)
	}
	if node, rev, ok := tl.Check(boot, token, addr1); node != "" || rev != "r2" || !ok {
		t.Error(node, rev, ok)
	}
}
