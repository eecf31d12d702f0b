package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

const (
	// purgeStep is how many records one step looks at, so that nobody waits
	// long for the writer.
	purgeStep = 4096

	// hourlyDays is for how many days counters are kept by the hour; older ones
	// are by the day.
	hourlyDays = 7

	// maxCalls bounds the calls of all keys together.
	maxCalls = 2_000_000
)

// Purge implements usage.Store. It also adds up the hours of days that are over
// for long.
func (l *Ledger) Purge(ctx context.Context) error {
	keep, now := *l.keep.Load(), l.now().UTC()
	today := now.Truncate(24 * time.Hour)
	if keep.Usage > 0 {
		if err := l.dropDays(ctx, now.Add(-keep.Usage).Truncate(24*time.Hour)); err != nil {
			return err
		}
		if err := l.dropPlaces(ctx, now.Add(-keep.Usage)); err != nil {
			return err
		}
	}
	if err := l.rollUp(ctx, today.AddDate(0, 0, -hourlyDays)); err != nil {
		return err
	}
	if keep.Calls <= 0 {
		return nil
	}
	for age := keep.Calls; ; age /= 2 {
		if err := l.dropOldCalls(ctx, now.Add(-age)); err != nil {
			return err
		}
		var many bool
		err := l.do(ctx, func(*bbolt.Tx) error {
			many = l.state.calls > maxCalls
			return nil
		})
		if err != nil || !many {
			return err
		}
	}
}

// dropDays drops the counters of days before one.
func (l *Ledger) dropDays(ctx context.Context, before time.Time) error {
	for {
		dropped := false
		err := l.do(ctx, func(tx *bbolt.Tx) error {
			dropped = false
			k, _ := tx.Bucket(bucketDays).Cursor().First()
			if k == nil || string(k) >= before.Format(dayFormat) {
				return nil
			}
			dropped = true
			return l.dropDay(tx, bytes.Clone(k))
		})
		if err != nil || !dropped {
			return err
		}
	}
}

func (l *Ledger) dropDay(tx *bbolt.Tx, name []byte) error {
	day, err := time.Parse(dayFormat, string(name))
	if err != nil {
		return l.damaged("a day is called %q", name)
	}
	if next := day.Add(24 * time.Hour); next.After(l.state.since) {
		l.state.since = next
	}
	return tx.Bucket(bucketDays).DeleteBucket(name)
}

// dropOldestDay makes room when the ledger is full, and reports whether it did.
// What was recorded last is never dropped for what comes now.
func (l *Ledger) dropOldestDay(ctx context.Context) (dropped bool) {
	err := l.do(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketDays).Cursor()
		k, _ := c.First()
		if last, _ := c.Last(); k == nil || bytes.Equal(k, last) {
			return nil
		}
		dropped = true
		return l.dropDay(tx, bytes.Clone(k))
	})
	return err == nil && dropped
}

// dropPlaces forgets places that keys were not used from since a time.
func (l *Ledger) dropPlaces(ctx context.Context, before time.Time) error {
	return l.sweep(ctx, func(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket(bucketPlaces) }, nil, func(bucket *bbolt.Bucket, k, v []byte) error {
		if day, err := unseal(bucketPlaces, k, v); err == nil && len(day) == 4 && int64(binary.BigEndian.Uint32(day))*86400 >= before.Unix() {
			return nil
		}
		return bucket.Delete(k)
	})
}

