package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Checkpoint writes the leases into the store, so that a backup of it has them all, and waits for that.
func (l *Leases) Checkpoint(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case l.checkpoint <- answer:
	case <-l.stop:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// save begins a new journal file, and a checkpoint of what changed since the last one, which runs beside the commits.
// When it has ended, the older files are not needed any more.
func (l *Leases) save() {
	l.asking, l.asked = l.asked, nil
	l.mu.Lock()
	waiting := len(l.waiting)
	l.mu.Unlock()
	for ; waiting > 0; waiting -= mostBatch { // not what comes meanwhile
		l.commit()
	}
	old := journal{dir: l.journal.dir, seq: l.journal.seq}
	if err := l.journal.rotate(); err != nil {
		l.ended(err)
		return
	}
	l.saving = true
	l.mu.Lock()
	dirty := l.dirty
	l.dirty = map[netip.Addr]bool{}
	l.mu.Unlock()
	l.running.Go(func() {
		err := l.writeChanged(dirty)
		if err == nil {
			err = old.forget(old.seq)
		} else {
			l.mu.Lock()
			maps.Copy(l.dirty, dirty)
			l.mu.Unlock()
		}
		l.saved <- err
	})
}

// ended tells how a checkpoint went. After a failure the next one is tried a little later: the journal has everything.
func (l *Leases) ended(err error) {
	l.saving, l.saveAt = false, journalSize
	if err != nil {
		l.saveAt = l.journal.size + journalSize/8
		err = fmt.Errorf("checkpointing leases: %w", err)
		l.log.Error("leases stay in the journal", "err", err)
	}
	l.tell(&l.asking, err)
}

func (l *Leases) tell(who *[]chan error, err error) {
	for _, c := range *who {
		c <- err
	}
	*who = nil
}

// restTimes is how much longer a checkpoint rests than it works: machines that want leases now come first.
const restTimes = 2

// writeChanged brings the store up to date, some addresses at a time so that no machine waits for it, and neighbours together, which are
// neighbours in the store too. What changes meanwhile is written as it is then, or again: the journal that is being written has it, and
// says the same when it is replayed.
func (l *Leases) writeChanged(dirty map[netip.Addr]bool) error {
	addrs := slices.SortedFunc(maps.Keys(dirty), netip.Addr.Compare)
	for {
		n, begun := min(len(addrs), perTxn-1), time.Now()
		if err := l.write(l.changedOps(addrs[:n])); err != nil {
			return err
		}
		if addrs = addrs[n:]; len(addrs) == 0 {
			return nil
		}
		select {
		case <-l.stop:
		case <-time.After(restTimes * time.Since(begun)):
		}
	}
}

// changedOps are the operations that bring addresses in the store up to date. The clock comes first: time in the store never
// lies before that of a lease in it.
func (l *Leases) changedOps(addrs []netip.Addr) []Op {
	var all []saved
	l.mu.Lock()
	now := l.clock.tick()
	clock := savedClock{l.clock.raw.UnixNano(), now}
	for _, a := range addrs {
		e := l.byAddr[a]
		s := saved{Lease: e.lease, Start: e.start, Until: e.until, Rest: e.rest}
		if e.rest != 0 {
			s.By = e.decliner
		}
		s.Lease.Addr = a // a declined address has no lease
		all = append(all, s)
	}
	l.mu.Unlock()
	ops := []Op{operation(keyClock, clock)}
	for i := range all {
		ops = append(ops, operation(keyLease+all[i].Lease.Addr.String(), &all[i]))
	}
	return ops
}

func operation(key string, v any) Op {
	b, err := Pack(savedFormat, v)
	if err != nil {
		panic(err) // plain structures of ours always encode
	}
	return Op{Key: key, Value: b}
}

func (l *Leases) write(ops []Op) error {
	for len(ops) > 0 {
		n := min(len(ops), perTxn)
		if _, err := l.store.Txn(context.Background(), nil, ops[:n]); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}

// saveRun tells the disk what the clock is like now.
func (l *Leases) saveRun(run savedRun) error {
	if err := l.write([]Op{operation(keyRun, run)}); err != nil {
		return fmt.Errorf("noting that the clock was set: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock.disk = run
	return nil
}

// loadRun reads that. An older state has nothing of the kind.
func (l *Leases) loadRun(ctx context.Context) error {
	kv, err := l.store.Get(ctx, keyRun)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := Unpack(kv.Value, savedFormat, &l.clock.disk); err != nil {
		return fmt.Errorf("%s: %w", kv.Key, err)
	}
	return nil
}

// load reads the last checkpoint, and removes leases from it that ended long ago.
func (l *Leases) load(ctx context.Context) error {
	if err := l.loadRun(ctx); err != nil {
		return err
	}
	kv, err := l.store.Get(ctx, keyClock)
	if errors.Is(err, ErrNotFound) {
		return nil // there never was a checkpoint
	}
	if err != nil {
		return err
	}
	var c savedClock
	if _, err := Unpack(kv.Value, savedFormat, &c); err != nil {
		return fmt.Errorf("%s: %w", kv.Key, err)
	}
	l.clock.set(c.Raw, c.T)
	kvs, err := l.store.List(ctx, keyLease)
	if err != nil {
		return err
	}
	var old []Op
	for _, kv := range kvs {
		var s saved
		if _, err := Unpack(kv.Value, savedFormat, &s); err != nil {
			return fmt.Errorf("%s: %w", kv.Key, err)
		}
		if !s.Lease.Addr.IsValid() || max(s.Until, s.Rest) < c.T-int64(memory) {
			old = append(old, Op{Key: kv.Key, Delete: true})
			continue
		}
		l.restore(&s)
	}
	return l.write(old)
}

// restore takes an address over from the checkpoint. Of several that a machine has had, its own is the last one.
func (l *Leases) restore(s *saved) {
	e := l.entry(s.Lease.Subnet, s.Lease.Addr)
	e.start, e.until, e.rest = s.Start, s.Until, s.Rest
	e.decliner = s.By
	if !s.Lease.MAC.IsZero() {
		e.lease = s.Lease
	}
	if other := l.owners[e.owner()]; !e.lease.MAC.IsZero() && (other == nil || other.before(e)) {
		l.owners[e.owner()] = e
	}
	e.changed()
}
