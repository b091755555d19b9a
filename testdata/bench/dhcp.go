package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	clean      = 0.001   // of the requests may be lost
	deafened   = 0.01    // of the replies may be lost by perfdhcp: more, and the rate was not measured
	machines   = 900_000 // so that a machine comes once, with a new lease
	highest    = 60_000  // exchanges a second: more is not offered
	sharedRate = 2000
	lowest     = 500 // with which the search begins
	step       = 1.5 // between rates
	fine       = 1.2 // above the last one that was clean
)

// measured is one server in one round.
type measured struct {
	best    result // at the highest rate that was clean
	offered int    // that rate
	limited bool   // perfdhcp was the first to fail: it lost replies, or had no time to send
	shared  result // at one rate for all, or half of that if the server cannot do it
	mixed   result // the same with renewals and releases
	syncs   float64
}

// dhcp measures exchanges of four packets: the highest clean rate of each server, the delay there and at a rate that all can do, and
// renewals and releases among them.
func (b *bench) dhcp() error {
	ps := slices.DeleteFunc(peers(), func(p peer) bool { return b.server != "" && !strings.HasPrefix(p.name, b.server) })
	rounds := make([][]measured, len(ps))
	for round := range b.rounds {
		for i, p := range ps {
			from := lowest
			if round > 0 { // it is known by now where to look
				from = max(rounds[i][0].offered/2, 1)
			}
			m, err := b.measure(p, from)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			rounds[i] = append(rounds[i], m)
			fmt.Fprintf(b.log, "round %d: %s: %.0f exchanges/s\n", round+1, p.name, m.best.rate)
		}
	}
	b.report(ps, rounds)
	return nil
}

// measure runs a server with new state, and raises the rate until it fails twice at one.
func (b *bench) measure(p peer, from int) (m measured, err error) {
	w, err := newWire()
	if err != nil {
		return m, err
	}
	defer w.close()
	state, err := os.MkdirTemp(b.dir, "state")
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(state)
	server, err := p.start(b, w, state)
	if err != nil {
		return m, err
	}
	defer server.stop()
	t := &trial{b: b, w: w, server: server}
	if err = t.ready(); err == nil {
		err = t.all(&m, from)
	}
	if err != nil {
		return m, fmt.Errorf("%w\n%s", err, server.log.String())
	}
	return m, nil
}

// trial is a server with the load that it was offered.
type trial struct {
	b      *bench
	w      wire
	server *process
	loads  int
}

// offer plays a load of machines that were not there before.
func (t *trial) offer(l load) (result, error) {
	t.loads++
	l.mac, l.seconds = t.loads, t.b.seconds
	used := t.server.cpu()
	r, err := t.b.offer(t.w, l)
	r.server = (t.server.cpu() - used) / time.Duration(max(r.exchange[acks].received+r.exchange[renewal].received, 1))
	return r, err
}

