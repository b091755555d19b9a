package timeline

import (
	"net/netip"
	"slices"
	"time"

	"hostler/render/fact"
)

const (
	retransmission = 10 * time.Second // a client that repeats itself with a new transaction has not started again
	sameXid        = 2 * time.Minute  // a client repeats itself with the same transaction
	osTime         = time.Hour        // how long DHCP messages of an operating system belong to the boot that started it
	loopGap        = 10 * time.Minute // between two boots of a machine that starts over and over; firmware goes through its list sooner
	mostLoops      = 3                // boots in a row without one that was ready, before the next is called stuck
	mostRetries    = 3                // of a script, the same
	mostEvents     = 1000             // of one boot, when it is shown
	mostSeenXids   = 8
)

// patience is for how long nothing need be heard of a machine that is all right, by the furthest stage.
var patience = [...]time.Duration{
	fact.StageNone:     10 * time.Minute,
	fact.StageDiscover: 3 * time.Minute, // PXE asks for one minute (PXE 2.1 section 2.2.3), UEFI goes on to its next entry and comes back
	fact.StageOffer:    2 * time.Minute, // the longest that firmware collects offers is ten seconds; four repetitions of its Request take one minute
	fact.StageRequest:  2 * time.Minute,
	fact.StageAck:      2 * time.Minute,  // the loader is asked for within seconds; EDK2 repeats that for half a minute
	fact.StageLoader:   5 * time.Minute,  // a file is reported when it was sent: GRUB fetches kernels by TFTP
	fact.StageScript:   10 * time.Minute, // a kernel that another server delivers is not seen at all
	fact.StageKernel:   10 * time.Minute, // the initrd is reported at its end: two gigabytes in ten minutes are 30 Mbit/s
	fact.StageInitrd:   10 * time.Minute, // dracut gives up after three, large servers count their memory and disks first
	fact.StageConfig:   30 * time.Minute, // whatever a first start installs
	fact.StageReady:    0,
}

// Outcome is what became of a boot.
type Outcome string

// The outcomes.
const (
	Booting Outcome = "booting"
	Ready   Outcome = "ready"  // the machine said so
	Stuck   Outcome = "stuck"  // nothing was heard of it for longer than its stage takes, or it goes round in a circle
	Ended   Outcome = "ended"  // the machine began another boot before it was ready
	Local   Outcome = "local"  // nothing was heard of it because it was to start by itself; who knows the spec says so instead of Stuck
	Played  Outcome = "played" // no machine: somebody tried the servers out with its address
)

// Boot is one boot of one machine, as its events tell.
type Boot struct {
	ID       fact.BootID   `json:"boot"`
	MAC      fact.MAC      `json:"mac"`
	Node     fact.NodeName `json:"node,omitempty"`
	Revision fact.Revision `json:"revision,omitempty"` // that the machine's script or configuration came from; else of the last answer
	Outcome  Outcome       `json:"outcome"`
	Since    time.Time     `json:"since"`  // of the outcome
	Stage    fact.Stage    `json:"stage"`  // the furthest
	Client   fact.Client   `json:"client"` // the furthest
	Start    time.Time     `json:"start"`
	Last     time.Time     `json:"last"` // when anything was heard of it last
	Bytes    int64         `json:"bytes"`
	Retries  int           `json:"retries,omitempty"` // how often it asked for its script again
	Resent   int           `json:"resent,omitempty"`  // packets of files that had to be sent again
	Probes   int           `json:"probes,omitempty"`  // of its loaders: it asked for the size only
	Again    int           `json:"again,omitempty"`   // how many boots before this one followed each other closely without one being ready
	Remarks  []fact.Event  `json:"remarks,omitempty"` // the last step of each stage that was refused, failed, or a script that says why it boots nothing
	Steps    []Step        `json:"steps"`             // by stage
	Events   []fact.Event  `json:"events,omitempty"`  // in order; only from Boots
	Omitted  int           `json:"omitted,omitempty"` // later events that Events does not have
	ready    time.Time
	first    time.Time // when the first of those boots began
	played   bool
}

// Step gives what happened in one stage; nothing happened when its Count is 0.
func (b *Boot) Step(stage fact.Stage) Step {
	for _, s := range b.Steps {
		if s.Stage == stage {
			return s
		}
	}
	return Step{Stage: stage}
}

// Remark gives what was wrong at a stage, if that was the last that happened there.
func (b *Boot) Remark(stage fact.Stage) (fact.Event, bool) {
	for _, e := range b.Remarks {
		if e.Stage == stage {
			return e, !e.Time.Before(b.Step(stage).Last)
		}
	}
	return fact.Event{}, false
}

