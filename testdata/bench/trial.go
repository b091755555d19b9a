package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// plan is what one round measures of a server.
type plan struct {
	from     int   // the rate at which the search begins
	perfdhcp bool  // by perfdhcp too
	rates    []int // of others, to compare delays at
}

// measure runs a server with new state, and raises the rate until it fails twice at one.
func (b *bench) measure(p peer, what plan) (m measured, err error) {
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
	light, err := newLight(w.client)
	if err != nil {
		return m, err
	}
	defer light.close()
	t := &trial{b: b, w: w, server: server, light: light}
	if err = t.ready(); err == nil {
		err = t.all(&m, what)
	}
	if err != nil {
		return m, fmt.Errorf("%w\n%s", err, server.log.String())
	}
	return m, nil
}

// trial is a server with the loads that it was offered.
type trial struct {
	b      *bench
	w      wire
	server *process
	light  *light
	loads  int
}

// generator plays a load.
type generator func(load) (result, error)

// perfdhcp plays a load of machines that were not there before.
func (t *trial) perfdhcp(l load) (result, error) {
	t.loads++
	l.mac = t.loads
	return t.b.offer(t.w, l)
}

// offer has a load played, and looks at what the server and the machine do meanwhile.
func (t *trial) offer(g generator, l load) (result, error) {
	l.machines, l.seconds = machines, t.b.seconds
	used, deaf, before := t.server.cpu(), overflows(t.w.client), processors()
	r, err := g(l)
	n := max(r.exchange[acks].received+r.exchange[renewal].received, 1)
	r.server, r.deaf = (t.server.cpu()-used)/time.Duration(n), overflows(t.w.client)-deaf
	r.idle = processors().idleSince(before)
	if err == nil && r.twice > 0 {
		err = fmt.Errorf("%d addresses have two machines", r.twice)
	}
	return r, err
}

// ready waits until the server answers.
func (t *trial) ready() error {
	for range 20 {
		r, err := t.light.offer(load{rate: 10, seconds: 1})
		if err != nil || r.exchange[acks].received > 0 {
			return err
		}
		select {
		case <-t.server.done:
			return fmt.Errorf("the server ended")
		case <-t.b.ctx.Done():
			return t.b.ctx.Err()
		default:
		}
	}
	return fmt.Errorf("the server does not answer")
}

// all fills in everything.
func (t *trial) all(m *measured, what plan) (err error) {
	if m.light, err = t.climb(t.light.offer, what.from); err != nil {
		return err
	}
	rate := sharedRate
	if m.light.offered < rate {
		rate = max(m.light.offered/2, 1)
	}
	if m.shared, err = t.offer(t.light.offer, load{rate: rate}); err != nil {
		return err
	}
	if m.mixed, err = t.offer(t.light.offer, load{rate: rate, renew: rate / 2, release: rate / 4}); err != nil {
		return err
	}
	for _, rate := range what.rates {
		r, err := t.offer(t.light.offer, load{rate: rate})
		if err != nil {
			return err
		}
		m.beside = append(m.beside, r)
	}
	if !what.perfdhcp {
		return nil
	}
	if m.syncs, err = t.syncs(rate); err != nil {
		return err
	}
	t.light.close() // perfdhcp needs its port
	m.perf, err = t.climb(t.perfdhcp, max(m.light.offered/4, 1))
	return err
}

// climb finds the highest clean rate: it raises the rate until the server fails twice at one.
func (t *trial) climb(g generator, from int) (s summit, err error) {
	for rate := float64(from); rate <= highest; rate *= step {
		if ok, err := t.try(&s, g, int(rate)); err != nil {
			return s, err
		} else if ok {
			continue
		}
		if s.offered == 0 && rate > 10 { // begin further down
			rate /= 4 * step
			continue
		}
		break
	}
	if s.offered == 0 {
		return s, fmt.Errorf("no rate is clean")
	}
	_, err = t.try(&s, g, int(float64(s.offered)*fine))
	return s, err
}

// try offers a rate, twice if the first time is not clean, and says whether one was.
func (t *trial) try(s *summit, g generator, rate int) (bool, error) {
	for range 2 {
		before := overflows(t.w.server)
		r, err := t.offer(g, load{rate: rate})
		if err != nil {
			return false, err
		}
		slow := float64(r.exchange[offers].sent) < 0.95*float64(rate*t.b.seconds)
		deaf := float64(r.deaf) > deafened*float64(r.exchange[offers].sent)
		if r.lost() < clean && !slow && !deaf {
			s.best, s.offered = r, rate
			return true, nil
		}
		s.limited = slow || deaf
		fmt.Fprintf(t.b.log, "%d/s is not clean: %d sent, %d offers, %d acks, %d lost by the load generator, %d at the server's socket\n", rate,
			r.exchange[offers].sent, r.exchange[offers].received, r.exchange[acks].received, r.deaf, overflows(t.w.server)-before)
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
	r, err := t.offer(t.light.offer, load{rate: rate})
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
