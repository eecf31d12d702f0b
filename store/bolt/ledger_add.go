package bolt

import (
	"bytes"
	"context"
	"time"

	bbolt "go.etcd.io/bbolt"

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
	ready, err := prepare(&b)
	if err != nil {
		return added, err
	}
	fn := func(tx *bbolt.Tx) error {
		added = usage.Added{}
		if err := l.use(tx, crash); err != nil || b.ID == l.state.batch {
			return err // or it was added before
		}
		l.state.batch = b.ID
		w := adder{l: l, tx: tx}
		return w.add(&b, ready, &added)
	}
	if err := l.withRoom(ctx, roomForUsage, l.do, fn); err != nil {
		return usage.Added{}, err
	}
	l.found.CompareAndSwap(crash, nil) // it is written
	return added, nil
}

// adder writes one batch.
type adder struct {
	l  *Ledger
	tx *bbolt.Tx
}

func (w *adder) add(b *usage.Batch, ready *prepared, added *usage.Added) error {
	if err := w.counters(ready.counters); err != nil {
		return err
	}
	if err := w.lastUses(ready.uses); err != nil {
		return err
	}
	if err := w.places(ready.places, added); err != nil {
		return err
	}
	if err := w.scopes(ready.scopes); err != nil {
		return err
	}
	if err := w.calls(b.Calls); err != nil {
		return err
	}
	return w.gaps(b.Gaps)
}

// prepared is what can be done with a batch while others use the writer.
type prepared struct {
	counters map[string][]row[usage.Counter] // by their day; without route and reason
	uses     []row[usage.LastUse]
	places   []row[placeUse]
	scopes   []row[usage.ScopeUse]
}

func prepare(b *usage.Batch) (*prepared, error) {
	ready := prepared{counters: make(map[string][]row[usage.Counter])}
	ids := make([]byte, 0, len(b.Counters)*counterKeyMost)
	var day string
	var ofDay time.Time
	for i := range b.Counters {
		c := &b.Counters[i]
		hour := c.Hour.UTC()
		if today := hour.Truncate(24 * time.Hour); day == "" || !today.Equal(ofDay) {
			ofDay, day = today, hour.Format(dayFormat)
		}
		start := len(ids)
		var err error
		if ids, err = appendCounterKey(ids, c, byte(hour.Hour()), 0, 0); err != nil {
			return nil, err
		}
		ready.counters[day] = append(ready.counters[day], row[usage.Counter]{ids[start:len(ids):len(ids)], c})
	}
	for i := range b.Calls {
		if err := checkKeyID(b.Calls[i].Key); err != nil {
			return nil, err
		}
	}
	var err error
	if ready.scopes, err = scopeRows(b.Scopes); err != nil {
		return nil, err
	}
	ready.uses, ready.places = useRows(b.Counters)
	return &ready, nil
}

func (w *adder) counters(byDay map[string][]row[usage.Counter]) error {
	routes := make(map[routeID]uint32)
	for day, rows := range byDay {
		bucket, err := w.tx.Bucket(bucketDays).CreateBucketIfNotExists([]byte(day))
		if err != nil {
			return err
		}
		for _, r := range rows {
			id := routeOf(&r.item.Route)
			route, known := routes[id]
			if !known {
				if route, err = w.l.names.routes.number(w.tx, routeText(r.item.Route)); err != nil {
					return err
				}
				routes[id] = route
			}
			reason, err := w.l.names.reasons.number(w.tx, r.item.Reason)
			if err != nil {
				return err
			}
			setNumbers(r.key, route, reason)
		}
		if err := w.countersOf(bucket, day, sorted(rows)); err != nil {
			return err
		}
	}
	return nil
}

// routeID tells routes apart whose rules are the same slice, without reading it.
type routeID struct {
	site, method string
	rules        *string
	n            int
}

func routeOf(r *usage.Route) routeID {
	id := routeID{site: r.Site, method: r.Method, n: len(r.Rules)}
	if id.n > 0 {
		id.rules = &r.Rules[0]
	}
	return id
}

func (w *adder) countersOf(bucket *bbolt.Bucket, day string, rows []row[usage.Counter]) error {
	known := counts{most: maxStrangerRows}
	for _, r := range rows {
		k, value := r.key, bucket.Get(r.key)
		if value == nil {
			if n := known.of(bucket, k); n < maxDayRows || k[0] == 0 && n < maxStrangerRows {
				known.n++
			} else {
				k = append(bytes.Clone(k[:counterFixed]), placeOther)
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
		if err := bucket.Put(k, seal(bucketDays, k, appendCounter(make([]byte, 0, 64), &sum))); err != nil {
			return err
		}
	}
	return nil
}

// counts has the number of records of one key, so that it is counted once for
// rows that are in order.
type counts struct {
	most int
	id   []byte
	n    int
}

// of returns how many records the key has that k begins with, up to most. The
// caller adds to n those that it puts.
func (c *counts) of(bucket *bbolt.Bucket, k []byte) int {
	if id := k[:usage.KeyLen]; !bytes.Equal(c.id, id) {
		c.id, c.n = id, countPrefix(bucket, id, c.most)
	}
	return c.n
}

// countPrefix counts the keys with a prefix, up to most.
func countPrefix(bucket *bbolt.Bucket, prefix []byte, most int) (n int) {
	c := bucket.Cursor()
	for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix) && n < most; k, _ = c.Next() {
		n++
	}
	return n
}
