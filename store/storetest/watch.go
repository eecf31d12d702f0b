package storetest

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

func snapshotOrder(t *testing.T, suite Suite) {
	s := suite.open(t)
	apply(t, s, createKey(Key(3)), createOrg(Org("b")), createKey(Key(1)))
	deleted := Key(2)
	deleted.State = keyring.StateDeleted
	last := apply(t, s, createOrg(Org("a")), createKey(deleted))
	var got []string
	cursor, err := s.Snapshot(t.Context(), func(r keyring.Record) error {
		got = append(got, name(t, r))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if cursor != last {
		t.Errorf("cursor %v, want %v", cursor, last)
	}
	if len(got) != 5 || got[2] != "key "+Key(1).ID || got[3] != "key "+Key(2).ID || got[4] != "key "+Key(3).ID {
		t.Errorf("order: %q; want orgs first, keys ascending, deleted ones too", got)
	}
}

func snapshotError(t *testing.T, suite Suite) {
	s := suite.open(t)
	apply(t, s, createKey(Key(1)), createKey(Key(2)))
	stop, calls := errors.New("enough"), 0
	_, err := s.Snapshot(t.Context(), func(keyring.Record) error {
		calls++
		return stop
	})
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	apply(t, s, createKey(Key(3)))
}

func snapshotCancelled(t *testing.T, suite Suite) {
	s := suite.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Snapshot(ctx, func(keyring.Record) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Snapshot: %v", err)
	}
}

// snapshotWatch takes snapshots while others write, and checks that each one
// and the batches after it lead to the same image as the last snapshot.
func snapshotWatch(t *testing.T, suite Suite) {
	s := suite.open(t)
	const writers, changes, watchers = 4, 25, 4
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			m := createKey(Key(w))
			for i := range changes {
				if _, err := s.Apply(t.Context(), []keyring.Mutation{m, createKey(Key(1000 + w*changes + i))}, Told()); err != nil {
					t.Errorf("Apply: %v", err)
					return
				}
				m = changed(m.Key, func(k *keyring.Key) { k.Name += "." })
			}
		})
	}
	type seen struct {
		image map[string]keyring.Record
		from  keyring.Cursor
	}
	begun := make([]seen, watchers)
	for i := range watchers {
		img, cursor := image(t, s)
		begun[i] = seen{img, cursor}
	}
	var results [watchers]*watcher
	for i := range begun {
		results[i] = watch(t, s, begun[i].from)
	}
	all.Wait()
	final, end := image(t, s)
	if len(final) != writers*changes+writers {
		t.Fatalf("%d records", len(final))
	}
	for i, w := range results {
		at := begun[i].from
		for at != end {
			b := w.next(t, false)
			if b.Cursor.Revision < at.Revision || len(b.Records) > 0 && b.Cursor.Revision == at.Revision {
				t.Fatalf("batch %d after %d", b.Cursor.Revision, at.Revision)
			}
			at = b.Cursor
			for _, r := range b.Records {
				begun[i].image[name(t, r)] = r
			}
		}
		sameImage(t, begun[i].image, final)
	}
}

func watchFirst(t *testing.T, suite Suite) {
	s := suite.open(t)
	for range 2 {
		_, at := image(t, s)
		b := watch(t, s, at).next(t, false)
		if len(b.Records) != 0 || b.Cursor != at {
			t.Errorf("first batch at %v with %d records, want %v without", b.Cursor, len(b.Records), at)
		}
		apply(t, s, createKey(Key(int(at.Revision)+1)))
	}
}

func watchSeveral(t *testing.T, suite Suite) {
	s := suite.open(t)
	_, at := image(t, s)
	var all [3]*watcher
	for i := range all {
		all[i] = watch(t, s, at)
		all[i].next(t, false)
	}
	cursor := apply(t, s, createKey(FullKey(1)), createOrg(FullOrg("acme")))
	want := map[string]keyring.Record{"key " + Key(1).ID: {Key: FullKey(1)}, "org acme": {Org: FullOrg("acme")}}
	for _, w := range all {
		begun := time.Now()
		b := w.next(t, true)
		if b.Cursor != cursor {
			t.Errorf("batch at %v, Apply said %v", b.Cursor, cursor)
		}
		got := make(map[string]keyring.Record)
		for _, r := range b.Records {
			got[name(t, r)] = r
		}
		sameImage(t, got, want)
		if late := time.Since(begun); late > 2*time.Second {
			t.Errorf("the batch came after %v", late)
		}
	}
}

