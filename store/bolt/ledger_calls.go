package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/usage"
)

// The key of a call: key id, time in Unix microseconds, a number that tells
// calls of the same time apart. A key's count of calls stands in front of them,
// under the id alone.

const callKeyLen = usage.KeyLen + 8 + 4

// calls adds calls and drops the oldest of each key beyond those that are kept.
func (w *adder) calls(calls []usage.Call) error {
	bucket := w.tx.Bucket(bucketCalls)
	for first := 0; first < len(calls); {
		end := first + 1
		for end < len(calls) && calls[end].Key == calls[first].Key {
			end++
		}
		if err := w.callsOf(bucket, calls[first:end]); err != nil {
			return err
		}
		first = end
	}
	return nil
}

// callsOf adds calls of one key.
func (w *adder) callsOf(bucket *bbolt.Bucket, calls []usage.Call) error {
	id, err := appendKeyID(nil, calls[0].Key)
	if err != nil {
		return err
	}
	count, err := callCount(bucket, id)
	if err != nil {
		return w.l.damaged("the calls of %s: %v", id, err)
	}
	before := count
	for i := range calls {
		c := &calls[i]
		route, err := w.l.names.routes.number(w.tx, routeText(c.Route))
		if err != nil {
			return err
		}
		reason, err := w.l.names.reasons.number(w.tx, c.Reason)
		if err != nil {
			return err
		}
		k := binary.BigEndian.AppendUint64(slices.Clone(id), uint64(c.Time.UnixMicro()))
		k = binary.BigEndian.AppendUint32(k, 0)
		for n := uint32(1); bucket.Get(k) != nil; n++ {
			binary.BigEndian.PutUint32(k[callKeyLen-4:], n)
		}
		if err := bucket.Put(k, seal(bucketCalls, k, appendCall(nil, c, route, reason))); err != nil {
			return err
		}
		count++
	}
	if excess := int(count) - w.l.keep.Load().Last; excess > 0 {
		dropped, err := dropCalls(bucket, id, excess, time.Time{})
		if err != nil {
			return err
		}
		count -= uint64(dropped)
	}
	w.l.state.calls += count - before // wraps around for fewer, as intended
	return putCallCount(bucket, id, count)
}

func callCount(bucket *bbolt.Bucket, id []byte) (count uint64, err error) {
	value := bucket.Get(id)
	if value == nil {
		return 0, nil
	}
	payload, err := unseal(bucketCalls, id, value)
	if err != nil {
		return 0, err
	}
	return count, uvarints(payload, &count)
}

func putCallCount(bucket *bbolt.Bucket, id []byte, count uint64) error {
	if count == 0 {
		return bucket.Delete(id)
	}
	return bucket.Put(id, seal(bucketCalls, id, binary.AppendUvarint(nil, count)))
}

// dropCalls drops the oldest calls of a key: most of them at most, and only
// those before a time if that is set.
func dropCalls(bucket *bbolt.Bucket, id []byte, most int, before time.Time) (int, error) {
	var keys [][]byte
	c := bucket.Cursor()
	c.Seek(id) // the count
	for k, _ := c.Next(); k != nil && bytes.HasPrefix(k, id) && len(keys) < most; k, _ = c.Next() {
		if !before.IsZero() && callTime(k).Compare(before) >= 0 {
			break
		}
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if err := bucket.Delete(k); err != nil {
			return 0, err
		}
	}
	return len(keys), nil
}

func callTime(k []byte) time.Time {
	if len(k) != callKeyLen {
		return time.Time{}
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(k[usage.KeyLen:]))).UTC()
}

// Calls implements usage.Store. Calls that fail their checksum are left out.
func (l *Ledger) Calls(ctx context.Context, q usage.CallQuery) (calls []usage.Call, next string, err error) {
	id, err := appendKeyID(nil, q.Key)
	if err != nil {
		return nil, "", err
	}
	if q.Before != "" && len(q.Before) != callKeyLen-usage.KeyLen {
		return nil, "", errBadCursor
	}
	var last []byte // the place of the last call in calls
	err = l.view(func(tx *bbolt.Tx) error {
		names := newNamesIn(tx)
		c := tx.Bucket(bucketCalls).Cursor()
		from := append(slices.Clone(id), bytes.Repeat([]byte{0xff}, callKeyLen-usage.KeyLen)...)
		if q.Before != "" {
			from = append(slices.Clone(id), q.Before...)
		}
		k, v := c.Seek(from)
		if k == nil {
			k, v = c.Last()
		}
		for k != nil && bytes.Compare(k, from) >= 0 {
			k, v = c.Prev()
		}
		for ; k != nil && len(k) == callKeyLen && bytes.HasPrefix(k, id); k, v = c.Prev() {
			call := usage.Call{Key: q.Key, Time: callTime(k)}
			if call.Time.Before(q.Since) {
				return nil
			}
			payload, err := unseal(bucketCalls, k, v)
			if err != nil || names.parseCall(&call, payload) != nil || !q.Matches(&call) {
				continue
			}
			if len(calls) == q.Limit {
				next = string(last)
				return nil
			}
			calls, last = append(calls, call), bytes.Clone(k[usage.KeyLen:])
		}
		return nil
	})
	return calls, next, err
}

var errBadCursor = errors.New("not a cursor of this list")
