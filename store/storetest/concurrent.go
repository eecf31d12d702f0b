package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

func applyRace(t *testing.T, suite Suite) {
	s := suite.open(t)
	apply(t, s, createKey(Key(1)))
	won := race(8, func(i int) error {
		_, err := s.Apply(t.Context(), []keyring.Mutation{changed(Key(1), func(k *keyring.Key) { k.Name = fmt.Sprint(i) })}, Told())
		return err
	}, func(err error) { t.Errorf("loser: %v, want ErrConflict", err) }, keyring.ErrConflict)
	if len(won) != 1 {
		t.Fatalf("%d writers won", len(won))
	}
	k, err := s.Key(t.Context(), Key(1).ID)
	if err != nil {
		t.Fatal(err)
	}
	if k.Revision != 2 || k.Name != fmt.Sprint(won[0]) {
		t.Errorf("stored %q at revision %d, winner was %d", k.Name, k.Revision, won[0])
	}
}

func applyDigestRace(t *testing.T, suite Suite) {
	s := suite.open(t)
	won := race(8, func(i int) error {
		k := Key(i)
		k.Credentials[0].Digest = Digest("the same")
		_, err := s.Apply(t.Context(), []keyring.Mutation{createKey(k)}, Told())
		return err
	}, func(err error) { t.Errorf("loser: %v, want ErrExists", err) }, keyring.ErrExists)
	if len(won) != 1 {
		t.Fatalf("%d keys got one credential", len(won))
	}
	got, _ := image(t, s)
	if len(got) != 1 {
		t.Errorf("%d keys are stored", len(got))
	}
}

// race runs n calls at once and returns which of them succeeded.
func race(n int, call func(int) error, other func(error), want error) (won []int) {
	var mu sync.Mutex
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			err := call(i)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, i)
			} else if !errors.Is(err, want) {
				other(err)
			}
		})
	}
	close(start)
	all.Wait()
	return won
}

func applyMany(t *testing.T, suite Suite) {
	s := suite.open(t)
	const writers, each = 8, 10
	var all sync.WaitGroup
	var mu sync.Mutex
	want := make(map[string]keyring.Record)
	for w := range writers {
		all.Go(func() {
			var last keyring.Cursor
			for i := range each {
				k := Key(w*each + i)
				cursor, err := s.Apply(t.Context(), []keyring.Mutation{createKey(k)}, Told())
				if err != nil {
					t.Errorf("Apply: %v", err)
					return
				}
				if cursor.Revision <= last.Revision {
					t.Errorf("cursor went from %d to %d", last.Revision, cursor.Revision)
				}
				last = cursor
				// One that fails does no harm to its neighbours.
				if _, err := s.Apply(t.Context(), []keyring.Mutation{createKey(k)}, Told()); !errors.Is(err, keyring.ErrExists) {
					t.Errorf("second create: %v", err)
				}
				mu.Lock()
				want["key "+k.ID] = keyring.Record{Key: k}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	got, _ := image(t, s)
	sameImage(t, got, want)
}
