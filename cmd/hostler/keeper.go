package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"hostler/reconcile"
	"hostler/reconcile/assign"
	"hostler/reconcile/ledger"
	"hostler/reconcile/timeline"
	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/metrics"
	"hostler/spec"
)

// keeper brings together what is known of nodes beside the spec, and what is served: people's orders, their end, marks of what is
// installed, and the breaker of boot loops.
type keeper struct {
	store   ledger.Store
	book    *assign.Book
	recon   *reconcile.Reconciler
	event   func(fact.Event)
	metrics *metrics.Metrics
	log     *slog.Logger
	now     func() time.Time

	boots   chan timeline.Progress // that an order or the breaker may care about
	applied chan struct{}          // a revision was
	lost    atomic.Uint64          // of those, for want of room
}

// mostProgress is how many boots may wait for the disk.
const mostProgress = 4096

const (
	readyPrefix = "ready/"
	readyFormat = 1
)

type readyMark struct {
	Boot fact.BootID `json:"boot"`
	At   time.Time   `json:"at"`
}

func newKeeper(store ledger.Store, m *metrics.Metrics, event func(fact.Event), log *slog.Logger) *keeper {
	return &keeper{store: store, metrics: m, event: event, log: log, now: time.Now,
		boots: make(chan timeline.Progress, mostProgress), applied: make(chan struct{}, 1)}
}

// run works until ctx ends.
func (k *keeper) run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = k.book.Run(ctx, k.expired) // it returns nil
	}()
	defer func() { <-done }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-k.boots:
			k.look(ctx, p)
		case <-k.applied:
			k.settle(ctx)
		}
	}
}

// assignments are those that hold; none are known before the book is open.
func (k *keeper) assignments() render.Assignments {
	if k.book == nil {
		return render.Assignments{}
	}
	return k.book.Assignments()
}

// revision notes that another revision is served.
func (k *keeper) revision() {
	select {
	case k.applied <- struct{}{}:
	default: // it is about to look
	}
}

// expired takes over that orders are over.
func (k *keeper) expired(over []assign.Ended, err error) {
	if err != nil {
		k.log.Error("ending orders whose time is over", "err", err)
	}
	k.recon.Reassign()
	for _, e := range over {
		k.tell(e.Node, slog.LevelInfo, e.What+" has expired", e.Text)
	}
}

// tell writes what happened to a node into the log and among its events.
func (k *keeper) tell(node fact.NodeName, level slog.Level, what, detail string) {
	e := fact.Event{Time: k.now(), Node: node, What: what, Result: fact.OK, Detail: detail}
	if snapshot, rev := k.recon.Current(); snapshot != nil {
		n, _ := snapshot.Node(string(node))
		e.MAC, e.Revision = n.MAC, rev
	}
	k.log.Log(context.Background(), level, "node: "+what, "node", node, "mac", e.MAC, "detail", detail)
	k.event(e)
}

// Ready implements timeline.Marks: it keeps in the ledger which node was ready last, and by which boot, and what it has installed. The
// newest boot wins, whatever stood there. What is served follows before the machine has its answer: it may start again at once.
func (k *keeper) Ready(ctx context.Context, a timeline.Arrival) error {
	value, err := ledger.Pack(readyFormat, readyMark{a.Boot, a.At})
	if err != nil {
		return err
	}
	ready := ledger.Op{Key: readyPrefix + string(a.Node), Value: value}
	if a.Terms.Install == "" {
		_, err := k.store.Txn(ctx, nil, []ledger.Op{ready})
		return err
	}
	done := render.Installed{Digest: a.Terms.Install, MAC: a.MAC, Image: a.Terms.Image, Boot: a.Boot, At: a.At.UTC().Round(time.Second)}
	if err := k.book.Installed(ctx, a.Node, done, ready); err != nil {
		return err
	}
	k.recon.Reassign()
	k.tell(a.Node, slog.LevelInfo, "installed", done.String())
	return nil
}

// progress takes note of a boot, without waiting.
func (k *keeper) progress(p timeline.Progress) {
	if p.Node == "" || p.Terms.Override == "" && len(p.InVain) == 0 && !k.diverted(p) {
		return
	}
	select {
	case k.boots <- p:
	default:
		k.lost.Add(1)
	}
}

