package tftp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var midnight = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// newTestSender sends content, of which everything has been read.
func newTestSender(content []byte, t terms, oack []byte, emit func(op, block uint16, content []byte)) *sender {
	s := &sender{terms: t, pace: newPace(time.Second), src: newSource(bytes.NewReader(content), int64(len(content)), t), oack: oack, emit: emit}
	s.readAhead()
	return s
}

func (s *sender) readAhead() {
	if room := s.src.room(s.acked*int64(s.blksize), s.sent*int64(s.blksize)); len(room) > 0 {
		s.src.filled(s.src.readFull(room))
	}
}

// TestSender plays the cases of testdata/sender.txt without sockets and clock:
//
//	# a case
//	size=N [blksize=N] [window=N] [timeout=SECONDS] [oack]
//	> ACK n, ERROR n text, or "for" and how long nothing comes
//	< what is sent and when, and how it ends
func TestSender(t *testing.T) {
	const golden = "testdata/sender.txt"
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	var p *senderPlay
	for line := range strings.Lines(string(want)) {
		switch {
		case strings.HasPrefix(line, "<"):
			continue
		case strings.HasPrefix(line, "size="):
			p = newSenderPlay(&got)
			got.WriteString(line)
			p.begin(t, strings.Fields(line))
		case strings.HasPrefix(line, "> "):
			got.WriteString(line)
			p.say(t, strings.TrimSpace(line[2:]))
		default:
			got.WriteString(line)
		}
	}
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

type senderPlay struct {
	*sender
	out *strings.Builder
	now time.Time
}

func newSenderPlay(out *strings.Builder) *senderPlay { return &senderPlay{out: out, now: midnight} }

func (p *senderPlay) begin(t *testing.T, words []string) {
	set := map[string]int{"blksize": 512, "window": 1}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		set[name], _ = strconv.Atoi(value)
	}
	var oack []byte
	if slices.Contains(words, "oack") {
		oack = []byte("tsize\x001\x00")
	}
	tm := terms{blksize: set["blksize"], window: set["window"], timeout: time.Duration(set["timeout"]) * time.Second}
	p.sender = newTestSender(pattern(set["size"]), tm, oack, func(op, block uint16, content []byte) {
		what := "OACK"
		if op == opDATA {
			what = fmt.Sprintf("DATA %d, %d bytes", block, len(content))
		}
		fmt.Fprintf(p.out, "< %v %s\n", p.now.Sub(midnight), what)
	})
	p.start(p.now)
}

func (p *senderPlay) say(t *testing.T, line string) {
	if pause, ok := strings.CutPrefix(line, "for "); ok {
		d, err := time.ParseDuration(pause)
		if err != nil {
			t.Fatal(err)
		}
		for end := p.now.Add(d); p.now.Before(end) && !p.done; {
			p.now = p.now.Add(5 * time.Millisecond)
			p.tick(p.now)
			p.overdue(p.now)
		}
	} else {
		b, err := encode(line)
		if err != nil {
			t.Fatal(err)
		}
		p.receive(b, p.now)
		p.readAhead()
	}
	if p.done {
		fmt.Fprintf(p.out, "< %v end: %v\n", p.now.Sub(midnight), p.err)
	}
}

// lossy is a link in simulated time, which loses, delays, reorders and repeats packets.
type lossy struct {
	r       *rand.Rand
	loss    float64
	busy    time.Time
	flights []flight
}

type flight struct {
	at       time.Time
	toClient bool
	packet   []byte
}