// ready waits until the server answers.
func (t *trial) ready() error {
	var r result
	var err error
	for range 20 {
		if r, err = t.b.offer(t.w, load{rate: 10, machines: 10, seconds: 1}); err == nil && r.exchange[acks].received > 0 {
			return nil
		}
		select {
		case <-t.server.done:
			return fmt.Errorf("the server ended")
		case <-t.b.ctx.Done():
			return t.b.ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return fmt.Errorf("the server does not answer: %w", err)
}

// all fills in everything.
func (t *trial) all(m *measured, from int) (err error) {
	if err = t.climb(m, from); err != nil {
		return err
	}
	rate := sharedRate
	if m.offered < rate {
		rate = max(m.offered/2, 1)
	}
	if m.shared, err = t.offer(load{rate: rate, machines: machines}); err != nil {
		return err
	}
	if m.mixed, err = t.offer(load{rate: rate, machines: machines, renew: rate / 2, release: rate / 4}); err != nil {
		return err
	}
	m.syncs, err = t.syncs(rate)
	return err
}

// climb finds the highest clean rate.
func (t *trial) climb(m *measured, from int) error {
	for rate := float64(from); rate <= highest; rate *= step {
		if ok, err := t.try(m, int(rate)); err != nil {
			return err
		} else if ok {
			continue
		}
		if m.offered == 0 && rate > 10 { // begin further down
			rate /= 4 * step
			continue
		}
		break
	}
	if m.offered == 0 {
		return fmt.Errorf("no rate is clean")
	}
	_, err := t.try(m, int(float64(m.offered)*fine))
	return err
}

// try offers a rate, twice if the first time is not clean, and says whether one was.
func (t *trial) try(m *measured, rate int) (bool, error) {
	for range 2 {
		r, err := t.offer(load{rate: rate, machines: machines})
		if err != nil {
			return false, err
		}
		slow := float64(r.exchange[offers].sent) < 0.95*float64(rate*t.b.seconds)
		deaf := float64(r.deaf) > deafened*float64(r.exchange[offers].sent)
		if r.lost() < clean && !slow && !deaf {
			m.best, m.offered = r, rate
			return true, nil
		}
		m.limited = slow || deaf
		fmt.Fprintf(t.b.log, "%d/s is not clean: %d sent, %d offers, %d acks, %d lost by perfdhcp, %d at the server's socket\n", rate,
			r.exchange[offers].sent, r.exchange[offers].received, r.exchange[acks].received, r.deaf, overflows(t.w.server))
	}
	return false, nil
}

var syncCall = regexp.MustCompile(`(?m)\s(\d+)\s+(?:\d+\s+)?(?:fsync|fdatasync|sync_file_range|msync)$`)

// syncs counts how often the server makes files durable, for one exchange. The tracer makes everything slow, so this is no rate.
func (t *trial) syncs(rate int) (float64, error) {
	report := filepath.Join(t.b.dir, "strace")
	tracer := exec.CommandContext(t.b.ctx, "strace", "-f", "-c", "-e", "trace=fsync,fdatasync,sync_file_range,msync", "-o", report, "-p", strconv.Itoa(t.server.cmd.Process.Pid))
	if err := tracer.Start(); err != nil {
		return 0, err
	}
	r, err := t.offer(load{rate: rate, machines: machines})
	_ = tracer.Process.Signal(os.Interrupt)
	_ = tracer.Wait()
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(report)
	n := 0
	for _, m := range syncCall.FindAllStringSubmatch(string(text), -1) {
		calls, _ := strconv.Atoi(m[1])
		n += calls
	}
	return float64(n) / float64(max(r.exchange[acks].received, 1)), err
}

// column is one figure of a server.
type column struct {
	name, format string
	of           func(measured) float64
}

func columns() []column {
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	return []column{
		{"clean exchanges/s", "%.0f", func(m measured) float64 { return float64(m.offered) }},
		{"delay there", "%.2f ms", func(m measured) float64 { return m.best.delay() }},
		{"CPU of the server for one", "%.3f ms", func(m measured) float64 { return ms(m.best.server) }},
		{"CPU of perfdhcp", "%.0f%%", func(m measured) float64 { return 100 * m.best.cpu.Seconds() / m.best.took.Seconds() }},
		{"ended by perfdhcp", "%.0f", func(m measured) float64 { return map[bool]float64{true: 1}[m.limited] }},
		{"delay at 2,000/s", "%.2f ms", func(m measured) float64 { return m.shared.delay() }},
		{"CPU for one", "%.3f ms", func(m measured) float64 { return ms(m.shared.server) }},
		{"delay with renewals and releases", "%.2f ms", func(m measured) float64 { return m.mixed.delay() }},
		{"of renewals", "%.2f ms", func(m measured) float64 { return m.mixed.exchange[renewal].delay }},
		{"file syncs for one", "%.2f", func(m measured) float64 { return m.syncs }},
	}
}

// report prints the medians.
func (b *bench) report(ps []peer, all [][]measured) {
	fmt.Fprintf(b.out, "Medians of %d rounds. A rate is offered for %d s, and clean when less than %.1f%% of the requests have no reply, those not counted that perfdhcp lost.\n\n| server |",
		b.rounds, b.seconds, 100*clean)
	for _, c := range columns() {
		fmt.Fprintf(b.out, " %s |", c.name)
	}
	fmt.Fprintf(b.out, "\n|%s\n", strings.Repeat("---|", 1+len(columns())))
	for i, p := range ps {
		fmt.Fprintf(b.out, "| %s |", p.name)
		for _, c := range columns() {
			var v []float64
			for _, m := range all[i] {
				v = append(v, c.of(m))
			}
			slices.Sort(v)
			fmt.Fprintf(b.out, " "+c.format+" |", v[len(v)/2])
		}
		fmt.Fprintln(b.out)
	}
}
