package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	bbolt "go.etcd.io/bbolt"

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
	for age := keep.Calls; age > 0; age /= 2 {
		if err := l.dropOldCalls(ctx, now.Add(-age)); err != nil {
			return err
		}
		var many bool
		err := l.free(ctx, func(*bbolt.Tx) error {
			many = l.state.calls > maxCalls
			return nil
		})
		if err != nil || !many {
			return err
		}
	}
	return nil
}

// dropDays drops the counters of days before one.
func (l *Ledger) dropDays(ctx context.Context, before time.Time) error {
	for {
		dropped := false
		err := l.free(ctx, func(tx *bbolt.Tx) error {
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

// dropPlaces forgets places that keys were not used from since a time.
func (l *Ledger) dropPlaces(ctx context.Context, before time.Time) error {
	return l.sweep(ctx, func(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket(bucketPlaces) }, nil, atOnce, func(bucket *bbolt.Bucket, k, v []byte) error {
		if day, err := unseal(bucketPlaces, k, v); err == nil && len(day) == 4 && int64(binary.BigEndian.Uint32(day))*86400 >= before.Unix() {
			return nil
		}
		return bucket.Delete(k)
	})
}

// rollUp adds up the hours of days before one.
func (l *Ledger) rollUp(ctx context.Context, before time.Time) error {
	days, err := l.days(usage.Span{Until: before})
	if err != nil {
		return err
	}
	var rolled time.Time
	if err := l.free(ctx, func(*bbolt.Tx) error { rolled = l.state.rolled; return nil }); err != nil {
		return err
	}
	for _, day := range days {
		if day.Before(rolled) {
			continue
		}
		err := l.rewrite(ctx, day, nil, func(k []byte) []byte {
			if k[usage.KeyLen] == wholeDay {
				return k
			}
			to := bytes.Clone(k)
			to[usage.KeyLen] = wholeDay
			return to
		}, l.tryMove)
		if errors.Is(err, errWalked) {
			return nil // there is time until the next purge
		}
		if err != nil {
			return err
		}
		// A late batch may still add hours to the day; they are no harm.
		if err := l.free(ctx, func(*bbolt.Tx) error { l.state.rolled = day.Add(24 * time.Hour); return nil }); err != nil {
			return err
		}
	}
	return nil
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
			err := l.free(ctx, func(tx *bbolt.Tx) error {
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
