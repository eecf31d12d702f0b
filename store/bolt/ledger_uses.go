package bolt

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

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

// united sorts rows and makes those of one key one.
func united[T any](rows []row[T], add func(to, other *T)) []row[T] {
	n := 0
	for i, r := range sorted(rows) {
		if i > 0 && bytes.Equal(r.key, rows[n-1].key) {
			add(rows[n-1].item, r.item)
			continue
		}
		rows[n] = r
		n++
	}
	return rows[:n]
}

// placeUse is how a key was let in from a place.
type placeUse struct {
	counter *usage.Counter // the first of them
	first   time.Time
	last    time.Time
}

// useRows returns when each credential was used last, and from where each key
// was, in the order of the file. Their keys are ids, as was checked before.
func useRows(counters []usage.Counter) (uses []row[usage.LastUse], places []row[placeUse]) {
	ids := make([]byte, 0, 2*len(counters)*placeKeyMost)
	key := func(c *usage.Counter, rest func([]byte) []byte) []byte {
		start := len(ids)
		ids = rest(append(ids, c.Key...))
		return ids[start:len(ids):len(ids)]
	}
	for i := range counters {
		c := &counters[i]
		if c.Key == "" || c.Requests == 0 {
			continue
		}
		k := key(c, func(b []byte) []byte { return binary.BigEndian.AppendUint32(b, c.Credential) })
		u := usage.LastUse{Credential: c.Credential, Refused: c.Requests}
		if c.Reason == "" || c.Observed {
			u = usage.LastUse{Credential: c.Credential, First: c.First, Last: c.Last, Place: c.Place, Requests: c.Requests}
			if _, known := c.Place.Prefix(); known {
				k := key(c, func(b []byte) []byte { return appendPlace(b, c.Place) })
				places = append(places, row[placeUse]{k, &placeUse{c, c.First, c.Last}})
			}
		}
		uses = append(uses, row[usage.LastUse]{k, &u})
	}
	return united(uses, addUse), united(places, func(p, other *placeUse) {
		if other.first.Before(p.first) {
			p.first, p.counter = other.first, other.counter
		}
		p.last = latest(p.last, other.last)
	})
}

func addUse(u, other *usage.LastUse) {
	u.Requests += other.Requests
	u.Refused += other.Refused
	u.First = earliest(u.First, other.First)
	if other.Last.After(u.Last) {
		u.Last, u.Place = other.Last, other.Place
	}
}

func (w *adder) lastUses(rows []row[usage.LastUse]) error {
	bucket := w.tx.Bucket(bucketLast)
	for _, r := range rows {
		var sum usage.LastUse
		if value := bucket.Get(r.key); value != nil {
			payload, err := unseal(bucketLast, r.key, value)
			if err == nil {
				err = parseLastUse(&sum, payload)
			}
			if err != nil {
				return w.l.damaged("the last use of %s: %v", r.key[:usage.KeyLen], err)
			}
		}
		addUse(&sum, r.item)
		if err := bucket.Put(r.key, seal(bucketLast, r.key, appendLastUse(make([]byte, 0, 64), &sum))); err != nil {
			return err
		}
	}
	return nil
}

// places notes from where keys were used, by the day of their last use.
func (w *adder) places(rows []row[placeUse], added *usage.Added) error {
	bucket := w.tx.Bucket(bucketPlaces)
	known := counts{most: maxKeyPlaces}
	for _, r := range rows {
		c := r.item.counter
		today := binary.BigEndian.AppendUint32(make([]byte, 0, 4+sumSize), uint32(r.item.last.Unix()/86400))
		sealed := seal(bucketPlaces, r.key, today)
		value := bucket.Get(r.key)
		if bytes.Equal(value, sealed) {
			continue
		}
		if value == nil {
			n := known.of(bucket, r.key)
			if n >= maxKeyPlaces {
				continue // from everywhere; one more is no news
			}
			known.n++
			added.NewPlaces = append(added.NewPlaces, usage.NewPlace{
				Key: c.Key, Credential: c.Credential, Place: c.Place, Time: r.item.first, First: n == 0,
			})
		}
		if err := bucket.Put(r.key, sealed); err != nil {
			return err
		}
	}
	return nil
}

func scopeRows(scopes []usage.ScopeUse) (rows []row[usage.ScopeUse], err error) {
	for i := range scopes {
		s := &scopes[i]
		if len(s.Scope) > keyring.MaxScopeLen || s.Key == "" {
			return nil, &keyring.InvalidError{Field: "scope", Reason: "is longer than a scope, or of no key"}
		}
		k, err := appendKeyID(nil, s.Key)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row[usage.ScopeUse]{append(k, s.Scope...), s})
	}
	return sorted(rows), nil
}

// scopes keeps, for each scope, the hour in which it was needed last.
func (w *adder) scopes(rows []row[usage.ScopeUse]) error {
	bucket := w.tx.Bucket(bucketScopes)
	known := counts{most: maxKeyScopes}
	for _, r := range rows {
		k := r.key
		hour := binary.BigEndian.AppendUint32(nil, uint32(r.item.Last.Unix()/3600))
		if bucket.Get(k) == nil {
			if known.of(bucket, k) < maxKeyScopes {
				known.n++
			} else {
				k = k[:usage.KeyLen] // more than are kept apart
			}
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
