package bolt

import (
	"bytes"
	"context"
	"errors"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/usage"
)

// sweep calls fn with every record of a bucket whose key has a prefix, a number
// of them in each transaction, before each of which it asks enter. fn may delete
// the record.
func (l *Ledger) sweep(ctx context.Context, bucketOf func(*bbolt.Tx) *bbolt.Bucket, prefix []byte,
	enter func(context.Context) (leave func(), err error), fn func(bucket *bbolt.Bucket, k, v []byte) error) error {
	after := bytes.Clone(prefix)
	for done := false; !done; {
		leave, err := enter(ctx)
		if err != nil {
			return err
		}
		var next []byte
		err = l.free(ctx, func(tx *bbolt.Tx) error {
			done = true
			bucket := bucketOf(tx)
			if bucket == nil {
				return nil
			}
			var keys, values [][]byte
			c := bucket.Cursor()
			k, v := c.Seek(after)
			for ; k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
				if len(keys) == purgeStep {
					next, done = bytes.Clone(k), false
					break
				}
				keys, values = append(keys, bytes.Clone(k)), append(values, bytes.Clone(v))
			}
			for i := range keys {
				if err := fn(bucket, keys[i], values[i]); err != nil {
					return err
				}
			}
			return nil
		})
		leave()
		if err != nil {
			return err
		}
		after = next
	}
	return nil
}

// atOnce enters without a condition.
func atOnce(context.Context) (func(), error) { return func() {}, nil }

// errWalked: counters cannot be moved now.
var errWalked = errors.New("counters are being read")

// tryMove lets counters be moved, until the function that it returns is called.
// That must not be while somebody walks through them, who would see them twice.
func (l *Ledger) tryMove(context.Context) (func(), error) {
	if l.walks.TryLock() {
		return l.walks.Unlock, nil
	}
	return nil, errWalked
}

// awaitMove is tryMove for who has the time.
func (l *Ledger) awaitMove(ctx context.Context) (func(), error) {
	for {
		// Never Lock: a walk that begins another one would wait for us.
		if end, err := l.tryMove(ctx); err == nil {
			return end, nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// rewrite moves counters of a day to other keys, where they are added up. It
// holds up those who want to read them a step at a time.
func (l *Ledger) rewrite(ctx context.Context, day time.Time, prefix []byte, to func(k []byte) []byte, move func(context.Context) (func(), error)) error {
	bucketOf := func(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket(bucketDays).Bucket([]byte(day.Format(dayFormat))) }
	return l.sweep(ctx, bucketOf, prefix, move, func(bucket *bbolt.Bucket, k, v []byte) error {
		target := to(k)
		if bytes.Equal(target, k) {
			return nil
		}
		if len(k) <= counterFixed {
			return nil
		}
		var sum, before usage.Counter
		payload, err := unseal(bucketDays, k, v)
		if err == nil {
			err = parseCounter(&sum, payload)
		}
		if err != nil {
			return nil // damaged: it stays, to be noticed
		}
		if value := bucket.Get(target); value != nil {
			payload, err := unseal(bucketDays, target, value)
			if err == nil {
				err = parseCounter(&before, payload)
			}
			if err != nil {
				return nil
			}
			merge(&sum, &before)
		}
		if err := bucket.Delete(k); err != nil {
			return err
		}
		return bucket.Put(target, seal(bucketDays, target, appendCounter(nil, &sum)))
	})
}
