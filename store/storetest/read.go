package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

func notFound(t *testing.T, suite Suite) {
	s := suite.open(t)
	apply(t, s, createKey(Key(1)), createOrg(Org("acme")))
	if k, err := s.Key(t.Context(), "key_"); !errors.Is(err, keyring.ErrNotFound) || k != nil {
		t.Errorf("Key: %v, %v", k, err)
	}
	if k, err := s.Key(t.Context(), ""); !errors.Is(err, keyring.ErrNotFound) || k != nil {
		t.Errorf("Key of no id: %v, %v", k, err)
	}
	if k, err := s.Key(t.Context(), "acme"); !errors.Is(err, keyring.ErrNotFound) || k != nil {
		t.Errorf("Key of an org's name: %v, %v", k, err)
	}
	if k, err := s.KeyByDigest(t.Context(), Digest("unknown")); !errors.Is(err, keyring.ErrNotFound) || k != nil {
		t.Errorf("KeyByDigest: %v, %v", k, err)
	}
	if k, err := s.KeyByDigest(t.Context(), [32]byte{}); !errors.Is(err, keyring.ErrNotFound) || k != nil {
		t.Errorf("KeyByDigest of none: %v, %v", k, err)
	}
	if o, err := s.Org(t.Context(), Key(1).ID); !errors.Is(err, keyring.ErrNotFound) || o != nil {
		t.Errorf("Org: %v, %v", o, err)
	}
}

func keyByDigest(t *testing.T, suite Suite) {
	s := suite.open(t)
	full := FullKey(1)
	apply(t, s, createKey(full), createKey(Key(2)))
	for _, c := range []struct {
		digest [32]byte
		want   *keyring.Key
	}{
		{Digest(full.ID), full}, {Digest(full.ID + "/2"), full}, {Digest(Key(2).ID), Key(2)},
	} {
		k, err := s.KeyByDigest(t.Context(), c.digest)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "key", k, c.want)
	}
}

func keysWalk(t *testing.T, suite Suite) {
	s := suite.open(t)
	const n = 3000 // more than a store reads at once
	var all []keyring.Mutation
	for i := range n {
		k := Key(i)
		if i%10 == 0 {
			k.State = keyring.StateDeleted
		}
		all = append(all, createKey(k))
	}
	apply(t, s, append(all, createOrg(Org("acme")))...)
	walk := func(after string, limit int) (ids []string) {
		if err := s.Keys(t.Context(), after, func(k *keyring.Key) bool {
			ids = append(ids, k.ID)
			return len(ids) < limit
		}); err != nil {
			t.Fatal(err)
		}
		return ids
	}
	ids := walk("", n+1)
	if len(ids) != n || !slices.IsSorted(ids) {
		t.Errorf("%d of %d keys, sorted: %v", len(ids), n, slices.IsSorted(ids))
	}
	if got := walk(Key(10).ID, 2); !slices.Equal(got, []string{Key(11).ID, Key(12).ID}) {
		t.Errorf("after an id: %q", got)
	}
	if got := walk(Key(10).ID+"0", 1); !slices.Equal(got, []string{Key(11).ID}) {
		t.Errorf("after an id that is not there: %q", got)
	}
	if got := walk(Key(n-1).ID, 1); len(got) != 0 {
		t.Errorf("after the last: %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Keys(ctx, "", func(*keyring.Key) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func orgsWalk(t *testing.T, suite Suite) {
	s := suite.open(t)
	for _, name := range []string{"b", "a", "ab", "c"} {
		apply(t, s, createOrg(Org(name)))
	}
	apply(t, s, createKey(Key(1)))
	walk := func(after string) (names []string) {
		if err := s.Orgs(t.Context(), after, func(o *keyring.Org) bool {
			names = append(names, o.Name)
			return o.Name != "b"
		}); err != nil {
			t.Fatal(err)
		}
		return names
	}
	if got := walk(""); !slices.Equal(got, []string{"a", "ab", "b"}) {
		t.Errorf("orgs: %q", got)
	}
	if got := walk("b"); !slices.Equal(got, []string{"c"}) {
		t.Errorf("orgs after b: %q", got)
	}
}

func keysReentrant(t *testing.T, suite Suite) {
	s := suite.open(t)
	apply(t, s, createKey(Key(1)), createKey(Key(2)), createOrg(Org("acme")))
	within(t, "Keys", func() {
		err := s.Keys(t.Context(), "", func(k *keyring.Key) bool {
			if _, err := s.Key(t.Context(), k.ID); err != nil {
				t.Error(err)
			}
			apply(t, s, changed(k, func(k *keyring.Key) { k.Name = "renamed" }))
			return true
		})
		if err != nil {
			t.Error(err)
		}
		err = s.Orgs(t.Context(), "", func(o *keyring.Org) bool {
			apply(t, s, changedOrg(o, func(o *keyring.Org) { o.Title = "renamed" }))
			return true
		})
		if err != nil {
			t.Error(err)
		}
	})
	k, err := s.Key(t.Context(), Key(2).ID)
	if err != nil || k.Name != "renamed" {
		t.Errorf("%v, %v", k, err)
	}
}