// Step sums up what happened in one stage of a boot.
type Step struct {
	Stage    fact.Stage    `json:"stage"`
	First    time.Time     `json:"first"`
	Last     time.Time     `json:"last"` // start of the last event
	Count    int           `json:"count"`
	Bad      int           `json:"bad,omitempty"` // of those, how many were refused or failed
	Bytes    int64         `json:"bytes,omitempty"`
	Duration time.Duration `json:"duration,omitempty"` // all events together, nanoseconds
}

// judged is a copy with its outcome. A boot that is not the machine's newest has ended.
func (b *Boot) judged(now time.Time, newest bool) Boot {
	c := *b
	c.Steps, c.Remarks = slices.Clone(b.Steps), slices.Clone(b.Remarks)
	c.Outcome, c.Since = b.outcome(now, newest)
	return c
}

func (b *Boot) outcome(now time.Time, newest bool) (o Outcome, since time.Time) {
	switch {
	case !b.ready.IsZero():
		return Ready, b.ready
	case b.played:
		return Played, b.Start
	case !newest:
		return Ended, b.Last
	case now.Sub(b.Last) > patience[b.Stage]:
		return Stuck, b.Last
	case b.Again >= mostLoops:
		return Stuck, b.first
	case b.Circles():
		return Stuck, b.Step(fact.StageScript).First
	}
	return Booting, b.Start
}

// Circles reports whether the machine asks for its script over and over, and got nothing behind it since it did the last time.
func (b *Boot) Circles() bool {
	if b.Retries < mostRetries {
		return false
	}
	asked := b.Step(fact.StageScript).Last
	for _, s := range b.Steps {
		if _, bad := b.Remark(s.Stage); s.Stage > fact.StageScript && !bad && s.Last.After(asked) {
			return false
		}
	}
	return true
}

// running is the newest boot of a machine, with what decides where its next event belongs.
type running struct {
	Boot
	xids     []uint32    // the last DISCOVERs' transactions
	client   fact.Client // of the last DISCOVER
	heard    time.Time   // when that came
	loaded   bool        // a loader was sent since then
	chained  bool        // a loader that is iPXE has taken over from an iPXE in ROM
	scripted bool        // a script was given to the machine

	token  fact.Token // only in the process that minted it
	hashes [][]byte   // SHA-256 of every token of this boot
	addr   netip.Addr // that the token is for
	terms  fact.Terms

	extent *extent
}

// begins reports whether an event begins a new boot: a DISCOVER with a new transaction, of a client that is not later in
// the order ROM, iPXE, operating system than the furthest one seen. Exceptions:
//   - The same client within ten seconds has repeated itself; some firmware takes a new transaction for that.
//   - QEMU's ROMs, and those of some network cards, are iPXE themselves. When such a ROM is sent iPXE as its loader, that
//     one's first DISCOVER continues the boot, once.
//   - Some firmware takes the same transaction each time it starts, so one counts as known for two minutes only: a client
//     that gets no answer repeats itself for about one (RFC 2131 section 4.1).
//   - An operating system asks again whenever it likes: an initial ramdisk, then the system proper, then after every
//     restart of its network. It only begins a boot if nothing is known of the machine.
func (r *running) begins(e *fact.Event) bool {
	switch {
	case e.Stage != fact.StageDiscover || r.knows(e):
		return false
	case e.Client > r.Client || e.Client == fact.ClientOS:
		return false
	case e.Client == r.client && e.Time.Sub(r.heard) <= retransmission:
		return false
	case e.Client == fact.ClientIPXE && r.chains():
		return false
	}
	return true
}

func (r *running) knows(e *fact.Event) bool {
	return slices.Contains(r.xids, e.Xid) && e.Time.Sub(r.heard) <= sameXid
}

func (r *running) chains() bool { return r.loaded && !r.chained && r.Client == fact.ClientIPXE }

// foreign reports whether an event has nothing to do with the boot: the operating system looks after its lease.
func (r *running) foreign(e *fact.Event) bool {
	return e.Client == fact.ClientOS && e.Stage <= fact.StageAck && (!r.ready.IsZero() || e.Time.Sub(r.Start) > osTime)
}

