package dhcp

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render/fact"
)

// report tells the outside what happened: every request as events, decisions as log lines, and sums for State.
type report struct {
	cfg      *Config
	quiet    limiter
	notices  notices
	relays   relays
	unknown  allowance // of lines about machines that nobody declared
	received atomic.Uint64
	replied  atomic.Uint64
	refused  atomic.Uint64
	failed   atomic.Uint64
	dropped  atomic.Uint64

	mu        sync.Mutex
	leaseErr  string
	leaseTold bool // the log has it
}

func newReport(cfg *Config) *report {
	return &report{cfg: cfg, quiet: limiter{last: make(map[limitKey]time.Time)}}
}

// request reports that a request was looked at, and why it gets no reply if it does not.
func (r *report) request(x *exchange) {
	if x.facts.GIAddr.IsValid() && x.subnet != "" {
		r.relays.heard(x.facts.GIAddr, x.subnet, x.start)
	}
	e := x.request()
	switch e.Result {
	case fact.Refused:
		r.refused.Add(1)
	case fact.Failed:
		r.failed.Add(1)
	}
	r.cfg.Event(e)
	switch e.Result {
	case fact.Refused:
		r.limited(slog.LevelInfo, x.facts.MAC, "dhcp: no reply", e)
	case fact.Failed:
		r.limited(slog.LevelWarn, x.facts.MAC, "dhcp: "+e.What, e)
	default:
		r.log(slog.LevelDebug, "dhcp: "+e.What, e)
	}
}

// reply reports that a reply left, or why it did not.
func (r *report) reply(x *exchange, resp *dhcpv4.DHCPv4, n int, err error) {
	e := x.reply(r.cfg.Now(), resp, n, err)
	if err != nil {
		r.failed.Add(1)
	} else {
		r.replied.Add(1)
	}
	r.cfg.Event(e)
	switch e.Result {
	case fact.Failed:
		r.limited(slog.LevelError, x.facts.MAC, "dhcp: "+e.What+" not sent", e)
	case fact.Refused:
		r.limited(slog.LevelInfo, x.facts.MAC, "dhcp: "+e.What, e)
	case fact.OK:
		if e.Stage == fact.StageAck && e.Node != "" { // strangers come by the thousands
			r.limited(slog.LevelInfo, x.facts.MAC, "dhcp: "+e.What, e)
			return
		}
		r.log(slog.LevelDebug, "dhcp: "+e.What, e)
	}
}

// unreadable reports a datagram that is not a request. Nobody can say which machine sent it.
func (r *report) unreadable(at time.Time, peer netip.Addr, ifname string, err error) {
	r.refused.Add(1)
	e := fact.Event{Time: at, What: "DHCP", Peer: peer, Result: fact.Refused, Detail: "unreadable: " + err.Error()}
	r.cfg.Event(e)
	if r.quiet.allow(limitKey{what: "unreadable " + ifname}, at) {
		r.cfg.Log.Info("dhcp: unreadable datagram", "interface", ifname, "peer", peer, "err", err)
	}
}

// panicked reports a defect of ours, or of a plugin. The stack is for the log only.
func (r *report) panicked(x *exchange, value any, stack []byte) {
	r.failed.Add(1)
	x.result, x.detail = fact.Failed, fmt.Sprintf("panic: %v", value)
	e := x.request()
	r.cfg.Event(e)
	r.cfg.Log.Error("dhcp: panic in one request", "mac", e.MAC, "what", e.What, "err", e.Detail, "stack", string(stack))
}

// overflow counts a datagram, or a reply, for which there was no room.
func (r *report) overflow(ifname string) {
	r.dropped.Add(1)
	if r.quiet.allow(limitKey{what: "overflow " + ifname}, r.cfg.Now()) {
		r.cfg.Log.Warn("dhcp: too many requests at once, dropping some", "interface", ifname, "dropped", r.dropped.Load())
	}
}

