// Package inbox keeps what is known of the machines that asked to boot and that nobody declared, so that somebody can declare them. It is fed
// with the servers' events, and decides nothing: no machine is answered otherwise because it is in here, and none is ever declared by it.
//
// Whoever makes up addresses can fill it, but not grow it, and does not push out the machines that came back or got somewhere: those that
// were heard only once share a part of the room among themselves.
package inbox

import (
	"container/list"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"hostler/render/fact"
)

// The room that there is, in machines.
const (
	most        = 4096
	mostRegular = 3072 // of these, for machines that were heard again or got somewhere
)

// visitAfter is the silence after which a machine that is heard is there again: longer than firmware waits between two requests.
const visitAfter = 2 * time.Minute

// Machine is one that nobody declared.
type Machine struct {
	MAC         fact.MAC   `json:"mac"`
	Vendor      string     `json:"vendor,omitempty"` // of the card, by its address; filled in by List
	Arch        string     `json:"arch,omitempty"`   // of the firmware, as option 93 says: x86_64-uefi
	UUID        string     `json:"uuid,omitempty"`
	VendorClass string     `json:"vendor_class,omitempty"`
	Hostname    string     `json:"hostname,omitempty"`
	Subnet      string     `json:"subnet,omitempty"` // where it asked last; empty: none that is declared
	Relay       netip.Addr `json:"relay,omitzero"`
	Circuit     string     `json:"circuit,omitempty"` // the port, as the relay agent calls it
	Remote      string     `json:"remote,omitempty"`  // the relay agent, as it calls itself
	Peer        netip.Addr `json:"peer,omitzero"`     // the address that it asked from last, over HTTP
	First       time.Time  `json:"first_seen"`
	Last        time.Time  `json:"last_seen"`
	Requests    int        `json:"requests"` // for an address, or for a boot script from elsewhere
	Visits      int        `json:"visits"`   // how often it was there again after two minutes of silence
	Stage       fact.Stage `json:"stage"`    // the furthest that it came
}

// regular reports whether a machine has shown that it is one.
func (m *Machine) regular() bool { return m.Visits > 1 || m.Stage >= fact.StageLoader }

// Inbox is the machines that nobody declared.
type Inbox struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	seats   map[fact.MAC]*seat
	passing *list.List // of *seat, the last seen one first
	regular *list.List // the same
	changed bool       // since it was written
}

// seat is a machine's place in one of the lists.
type seat struct {
	Machine
	in *list.List
	at *list.Element
}

// Open reads what was kept in the file, if anything. A file that cannot be read is told of, and the inbox is empty then: it fills by itself.
func Open(path string, log *slog.Logger) *Inbox {
	b := &Inbox{path: path, log: log, seats: map[fact.MAC]*seat{}, passing: list.New(), regular: list.New()}
	machines, err := read(path)
	if err != nil {
		log.Warn("the inbox of undeclared machines begins empty", "err", err)
	}
	slices.SortFunc(machines, func(a, b Machine) int { return a.Last.Compare(b.Last) })
	for _, m := range machines {
		if b.seats[m.MAC] == nil {
			b.place(b.meet(m))
		}
	}
	return b
}

// Record takes an event of any machine. Those of declared ones cost nothing.
func (b *Inbox) Record(e *fact.Event) {
	if e.Node != "" || e.MAC.IsZero() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.seats[e.MAC]
	asks := e.Said != nil || e.Stage == fact.StageScript
	switch {
	case s == nil && !asks:
		return // an answer, or a file: it asked before, and was forgotten
	case s == nil:
		s = b.meet(Machine{MAC: e.MAC, First: e.Time, Last: e.Time, Visits: 1})
	case e.Time.Sub(s.Last) >= visitAfter:
		s.Visits++
	}
	s.observe(e, asks)
	b.place(s)
	b.changed = true
}

func (b *Inbox) meet(m Machine) *seat {
	s := &seat{Machine: m}
	b.seats[m.MAC] = s
	return s
}

func (m *Machine) observe(e *fact.Event, asks bool) {
	if e.Time.After(m.Last) {
		m.Last = e.Time
	}
	if asks {
		m.Requests++
	}
	if e.Result == fact.OK || e.Result == fact.Probe {
		m.Stage = max(m.Stage, e.Stage)
	}
	if s := e.Said; s != nil {
		m.said(s, e)
	} else if e.Stage == fact.StageScript {
		m.Peer = e.Peer
	}
}

// said takes over what a request said. An operating system says less than the firmware did, so what it leaves out stays.
func (m *Machine) said(s *fact.Said, e *fact.Event) {
	m.Subnet, m.Relay, m.Circuit, m.Remote = e.Subnet, s.Relay, s.Circuit, s.Remote
	if s.Arch != fact.NoArch {
		m.Arch = s.Arch.String()
	}
	for _, x := range []struct {
		to   *string
		from string
	}{{&m.UUID, s.UUID}, {&m.Hostname, s.Hostname}} {
		if x.from != "" {
			*x.to = x.from
		}
	}
	if s.VendorClass != "" && (m.VendorClass == "" || s.Arch != fact.NoArch) {
		m.VendorClass = s.VendorClass
	}
}

// place puts a machine at the front of its list, and makes room behind it.
func (b *Inbox) place(s *seat) {
	if s.at != nil {
		s.in.Remove(s.at)
	}
	s.in = b.passing
	if s.Machine.regular() {
		s.in = b.regular
	}
	s.at = s.in.PushFront(s)
	if b.regular.Len() > mostRegular {
		old := b.regular.Remove(b.regular.Back()).(*seat)
		old.in, old.at = b.passing, b.passing.PushFront(old)
	}
	if len(b.seats) > most {
		old := b.passing.Remove(b.passing.Back()).(*seat)
		delete(b.seats, old.MAC)
	}
}

// List gives the machines that are not declared meanwhile, the one that was heard last first.
func (b *Inbox) List(declared func(fact.MAC) bool) []Machine {
	machines := slices.DeleteFunc(b.copy(), func(m Machine) bool { return declared(m.MAC) })
	slices.SortFunc(machines, func(a, b Machine) int {
		if c := b.Last.Compare(a.Last); c != 0 {
			return c
		}
		return slices.Compare(a.MAC[:], b.MAC[:])
	})
	nameVendors(machines)
	return machines
}

func (b *Inbox) copy() []Machine {
	b.mu.Lock()
	defer b.mu.Unlock()
	machines := make([]Machine, 0, len(b.seats))
	for _, s := range b.seats {
		machines = append(machines, s.Machine)
	}
	return machines
}
