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
	commit, err := s.Apply(t.Context(), first, told(first))
	if err != nil {
		t.Fatal(err)
	}
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
	if len(commit.Entries) != 2 || commit.Entries[1].Seq != 2 || commit.Entries[1].Hash != all[1].Hash {
		t.Errorf("Apply said %+v", commit.Entries)
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
	commit, err := s.Apply(t.Context(), nil, Told())
	if err != nil || len(commit.Entries) != 1 || commit.Entries[0].Seq != 2 {
		t.Fatalf("%+v, %v", commit, err)
	}
	for {
		b := w.next(t, false)
		if len(b.Records) > 0 {
			t.Errorf("%+v", b)
		}
		if b.Cursor.Revision >= commit.Cursor.Revision {
			break
		}
	}
	verified(t, s, 2)
}

// trailTogether: entries of calls that share a commit stay together, and each
// caller is told its own.
func trailTogether(t *testing.T, suite Suite) {
	s := suite.open(t)
	const callers, each = 8, 10
	var wait sync.WaitGroup
	seen := make([]map[uint64]string, callers)
	for c := range callers {
		seen[c] = make(map[uint64]string)
		wait.Go(func() {
			for i := range each {
				n := 100*c + 2*i
				m := []keyring.Mutation{createKey(Key(n)), createKey(Key(n + 1))}
				commit, err := s.Apply(t.Context(), m, told(m))
				if err != nil || len(commit.Entries) != 2 || commit.Entries[1].Seq != commit.Entries[0].Seq+1 {
					t.Errorf("%+v, %v", commit, err)
					return
				}
				if _, err := s.Apply(t.Context(), m, told(m)); !errors.Is(err, keyring.ErrExists) {
					t.Error(err)
				}
				for j, e := range commit.Entries {
					seen[c][e.Seq] = string(told(m)[j].Payload)
				}
			}
		})
	}
	wait.Wait()
	all := trailOf(t, s)
	for _, mine := range seen {
		for seq, payload := range mine {
			if got := string(all[seq-1].Payload); got != payload {
				t.Errorf("entry %d is %s, not %s", seq, got, payload)
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