// sweep calls fn with every record of a bucket whose key has a prefix, a number
// of them in each transaction. fn may delete the record.
func (l *Ledger) sweep(ctx context.Context, bucketOf func(*bbolt.Tx) *bbolt.Bucket, prefix []byte, fn func(bucket *bbolt.Bucket, k, v []byte) error) error {
	after := bytes.Clone(prefix)
	for done := false; !done; {
		var next []byte
		err := l.do(ctx, func(tx *bbolt.Tx) error {
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
		if err != nil {
			return err
		}
		after = next
	}
	return nil
}

// rollUp adds up the hours of days before one.
func (l *Ledger) rollUp(ctx context.Context, before time.Time) error {
	days, err := l.days(usage.Span{Until: before})
	if err != nil {
		return err
	}
	var rolled time.Time
	if err := l.do(ctx, func(*bbolt.Tx) error { rolled = l.state.rolled; return nil }); err != nil {
		return err
	}
	for _, day := range days {
		if day.Before(rolled) {
			continue
		}
		if err := l.rewrite(ctx, day, nil, func(k []byte) []byte {
			if k[usage.KeyLen] == wholeDay {
				return k
			}
			to := bytes.Clone(k)
			to[usage.KeyLen] = wholeDay
			return to
		}); err != nil {
			return err
		}
		// A late batch may still add hours to the day; they are no harm.
		if err := l.do(ctx, func(*bbolt.Tx) error { l.state.rolled = day.Add(24 * time.Hour); return nil }); err != nil {
			return err
		}
	}
	return nil
}

// rewrite moves counters of a day to other keys, where they are added up.
func (l *Ledger) rewrite(ctx context.Context, day time.Time, prefix []byte, to func(k []byte) []byte) error {
	bucketOf := func(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket(bucketDays).Bucket([]byte(day.Format(dayFormat))) }
	return l.sweep(ctx, bucketOf, prefix, func(bucket *bbolt.Bucket, k, v []byte) error {
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

// dropOldCalls drops calls before a time.
func (l *Ledger) dropOldCalls(ctx context.Context, before time.Time) error {
	var ids [][]byte
	after := []byte(nil)
	for {
		ids = ids[:0]
		err := l.view(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketCalls).Cursor()
			// From count to count.
			k, _ := c.Seek(after)
			for ; k != nil && len(ids) < purgeStep; k, _ = c.Seek(pastKey(k)) {
				ids = append(ids, bytes.Clone(k[:usage.KeyLen]))
			}
			return nil
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		for first := 0; first < len(ids); first += purgeStep / 64 {
			some := ids[first:min(first+purgeStep/64, len(ids))]
			err := l.do(ctx, func(tx *bbolt.Tx) error {
				for _, id := range some {
					if err := l.dropCallsOf(tx, id, before); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		after = pastKey(ids[len(ids)-1])
	}
}

func (l *Ledger) dropCallsOf(tx *bbolt.Tx, id []byte, before time.Time) error {
	bucket := tx.Bucket(bucketCalls)
	count, err := callCount(bucket, id)
	if err != nil {
		return l.damaged("the calls of %s: %v", id, err)
	}
	dropped, err := dropCalls(bucket, id, int(count), before)
	if err != nil || dropped == 0 {
		return err
	}
	l.state.calls -= uint64(dropped)
	return putCallCount(bucket, id, count-uint64(dropped))
}

// pastKey is behind all records of a key.
func pastKey(k []byte) []byte {
	return append(bytes.Clone(k[:usage.KeyLen]), bytes.Repeat([]byte{0xff}, callKeyLen)...)
}

// Forget implements usage.Store.
func (l *Ledger) Forget(ctx context.Context, key string) error {
	id, err := appendKeyID(nil, key)
	if err != nil || key == "" {
		return errors.Join(err, &keyring.InvalidError{Field: "key", Reason: "must be one key"})
	}
	remove := func(bucket *bbolt.Bucket, k, _ []byte) error { return bucket.Delete(k) }
	if err := l.sweep(ctx, func(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket(bucketPlaces) }, id, remove); err != nil {
		return err
	}
	err = l.do(ctx, func(tx *bbolt.Tx) error { return l.dropCallsOf(tx, id, time.Unix(1<<40, 0)) })
	if err != nil {
		return err
	}
	err = l.sweep(ctx, func(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket(bucketLast) }, id, func(bucket *bbolt.Bucket, k, v []byte) error {
		var u usage.LastUse
		payload, err := unseal(bucketLast, k, v)
		if err == nil {
			err = parseLastUse(&u, payload)
		}
		if err != nil {
			return bucket.Delete(k)
		}
		u.Place = usage.Other
		return bucket.Put(k, seal(bucketLast, k, appendLastUse(nil, &u)))
	})
	if err != nil {
		return err
	}
	days, err := l.days(usage.Span{})
	for _, day := range days {
		if err = l.rewrite(ctx, day, id, func(k []byte) []byte {
			if len(k) <= counterFixed {
				return k
			}
			return append(bytes.Clone(k[:counterFixed]), placeOther)
		}); err != nil {
			return err
		}
	}
	return err
}
