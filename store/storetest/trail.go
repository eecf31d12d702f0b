package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// Told is an entry for changes that a test is not about.
func Told() []audit.Draft {
	return []audit.Draft{{Time: day, Payload: []byte(`{"action":"test"}`)}}
}

// told are the entries of some mutations, one for each as long as there are few.
func told(mutations []keyring.Mutation) (entries []audit.Draft) {
	for _, m := range mutations[:min(len(mutations), 100)] {
		what := "nothing"
		switch {
		case m.Key != nil:
			what = fmt.Sprintf("key %s %d", m.Key.ID, m.Key.Revision)
		case m.Org != nil:
			what = fmt.Sprintf("org %s %d", m.Org.Name, m.Org.Revision)
		}
		entries = append(entries, audit.Draft{Time: day, Payload: fmt.Appendf(nil, `{"action":%q}`, what), Details: []byte(`{"owner":"ops"}`)})
	}
	return entries
}

func trailOf(t *testing.T, s audit.Trail) (all []audit.Entry) {
	t.Helper()
	if err := s.Trail(t.Context(), 0, func(e *audit.Entry) bool { all = append(all, *e); return true }); err != nil {
		t.Fatalf("Trail: %v", err)
	}
	return all
}

// verified checks that the trail is in order and has count entries.
func verified(t *testing.T, s audit.Trail, count int) *audit.Report {
	t.Helper()
	r, err := s.VerifyTrail(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Faults) > 0 || r.Last-r.First+1 != uint64(count) {
		t.Errorf("%d entries are wanted: %+v", count, r)
	}
	return r
}

// trailApply: what was applied has exactly its entries, in order, and what was
// refused has none.
func trailApply(t *testing.T, suite Suite) {
	s := suite.open(t)
	first := []keyring.Mutation{createKey(Key(1)), createOrg(Org("acme"))}
	apply(t, s, first...)
	apply(t, s, changed(Key(1), func(k *keyring.Key) { k.Name = "renamed" }))
	for _, m := range [][]keyring.Mutation{
		{createKey(Key(1))},
		{createKey(Key(2)), changed(Key(1), func(k *keyring.Key) { k.Name = "too late" })},
	} {
		if _, err := s.Apply(t.Context(), m, told(m)); err == nil {
			t.Fatal("accepted")
		}
	}
	var invalid *keyring.InvalidError
	if _, err := s.Apply(t.Context(), []keyring.Mutation{createKey(Key(3))}, nil); !errors.As(err, &invalid) {
		t.Errorf("a change without an entry: %v", err)
	}
	if _, err := s.Apply(t.Context(), []keyring.Mutation{createKey(Key(3))}, []audit.Draft{{Time: day}}); !errors.As(err, &invalid) {
		t.Errorf("a change with an empty entry: %v", err)
	}
	if _, err := s.Key(t.Context(), Key(3).ID); !errors.Is(err, keyring.ErrNotFound) {
		t.Errorf("it was made nevertheless: %v", err)
	}
	all := trailOf(t, s)
	var got []string
	for i, e := range all {
		if e.Seq != uint64(i)+1 || !e.Time.Equal(day) || string(e.Details) != `{"owner":"ops"}` {
			t.Errorf("entry %d: %+v", i, e)
		}
		got = append(got, string(e.Payload))
	}
	want := fmt.Sprintf(`{"action":"key %[1]s 1"} {"action":"org acme 1"} {"action":"key %[1]s 2"}`, Key(1).ID)
	if strings.Join(got, " ") != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	verified(t, s, 3)
}

// trailAlone: an entry can tell of something that changes no record. Watchers
// hear of the commit, and that there is nothing in it for them.
func trailAlone(t *testing.T, suite Suite) {
	s := suite.open(t)
	before := apply(t, s, createKey(Key(1)))
	w := watch(t, s, before)
	w.next(t, false)
	cursor, err := s.Apply(t.Context(), nil, Told())
	if err != nil || cursor.Revision <= before.Revision {
		t.Fatalf("%v, %v", cursor, err)
	}
	for {
		b := w.next(t, false)
		if len(b.Records) > 0 {
			t.Errorf("%+v", b)
		}
		if b.Cursor.Revision >= cursor.Revision {
			break
		}
	}
	verified(t, s, 2)
}