// diverted reports whether a boot has come as far as it comes from the network, under an override for one boot to start without it.
func (k *keeper) diverted(p timeline.Progress) bool {
	if p.Outcome != timeline.Booting || p.Stage != fact.StageAck && p.Stage != fact.StageScript {
		return false
	}
	o := k.book.Of(p.Node).Override
	began := k.now().Add(-p.After)
	return o.Once && o.Image == "" && (o.Boot == spec.BootDisk || o.Boot == spec.BootOff) && !o.Since.After(began.Add(time.Second))
}

// How long a machine may come back in the boot that an override for one boot was for: a BIOS loads iPXE before it asks for its
// script, and is sent to its disk by that.
const (
	untilScript = 2 * time.Minute
	afterScript = 10 * time.Second
)

// look sees to an override that was for one boot, and to boot loops.
func (k *keeper) look(ctx context.Context, p timeline.Progress) {
	switch {
	case k.diverted(p) && p.Stage == fact.StageAck:
		k.spend(ctx, p, k.book.Of(p.Node).Override.Order, untilScript)
	case k.diverted(p):
		k.spend(ctx, p, k.book.Of(p.Node).Override.Order, afterScript)
	case p.Outcome != timeline.Booting: // the boot that was given a script by it is over
		k.spend(ctx, p, p.Terms.Override, 0)
	}
	if p.Outcome == timeline.Ended {
		k.breakLoop(ctx, p)
	}
}

// spend ends an override for one boot, after a while if that boot goes on.
func (k *keeper) spend(ctx context.Context, p timeline.Progress, order string, after time.Duration) {
	spent, err := k.book.Spend(ctx, p.Node, order, after)
	if err != nil {
		k.log.Error("ending an override for one boot", "node", p.Node, "boot", p.Boot, "err", err)
	}
	if !spent {
		return
	}
	k.recon.Reassign()
	if after == 0 {
		k.tell(p.Node, slog.LevelInfo, "override used", "by boot "+string(p.Boot))
	}
}

// breakLoop holds a node that begins one boot after the other, and is never ready.
func (k *keeper) breakLoop(ctx context.Context, p timeline.Progress) {
	snapshot, _ := k.recon.Current()
	if snapshot == nil {
		return
	}
	most, within := snapshot.Loop(p.Node)
	if most == 0 || len(p.InVain) < most {
		return
	}
	if n, ok := snapshot.Node(string(p.Node)); !ok || n.Hold != "" {
		return
	}
	since := p.InVain[len(p.InVain)-most]
	if k.now().Sub(since) > within || since.Before(k.book.Forgiven(p.Node)) {
		return
	}
	reason := fmt.Sprintf("it boots in a loop: %d boots since %s, never ready, the last one came as far as %s", most, since.UTC().Format("15:04:05 UTC"), p.Stage)
	h := render.Hold{Reason: reason, By: breaker, Boot: snapshot.BootDigest(p.Node)}
	if err := k.book.Hold(ctx, []fact.NodeName{p.Node}, h, 0); err != nil {
		k.log.Error("holding a node that boots in a loop", "node", p.Node, "err", err)
		return
	}
	k.recon.Reassign()
	k.metrics.Looped()
	k.tell(p.Node, slog.LevelWarn, "held", reason)
}

// breaker is who holds machines that boot in a loop.
const breaker = "hostler"

// settle ends the holds of the breaker that a commit has lifted, by changing what the machine boots.
func (k *keeper) settle(ctx context.Context) {
	snapshot, rev := k.recon.Current()
	if snapshot == nil {
		return
	}
	var lifted []fact.NodeName
	for node, a := range k.book.Assignments().Nodes {
		if n, ok := snapshot.Node(string(node)); ok && a.Hold.Boot != "" && n.Assignment.Hold.Reason == "" {
			lifted = append(lifted, node)
		}
	}
	slices.Sort(lifted)
	lifted, err := k.book.Release(ctx, lifted)
	if err != nil && !errors.Is(err, context.Canceled) {
		k.log.Error("ending holds", "err", err)
	}
	for _, node := range lifted {
		k.tell(node, slog.LevelInfo, "released", "it boots something else since "+string(rev.Short()))
	}
}
