package ledger

import (
	"errors"
	"fmt"
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
	records []record     // memory for the next batch

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
	l.rouse()
}

func (c *committer) rouse() {
	select {
	case c.wake <- struct{}{}:
	default: // it knows
	}
}

// commitAll writes until stop is closed, and then what still waits.
func (l *Leases) commitAll() {
	for {
		select {
		case <-l.wake:
			if l.commit() {
				l.rouse() // checkpoints have their turn however much comes
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
		l.waiting, l.spare = l.spare, nil
	}
	now := l.clock.tick()
	f := frame{raw: l.clock.raw.UnixNano(), t: now, records: l.records[:0]}
	for i := range batch {
		f.records = append(f.records, batch[i].record)
	}
	l.records = f.records
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
	l.reuse(batch)
	return more
}

// reuse keeps the memory of a batch for what will wait next.
func (l *Leases) reuse(batch []waiting) {
	clear(batch)
	l.mu.Lock()
	defer l.mu.Unlock()
	if cap(batch) > cap(l.spare) {
		l.spare = batch[:0]
	}
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
	if w.kind != bound {
		if err == nil {
			l.apply(&w.record)
		}
		return
	}
	e := l.byAddr[w.lease.Addr]
	if e.pending--; err != nil {
		e.changed()
		return
	}
	if e.pending == 0 && e.offer != nil {
		l.forgetOffer(e)
		e.offer = nil
	}
	before := l.owners[machine{w.lease.MAC, w.lease.Subnet}]
	l.apply(&w.record)
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
