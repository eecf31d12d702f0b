package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// Bounds of what one key can leave in a ledger.
const (
	maxDayRows      = 20_000  // counters of a key in one day; then places are one
	maxStrangerRows = 100_000 // the same for requests without a key
	maxKeyPlaces    = 4096    // places that are known of a key
	maxKeyScopes    = 256
	maxGaps         = 1000
)

// Add implements usage.Store.
func (l *Ledger) Add(ctx context.Context, b usage.Batch) (usage.Added, error) {
	var added usage.Added
	crash := l.found.Load()
	fn := func(tx *bbolt.Tx) error {
		added = usage.Added{}
		if b.ID == l.state.batch {
			return nil
		}
		batch := b
		if crash != nil {
			batch.Gaps = append(slices.Clip(b.Gaps), *crash)
		}
		return l.add(tx, &batch, &added)
	}
	err := l.do(ctx, fn)
	if errors.Is(err, keyring.ErrFull) && l.dropOldestDay(ctx) {
		err = l.do(ctx, fn)
	}
	if err != nil {
		return usage.Added{}, err
	}
	l.found.CompareAndSwap(crash, nil) // it is written
	return added, nil
}

func (l *Ledger) add(tx *bbolt.Tx, b *usage.Batch, added *usage.Added) error {
	now := l.now().UTC()
	w := adder{l: l, tx: tx}
	if err := errors.Join(
		w.counters(b.Counters),
		w.uses(b.Counters, added),
		w.scopes(b.Scopes),
		w.calls(b.Calls),
		w.gaps(b.Gaps),
	); err != nil {
		return err
	}
	l.state.batch, l.state.added, l.state.clean = b.ID, now, false
	return nil
}

// adder writes one batch.
type adder struct {
	l  *Ledger
	tx *bbolt.Tx
}

// row is a key and what is to be merged into its value.
type row[T any] struct {
	key  []byte
	item *T
}

// sorted brings rows into the order of the file: bbolt takes unsorted new keys
// in quadratic time.
func sorted[T any](rows []row[T]) []row[T] {
	slices.SortFunc(rows, func(a, b row[T]) int { return bytes.Compare(a.key, b.key) })
	return rows
}

func (w *adder) counters(counters []usage.Counter) error {
	byDay := make(map[string][]row[usage.Counter])
	for i := range counters {
		c := &counters[i]
		k, err := w.counterKey(c, byte(c.Hour.UTC().Hour()))
		if err != nil {
			return err
		}
		day := c.Hour.UTC().Format(dayFormat)
		byDay[day] = append(byDay[day], row[usage.Counter]{k, c})
	}
	for day, rows := range byDay {
		bucket, err := w.tx.Bucket(bucketDays).CreateBucketIfNotExists([]byte(day))
		if err != nil {
			return err
		}
		if err := w.countersOf(bucket, day, sorted(rows)); err != nil {
			return err
		}
	}
	return nil
}

func (w *adder) counterKey(c *usage.Counter, hour byte) ([]byte, error) {
	route, err := w.l.names.routes.number(w.tx, routeText(c.Route))
	if err != nil {
		return nil, err
	}
	reason, err := w.l.names.reasons.number(w.tx, c.Reason)
	if err != nil {
		return nil, err
	}
	return appendCounterKey(nil, c, hour, route, reason)
}

func (w *adder) countersOf(bucket *bbolt.Bucket, day string, rows []row[usage.Counter]) error {
	counted := make(map[string]int) // rows of a key
	for _, r := range rows {
		k, value := r.key, bucket.Get(r.key)
		if value == nil {
			id := string(k[:usage.KeyLen])
			n, known := counted[id]
			if !known {
				n = countPrefix(bucket, []byte(id), maxStrangerRows)
			}
			counted[id] = n + 1
			if n >= maxDayRows && k[0] != 0 || n >= maxStrangerRows {
				other := *r.item
				other.Place = usage.Other
				var err error
				if k, err = w.counterKey(&other, k[usage.KeyLen]); err != nil {
					return err
				}
				value = bucket.Get(k)
			}
		}
		sum := *r.item
		if value != nil {
			var before usage.Counter
			payload, err := unseal(bucketDays, k, value)
			if err == nil {
				err = parseCounter(&before, payload)
			}
			if err != nil {
				return w.l.damaged("a counter of %s: %v", day, err)
			}
			merge(&sum, &before)
		}
		if err := bucket.Put(k, seal(bucketDays, k, appendCounter(nil, &sum))); err != nil {
			return err
		}
	}
	return nil
}

// countPrefix counts the keys with a prefix, up to most.
func countPrefix(bucket *bbolt.Bucket, prefix []byte, most int) (n int) {
	c := bucket.Cursor()
	for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix) && n < most; k, _ = c.Next() {
		n++
	}
	return n
}

// keyPlace is a place that a key was let in from.
type keyPlace struct {
	key   string
	place usage.Place
}

// uses keeps when each credential was used last, and from where each key was.
func (w *adder) uses(counters []usage.Counter, added *usage.Added) error {
	type name struct {
		key        string
		credential uint32
	}
	uses := make(map[name]*usage.LastUse)
	places := make(map[keyPlace]*usage.Counter)
	for i := range counters {
		c := &counters[i]
		if c.Key == "" || c.Requests == 0 {
			continue
		}
		n := name{c.Key, c.Credential}
		u := uses[n]
		if u == nil {
			u = &usage.LastUse{Credential: c.Credential}
			uses[n] = u
		}
		if c.Reason != "" && !c.Observed {
			u.Refused += c.Requests
			continue
		}
		u.Requests += c.Requests
		u.First = earliest(u.First, c.First)
		if c.Last.After(u.Last) {
			u.Last, u.Place = c.Last, c.Place
		}
		p := keyPlace{c.Key, c.Place}
		if at := places[p]; at == nil {
			one := *c
			places[p] = &one
		} else {
			merge(at, c)
		}
	}
	var rows []row[usage.LastUse]
	for n, u := range uses {
		k, err := appendKeyID(nil, n.key)
		if err != nil {
			return err
		}
		rows = append(rows, row[usage.LastUse]{binary.BigEndian.AppendUint32(k, n.credential), u})
	}
	if err := w.lastUses(sorted(rows)); err != nil {
		return err
	}
	return w.places(places, added)
}

