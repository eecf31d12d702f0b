package storetest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

func applyCreate(t *testing.T, suite Suite) {
	s := suite.open(t)
	_, before := image(t, s)
	cursor := apply(t, s, createOrg(Org("acme")), createKey(Key(1)), createKey(Key(2)))
	if cursor.Revision <= before.Revision || cursor.Mark == before.Mark {
		t.Errorf("cursor went from %v to %v", before, cursor)
	}
	k, err := s.Key(t.Context(), Key(1).ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "key", k, Key(1))
	o, err := s.Org(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "org", o, Org("acme"))
	if _, now := image(t, s); now != cursor {
		t.Errorf("Snapshot is at %v, Apply said %v", now, cursor)
	}
}

func applyNothing(t *testing.T, suite Suite) {
	s := suite.open(t)
	cursor := apply(t, s, createKey(Key(1)))
	if got := apply(t, s); got != cursor {
		t.Errorf("an empty Apply went from %v to %v", cursor, got)
	}
}

func applyEveryField(t *testing.T, suite Suite) {
	s := suite.open(t)
	bare := &keyring.Key{ID: "key_bare", State: keyring.StateActive, Revision: 1}
	local := Key(3)
	local.CreatedAt = day.In(time.FixedZone("CET", 3600)).Add(999 * time.Nanosecond)
	apply(t, s, createOrg(FullOrg("full")), createKey(FullKey(1)), createKey(bare), createKey(local))
	want := map[string]keyring.Record{
		"org full":         {Org: FullOrg("full")},
		"key " + Key(1).ID: {Key: FullKey(1)},
		"key " + bare.ID:   {Key: bare},
		"key " + local.ID:  {Key: Key(3)}, // times are UTC with milliseconds
	}
	got, _ := image(t, s)
	sameImage(t, got, want)
	if at := got["key "+local.ID].Key.CreatedAt; at.Location() != time.UTC {
		t.Errorf("time came back in %v", at.Location())
	}
}

func applyRevision(t *testing.T, suite Suite) {
	s := suite.open(t)
	k, o := Key(1), Org("acme")
	rename := func(k *keyring.Key) { k.Name = "renamed" }
	refuse(t, s, keyring.ErrConflict, changed(k, rename))
	apply(t, s, createKey(k), createOrg(o))
	refuse(t, s, keyring.ErrExists, createKey(k))
	refuse(t, s, keyring.ErrExists, createOrg(o))
	second := changed(k, rename)
	apply(t, s, second)
	refuse(t, s, keyring.ErrConflict, second)
	third := changed(second.Key, rename)
	future := changed(third.Key, rename)
	refuse(t, s, keyring.ErrConflict, future)
	apply(t, s, third)

	secondOrg := changedOrg(o, func(o *keyring.Org) { o.Title = "renamed" })
	apply(t, s, secondOrg)
	refuse(t, s, keyring.ErrConflict, secondOrg)
	// A key and an org may have the same name.
	apply(t, s, createOrg(Org(k.ID)))
}

func applyMalformed(t *testing.T, suite Suite) {
	s := suite.open(t)
	apply(t, s, createKey(Key(1)))
	unnamed, skipped, same := Key(2), Key(2), Key(1)
	unnamed.ID = ""
	skipped.Revision = 2
	for what, m := range map[string]keyring.Mutation{
		"neither":          {},
		"both":             {Key: Key(2), Org: Org("acme")},
		"without id":       {Key: unnamed},
		"without name":     {Org: Org("")},
		"revision skipped": {Key: skipped},
		"revision stays":   {Key: same, IfRevision: 1},
	} {
		before, _ := image(t, s)
		if _, err := s.Apply(t.Context(), []keyring.Mutation{createKey(Key(3)), m}, Told()); err == nil {
			t.Errorf("%s: accepted", what)
		}
		after, _ := image(t, s)
		sameImage(t, after, before)
	}
}

func applyAllOrNothing(t *testing.T, suite Suite) {
	s := suite.open(t)
	apply(t, s, createKey(Key(1)), createOrg(Org("acme")))
	good := []keyring.Mutation{
		createKey(Key(2)), createOrg(Org("other")), changed(Key(1), func(k *keyring.Key) { k.Name = "renamed" }),
		changedOrg(Org("acme"), func(o *keyring.Org) { o.Title = "renamed" }),
	}
	for at := range len(good) + 1 {
		refuse(t, s, keyring.ErrExists, slices.Insert(slices.Clone(good), at, createKey(Key(1)))...)
	}
	apply(t, s, good...) // nothing of them is in the way
}

