package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"hostler/render/fact"
)

const (
	mostWaiting = 1 << 16 // records on their way; a disk that is slower than the network shows as errors, not as memory
	mostBatch   = 4096    // records in one frame
	journalSize = 8 << 20 // bytes of a journal file, about 100,000 records; then it is checkpointed
	perTxn      = 512     // addresses in one transaction of a checkpoint
	mostText    = 1024    // bytes of each name in a lease, so that a batch fits into a frame
)

// waiting is a record on its way into the journal.
type waiting struct {
	record
	done func(error) // nil when nobody waits
}

// committer is the one goroutine that writes: it takes everything that waits, makes it durable at once, and tells.
type committer struct {
	wake       chan struct{}   // something waits
	stop       chan struct{}   // closed by Close
	checkpoint chan chan error // somebody wants a checkpoint
	saved      chan error      // how the running checkpoint ended
	running    sync.WaitGroup

	// Only the goroutine itself uses these.
	journal journal
	saving  bool         // a checkpoint is being written
	saveAt  int64        // size of the journal file at which the next one begins
	asked   []chan error // who waits for the next checkpoint
	asking  []chan error // who waits for the running one
	failing bool         // the last batch could not be written

	// Under the mutex of Leases.
	closed    bool
	committed func(time.Duration, error) // told of every batch; may be nil
}

var errClosed = errors.New("leases are closed")

func (c *committer) start(l *Leases) {
	c.wake, c.stop = make(chan struct{}, 1), make(chan struct{})
	c.checkpoint, c.saved, c.saveAt = make(chan chan error), make(chan error, 1), journalSize
	c.running.Go(func() { l.commitAll() })
}

// Bind makes a lease durable and then calls done with nil, once, from the goroutine that writes (so done must not wait); or with the reason why it is
// not: ErrTaken, at once, if another machine has the address, or what is wrong with the disk. Until then, and after an error,
// nothing has changed for anybody but that the address stays offered. It never waits.
func (l *Leases) Bind(lease fact.Lease, done func(error)) {
	if err := l.bind(lease, done); err != nil {
		done(err)
	}
}

func (l *Leases) bind(lease fact.Lease, done func(error)) error {
	lease.Addr = lease.Addr.Unmap()
	if err := checkLease(&lease); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.tick()
	if e := l.byAddr[lease.Addr]; e != nil {
		if err := e.conflict(machine{lease.MAC, lease.Subnet}, lease.Pool == "", now); err != nil {
			return err
		}
	}
	if len(l.waiting) >= mostWaiting {
		return fmt.Errorf("writing leases: the disk is %d leases behind", len(l.waiting))
	}
	if l.closed {
		return errClosed
	}
	e := l.entry(lease.Subnet, lease.Addr)
	r := record{kind: bound, lease: lease, start: l.clock.ours(lease.Start), until: l.clock.ours(lease.Expires)}
	if o := e.offer; o != nil && o.MAC == lease.MAC && o.Start.Equal(lease.Start) && o.Expires.Equal(lease.Expires) {
		r.start, r.until = e.from, e.to // whatever the system's clock was set to since the offer
	}
	r.lease.State, r.lease.Start, r.lease.Expires = fact.Bound, time.Time{}, time.Time{}
	lease.State = fact.Offered
	e.pending++
	l.promise(e, lease, now)
	e.from, e.to = r.start, r.until
	l.enqueue(waiting{r, done})
	return nil
}

// checkLease refuses what the journal cannot hold.
func checkLease(l *fact.Lease) error {
	switch {
	case l.MAC.IsZero() || !l.Addr.IsValid():
		return fmt.Errorf("writing leases: address %s, machine %s: both are needed", l.Addr, l.MAC)
	case max(len(l.Node), len(l.Subnet), len(l.Pool), len(l.Hostname)) > mostText:
		return fmt.Errorf("writing leases: address %s: a name is longer than %d bytes", l.Addr, mostText)
	}
	return nil
}