func watchEarlier(t *testing.T, suite Suite) {
	s := suite.open(t)
	_, from := image(t, s)
	cursors := []keyring.Cursor{from}
	for i := range 5 {
		cursors = append(cursors, apply(t, s, createKey(Key(i))))
	}
	for i, from := range cursors {
		w := watch(t, s, from)
		if b := w.next(t, false); len(b.Records) != 0 {
			t.Error("the first batch has records")
		}
		for j := i; j < 5; j++ {
			b := w.next(t, true)
			if b.Cursor != cursors[j+1] || len(b.Records) != 1 || b.Records[0].Key.ID != Key(j).ID {
				t.Fatalf("from %d: batch %v with %d records, want %v", i, b.Cursor, len(b.Records), cursors[j+1])
			}
		}
		w.stop()
	}
}

func watchForked(t *testing.T, suite Suite) {
	s := suite.open(t)
	old := apply(t, s, createKey(Key(1)))
	at := apply(t, s, createKey(Key(2)))
	future, other, past := at, at, old
	future.Revision++
	other.Mark[0] ^= 1
	past.Mark[7] ^= 1
	for what, from := range map[string]keyring.Cursor{"future": future, "another mark": other, "another mark in the past": past} {
		called := false
		err := s.Watch(t.Context(), from, func(keyring.Batch) error {
			called = true
			return errors.New("called")
		})
		if !errors.Is(err, keyring.ErrForked) || called {
			t.Errorf("%s: %v (called: %v), want ErrForked", what, err, called)
		}
	}
}

// watchBehind resumes from the first cursor of a store whose history is longer
// than most keep: either nothing is missing, or the store says so.
func watchBehind(t *testing.T, suite Suite) {
	s := suite.open(t)
	_, from := image(t, s)
	m := createOrg(Org("acme"))
	const n = 1500
	for range n {
		apply(t, s, m)
		m = changedOrg(m.Org, func(*keyring.Org) {})
	}
	seen := 0
	enough := errors.New("enough")
	err := s.Watch(t.Context(), from, func(b keyring.Batch) error {
		if seen += len(b.Records); seen == n {
			return enough
		}
		return nil
	})
	if errors.Is(err, keyring.ErrBehind) && seen == 0 {
		return
	}
	if !errors.Is(err, enough) {
		t.Errorf("%v after %d of %d changes; want ErrBehind, or all of them", err, seen, n)
	}
}

func watchEnds(t *testing.T, suite Suite) {
	s := suite.open(t)
	_, at := image(t, s)

	w := watch(t, s, at)
	w.next(t, false)
	w.stop()
	if err := w.end(t); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}

	stop := errors.New("enough")
	if err := s.Watch(t.Context(), at, func(keyring.Batch) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("function's error: %v", err)
	}

	w = watch(t, s, at)
	w.next(t, false)
	within(t, "Close", func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if err := w.end(t); !errors.Is(err, keyring.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// values changes what it got from every method and looks again.
func values(t *testing.T, suite Suite) {
	s := suite.open(t)
	_, from := image(t, s)
	apply(t, s, createKey(FullKey(1)))
	spoil := func(k *keyring.Key) {
		same(t, "key", k, FullKey(1))
		k.Name = "spoilt"
		k.Scopes[0], k.Roles[0], k.Tags[0], k.Origins[0] = "x", "x", "x", "x"
		k.Allow[0], k.Deny[0] = k.Allow[1], k.Allow[1]
		k.ClientCerts[0][0] = 99
		k.Credentials[0].N = 99
		k.Rotation.Old[0].N = 99
		maps.DeleteFunc(k.Metadata, func(string, string) bool { return true })
	}
	for range 2 {
		k, err := s.Key(t.Context(), Key(1).ID)
		if err != nil {
			t.Fatal(err)
		}
		spoil(k)
		if k, err = s.KeyByDigest(t.Context(), Digest(Key(1).ID)); err != nil {
			t.Fatal(err)
		}
		spoil(k)
		if err := s.Keys(t.Context(), "", func(k *keyring.Key) bool { spoil(k); return true }); err != nil {
			t.Fatal(err)
		}
		got, _ := image(t, s)
		spoil(got["key "+Key(1).ID].Key)
	}
	// A batch may be shared with other watchers; it is not what is stored.
	w := watch(t, s, from)
	same(t, "watched key", w.next(t, true).Records[0].Key, FullKey(1))
}
