package bolt

import (
	"bytes"
	"encoding/binary"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/audit"
)

// bucketTrail has a trail's entries by their numbers, in the store that of
// management actions, in the ledger that of calls.
var bucketTrail = []byte("trail")

// trailSlice is how many entries are read at once.
const trailSlice = 512

// trail is a trail in a transaction.
type trail struct {
	bucket  *bbolt.Bucket
	damaged func(format string, args ...any) error
}

func trailKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// append gives entries, which stay as they are, their place behind the end.
func (t *trail) append(chain *audit.Chain, entries []audit.Entry) error {
	t.bucket.FillPercent = packed
	for i := range entries {
		e := chain.Append(entries[i])
		k := trailKey(e.Seq)
		if t.bucket.Get(k) != nil {
			return t.damaged("the trail goes on behind its end at %d", e.Seq)
		}
		if err := t.put(k, &e); err != nil {
			return err
		}
	}
	return nil
}

func (t *trail) put(k []byte, e *audit.Entry) error {
	v := make([]byte, 0, 128+len(e.Payload)+len(e.Details))
	v, _ = e.AppendBinary(v) // never fails
	return t.bucket.Put(k, seal(bucketTrail, k, v))
}

// decodeEntry fills e from a record.
func decodeEntry(e *audit.Entry, k, v []byte) error {
	payload, err := unseal(bucketTrail, k, v)
	if err != nil {
		return err
	}
	e.Seq = binary.BigEndian.Uint64(k)
	return e.UnmarshalBinary(payload)
}

// after reads some of the entries after a number.
func (t *trail) after(seq uint64) ([]audit.Entry, error) {
	if seq == audit.Nowhere {
		return nil, nil
	}
	c := t.bucket.Cursor()
	k, v := c.Seek(trailKey(seq + 1))
	return t.slice(k, v, c.Next)
}

// before reads some of the entries before a number, newest first; 0 is behind
// the last one.
func (t *trail) before(seq uint64) ([]audit.Entry, error) {
	c := t.bucket.Cursor()
	k, v := seekBefore(c, seq)
	return t.slice(k, v, c.Prev)
}

// seekBefore moves c to the last entry before a number; 0 is behind the last one.
func seekBefore(c *bbolt.Cursor, seq uint64) (k, v []byte) {
	if seq == 0 {
		return c.Last()
	}
	if k, v = c.Seek(trailKey(seq)); k == nil {
		k, v = c.Last()
	}
	for k != nil && bytes.Compare(k, trailKey(seq)) >= 0 {
		k, v = c.Prev()
	}
	return k, v
}

func (t *trail) slice(k, v []byte, next func() ([]byte, []byte)) (slice []audit.Entry, err error) {
	for ; k != nil && len(slice) < trailSlice; k, v = next() {
		if len(k) != 8 || bytes.Equal(k, trailKey(0)) {
			return nil, t.damaged("the trail has an entry %x", k)
		}
		var e audit.Entry
		if err := decodeEntry(&e, k, v); err != nil {
			e = audit.Entry{Damaged: err}
		}
		e.Seq = binary.BigEndian.Uint64(k)
		slice = append(slice, e)
	}
	return slice, nil
}

// purge removes some of the entries at the beginning that are older than a time,
// and reports whether there may be more of them.
func (t *trail) purge(chain *audit.Chain, before, now time.Time) (more bool, err error) {
	var keys [][]byte
	last := audit.Entry{Seq: chain.Purged}
	c := t.bucket.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		var e audit.Entry
		if len(k) != 8 {
			return false, t.damaged("the trail has an entry %x", k)
		}
		if err := decodeEntry(&e, k, v); err != nil {
			return false, t.damaged("entry %x of the trail: %v", k, err)
		}
		if e.Seq != last.Seq+1 {
			return false, t.damaged("entry %d of the trail is missing", last.Seq+1)
		}
		if !e.Time.Before(before) {
			break
		}
		if len(keys) == purgeStep {
			more = true
			break
		}
		keys = append(keys, bytes.Clone(k))
		last = e
	}
	if len(keys) == 0 {
		return false, nil
	}
	for _, k := range keys {
		if err := t.bucket.Delete(k); err != nil {
			return false, err
		}
	}
	return more, t.append(chain, []audit.Entry{chain.Purge(&last, now)})
}

// erase erases the details of some entries.
func (t *trail) erase(numbers []uint64) error {
	for _, seq := range numbers {
		k := trailKey(seq)
		v := t.bucket.Get(k)
		if v == nil {
			continue // purged meanwhile
		}
		var e audit.Entry
		if err := decodeEntry(&e, k, v); err != nil {
			return t.damaged("entry %d of the trail: %v", seq, err)
		}
		if len(e.Details) == 0 {
			continue
		}
		e.Erase()
		if err := t.put(k, &e); err != nil {
			return err
		}
	}
	return nil
}
