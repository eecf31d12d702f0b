package bolt

import (
	"context"
	"encoding/binary"

	bbolt "go.etcd.io/bbolt"
)

// trailSlice is how many entries are read at once.
const trailSlice = 512

// Trail calls fn with the entries after a number, in order, until fn returns
// false. It holds no lock while fn runs. Damaged entries are left out, and told
// as an error at the end. Prev is not set.
func (l *Ledger) Trail(ctx context.Context, after uint64, fn func(*TrailEntry) bool) error {
	damaged := 0
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		slice, _, err := l.trailAfter(after)
		if err != nil {
			return err
		}
		if len(slice) == 0 {
			break
		}
		for i := range slice {
			e := &slice[i]
			after = e.Seq
			if e.damaged != nil {
				damaged++
			} else if !fn(e) {
				return nil
			}
		}
	}
	if damaged > 0 {
		return l.damaged("%d entries of the trail are damaged", damaged)
	}
	return nil
}

// trailAfter reads some entries after a number, and what the trail is at that
// time.
func (l *Ledger) trailAfter(after uint64) (slice []TrailEntry, at trailState, err error) {
	err = l.view(func(tx *bbolt.Tx) error {
		if at, err = l.trailIn(tx); err != nil || after == ^uint64(0) {
			return err
		}
		c := tx.Bucket(bucketTrail).Cursor()
		for k, v := c.Seek(trailKey(after + 1)); k != nil && len(slice) < trailSlice; k, v = c.Next() {
			if len(k) != 8 {
				return l.damaged("the trail has an entry %x", k)
			}
			var e TrailEntry
			e.damaged = e.decode(k, v)
			e.Seq = binary.BigEndian.Uint64(k)
			slice = append(slice, e)
		}
		return nil
	})
	return slice, at, err
}

// trailIn returns what the trail is for a transaction.
func (l *Ledger) trailIn(tx *bbolt.Tx) (trailState, error) {
	var s ledgerState
	if err := s.decode(tx.Bucket(bucketMeta).Get(metaState)); err != nil {
		return trailState{}, l.damaged("state record: %v", err)
	}
	return s.trail, nil
}
