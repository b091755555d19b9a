package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// format is the layout of the file. A file of a greater format is refused, one of a lesser format would be migrated here.
const format = 1

// history is how many transactions a watcher may lag behind before it has to list again. A record is as large as its
// values, so this also bounds the file.
const history = 4096

// Buckets and keys. Values in bucketKV are the revision (8 bytes) and the value; bucketLog holds every change of the last
// transactions under revision (8 bytes) and number within the transaction (4 bytes).
var (
	bucketMeta   = []byte("meta")
	bucketKV     = []byte("kv")
	bucketLog    = []byte("log")
	keyFormat    = []byte("format")
	keyRevision  = []byte("revision")
	keyCompacted = []byte("compacted")
)

// bolt is the Store in one file of one process.
type bolt struct {
	db   *bbolt.DB
	path string

	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, when a transaction was committed
	closed  chan struct{}
}

// lockPatience is how long a lock may be held by somebody who is not there any more: a child that was just being started when its
// process was killed has the lock until it has replaced itself.
const lockPatience = time.Second

// Open opens the state file at path, and creates it, and its directory with mode 0700, if there is none. It takes the
// file's lock: a second process gets ErrInUse, after a moment. A file of a newer format is ErrNewerFormat and stays as it is.
func Open(path string) (Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("opening state: %w", err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockPatience, FreelistType: bbolt.FreelistMapType})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("opening state: %s: %w", path, ErrInUse)
	case err != nil:
		return nil, fmt.Errorf("opening state: %s: %w", path, cause(err))
	}
	s := &bolt{db: db, path: path, changed: make(chan struct{}), closed: make(chan struct{})}
	if err := s.prepare(); err != nil {
		db.Close()
		return nil, fmt.Errorf("opening state: %s: %w", path, err)
	}
	return s, nil
}

// cause strips the operation and path of a file error, which our own text already names.
func cause(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}

// prepare checks the format, or creates the buckets of an empty file.
func (s *bolt) prepare() error {
	empty := false
	err := s.db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			empty = true
			return nil
		}
		if f := number(meta.Get(keyFormat)); f > format {
			return fmt.Errorf("%w: its format is %d, this one reads up to %d", ErrNewerFormat, f, format)
		}
		if tx.Bucket(bucketKV) == nil || tx.Bucket(bucketLog) == nil {
			return errors.New("not a state file of hostler")
		}
		return nil
	})
	if err != nil || !empty {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketKV, bucketLog} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keyFormat, bytes8(format))
	})
}

func bytes8(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// number reads what bytes8 wrote; 0 for a key that is not there.
func number(b []byte) int64 {
	if len(b) < 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b))
}

func (s *bolt) view(ctx context.Context, what string, f func(*bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.db.View(f); err != nil {
		return fmt.Errorf("reading state: %s: %w", what, err)
	}
	return nil
}

// Get implements Store.
func (s *bolt) Get(ctx context.Context, key string) (kv KV, err error) {
	err = s.view(ctx, key, func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketKV).Get([]byte(key))
		if v == nil {
			return ErrNotFound
		}
		kv = pair([]byte(key), v)
		return nil
	})
	return kv, err
}

// pair copies out of the file's memory, which is only valid inside the transaction.
func pair(k, v []byte) KV {
	return KV{Key: string(k), Value: append([]byte{}, v[8:]...), Rev: number(v)}
}

// List implements Store.
func (s *bolt) List(ctx context.Context, prefix string) (kvs []KV, err error) {
	err = s.view(ctx, prefix, func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketKV).Cursor()
		for k, v := c.Seek([]byte(prefix)); k != nil && strings.HasPrefix(string(k), prefix); k, v = c.Next() {
			kvs = append(kvs, pair(k, v))
		}
		return nil
	})
	return kvs, err
}

// Revision implements Store.
func (s *bolt) Revision(ctx context.Context) (rev int64, err error) {
	err = s.view(ctx, "revision", func(tx *bbolt.Tx) error {
		rev = number(tx.Bucket(bucketMeta).Get(keyRevision))
		return nil
	})
	return rev, err
}

// errUnchanged ends a bbolt transaction that has nothing to write, so that it costs no fsync.
var errUnchanged = errors.New("nothing to write")

