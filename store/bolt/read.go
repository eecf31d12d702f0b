package bolt

import (
	"context"
	"errors"
	"fmt"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// Walks decode records in slices, so that neither a lock nor an open
// transaction is held while the caller's function runs.
const (
	firstSlice = 64 // most callers want one page
	maxSlice   = 1024
)

// Snapshot implements keyring.Store. It keeps one read transaction open, so fn
// should not take long: pages that writers free meanwhile cannot be used again
// until it ends. Writers are not held up. It fails with keyring.ErrDamaged at
// its end where records are missing.
func (s *Store) Snapshot(ctx context.Context, fn func(keyring.Record) error) (keyring.Cursor, error) {
	var none keyring.Cursor
	if err := s.enter(); err != nil {
		return none, err
	}
	defer s.leave()
	tx, err := s.begin(false)
	if err != nil {
		return none, err
	}
	defer s.end(tx)

	var h head
	err = s.guard(func() error { return h.decode(tx.Bucket(bucketMeta).Get(metaState)) })
	if err != nil {
		return none, s.damaged("state record: %v", err)
	}
	if err := s.published(ctx, h.cursor); err != nil {
		return none, err
	}
	var d decoder
	orgs, err := s.scan(ctx, tx, bucketOrgs, &d, fn)
	if err != nil {
		return none, err
	}
	keys, err := s.scan(ctx, tx, bucketKeys, &d, fn)
	if err != nil {
		return none, err
	}
	if keys != h.keys || orgs != h.orgs {
		return none, s.damaged("it has %d of %d keys and %d of %d orgs", keys, h.keys, orgs, h.orgs)
	}
	return h.cursor, nil
}

// scan calls fn with every record of a bucket and returns their number. Only
// the decoding is guarded: a panic of fn is none of the file's.
func (s *Store) scan(ctx context.Context, tx *bbolt.Tx, bucket []byte, d *decoder, fn func(keyring.Record) error) (uint64, error) {
	var n uint64
	var c *bbolt.Cursor
	slice := make([]keyring.Record, 0, maxSlice)
	for {
		if err := s.interrupted(ctx); err != nil {
			return n, err
		}
		slice = slice[:0]
		err := s.guard(func() error {
			var k, v []byte
			if c == nil {
				c = tx.Bucket(bucket).Cursor()
				k, v = c.First()
			} else {
				k, v = c.Next()
			}
			for k != nil {
				slice = append(slice, d.record(bucket, k, v))
				if len(slice) == cap(slice) {
					break
				}
				k, v = c.Next()
			}
			return nil
		})
		if err != nil {
			return n, err
		}
		for i := range slice {
			if err := fn(slice[i]); err != nil {
				return n, err
			}
		}
		n += uint64(len(slice))
		if len(slice) < cap(slice) {
			return n, nil
		}
	}
}

// published waits until the commit at is known to watchers. A transaction sees
// a commit a moment earlier: as soon as it is written, before it is synced.
func (s *Store) published(ctx context.Context, at keyring.Cursor) error {
	for {
		latest, changed := s.recent.state()
		if latest.Revision >= at.Revision {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-s.closing:
		case <-s.broken:
		}
		if err := s.interrupted(ctx); err != nil {
			return err
		}
	}
}

// interrupted says why a long call must end now.
func (s *Store) interrupted(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.failure(); err != nil {
		return err
	}
	select {
	case <-s.closing:
		return fmt.Errorf("store %s: %w", s.path, keyring.ErrClosed)
	default:
		return nil
	}
}

// Key implements keyring.Store.
func (s *Store) Key(ctx context.Context, id string) (*keyring.Key, error) {
	rec, err := s.get(ctx, bucketKeys, id)
	return rec.Key, err
}

// Org implements keyring.Store.
func (s *Store) Org(ctx context.Context, name string) (*keyring.Org, error) {
	rec, err := s.get(ctx, bucketOrgs, name)
	return rec.Org, err
}

func (s *Store) get(ctx context.Context, bucket []byte, id string) (rec keyring.Record, err error) {
	if err := ctx.Err(); err != nil {
		return rec, err
	}
	err = s.view(func(tx *bbolt.Tx) error {
		rec, err = load(tx, bucket, []byte(id))
		return err
	})
	return rec, err
}

func load(tx *bbolt.Tx, bucket, id []byte) (keyring.Record, error) {
	value := tx.Bucket(bucket).Get(id)
	if value == nil {
		return keyring.Record{}, fmt.Errorf("%q: %w", id, keyring.ErrNotFound)
	}
	rec := new(decoder).record(bucket, id, value)
	if rec.Damaged != nil {
		return keyring.Record{}, rec.Damaged
	}
	return rec, nil
}

// KeyByDigest implements keyring.Store.
func (s *Store) KeyByDigest(ctx context.Context, digest [32]byte) (*keyring.Key, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var rec keyring.Record
	err := s.view(func(tx *bbolt.Tx) error {
		id, err := ownerOf(tx.Bucket(bucketDigests), digest)
		if err != nil {
			return err
		}
		if id == nil {
			return fmt.Errorf("credential: %w", keyring.ErrNotFound)
		}
		rec, err = load(tx, bucketKeys, id)
		if errors.Is(err, keyring.ErrNotFound) {
			return fmt.Errorf("%w: key %q of a known credential is missing", keyring.ErrDamaged, id)
		}
		return err
	})
	return rec.Key, err
}

// Keys implements keyring.Store. Damaged records are left out; Snapshot tells
// of them.
func (s *Store) Keys(ctx context.Context, after string, fn func(*keyring.Key) bool) error {
	return s.walk(ctx, bucketKeys, after, func(r keyring.Record) bool { return fn(r.Key) })
}

// Orgs implements keyring.Store, as Keys does.
func (s *Store) Orgs(ctx context.Context, after string, fn func(*keyring.Org) bool) error {
	return s.walk(ctx, bucketOrgs, after, func(r keyring.Record) bool { return fn(r.Org) })
}

func (s *Store) walk(ctx context.Context, bucket []byte, after string, fn func(keyring.Record) bool) error {
	var d decoder
	position := []byte(after)
	for size := firstSlice; ; size = min(2*size, maxSlice) {
		if err := ctx.Err(); err != nil {
			return err
		}
		slice := make([]keyring.Record, 0, size)
		n := 0
		err := s.view(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucket).Cursor()
			k, v := c.Seek(position)
			if k != nil && string(k) == string(position) {
				k, v = c.Next()
			}
			for ; k != nil && n < size; k, v = c.Next() {
				n++
				position = append(position[:0], k...)
				if rec := d.record(bucket, k, v); rec.Damaged == nil {
					slice = append(slice, rec)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i := range slice {
			if !fn(slice[i]) {
				return nil
			}
		}
		if n < size {
			return nil
		}
	}
}