// observe adds an event.
func (r *running) observe(e *fact.Event) {
	if e.Stage == fact.StageDiscover {
		r.discovered(e)
	}
	if r.Start.IsZero() || e.Time.Before(r.Start) {
		r.Start = e.Time
	}
	end := e.Time // of a DHCP reply, when it left
	if e.Stage > fact.StageAck {
		end = end.Add(max(e.Duration, 0))
	}
	if end.After(r.Last) {
		r.Last = end
	}
	if e.Node != "" {
		r.Node = e.Node
	}
	if e.Revision != "" && r.terms.Revision == "" {
		r.Revision = e.Revision
	}
	r.Client = max(r.Client, e.Client)
	r.Bytes += e.Bytes
	if reached(e) {
		r.Stage = max(r.Stage, e.Stage)
	}
	if e.Stage == fact.StageLoader && e.Result == fact.OK {
		r.loaded = true
	}
	if e.Stage == fact.StageScript && e.Result == fact.OK && e.Bytes > 0 {
		if r.scripted {
			r.Retries++
		}
		r.scripted = true
	}
	r.Resent += e.Resent
	if e.Stage == fact.StageLoader && e.Result == fact.Probe {
		r.Probes++
	}
	r.played = r.played || e.What == played
	r.remark(e)
	r.step(e)
}

// remark keeps a step that tells why a boot gets no further.
func (r *running) remark(e *fact.Event) {
	if e.Result != fact.Refused && e.Result != fact.Failed && (e.Stage != fact.StageScript || e.Detail == "") {
		return
	}
	i := slices.IndexFunc(r.Remarks, func(o fact.Event) bool { return o.Stage == e.Stage })
	if i < 0 {
		r.Remarks = append(r.Remarks, *e)
	} else {
		r.Remarks[i] = *e
	}
}

// follows notes that a boot begins where another one ended.
func (r *running) follows(old *running, at time.Time) {
	r.first = at
	if old != nil && old.ready.IsZero() && !old.played && at.Sub(old.Last) <= loopGap {
		r.Again, r.first = old.Again+1, old.first
	}
}

// reached reports whether the machine got as far as the event's stage: what it asks for by itself counts, and so does an
// answer that it got, even in part.
func reached(e *fact.Event) bool {
	if e.Stage == fact.StageOffer || e.Stage == fact.StageAck { // one packet, which left or did not
		return e.Result == fact.OK
	}
	return e.Result != fact.Refused || e.Stage <= fact.StageRequest
}

func (r *running) discovered(e *fact.Event) {
	if r.client == fact.ClientIPXE && e.Client == fact.ClientIPXE && !slices.Contains(r.xids, e.Xid) && r.chains() {
		r.chained = true
	}
	if e.Client != r.client || !slices.Contains(r.xids, e.Xid) {
		r.loaded = false
	}
	if !slices.Contains(r.xids, e.Xid) {
		if len(r.xids) == mostSeenXids {
			r.xids = slices.Delete(r.xids, 0, 1)
		}
		r.xids = append(r.xids, e.Xid)
	}
	r.client, r.heard = e.Client, e.Time
}

func (r *running) step(e *fact.Event) {
	if e.Stage == fact.StageNone {
		return
	}
	i, found := slices.BinarySearchFunc(r.Steps, e.Stage, func(s Step, st fact.Stage) int { return int(s.Stage) - int(st) })
	if !found {
		r.Steps = slices.Insert(r.Steps, i, Step{Stage: e.Stage, First: e.Time, Last: e.Time})
	}
	s := &r.Steps[i]
	if e.Time.Before(s.First) {
		s.First = e.Time
	}
	if e.Time.After(s.Last) {
		s.Last = e.Time
	}
	s.Count++
	if e.Result == fact.Refused || e.Result == fact.Failed {
		s.Bad++
	}
	s.Bytes += e.Bytes
	s.Duration += e.Duration
}

// admit takes over what Script decided, now or in an earlier process.
func (r *running) admit(e *entry) {
	r.hashes = append(r.hashes, e.Hash)
	if len(r.hashes) > mostTokens {
		r.hashes = r.hashes[1:]
	}
	r.pin(e)
}

func (r *running) pin(e *entry) {
	r.addr, r.terms, r.Revision = e.Addr, e.Terms, e.Revision
	r.terms.Revision = e.Revision
	r.Node = e.Node // none, when the machine is no longer declared: the node may be another machine, whose secrets these are not
	if r.Start.IsZero() {
		r.Start = e.Time
	}
	if e.Time.After(r.Last) {
		r.Last = e.Time
	}
}

// arrive notes that the machine is ready.
func (r *running) arrive(at time.Time) {
	r.ready, r.Stage = at, fact.StageReady
	if at.After(r.Last) {
		r.Last = at
	}
}
