// Package ledger keeps what must survive: which revisions were applied, which addresses are leased, what was assigned. It
// knows keys, bytes and transactions; what they mean is its callers' business. There are no locks and no
// check-then-put: whoever must not overwrite says so in the transaction.
package ledger

import (
	"context"
	"errors"
)

// Store is an ordered, transactional map. bbolt implements it in one process; etcd will for several. Every
// implementation passes the conformance suite in this package's tests.
type Store interface {
	// Get gives the value of a key, or ErrNotFound.
	Get(ctx context.Context, key string) (KV, error)
	// List gives every key with the prefix, ascending.
	List(ctx context.Context, prefix string) ([]KV, error)
	// Txn performs every operation if every condition holds, and none otherwise: ok says which. It is durable on return.
	Txn(ctx context.Context, conds []Cond, ops []Op) (ok bool, err error)
	// Watch calls f with every change under the prefix after the revision, in order, until ctx ends; f must not block for
	// long. A revision that was compacted away is ErrCompacted: list, then watch from there.
	Watch(ctx context.Context, prefix string, after int64, f func(Change)) error
	// Revision is the number of the last transaction that changed something.
	Revision(ctx context.Context) (int64, error)
	// Backup writes a consistent copy that Open accepts, while the store is in use.
	Backup(ctx context.Context, w Writer) error
	Close() error
}

// Writer is where a backup goes.
type Writer interface{ Write([]byte) (int, error) }

// KV is a key with its value and the revision that last changed it.
type KV struct {
	Key   string
	Value []byte
	Rev   int64
}

// Cond must hold for a transaction to happen: the key's revision is Rev, or, with Rev 0, the key is absent.
type Cond struct {
	Key string
	Rev int64
}

// Op sets a key, or removes it.
type Op struct {
	Key    string
	Value  []byte
	Delete bool
}

// Change is one key changed by one transaction.
type Change struct {
	KV
	Deleted bool
}

// The errors that callers act on.
var (
	ErrNotFound  = errors.New("not found")
	ErrCompacted = errors.New("revision was compacted")
	// ErrNewerFormat means that a newer hostler wrote the state. Nothing was changed.
	ErrNewerFormat = errors.New("state was written by a newer hostler")
	// ErrInUse means that another process has the state open.
	ErrInUse = errors.New("state is in use by another process")
)
