package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hostler/reconcile/ledger"
	"hostler/reconcile/source"
	"hostler/render/fact"
)

// Outcome is what became of a revision.
type Outcome string

// The outcomes.
const (
	Applied    Outcome = "applied"
	Superseded Outcome = "superseded" // a newer one arrived before it was looked at
	Refused    Outcome = "refused"
)

// Entry is one line of the history. The same outcome of the same revision again is the same entry, counted.
type Entry struct {
	Revision   fact.Revision `json:"revision"`
	Author     string        `json:"author,omitempty"`
	Time       time.Time     `json:"time"` // of the commit
	Subject    string        `json:"subject,omitempty"`
	Outcome    Outcome       `json:"result"`
	Reason     Reason        `json:"reason,omitempty"`     // of a refusal
	Diagnostic string        `json:"diagnostic,omitempty"` // the first, with file and line
	Digest     fact.Digest   `json:"digest,omitempty"`     // of the snapshot
	First      time.Time     `json:"first"`
	Last       time.Time     `json:"last"`
	Count      int           `json:"count"`
	Duration   time.Duration `json:"duration,omitempty"` // from noticing to serving, nanoseconds
}

const (
	historyPrefix = "history/"
	historyFormat = 1
	maxHistory    = 1000
)

// history keeps entries in the ledger, and a copy in memory for readers. One goroutine writes.
type history struct {
	store   ledger.Store // nil: memory only
	entries []Entry      // oldest first
	next    int          // number of the next entry; entries[i] has number next-len(entries)+i
}

func historyKey(n int) string { return fmt.Sprintf("%s%012d", historyPrefix, n) }

func openHistory(ctx context.Context, store ledger.Store) (*history, error) {
	h := &history{store: store}
	if store == nil {
		return h, nil
	}
	kvs, err := store.List(ctx, historyPrefix)
	if err != nil {
		return nil, fmt.Errorf("reading the history: %w", err)
	}
	for _, kv := range kvs {
		var e Entry
		if _, err := ledger.Unpack(kv.Value, historyFormat, &e); err != nil {
			return nil, fmt.Errorf("reading the history: %s: %w", kv.Key, err)
		}
		h.entries = append(h.entries, e)
		if _, err := fmt.Sscanf(strings.TrimPrefix(kv.Key, historyPrefix), "%d", &h.next); err != nil {
			return nil, fmt.Errorf("reading the history: %s: not a number", kv.Key)
		}
		h.next++
	}
	return h, nil
}

// find gives the newest entry of a revision.
func (h *history) find(rev fact.Revision) *Entry {
	for i := len(h.entries) - 1; i >= 0; i-- {
		if h.entries[i].Revision == rev {
			return &h.entries[i]
		}
	}
	return nil
}

// note adds entries in one transaction, or counts an entry again.
func (h *history) note(ctx context.Context, list ...Entry) error {
	changed := map[int]bool{}
	for _, e := range list {
		e.First, e.Count = e.Last, 1
		if old := h.find(e.Revision); old != nil && old.Outcome == e.Outcome && old.Reason == e.Reason {
			e.First, e.Count = old.First, old.Count+1
			*old = e
			changed[h.numberOf(old)] = true
			continue
		}
		h.entries = append(h.entries, e)
		changed[h.next] = true
		h.next++
	}
	ops, err := h.ops(changed)
	if err != nil || h.store == nil {
		return err
	}
	if ok, err := h.store.Txn(ctx, nil, ops); err != nil || !ok {
		return fmt.Errorf("writing the history: %w", errors.Join(err))
	}
	return nil
}

func (h *history) numberOf(e *Entry) int {
	for i := range h.entries {
		if &h.entries[i] == e {
			return h.next - len(h.entries) + i
		}
	}
	return -1
}

// ops writes what changed and removes the oldest beyond the limit.
func (h *history) ops(changed map[int]bool) ([]ledger.Op, error) {
	var ops []ledger.Op
	for len(h.entries) > maxHistory {
		n := h.next - len(h.entries)
		ops = append(ops, ledger.Op{Key: historyKey(n), Delete: true})
		h.entries = h.entries[1:]
		delete(changed, n)
	}
	for i, e := range h.entries {
		n := h.next - len(h.entries) + i
		if !changed[n] {
			continue
		}
		value, err := ledger.Pack(historyFormat, e)
		if err != nil {
			return nil, err
		}
		ops = append(ops, ledger.Op{Key: historyKey(n), Value: value})
	}
	return ops, nil
}

// newEntry begins an entry for a commit.
func newEntry(c source.Commit, o Outcome, now time.Time) Entry {
	return Entry{Revision: c.Revision, Author: c.Author, Time: c.Time, Subject: c.Subject, Outcome: o, Last: now}
}
