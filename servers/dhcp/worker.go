package dhcp

import "sync"

const (
	requestQueue = 4096 // datagrams that wait for one worker, of declared machines and as many of others: some 25 ms of work
	replyQueue   = 4096 // replies that wait for one worker after their leases were written, all of one batch at worst
	mostTogether = 16   // requests of others that a worker looks at before it looks for what comes first
)

// worker answers the requests of some machines, one after another, so that each machine's requests, replies and events keep
// their order. Declared machines have a queue of their own, which comes first: whoever makes addresses up waits. What is handed over
// or sent at about the same time goes together: waking a goroutine, or calling the system, costs as much as a request.
type worker struct {
	wake chan struct{} // something waits
	out  outbox        // of the worker's own goroutine, as is taken

	taken    turn
	together int // requests of others in one turn

	mu       sync.Mutex
	replies  queue[outgoing]
	declared queue[*datagram]
	requests queue[*datagram]
}

// turn is what a worker does before it looks again.
type turn struct {
	replies  []outgoing
	requests []*datagram // declared machines' first
}

func newWorker(together int) *worker {
	return &worker{
		wake: make(chan struct{}, 1), together: together,
		replies:  queue[outgoing]{room: replyQueue},
		declared: queue[*datagram]{room: requestQueue},
		requests: queue[*datagram]{room: requestQueue},
	}
}

// put lets a datagram wait, if there is room. The worker does not know of it before it is roused.
func (w *worker) put(d *datagram, declared bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if declared {
		return w.declared.push(d)
	}
	return w.requests.push(d)
}

// putReply lets a reply wait, if there is room.
func (w *worker) putReply(o outgoing) bool {
	w.mu.Lock()
	ok := w.replies.push(o)
	w.mu.Unlock()
	w.rouse()
	return ok
}

// rouse tells the worker that something waits.
func (w *worker) rouse() {
	select {
	case w.wake <- struct{}{}:
	default: // it knows
	}
}

// next takes what comes first: replies, declared machines' requests, and then some of the others'. It is false when nothing waits.
func (w *worker) next() bool {
	clear(w.taken.replies) // so that what they refer to can go
	t := turn{w.taken.replies[:0], w.taken.requests[:0]}
	w.mu.Lock()
	for w.replies.n > 0 {
		t.replies = append(t.replies, w.replies.pop())
	}
	for w.declared.n > 0 && len(t.requests) < w.together {
		t.requests = append(t.requests, w.declared.pop())
	}
	for w.requests.n > 0 && len(t.requests) < w.together {
		t.requests = append(t.requests, w.requests.pop())
	}
	w.mu.Unlock()
	w.taken = t
	return len(t.replies)+len(t.requests) > 0
}

// queue is first in, first out, in a ring that grows up to its room.
type queue[T any] struct {
	ring     []T
	first, n int
	room     int
}

// push adds at the end, and reports whether there was room.
func (q *queue[T]) push(v T) bool {
	if q.n == q.room {
		return false
	}
	if q.n == len(q.ring) {
		ring := make([]T, min(max(2*q.n, 64), q.room))
		copy(ring[copy(ring, q.ring[q.first:]):], q.ring[:q.first])
		q.ring, q.first = ring, 0
	}
	q.ring[(q.first+q.n)%len(q.ring)] = v
	q.n++
	return true
}

// pop takes the first one of those that are there.
func (q *queue[T]) pop() (v T) {
	at := q.first
	v, q.ring[at] = q.ring[at], v
	q.first, q.n = (at+1)%len(q.ring), q.n-1
	return v
}