// Txn implements Store.
func (s *bolt) Txn(ctx context.Context, conds []Cond, ops []Op) (ok bool, err error) {
	if err := checkOps(ops); err != nil {
		return false, err
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	err = s.db.Update(func(tx *bbolt.Tx) error {
		ok = holds(tx.Bucket(bucketKV), conds)
		if !ok {
			return errUnchanged
		}
		return perform(tx, ops)
	})
	switch {
	case errors.Is(err, errUnchanged):
		return ok, nil
	case err != nil:
		return false, fmt.Errorf("writing state: %s: %w", s.path, cause(err))
	}
	s.mu.Lock()
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	return true, nil
}

// checkOps refuses what etcd refuses, so that no caller comes to depend on it.
func checkOps(ops []Op) error {
	seen := make(map[string]bool, len(ops))
	for _, op := range ops {
		switch {
		case op.Key == "":
			return errors.New("writing state: a key is empty")
		case len(op.Key) > bbolt.MaxKeySize:
			return fmt.Errorf("writing state: %.40s...: a key has at most %d bytes", op.Key, bbolt.MaxKeySize)
		case seen[op.Key]:
			return fmt.Errorf("writing state: %s: twice in one transaction", op.Key)
		}
		seen[op.Key] = true
	}
	return nil
}

func holds(kv *bbolt.Bucket, conds []Cond) bool {
	for _, c := range conds {
		if number(kv.Get([]byte(c.Key))) != c.Rev {
			return false
		}
	}
	return true
}

// perform writes the operations and their history under the next revision.
func perform(tx *bbolt.Tx, ops []Op) error {
	meta, kv, log := tx.Bucket(bucketMeta), tx.Bucket(bucketKV), tx.Bucket(bucketLog)
	rev := number(meta.Get(keyRevision)) + 1
	n := uint32(0)
	for _, op := range ops {
		key := []byte(op.Key)
		if op.Delete && kv.Get(key) == nil {
			continue
		}
		var err error
		if op.Delete {
			err = kv.Delete(key)
		} else {
			err = kv.Put(key, append(bytes8(rev), op.Value...))
		}
		if err == nil {
			err = log.Put(binary.BigEndian.AppendUint32(bytes8(rev), n), logged(op))
		}
		if err != nil {
			return err
		}
		n++
	}
	if n == 0 {
		return errUnchanged
	}
	if err := meta.Put(keyRevision, bytes8(rev)); err != nil {
		return err
	}
	return compact(meta, log, rev-history)
}

// logged is a change as history keeps it: whether it was a removal, the key's length, the key and the value.
func logged(op Op) []byte {
	b := []byte{0}
	if op.Delete {
		b[0] = 1
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(op.Key)))
	return append(append(b, op.Key...), op.Value...)
}

func unlogged(k, v []byte) (Change, error) {
	if len(k) != 12 || len(v) < 5 || uint64(len(v)-5) < uint64(binary.BigEndian.Uint32(v[1:])) {
		return Change{}, errors.New("history is damaged")
	}
	n := 5 + int(binary.BigEndian.Uint32(v[1:]))
	c := Change{KV: KV{Key: string(v[5:n]), Rev: number(k)}, Deleted: v[0] == 1}
	if !c.Deleted {
		c.Value = append([]byte{}, v[n:]...)
	}
	return c, nil
}

// compact forgets changes up to and including the revision.
func compact(meta, log *bbolt.Bucket, upTo int64) error {
	if upTo <= number(meta.Get(keyCompacted)) {
		return nil
	}
	c := log.Cursor()
	for k, _ := c.First(); k != nil && number(k) <= upTo; k, _ = c.First() {
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return meta.Put(keyCompacted, bytes8(upTo))
}

// Compact forgets history up to and including a revision, before it is forgotten by itself.
func (s *bolt) Compact(upTo int64) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		return compact(tx.Bucket(bucketMeta), tx.Bucket(bucketLog), upTo)
	})
}

// Watch implements Store.
func (s *bolt) Watch(ctx context.Context, prefix string, after int64, f func(Change)) error {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		changes, last, err := s.since(prefix, after)
		if err != nil {
			return fmt.Errorf("watching state: %q after revision %d: %w", prefix, after, err)
		}
		for _, c := range changes {
			if ctx.Err() != nil {
				return nil
			}
			f(c)
		}
		if last > after {
			after = last
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.closed:
			return errors.New("watching state: the store was closed")
		case <-changed:
		}
	}
}

// since gives the next changes after a revision, whole transactions, and the revision up to which it has looked.
func (s *bolt) since(prefix string, after int64) (changes []Change, last int64, err error) {
	const most = 256
	last = after
	err = s.db.View(func(tx *bbolt.Tx) error {
		if after < number(tx.Bucket(bucketMeta).Get(keyCompacted)) {
			return ErrCompacted
		}
		if after == math.MaxInt64 {
			return nil
		}
		c := tx.Bucket(bucketLog).Cursor()
		for k, v := c.Seek(bytes8(after + 1)); k != nil; k, v = c.Next() {
			if rev := number(k); rev != last {
				if len(changes) >= most {
					return nil
				}
				last = rev
			}
			change, err := unlogged(k, v)
			if err != nil {
				return err
			}
			if strings.HasPrefix(change.Key, prefix) {
				changes = append(changes, change)
			}
		}
		return nil
	})
	return changes, last, err
}

// Backup implements Store: the copy is the file as of one moment, and later transactions don't wait for it.
func (s *bolt) Backup(ctx context.Context, w Writer) error {
	return s.view(ctx, "backup", func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(w)
		return err
	})
}

// Close implements Store.
func (s *bolt) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return nil
	default:
		close(s.closed)
	}
	return s.db.Close()
}
