//go:build unix

package bolt_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
)

// searched returns the numbers of what a search finds, page by page.
func searched(t *testing.T, l *bolt.Ledger, search audit.Search) (found []uint64, pages int) {
	t.Helper()
	for {
		pages++
		next, err := l.SearchTrail(t.Context(), search, func(e *audit.Entry) bool {
			found = append(found, e.Seq)
			return true
		})
		must(t, err)
		if next == 0 {
			return found, pages
		}
		search.Before = next
	}
}

// wanted is what the search must find: every entry is looked at.
func wanted(t *testing.T, l *bolt.Ledger, search audit.Search) (found []uint64) {
	t.Helper()
	must(t, l.TrailBack(t.Context(), search.Before, func(e *audit.Entry) bool {
		if search.Matches(e) {
			found = append(found, e.Seq)
		}
		return true
	}))
	return found
}

// TestTrailSearch compares searches with a look at every entry. The clock runs in
// jumps, back too, and is quite wrong now and then.
func TestTrailSearch(t *testing.T) {
	const count = 20_000
	l := openLedger(t, ledgerPath(t), bolt.LedgerOptions{Keep: bigKeep, Now: func() time.Time { return ledgerNow }})
	random := rand.New(rand.NewPCG(1, 2))
	at := ledgerNow.AddDate(0, 0, -200)
	var drafts []audit.Draft
	for n := range count {
		at = at.Add(time.Duration(random.IntN(40)-10) * time.Minute)
		d := audit.Draft{Time: at, Details: []byte(`{"address":"192.0.2.1"}`),
			Payload: fmt.Appendf(nil, `{"action":"a%d","actor":"CN=\u003cx\u003e","key":%q,"org":"o%d","keys":["key_%d"]}`, n%3, ledgerKey(n%100), n%5, n%50)}
		switch {
		case n%1000 == 0: // a clock that was never set
			d.Time = time.Unix(1, 0)
		case n > 8000 && n < 8500: // one that was set wrong
			d.Time = at.AddDate(10, 0, 0)
		case random.IntN(10) == 0: // one that goes back
			d.Time = at.Add(-time.Duration(random.IntN(23)) * time.Hour)
		case n%7 == 0:
			d.Details = nil
		}
		if drafts = append(drafts, d); len(drafts) == 1000 {
			_, err := l.AppendCalls(t.Context(), drafts...)
			must(t, err)
			drafts = nil
		}
	}
	must(t, l.PurgeTrail(t.Context(), time.Unix(2, 0)))
	days := func(n int) time.Time { return ledgerNow.AddDate(0, 0, n-200) }
	for name, s := range map[string]audit.Search{
		"all":          {},
		"key":          {Key: ledgerKey(42)},
		"one of keys":  {Key: "key_42"},
		"action":       {Action: "a1", Org: "o2"},
		"escaped":      {Actor: "CN=<x>", Action: "a2"},
		"address":      {Address: "192.0.2.1", Org: "o1"},
		"nothing":      {Org: "acme"},
		"since":        {Since: days(60)},
		"until":        {Until: days(3)},
		"a day":        {Since: days(40), Until: days(41)},
		"a day, a key": {Since: days(10), Until: days(11), Action: "a0"},
		"before":       {Before: 5000, Until: days(30), Org: "o3"},
		"long ago":     {Until: time.Unix(5, 0)},
		"too early":    {Until: time.Unix(0, 0)},
		"too late":     {Since: ledgerNow.AddDate(20, 0, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			want := wanted(t, l, s)
			if got, _ := searched(t, l, s); !slices.Equal(got, want) {
				t.Errorf("%d found, want %d", len(got), len(want))
			}
			s.Most = 3000
			if got, pages := searched(t, l, s); !slices.Equal(got, want) || pages > count/s.Most+1 {
				t.Errorf("%d found on %d pages, want %d", len(got), pages, len(want))
			}
		})
	}
	for day := 0; day < 190; day += 10 {
		s := audit.Search{Since: days(day), Until: days(day + 1)}
		if got, _ := searched(t, l, s); !slices.Equal(got, wanted(t, l, s)) {
			t.Errorf("day %d: %d found", day, len(got))
		}
	}
}

// TestTrailSearchGoesToTheSpan: what is later is not looked at, nor, but for a
// few, what is earlier.
func TestTrailSearchGoesToTheSpan(t *testing.T) {
	l := fillTrail(t, ledgerPath(t), 20_000) // one a minute
	s := audit.Search{Since: ledgerNow.Add(6000 * time.Minute), Until: ledgerNow.Add(6010 * time.Minute), Most: 1500}
	var found []uint64
	next, err := l.SearchTrail(t.Context(), s, func(e *audit.Entry) bool { found = append(found, e.Seq); return true })
	must(t, err)
	if len(found) != 10 || found[0] != 6010 || next != 6010+24*60+1-1500 {
		t.Errorf("%d, next %d", found, next)
	}
	s.Before, s.Most = next, audit.ClockRun+1500
	if next, err = l.SearchTrail(t.Context(), s, func(e *audit.Entry) bool { t.Errorf("%d", e.Seq); return true }); next != 0 || err != nil {
		t.Errorf("the beginning was looked at: next %d, %v", next, err)
	}
}

// TestTrailSearchStops: the entry that was not wanted is the next one.
func TestTrailSearchStops(t *testing.T) {
	l := fillTrail(t, ledgerPath(t), 1500)
	var found []uint64
	next, err := l.SearchTrail(t.Context(), audit.Search{}, func(e *audit.Entry) bool {
		if len(found) == 700 {
			return false
		}
		found = append(found, e.Seq)
		return true
	})
	must(t, err)
	if next != 801 || found[699] != 801 {
		t.Errorf("next %d", next)
	}
	for _, before := range []uint64{1, 2} { // beside the beginning
		if next, err := l.SearchTrail(t.Context(), audit.Search{Before: before}, func(*audit.Entry) bool { return false }); err != nil || next != before*(before-1) {
			t.Errorf("before %d: next %d, %v", before, next, err)
		}
	}
	empty := openLedger(t, ledgerPath(t), bolt.LedgerOptions{Keep: bigKeep})
	if next, err := empty.SearchTrail(t.Context(), audit.Search{Until: ledgerNow}, func(*audit.Entry) bool { return true }); next != 0 || err != nil {
		t.Errorf("an empty trail: %d, %v", next, err)
	}
}

// TestTrailSearchDamaged: damage is told, also of entries that would not be
// selected, and the others are found.
func TestTrailSearchDamaged(t *testing.T) {
	path := ledgerPath(t)
	must(t, fillTrail(t, path, 20_000).Close())
	edit(t, path, func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("trail"))
		for _, seq := range []byte{0x40, 0x10} { // 16384+…
			k := []byte{0, 0, 0, 0, 0, 0, seq, 7}
			v := slices.Clone(b.Get(k))
			v[len(v)/2] ^= 4
			if err := b.Put(k, v); err != nil {
				return err
			}
		}
		return nil
	})
	l := openLedger(t, path, bolt.LedgerOptions{Keep: bigKeep})
	n := 0
	for _, s := range []audit.Search{{Action: "nobody"}, {Until: ledgerNow.Add(5000 * time.Minute)}} {
		if _, err := l.SearchTrail(t.Context(), s, func(*audit.Entry) bool { n++; return true }); !errors.Is(err, keyring.ErrDamaged) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if n != 4999 {
		t.Errorf("%d found", n)
	}
}