func (w *adder) lastUses(rows []row[usage.LastUse]) error {
	bucket := w.tx.Bucket(bucketLast)
	for _, r := range rows {
		sum := *r.item
		if value := bucket.Get(r.key); value != nil {
			var before usage.LastUse
			payload, err := unseal(bucketLast, r.key, value)
			if err == nil {
				err = parseLastUse(&before, payload)
			}
			if err != nil {
				return w.l.damaged("the last use of %s: %v", r.key[:usage.KeyLen], err)
			}
			sum.Requests += before.Requests
			sum.Refused += before.Refused
			sum.First = earliest(sum.First, before.First)
			if !sum.Last.After(before.Last) {
				sum.Last, sum.Place = before.Last, before.Place
			}
		}
		if err := bucket.Put(r.key, seal(bucketLast, r.key, appendLastUse(nil, &sum))); err != nil {
			return err
		}
	}
	return nil
}

// places notes from where keys were used, by the day of their last use.
func (w *adder) places(places map[keyPlace]*usage.Counter, added *usage.Added) error {
	var rows []row[usage.Counter]
	for p, c := range places {
		if _, known := p.place.Prefix(); !known {
			continue
		}
		k, err := appendKeyID(nil, p.key)
		if err != nil {
			return err
		}
		rows = append(rows, row[usage.Counter]{appendPlace(k, p.place), c})
	}
	bucket := w.tx.Bucket(bucketPlaces)
	for _, r := range sorted(rows) {
		today := binary.BigEndian.AppendUint32(nil, uint32(r.item.Last.Unix()/86400))
		sealed := seal(bucketPlaces, r.key, today)
		value := bucket.Get(r.key)
		if bytes.Equal(value, sealed) {
			continue
		}
		if value == nil {
			n := countPrefix(bucket, r.key[:usage.KeyLen], maxKeyPlaces)
			if n >= maxKeyPlaces {
				continue // from everywhere; one more is no news
			}
			added.NewPlaces = append(added.NewPlaces, usage.NewPlace{
				Key: r.item.Key, Credential: r.item.Credential, Place: r.item.Place, Time: r.item.First, First: n == 0,
			})
		}
		if err := bucket.Put(r.key, sealed); err != nil {
			return err
		}
	}
	return nil
}

// scopes keeps, for each scope, the hour in which it was needed last.
func (w *adder) scopes(scopes []usage.ScopeUse) error {
	var rows []row[usage.ScopeUse]
	for i := range scopes {
		s := &scopes[i]
		if len(s.Scope) > keyring.MaxScopeLen || s.Key == "" {
			return &keyring.InvalidError{Field: "scope", Reason: "is longer than a scope, or of no key"}
		}
		k, err := appendKeyID(nil, s.Key)
		if err != nil {
			return err
		}
		rows = append(rows, row[usage.ScopeUse]{append(k, s.Scope...), s})
	}
	bucket := w.tx.Bucket(bucketScopes)
	for _, r := range sorted(rows) {
		k := r.key
		hour := binary.BigEndian.AppendUint32(nil, uint32(r.item.Last.Unix()/3600))
		if bucket.Get(k) == nil && countPrefix(bucket, k[:usage.KeyLen], maxKeyScopes) >= maxKeyScopes {
			k = k[:usage.KeyLen] // more than are kept apart
		}
		sealed := seal(bucketScopes, k, hour)
		if bytes.Equal(bucket.Get(k), sealed) {
			continue
		}
		if err := bucket.Put(k, sealed); err != nil {
			return err
		}
	}
	return nil
}

// gapJoin is how close two gaps are one.
const gapJoin = time.Minute

// gaps keeps gaps by their beginning. When there are too many, the last one
// grows.
func (w *adder) gaps(gaps []usage.Gap) error {
	bucket := w.tx.Bucket(bucketGaps)
	for _, g := range gaps {
		if k, v := bucket.Cursor().Last(); k != nil {
			last, err := parseGap(k, v)
			if err != nil {
				return w.l.damaged("a gap: %v", err)
			}
			near := last.Why == g.Why && g.From.Sub(last.Until) < gapJoin
			if near && last.Why == usage.GapOverflow || countPrefix(bucket, nil, maxGaps) >= maxGaps {
				g.From, g.Until = last.From, latest(last.Until, g.Until)
			}
		}
		k := binary.BigEndian.AppendUint64(nil, uint64(milli(g.From)))
		payload := binary.BigEndian.AppendUint64(nil, uint64(milli(g.Until)))
		if err := bucket.Put(k, seal(bucketGaps, k, append(payload, g.Why...))); err != nil {
			return err
		}
	}
	return nil
}

func parseGap(k, v []byte) (usage.Gap, error) {
	payload, err := unseal(bucketGaps, k, v)
	if err != nil || len(k) != 8 || len(payload) < 8 {
		return usage.Gap{}, errors.Join(err, fmt.Errorf("entry %x", k))
	}
	return usage.Gap{
		From:  fromMilli(int64(binary.BigEndian.Uint64(k))),
		Until: fromMilli(int64(binary.BigEndian.Uint64(payload))),
		Why:   usage.GapReason(strings.Clone(string(payload[8:]))),
	}, nil
}