// leaseError remembers why the last lease could not be written; empty: it was. Both are told once a minute: a disk that is slow under a
// flood fails every other lease.
func (r *report) leaseError(err string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaseErr = err
	switch {
	case err == "" && r.leaseTold:
		r.leaseTold = false
		r.cfg.Log.Info("dhcp: leases are written again")
	case err != "" && r.quiet.allow(limitKey{what: "leases"}, r.cfg.Now()):
		r.leaseTold = true
		r.cfg.Log.Error("dhcp: a lease was not written, so its machine gets no ACK", "err", err)
	}
}

func (r *report) lastLeaseError() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leaseErr
}

// limited logs the same thing about one machine and its client once a minute, and in all as much about machines that nobody declared as
// somebody would read: who makes addresses up must not fill the disk.
func (r *report) limited(level slog.Level, mac fact.MAC, msg string, e fact.Event) {
	if !r.quiet.allow(limitKey{mac, msg, e.Client}, e.Time) {
		return
	}
	if e.Node == "" {
		left := r.unknown.take(e.Time)
		if left == 0 {
			r.cfg.Log.Warn("dhcp: too many unknown machines, leaving out further lines about them", "for", limitEvery)
		}
		if left <= 0 {
			return
		}
	}
	r.log(level, msg, e)
}

// shortened tells of options for which a reply had no room: the author of the spec sees them nowhere else.
func (r *report) shortened(x *exchange, options []uint8) {
	e := x.request()
	e.Detail = fmt.Sprintf("options %d did not fit", options)
	r.limited(slog.LevelWarn, x.facts.MAC, "dhcp: reply too large, leaving options out", e)
}

func (r *report) log(level slog.Level, msg string, e fact.Event) {
	if !r.cfg.Log.Enabled(context.Background(), level) {
		return
	}
	args := []any{"mac", e.MAC, "what", e.What, "client", e.Client}
	for _, a := range [...]struct{ key, value string }{
		{"node", string(e.Node)}, {"revision", e.Revision.Short()}, {"file", e.File}, {"err", e.Detail},
	} {
		if a.value != "" {
			args = append(args, a.key, a.value)
		}
	}
	if e.Peer.IsValid() {
		args = append(args, "address", e.Peer)
	}
	r.cfg.Log.Log(context.Background(), level, msg, args...)
}

const (
	limitEvery   = time.Minute
	limitSize    = 4096
	limitUnknown = 200 // lines
)

// allowance is a number of lines for a minute.
type allowance struct {
	mu    sync.Mutex
	begun time.Time
	taken int
}

// take takes a line, and gives how many were left: 0 for the first that is too many, and less for those after it.
func (a *allowance) take(now time.Time) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d := now.Sub(a.begun); d < 0 || d >= limitEvery { // the clock may be set back
		a.begun, a.taken = now, 0
	}
	left := limitUnknown - a.taken
	a.taken++
	return left
}

// limiter lets one line through a minute for each machine and message.
type limiter struct {
	mu   sync.Mutex
	last map[limitKey]time.Time
}

type limitKey struct {
	mac    fact.MAC
	what   string
	client fact.Client
}

func (l *limiter) allow(k limitKey, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t, ok := l.last[k]; ok {
		if d := now.Sub(t); d >= 0 && d < limitEvery { // the clock may be set back
			return false
		}
	}
	if len(l.last) >= limitSize {
		clear(l.last) // made-up addresses must not use up memory; a few lines are repeated early
	}
	l.last[k] = now
	return true
}

// conflict reports an address that was not offered, because somebody has it.
func (r *report) conflict(x *exchange, now time.Time, detail string) {
	r.failed.Add(1)
	e := x.event(now, "Conflict check", fact.StageNone)
	e.Duration, e.Result, e.Detail = now.Sub(x.start), fact.Failed, detail
	r.cfg.Event(e)
	r.limited(slog.LevelWarn, x.facts.MAC, "dhcp: conflict", e)
}
