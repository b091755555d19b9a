package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"hostler/render/bootsim"
	"hostler/render/fact"
)

// Storm is a rack, or a whole machine room, that is switched on: each machine boots for itself, from its first Discover to the report that it
// is ready, and fetches every byte that it is told to.
type Storm struct {
	Interface string
	Machines  []bootsim.Machine
	Over      time.Duration // they are switched on evenly over this time
	Hurry     bool          // without the pauses that firmware makes
	Patience  time.Duration // until a machine that is not ready is given up
	Progress  func(done int)
}

// Report is what became of a storm.
type Report struct {
	Machines int           `json:"machines"`
	Ready    int           `json:"ready"`
	Elapsed  time.Duration `json:"elapsed_ns"` // from the first machine's start to the last one's end
	Files    int           `json:"files"`      // that were fetched whole, each with the digest that it should have
	Bytes    int64         `json:"bytes"`      // of those files
	Resent   int           `json:"resent"`     // DHCP messages that were sent again after the firmware's time-out
	Stages   []StageTimes  `json:"stages"`
	Failures []Failure     `json:"failures"` // by reason, the most frequent first
}

// StageTimes is how long the machines took for one stage: until an answer was there whole, without pauses of their own.
type StageTimes struct {
	Stage string        `json:"stage"`
	Count int           `json:"count"`
	P50   time.Duration `json:"p50_ns"`
	P90   time.Duration `json:"p90_ns"`
	P99   time.Duration `json:"p99_ns"`
	Max   time.Duration `json:"max_ns"`
}

// Failure is why machines did not become ready.
type Failure struct {
	Reason   string   `json:"reason"`
	Machines int      `json:"machines"`
	Example  fact.MAC `json:"example"`
}

// threads are how many connections are opened at a time.
const threads = 32

// Run switches the machines on and waits for them all, or for the end of ctx.
func (s *Storm) Run(ctx context.Context) (Report, error) {
	r := &room{digests: map[string]fact.Digest{}, times: map[string][]time.Duration{}, failures: map[string]*Failure{}}
	if err := r.open(s.Interface); err != nil {
		return Report{}, err
	}
	defer r.close()
	start := time.Now()
	var machines sync.WaitGroup
	for i, m := range s.Machines {
		machines.Go(func() {
			if pause(ctx, s.Over*time.Duration(i)/time.Duration(len(s.Machines))) != nil {
				return
			}
			ctx, cancel := context.WithTimeout(ctx, s.Patience)
			defer cancel()
			c := &client{room: r, ctx: ctx, mac: m.MAC, pace: paceOf(m)}
			if s.Hurry {
				c.pace.pauses = pauses{}
			}
			done := r.ended(m.MAC, c.boot(m))
			if s.Progress != nil {
				s.Progress(done)
			}
		})
	}
	machines.Wait()
	return r.report(len(s.Machines), time.Since(start)), ctx.Err()
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// room is where the machines of a storm are: their network, and what became of them. Until they have addresses they share a raw socket, then
// one network card with all their addresses.
type room struct {
	port *port
	ns   *namespace
	card netlink.Link

	mu       sync.Mutex
	ready    int
	finished int
	files    int
	bytes    int64
	resent   int
	digests  map[string]fact.Digest // of files whose name does not say it: equal for all
	times    map[string][]time.Duration
	failures map[string]*Failure
}

func (r *room) open(name string) (err error) {
	if r.ns, err = newNamespace(); err != nil {
		return err
	}
	if err := r.ns.grow(threads); err != nil {
		r.ns.close()
		return err
	}
	mac, err := cardMAC(name)
	if err == nil {
		r.card, err = r.ns.macvlan(name, cardName, mac)
	}
	if err == nil {
		r.port, err = openPort(name)
	}
	if err != nil {
		r.close()
		return fmt.Errorf("making a network card on %s: %w", name, err)
	}
	return nil
}

// cardMAC is the address of the card that the machines share. It is the same in every storm on an interface: a server
// remembers for a while which card had the machines' addresses in the last one.
func cardMAC(name string) (net.HardwareAddr, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	mac := slices.Clone(ifi.HardwareAddr)
	if len(mac) != 6 {
		return nil, errors.New("it is no Ethernet")
	}
	mac[0] |= 2 // locally administered
	mac[3] ^= 0x5a
	return mac, nil
}

func (r *room) close() {
	if r.port != nil {
		r.port.close()
	}
	if r.card != nil {
		_ = r.ns.do(func() error { return netlink.LinkDel(r.card) }) // else the kernel does it, later
	}
	r.ns.close()
}

// took takes note of how long a machine took for something.
func (r *room) took(stage string, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times[stage] = append(r.times[stage], d)
}

// ended takes note of how a machine ended, and gives how many have.
func (r *room) ended(mac fact.MAC, err error) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finished++
	if err == nil {
		r.ready++
		return r.finished
	}
	f := r.failures[err.Error()]
	if f == nil {
		f = &Failure{Reason: err.Error(), Example: mac}
		r.failures[err.Error()] = f
	}
	f.Machines++
	return r.finished
}

var errContents = errors.New("not the bytes that its digest promises")

// verify holds what a machine fetched against the digest in its name, or against what others got under the same name.
func (r *room) verify(name string, f bootsim.File) error {
	if f.Digest == "" { // a text made for this machine
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	want := digestIn.FindString(name)
	if want == "" {
		if _, ok := r.digests[name]; !ok {
			r.digests[name] = f.Digest
		}
		want = string(r.digests[name])
	}
	if string(f.Digest) != want {
		return errContents
	}
	r.files++
	r.bytes += f.Size
	return nil
}

func (r *room) report(machines int, elapsed time.Duration) Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := Report{Machines: machines, Ready: r.ready, Elapsed: elapsed, Files: r.files, Bytes: r.bytes, Resent: r.resent}
	for _, stage := range stages {
		if ds := r.times[stage]; len(ds) > 0 {
			slices.Sort(ds)
			at := func(percent int) time.Duration { return ds[(len(ds)-1)*percent/100] }
			out.Stages = append(out.Stages, StageTimes{stage, len(ds), at(50), at(90), at(99), at(100)})
		}
	}
	for _, f := range r.failures {
		out.Failures = append(out.Failures, *f)
	}
	slices.SortFunc(out.Failures, func(a, b Failure) int { return b.Machines - a.Machines })
	return out
}
