package tftp

import (
	"sync/atomic"

	"hostler/render/fact"
)

// State counts since the start, for metrics.
type State struct {
	Running   int64  // transfers now
	Requests  uint64 // packets to the server's own port that are no part of a transfer
	Repeated  uint64 // requests that were being answered already
	OK        uint64 // transfers that were completed
	Probes    uint64 // that only asked for the size
	Refused   uint64
	Failed    uint64
	Resent    uint64 // packets that were sent again
	Lost      uint64 // packets that this host could not send
	Strangers uint64 // packets to a transfer from somebody else
	Bytes     uint64 // of files
}

type counters struct {
	running                                                                       atomic.Int64
	requests, repeated, ok, probes, refused, failed, resent, lost, strangers, sum atomic.Uint64
}

// count takes in what a request came to.
func (c *counters) count(e *fact.Event) {
	switch e.Result {
	case fact.OK:
		c.ok.Add(1)
	case fact.Probe:
		c.probes.Add(1)
	case fact.Refused:
		c.refused.Add(1)
	case fact.Failed:
		c.failed.Add(1)
	}
	c.resent.Add(uint64(e.Resent))
	c.sum.Add(uint64(e.Bytes))
}

// State is what the server has done so far.
func (s *Server) State() State {
	c := &s.counters
	return State{
		Running: c.running.Load(), Requests: c.requests.Load(), Repeated: c.repeated.Load(),
		OK: c.ok.Load(), Probes: c.probes.Load(), Refused: c.refused.Load(), Failed: c.failed.Load(),
		Resent: c.resent.Load(), Lost: c.lost.Load(), Strangers: c.strangers.Load(), Bytes: c.sum.Load(),
	}
}