func applyInOrder(t *testing.T, suite Suite) {
	s := suite.open(t)
	k := Key(1)
	second := changed(k, func(k *keyring.Key) { k.State = keyring.StateRevoked })
	refuse(t, s, keyring.ErrExists, createKey(k), createKey(k))
	refuse(t, s, keyring.ErrConflict, second, createKey(k))
	refuse(t, s, keyring.ErrState, createKey(k), second, changed(second.Key, func(k *keyring.Key) { k.State = keyring.StateActive }))
	thief := Key(2)
	thief.Credentials[0].Digest = Digest(k.ID)
	refuse(t, s, keyring.ErrExists, createKey(k), createKey(thief))
	apply(t, s, createKey(k), second)
	got, err := s.Key(t.Context(), k.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "key", got, second.Key)
}

func applyStates(t *testing.T, suite Suite) {
	all := []keyring.State{keyring.StateActive, keyring.StateSuspended, keyring.StateRevoked, keyring.StateDeleted}
	s := suite.open(t)
	n := 0
	for _, from := range all {
		for _, to := range all {
			n++
			k := Key(n)
			k.State = from
			apply(t, s, createKey(k))
			m := changed(k, func(k *keyring.Key) { k.State = to })
			if from == keyring.StateDeleted && to != keyring.StateDeleted || from == keyring.StateRevoked && !to.Final() {
				refuse(t, s, keyring.ErrState, m)
			} else {
				apply(t, s, m)
			}
		}
	}
	o := Org("acme")
	apply(t, s, createOrg(o))
	suspended := changedOrg(o, func(o *keyring.Org) { o.State = keyring.StateSuspended })
	apply(t, s, suspended)
	apply(t, s, changedOrg(suspended.Org, func(o *keyring.Org) { o.State = keyring.StateActive }))
}

func applyDigests(t *testing.T, suite Suite) {
	s := suite.open(t)
	thief := Key(9)
	thief.Credentials[0].Digest = Digest(Key(1).ID)
	m := createKey(Key(1))
	apply(t, s, m, createKey(Key(2)))
	for _, next := range []func(*keyring.Key){
		func(k *keyring.Key) {},
		func(k *keyring.Key) {
			k.Credentials = slices.Clone(k.Credentials)
			k.Credentials[0].EndedAt = day
		},
		func(k *keyring.Key) { k.Credentials = nil },
		func(k *keyring.Key) { k.State = keyring.StateRevoked },
		func(k *keyring.Key) { k.State = keyring.StateDeleted },
	} {
		refuse(t, s, keyring.ErrExists, createKey(thief))
		refuse(t, s, keyring.ErrExists, changed(Key(2), func(k *keyring.Key) {
			k.Credentials = append(slices.Clone(k.Credentials), keyring.Credential{N: 2, Kind: keyring.KindToken, Digest: thief.Credentials[0].Digest})
		}))
		m = changed(m.Key, next)
		apply(t, s, m)
	}
	refuse(t, s, keyring.ErrExists, createKey(thief))
	k, err := s.KeyByDigest(t.Context(), thief.Credentials[0].Digest)
	if err != nil {
		t.Fatalf("a deleted key's credential: %v", err)
	}
	same(t, "key", k, m.Key)
}

func applyOwnDigests(t *testing.T, suite Suite) {
	s := suite.open(t)
	m := createKey(Key(1))
	apply(t, s, m)
	first := m.Key.Credentials
	second := keyring.Credential{N: 2, Kind: keyring.KindToken, Digest: Digest("second"), CreatedAt: day}
	public := keyring.Credential{N: 3, Kind: keyring.KindPublicKey, CreatedAt: day} // has no digest
	for _, credentials := range [][]keyring.Credential{
		append(slices.Clone(first), second), {second}, nil, {first[0], second, public}, first,
	} {
		m = changed(m.Key, func(k *keyring.Key) { k.Credentials = credentials })
		apply(t, s, m)
		for _, d := range [][32]byte{first[0].Digest, second.Digest} {
			k, err := s.KeyByDigest(t.Context(), d)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "key", k, m.Key)
		}
	}
	other := Key(2)
	other.Credentials = append(other.Credentials, public)
	apply(t, s, createKey(other)) // two keys without a digest do not collide
}

func applyCancelled(t *testing.T, suite Suite) {
	s := suite.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Apply(ctx, []keyring.Mutation{createKey(Key(1))}, Told()); !errors.Is(err, context.Canceled) {
		t.Fatalf("Apply: %v", err)
	}
	if got, _ := image(t, s); len(got) != 0 {
		t.Error("a cancelled Apply was stored")
	}
}

func applyAliasing(t *testing.T, suite Suite) {
	s := suite.open(t)
	_, from := image(t, s)
	k := FullKey(1)
	mutations := []keyring.Mutation{createKey(k)}
	apply(t, s, mutations...)
	clear(mutations) // the list is the caller's; what it pointed to is not
	b := watch(t, s, from).next(t, true)
	same(t, "watched key", b.Records[0].Key, FullKey(1))
	same(t, "caller's key", k, FullKey(1))
	if !maps.Equal(k.Metadata, FullKey(1).Metadata) {
		t.Error("the caller's key was changed")
	}
}