// trailTogether: entries of calls that share a commit stay together, and those
// of a call that is refused are not among them.
func trailTogether(t *testing.T, suite Suite) {
	s := suite.open(t)
	const callers, each = 8, 10
	var wait sync.WaitGroup
	for c := range callers {
		wait.Go(func() {
			for i := range each {
				n := 100*c + 2*i
				m := []keyring.Mutation{createKey(Key(n)), createKey(Key(n + 1))}
				if _, err := s.Apply(t.Context(), m, told(m)); err != nil {
					t.Error(err)
				}
				if _, err := s.Apply(t.Context(), m, told(m)); !errors.Is(err, keyring.ErrExists) {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	place := make(map[string]int)
	for i, e := range trailOf(t, s) {
		place[string(e.Payload)] = i + 1
	}
	for c := range callers {
		for i := range each {
			entries := told([]keyring.Mutation{createKey(Key(100*c + 2*i)), createKey(Key(100*c + 2*i + 1))})
			if first := place[string(entries[0].Payload)]; first == 0 || place[string(entries[1].Payload)] != first+1 {
				t.Errorf("the entries of one call are not together: %d, %d", first, place[string(entries[1].Payload)])
			}
		}
	}
	verified(t, s, callers*each*2)
}

// trailKeep: the beginning is purged, and details are erased, beside changes.
func trailKeep(t *testing.T, suite Suite) {
	s := suite.open(t)
	for n := range 30 {
		m := []keyring.Mutation{createKey(Key(n))}
		d := told(m)
		d[0].Time = day.Add(time.Duration(n) * time.Hour)
		if _, err := s.Apply(t.Context(), m, d); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PurgeTrail(t.Context(), day.Add(20*time.Hour)); err != nil {
		t.Fatal(err)
	}
	apply(t, s, createKey(Key(100)))
	if r := verified(t, s, 12); r.First != 21 { // and what tells of the purge
		t.Errorf("%+v", r)
	}
	if err := s.EraseTrail(t.Context(), func(e *audit.Entry) bool { return e.Seq%2 == 0 }); err != nil {
		t.Fatal(err)
	}
	if r := verified(t, s, 12); r.Erased != 6 {
		t.Errorf("%+v", r)
	}
	var back []uint64
	if err := s.TrailBack(t.Context(), 25, func(e *audit.Entry) bool {
		if back = append(back, e.Seq); (e.Seq%2 == 0) != e.Erased {
			t.Errorf("%+v", e)
		}
		return e.Seq > 23
	}); err != nil || fmt.Sprint(back) != "[24 23]" {
		t.Errorf("%d, %v", back, err)
	}
	if suite.Reopen == nil {
		return
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = suite.Reopen(t, s)
	t.Cleanup(func() { _ = s.Close() })
	apply(t, s, createKey(Key(101)))
	verified(t, s, 13)
}

// trailSearch: a search finds what matches, newest first, and says where to go on.
func trailSearch(t *testing.T, suite Suite) {
	s := suite.open(t)
	for n := range 30 {
		m := []keyring.Mutation{createKey(Key(n))}
		d := audit.Draft{Time: day.Add(time.Duration(n) * 48 * time.Hour), Payload: fmt.Appendf(nil, `{"action":"a%d","org":"acme"}`, n%3)}
		if _, err := s.Apply(t.Context(), m, []audit.Draft{d}); err != nil {
			t.Fatal(err)
		}
	}
	search := audit.Search{Action: "a1", Org: "acme", Since: day.Add(4 * 48 * time.Hour), Until: day.Add(25 * 48 * time.Hour), Most: 5}
	var found []uint64
	for pages := 0; ; pages++ {
		next, err := s.SearchTrail(t.Context(), search, func(e *audit.Entry) bool { found = append(found, e.Seq); return true })
		if err != nil || pages > 10 {
			t.Fatal(pages, err)
		}
		if next == 0 {
			break
		}
		search.Before = next
	}
	if got := fmt.Sprint(found); got != "[23 20 17 14 11 8 5]" {
		t.Errorf("found %s", got)
	}
	search = audit.Search{Action: "a2"}
	next, err := s.SearchTrail(t.Context(), search, func(e *audit.Entry) bool { return e.Seq > 20 })
	if err != nil || next != 19 {
		t.Errorf("not wanted, so next: %d, %v", next, err)
	}
}
