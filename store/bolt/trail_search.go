package bolt

import (
	"context"
	"encoding/binary"
	"sort"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/audit"
)

// searchSlice is how many entries are looked at in one transaction.
const searchSlice = 8192

// search is a way through a trail, from its end to its beginning.
type search struct {
	*audit.Sieve
	at     uint64 // the entries before this number are still to be looked at; 0: all
	looked int
	over   bool // there are no more
}

// SearchTrail implements audit.Trail.
func (s *trails) SearchTrail(ctx context.Context, what audit.Search, fn func(*audit.Entry) bool) (next uint64, err error) {
	way := search{Sieve: what.Sieve(), at: what.Before}
	if err := s.of.view(func(tx *bbolt.Tx) error { return way.skipLate(s.in(tx)) }); err != nil {
		return 0, err
	}
	damaged := 0
	for stopped := false; !stopped && !way.over && !way.tired(); {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		var found []audit.Entry
		err := s.of.view(func(tx *bbolt.Tx) (err error) {
			found, err = way.slice(s.in(tx))
			return err
		})
		if err != nil {
			return 0, err
		}
		for i := 0; i < len(found) && !stopped; i++ {
			switch e := &found[i]; {
			case e.Damaged != nil:
				damaged++
			case what.Matches(e) && !fn(e):
				stopped, way.over, way.at = true, false, e.Seq+1
			}
		}
	}
	if way.over {
		way.at = 0
	}
	if damaged > 0 {
		return way.at, s.of.damaged("%d entries of the trail are damaged", damaged)
	}
	return way.at, nil
}

// tired reports whether as many entries were looked at as there may be.
func (s *search) tired() bool { return s.Most > 0 && s.looked >= s.Most }

// slice looks at some entries and returns those that may be selected.
func (s *search) slice(t *trail) (found []audit.Entry, err error) {
	c := t.bucket.Cursor()
	k, v := seekBefore(c, s.at)
	for end := s.looked + searchSlice; s.looked < end && len(found) < trailSlice && !s.tired(); k, v = c.Prev() {
		if k == nil || s.Over() {
			s.over = true
			return found, nil
		}
		if len(k) != 8 || binary.BigEndian.Uint64(k) == 0 {
			return nil, t.damaged("the trail has an entry %x", k)
		}
		s.at, s.looked = binary.BigEndian.Uint64(k), s.looked+1
		record, err := unseal(bucketTrail, k, v)
		if err == nil && s.Skip(record) {
			continue
		}
		e := audit.Entry{Seq: s.at}
		if err == nil {
			err = e.UnmarshalBinary(record)
		}
		if err != nil {
			e = audit.Entry{Seq: s.at, Damaged: err}
		}
		found = append(found, e)
	}
	return found, nil
}

// skipLate goes to the end of the span, if the times of the entries are in order
// as far as that can be relied upon.
func (s *search) skipLate(t *trail) error {
	if s.Until.IsZero() {
		return nil
	}
	c := t.bucket.Cursor()
	k, _ := c.First()
	last, _ := c.Last()
	if len(k) != 8 || len(last) != 8 {
		return nil // an empty trail; else it is told when the entries are read
	}
	first, count := binary.BigEndian.Uint64(k), binary.BigEndian.Uint64(last)-binary.BigEndian.Uint64(k)+1
	behind := first + uint64(sort.Search(int(count), func(i int) bool {
		k := trailKey(first + uint64(i))
		record, err := unseal(bucketTrail, k, t.bucket.Get(k))
		return err == nil && s.Late(record, audit.ClockSlack)
	}))
	k, v := c.Seek(trailKey(behind))
	for n := 0; k != nil && n < audit.ClockRun; n++ {
		if record, err := unseal(bucketTrail, k, v); err != nil || !s.Late(record, 0) {
			return nil
		}
		k, v = c.Next()
	}
	if s.at == 0 || behind < s.at {
		s.at = behind
	}
	return nil
}
