package bolt

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"time"

	bbolt "go.etcd.io/bbolt"
)

// checkpoint is what an entry tells of those that were purged: the last one and
// its hash, which the first one that is kept follows.
type checkpoint struct {
	purged uint64
	hash   [32]byte
}

// checkpointBody is the payload of such an entry.
type checkpointBody struct {
	Action string `json:"action"`
	Purged uint64 `json:"purged_to"`
	Hash   string `json:"hash"`
	Count  uint64 `json:"count"`
}

const checkpointAction = "trail.purge"

func (c checkpoint) payload(count uint64) []byte {
	b, _ := json.Marshal(checkpointBody{checkpointAction, c.purged, hex.EncodeToString(c.hash[:]), count}) // cannot fail
	return b
}

var checkpointStart = []byte(`{"action":"` + checkpointAction + `",`)

func parseCheckpoint(payload []byte) (c checkpoint, ok bool) {
	var body checkpointBody
	if !bytes.HasPrefix(payload, checkpointStart) || json.Unmarshal(payload, &body) != nil {
		return c, false
	}
	hash, err := hex.DecodeString(body.Hash)
	if err != nil || len(hash) != len(c.hash) {
		return c, false
	}
	c.purged = body.Purged
	copy(c.hash[:], hash)
	return c, true
}

// PurgeTrail removes the entries at the beginning of the trail that are older
// than a time, in short steps. An entry tells of each step, so that what is left
// can still be verified.
func (l *Ledger) PurgeTrail(ctx context.Context, before time.Time) error {
	for more := true; more; {
		err := l.free(ctx, func(tx *bbolt.Tx) (err error) {
			more, err = l.purgeTrail(tx, before)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// purgeTrail does one step, and reports whether there is another one.
func (l *Ledger) purgeTrail(tx *bbolt.Tx, before time.Time) (more bool, err error) {
	bucket := tx.Bucket(bucketTrail)
	mark := checkpoint{l.state.trail.purged, l.state.trail.purgedHash}
	var keys [][]byte
	c := bucket.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		var e TrailEntry
		if err := e.decode(k, v); err != nil {
			return false, l.damaged("entry %x of the trail: %v", k, err)
		}
		if e.Seq != mark.purged+1 {
			return false, l.damaged("entry %d of the trail is missing", mark.purged+1)
		}
		if !e.Time.Before(before) {
			break
		}
		if len(keys) == purgeStep {
			more = true
			break
		}
		keys = append(keys, bytes.Clone(k))
		mark = checkpoint{e.Seq, e.Hash}
	}
	if len(keys) == 0 {
		return false, nil
	}
	for _, k := range keys {
		if err := bucket.Delete(k); err != nil {
			return false, err
		}
	}
	l.state.trail.purged, l.state.trail.purgedHash = mark.purged, mark.hash
	told := TrailEntry{Time: l.now().UTC(), Payload: mark.payload(uint64(len(keys)))}
	return more, l.appendTrail(tx, []TrailEntry{told})
}

// EraseTrail erases the details of the entries that match chooses, and leaves
// the entries.
func (l *Ledger) EraseTrail(ctx context.Context, match func(*TrailEntry) bool) error {
	var chosen []uint64
	erase := func() error {
		err := l.free(ctx, func(tx *bbolt.Tx) error { return l.eraseTrail(tx, chosen) })
		chosen = chosen[:0]
		return err
	}
	var failed error
	err := l.Trail(ctx, 0, func(e *TrailEntry) bool {
		if len(e.Details) > 0 && match(e) {
			chosen = append(chosen, e.Seq)
		}
		if len(chosen) == purgeStep {
			failed = erase()
		}
		return failed == nil
	})
	if failed == nil && len(chosen) > 0 {
		failed = erase()
	}
	return cmp.Or(failed, err)
}

func (l *Ledger) eraseTrail(tx *bbolt.Tx, numbers []uint64) error {
	bucket := tx.Bucket(bucketTrail)
	for _, seq := range numbers {
		k := trailKey(seq)
		v := bucket.Get(k)
		if v == nil {
			continue // purged meanwhile
		}
		var e TrailEntry
		if err := e.decode(k, v); err != nil {
			return l.damaged("entry %d of the trail: %v", seq, err)
		}
		if len(e.Details) == 0 {
			continue
		}
		e.Details, e.Erased = nil, true
		if err := bucket.Put(k, seal(bucketTrail, k, e.encode())); err != nil {
			return err
		}
	}
	return nil
}