func (l *lossy) send(now time.Time, toClient bool, p []byte) {
	l.busy = maxTime(l.busy.Add(10*time.Microsecond), now)
	at := l.busy.Add(time.Millisecond)
	if l.r.Float64() < 0.01 { // overtaken by others
		at = at.Add(time.Duration(l.r.Int64N(int64(2 * time.Millisecond))))
	}
	if l.r.Float64() >= l.loss {
		l.flights = append(l.flights, flight{at, toClient, bytes.Clone(p)})
	}
	if l.r.Float64() < 0.01 { // repeated on the way
		l.flights = append(l.flights, flight{at.Add(time.Millisecond), toClient, bytes.Clone(p)})
	}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// next takes the packet that arrives first.
func (l *lossy) next() (flight, bool) {
	if len(l.flights) == 0 {
		return flight{}, false
	}
	i := 0
	for j := range l.flights {
		if l.flights[j].at.Before(l.flights[i].at) {
			i = j
		}
	}
	f := l.flights[i]
	l.flights = slices.Delete(l.flights, i, i+1)
	return f, true
}

// receiver is a client as RFC 1350 and RFC 7440 describe it.
type receiver struct {
	blksize, window int
	blocks          int64
	since           int
	got             []byte
	last            bool
	told            bool // that one is missing
}

func (r *receiver) take(number uint16, content []byte) (ack uint16, answer bool) {
	if number != uint16(r.blocks+1) || r.last {
		answer = number == uint16(r.blocks) || !r.told && int16(number-uint16(r.blocks)) > 0
		r.told = true
		r.since = 0
		return uint16(r.blocks), answer // what it has, in order
	}
	r.told = false
	r.blocks++
	r.since++
	r.got = append(r.got, content...)
	r.last = len(content) < r.blksize
	if r.last || r.since == r.window {
		r.since = 0
		return uint16(r.blocks), true
	}
	return 0, false
}

// TestLossyLink lets files of all kinds through a bad link, and never takes much more than what was lost.
func TestLossyLink(t *testing.T) {
	for _, tt := range []struct {
		blksize, window, size int
		loss                  float64
	}{
		{512, 1, 100_000, 0.02}, {512, 1, 1024, 0.3}, {1428, 4, 1 << 20, 0.02}, {1428, 16, 1 << 20, 0.02}, {1428, 64, 1 << 20, 0.05},
		{8, 1, 8 * 70_000, 0}, {8, 16, 8*140_000 + 3, 0}, {512, 16, 0, 0.2},
	} {
		for seed := range uint64(5) {
			t.Run(fmt.Sprintf("%+v/%d", tt, seed), func(t *testing.T) {
				content := pattern(tt.size)
				l := &lossy{r: rand.New(rand.NewPCG(seed, 1)), loss: tt.loss}
				now, sent := midnight, 0
				s := newTestSender(content, terms{blksize: tt.blksize, window: tt.window}, nil, func(op, block uint16, content []byte) {
					sent++
					l.send(now, true, append([]byte{0, byte(op), byte(block >> 8), byte(block)}, content...))
				})
				c := &receiver{blksize: tt.blksize, window: tt.window}
				for s.start(now); !s.done; {
					f, ok := l.next()
					if !ok || f.at.After(now.Add(10*time.Millisecond)) { // nothing soon
						if ok {
							l.flights = append(l.flights, f)
						}
						now = now.Add(10 * time.Millisecond)
						s.tick(now)
						continue
					}
					if f.at.After(now) {
						now = f.at
					}
					if !f.toClient {
						s.receive(f.packet, now)
						s.readAhead()
					} else if ack, ok := c.take(uint16(f.packet[2])<<8|uint16(f.packet[3]), f.packet[4:]); ok {
						l.send(now, false, []byte{0, opACK, byte(ack >> 8), byte(ack)})
					}
				}
				if s.err != nil && !s.lastMissing() || !bytes.Equal(c.got, content) {
					t.Fatalf("ended with %v; %d of %d bytes arrived", s.err, len(c.got), len(content))
				}
				blocks := tt.size/tt.blksize + 1
				// One in a hundred is overtaken and one in a hundred comes twice, either of which can cost a window, as a loss does.
				most := float64(blocks)*(1+3*float64(tt.window)*(tt.loss+0.02)) + 50
				if float64(sent) > most {
					t.Errorf("%d packets for %d blocks", sent, blocks)
				}
			})
		}
	}
}

// TestBlockCosts holds sending a block, which is done millions of times, to no allocation.
func TestBlockCosts(t *testing.T) {
	content := pattern(4 << 20)
	for _, window := range []int{1, 16} {
		s := newTestSender(content, terms{blksize: 512, window: window}, nil, func(uint16, uint16, []byte) {})
		s.start(midnight)
		ack := []byte{0, opACK, 0, 0}
		if n := testing.AllocsPerRun(100, func() {
			ack[2], ack[3] = byte(s.sent>>8), byte(s.sent)
			s.receive(ack, midnight)
			s.readAhead()
		}); n > 0 {
			t.Errorf("window %d: %v allocations", window, n)
		}
	}
}