// enqueue hands a record to the committer. The caller holds the mutex.
func (l *Leases) enqueue(w waiting) {
	l.waiting = append(l.waiting, w)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// commitAll writes until stop is closed, and then what still waits.
func (l *Leases) commitAll() {
	for {
		select {
		case <-l.wake:
			for l.commit() {
			}
			if l.journal.size > l.saveAt && !l.saving {
				l.save()
			}
		case answer := <-l.checkpoint:
			l.asked = append(l.asked, answer)
			if !l.saving {
				l.save()
			}
		case err := <-l.saved:
			l.ended(err)
			if len(l.asked) > 0 {
				l.save()
			}
		case <-l.stop:
			for l.commit() {
			}
			if l.saving {
				l.ended(<-l.saved)
			}
			l.tell(&l.asked, errClosed)
			return
		}
	}
}

// commit writes one batch and reports whether more waits.
func (l *Leases) commit() bool {
	l.mu.Lock()
	n := min(len(l.waiting), mostBatch)
	batch := l.waiting[:n:n]
	if l.waiting = l.waiting[n:]; len(l.waiting) == 0 {
		l.waiting = nil
	}
	now := l.clock.tick()
	f := frame{raw: l.clock.raw.UnixNano(), t: now, records: make([]record, n)}
	for i := range batch {
		f.records[i] = batch[i].record
	}
	committed := l.committed
	run, moved := l.clock.moved()
	l.mu.Unlock()
	var err error
	if moved { // before anything is written by the clock as it is now
		err = l.saveRun(run)
	}
	if n == 0 {
		return false
	}
	begun := time.Now()
	if err == nil {
		err = l.journal.append(f)
	}
	if committed != nil {
		committed(time.Since(begun), err)
	}
	l.report(err)
	l.mu.Lock()
	for i := range batch {
		l.settle(&batch[i], err)
	}
	more := len(l.waiting) > 0
	if err != nil {
		l.retry(batch)
	}
	l.mu.Unlock()
	for i := range batch {
		if batch[i].done != nil {
			batch[i].done(err)
		}
	}
	return more
}

// report logs when the disk begins to fail, and when it works again.
func (l *Leases) report(err error) {
	switch {
	case err != nil && !l.failing:
		l.log.Error("leases are not acknowledged until the disk works again", "err", err)
	case err == nil && l.failing:
		l.log.Info("the disk works again, leases are acknowledged")
	}
	l.failing = err != nil
}

// settle brings memory up to date when a record is durable, or could not be made so.
func (l *Leases) settle(w *waiting, err error) {
	e := l.byAddr[w.lease.Addr]
	if w.kind == bound {
		e.pending--
		e.changed()
	}
	if err != nil {
		return
	}
	before := l.owners[machine{w.lease.MAC, w.lease.Subnet}]
	l.apply(&w.record)
	if w.kind != bound {
		return
	}
	if e.pending == 0 && e.offer != nil {
		if m := (machine{e.offer.MAC, e.offer.Subnet}); l.offers[m] == e {
			delete(l.offers, m)
		}
		e.offer = nil
		e.changed()
	}
	if before != nil && before != e && before.active(l.clock.t) { // a machine has one address
		l.release(before, l.clock.t)
	}
}

// retry keeps what nobody waits for, releases and declines, for the next batch: they hold in memory already. Leases are
// not kept: their machines ask again, and the next batch is then.
func (l *Leases) retry(batch []waiting) {
	var keep []waiting
	for _, w := range batch {
		if w.done == nil && len(keep)+len(l.waiting) < mostWaiting {
			keep = append(keep, w)
		}
	}
	l.waiting = append(keep, l.waiting...)
}

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
	for l.commit() {
	}
	old := journal{dir: l.journal.dir, seq: l.journal.seq}
	if err := l.journal.rotate(); err != nil {
		l.ended(err)
		return
	}
	l.saving = true
	l.mu.Lock()
	dirty, ops := l.dirty, l.changedOps()
	l.dirty = map[netip.Addr]bool{}
	l.mu.Unlock()
	l.running.Go(func() {
		err := l.write(ops)
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

// changedOps are the operations that bring the store up to date. The clock comes first: time in the store never
// lies before that of a lease in it.
func (l *Leases) changedOps() []Op {
	now := l.clock.tick()
	ops := []Op{operation(keyClock, savedClock{l.clock.raw.UnixNano(), now})}
	for a := range l.dirty {
		e := l.byAddr[a]
		s := saved{Lease: e.lease, Start: e.start, Until: e.until, Rest: e.rest}
		if e.rest != 0 {
			s.By = &e.decliner
		}
		s.Lease.Addr = a // a declined address has no lease
		ops = append(ops, operation(keyLease+a.String(), s))
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
	if s.By != nil {
		e.decliner = *s.By
	}
	if !s.Lease.MAC.IsZero() {
		e.lease = s.Lease
	}
	if other := l.owners[e.owner()]; !e.lease.MAC.IsZero() && (other == nil || other.before(e)) {
		l.owners[e.owner()] = e
	}
	e.changed()
}

// replayed applies one batch of the journal.
func (l *Leases) replayed(f frame) {
	l.clock.set(f.raw, f.t)
	for i := range f.records {
		l.apply(&f.records[i])
	}
}

// Close makes what waits durable and ends the background work.
func (l *Leases) Close() error {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return nil
	}
	close(l.stop)
	l.running.Wait()
	return l.journal.close()
}
