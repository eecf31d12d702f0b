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

// counterSlice is how many counters are read at once: no transaction is open
// while the caller's function runs.
const counterSlice = 4096

// Counters implements usage.Store. Counters that fail their checksum are left
// out, and told as an error at the end.
func (l *Ledger) Counters(ctx context.Context, q usage.Query, fn func(*usage.Counter) bool) error {
	days, err := l.days(q.Span)
	if err != nil {
		return err
	}
	var prefix []byte
	if q.Key != "" {
		if prefix, err = appendKeyID(nil, q.Key); err != nil {
			return err
		}
	}
	damaged := 0
	for _, day := range days {
		more, bad, err := l.countersOf(ctx, day, prefix, &q, fn)
		damaged += bad
		if err != nil || !more {
			return err
		}
	}
	if damaged > 0 {
		return l.damaged("%d counters are damaged", damaged)
	}
	return nil
}

// days returns the days that touch a span, oldest first.
func (l *Ledger) days(span usage.Span) (days []time.Time, err error) {
	err = l.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketDays).ForEachBucket(func(k []byte) error {
			day, err := time.Parse(dayFormat, string(k))
			if err != nil {
				return l.damaged("a day is called %q", k)
			}
			if !day.Add(24*time.Hour).After(span.Since) || !span.Until.IsZero() && !day.Before(span.Until) {
				return nil
			}
			days = append(days, day)
			return nil
		})
	})
	return days, err
}

// countersOf calls fn with the counters of one day.
func (l *Ledger) countersOf(ctx context.Context, day time.Time, prefix []byte, q *usage.Query, fn func(*usage.Counter) bool) (more bool, damaged int, err error) {
	slice := make([]usage.Counter, 0, counterSlice)
	var names *namesIn
	after := bytes.Clone(prefix)
	for {
		slice = slice[:0]
		read := 0
		err := l.view(func(tx *bbolt.Tx) error {
			if names == nil {
				names = newNamesIn(tx)
			}
			names.tx = tx
			bucket := tx.Bucket(bucketDays).Bucket([]byte(day.Format(dayFormat)))
			if bucket == nil { // purged meanwhile
				return nil
			}
			c := bucket.Cursor()
			k, v := c.Seek(after)
			for ; k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
				if read++; read > counterSlice {
					after = append(after[:0], k...)
					return nil
				}
				var counter usage.Counter
				hour, err := names.parseCounterKey(&counter, k)
				if err == nil {
					var payload []byte
					if payload, err = unseal(bucketDays, k, v); err == nil {
						err = parseCounter(&counter, payload)
					}
				}
				if err != nil {
					damaged++
					continue
				}
				counter.Hour = day
				length := 24 * time.Hour
				if hour != wholeDay {
					counter.Hour, length = day.Add(time.Duration(hour)*time.Hour), time.Hour
				}
				if inSpan(q.Span, counter.Hour, length) && (q.Place == nil || counter.Place == *q.Place) {
					slice = append(slice, counter)
				}
			}
			return nil
		})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return false, damaged, err
		}
		for i := range slice {
			if !fn(&slice[i]) {
				return false, damaged, nil
			}
		}
		if read <= counterSlice {
			return true, damaged, nil
		}
	}
}

// inSpan reports whether what began at a time belongs to a span. Of a whole day
// it is not known when in it something was, so that it belongs to every span
// that it touches.
func inSpan(span usage.Span, began time.Time, length time.Duration) bool {
	end := began
	if length > time.Hour {
		end = began.Add(length - 1)
	}
	return !end.Before(span.Since.Truncate(time.Hour)) && (span.Until.IsZero() || began.Before(span.Until))
}

// LastUses implements usage.Store.
func (l *Ledger) LastUses(_ context.Context, keys []string) ([][]usage.LastUse, error) {
	uses := make([][]usage.LastUse, len(keys))
	err := l.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketLast).Cursor()
		for i, key := range keys {
			id, err := appendKeyID(nil, key)
			if err != nil {
				return err
			}
			for k, v := c.Seek(id); k != nil && bytes.HasPrefix(k, id); k, v = c.Next() {
				payload, err := unseal(bucketLast, k, v)
				var u usage.LastUse
				if err == nil {
					err = parseLastUse(&u, payload)
				}
				if err != nil || len(k) != usage.KeyLen+4 {
					return l.damaged("the last use of %s: %v", key, err)
				}
				u.Credential = binary.BigEndian.Uint32(k[usage.KeyLen:])
				uses[i] = append(uses[i], u)
			}
		}
		return nil
	})
	return uses, err
}

// Scopes implements usage.Store.
func (l *Ledger) Scopes(_ context.Context, key string) (scopes []usage.ScopeUse, err error) {
	id, err := appendKeyID(nil, key)
	if err != nil {
		return nil, err
	}
	err = l.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketScopes).Cursor()
		for k, v := c.Seek(id); k != nil && bytes.HasPrefix(k, id); k, v = c.Next() {
			hour, err := unseal(bucketScopes, k, v)
			if err == nil && len(hour) != 4 {
				err = errors.New("wrong length")
			}
			if err != nil {
				return l.damaged("a scope of %s: %v", key, err)
			}
			// The end of the hour: it may have been needed until then.
			last := time.Unix(int64(binary.BigEndian.Uint32(hour))*3600+3599, 0).UTC()
			scopes = append(scopes, usage.ScopeUse{Key: key, Scope: string(k[usage.KeyLen:]), Last: last})
		}
		return nil
	})
	return scopes, err
}

// Since implements usage.Store.
func (l *Ledger) Since(context.Context) (since time.Time, err error) {
	err = l.view(func(tx *bbolt.Tx) error {
		var s ledgerState
		if err := s.decode(tx.Bucket(bucketMeta).Get(metaState)); err != nil {
			return l.damaged("state record: %v", err)
		}
		since = s.since
		return nil
	})
	return since, err
}

// Gaps implements usage.Store.
func (l *Ledger) Gaps(_ context.Context, span usage.Span) (gaps []usage.Gap, err error) {
	touches := func(g usage.Gap) bool {
		return !g.Until.Before(span.Since) && (span.Until.IsZero() || g.From.Before(span.Until))
	}
	err = l.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketGaps).ForEach(func(k, v []byte) error {
			g, err := parseGap(k, v)
			if err != nil {
				return l.damaged("a gap: %v", err)
			}
			if touches(g) {
				gaps = append(gaps, g)
			}
			return nil
		})
	})
	if crash := l.found.Load(); err == nil && crash != nil && touches(*crash) {
		gaps = append(gaps, *crash) // nothing was added since
	}
	return gaps, err
}
