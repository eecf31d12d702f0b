package keyring

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"
)

// model is what the index must say, kept in the plainest way.
type model struct {
	keys    map[string]*Key
	orgs    map[string]*Org
	damaged map[string]bool
}

func (m *model) clone() *model {
	return &model{maps.Clone(m.keys), maps.Clone(m.orgs), maps.Clone(m.damaged)}
}

func (m *model) apply(records []Record) {
	for _, r := range records {
		switch {
		case r.Damaged != nil:
			delete(m.keys, r.ID)
			delete(m.orgs, r.ID)
			m.damaged[r.ID] = true
		case r.Org != nil:
			m.orgs[r.Org.Name] = r.Org
			delete(m.damaged, r.Org.Name)
		case r.Key.State == StateDeleted:
			delete(m.keys, r.Key.ID)
			delete(m.damaged, r.Key.ID)
		default:
			m.keys[r.Key.ID] = r.Key
			delete(m.damaged, r.Key.ID)
		}
	}
}

// check compares everything that a snapshot says with the model.
func (sc *script) check(t *testing.T, m *model, s *snapshot) {
	t.Helper()
	credentials := 0
	tokens := map[[32]byte]bool{}
	origins := map[string]bool{}
	for _, id := range sc.ids {
		k := m.keys[id]
		ik, ok := s.byID(id)
		if ok != (k != nil) {
			t.Fatalf("byID(%s) = %v, want %v", id, ok, k != nil)
		}
		if k == nil {
			continue
		}
		if ik.id() != id || ik.state() != k.State {
			t.Fatalf("byID(%s) is %s %s, want %s", id, ik.id(), ik.state(), k.State)
		}
		checkProfile(t, m, k, ik.profile(), nil)
		i := 0
		for e, material := range ik.credentials {
			checkEntry(t, m, k, &k.Credentials[i], e)
			if !bytes.Equal(material, k.Credentials[i].material()) {
				t.Fatalf("%s/%d: material %x", id, e.credential(), material)
			}
			i++
		}
		if i != len(k.Credentials) {
			t.Fatalf("%s has %d credentials, want %d", id, i, len(k.Credentials))
		}
		for j := range k.Credentials {
			credentials++
			c := &k.Credentials[j]
			if c.Digest == ([32]byte{}) {
				continue
			}
			tokens[c.Digest] = true
			e, ok := s.byDigest(&c.Digest)
			if !ok {
				t.Fatalf("credential %d of %s is not found", c.N, id)
			}
			checkEntry(t, m, k, c, e)
		}
		if !k.State.Final() {
			for _, o := range k.Origins {
				origins[o] = true
			}
		}
	}
	for i := range sc.digests {
		if _, ok := s.byDigest(&sc.digests[i]); ok && !tokens[sc.digests[i]] {
			t.Fatalf("a digest that no key has any more is found")
		}
	}
	if _, ok := s.byDigest(new([32]byte)); ok {
		t.Fatalf("the digest of credentials without a token is found")
	}
	for _, o := range sc.origins {
		if s.hasOrigin(o) != origins[o] {
			t.Fatalf("hasOrigin(%s) = %v, want %v", o, !origins[o], origins[o])
		}
	}
	want := Stats{Keys: len(m.keys), Credentials: credentials, Orgs: s.orgCount, Damaged: len(m.damaged)}
	for _, k := range m.keys {
		switch k.State {
		case StateActive:
			want.Active++
		case StateRevoked:
			want.Revoked++
		default:
			want.Suspended++
		}
	}
	if got := s.stats(); got != want {
		t.Fatalf("stats = %+v, want %+v", got, want)
	}
}

// checkTiers compares who names which tier.
func checkTiers(t *testing.T, m *model, ix *index) {
	t.Helper()
	want := map[string]TierUse{}
	for _, k := range m.keys {
		if k.Tier != "" && !k.State.Final() {
			use := want[k.Tier]
			use.Keys++
			want[k.Tier] = use
		}
	}
	for _, o := range m.orgs {
		if o.Tier != "" {
			use := want[o.Tier]
			use.Orgs++
			want[o.Tier] = use
		}
	}
	if !maps.Equal(ix.tiers.use, want) {
		t.Fatalf("tiers in use %v, want %v", ix.tiers.use, want)
	}
}

func checkEntry(t *testing.T, m *model, k *Key, c *Credential, e entry) {
	t.Helper()
	expires := c.ExpiresAt
	if expires.IsZero() || !k.ExpiresAt.IsZero() && k.ExpiresAt.Before(expires) {
		expires = k.ExpiresAt
	}
	if e.credential() != c.N || e.kind() != c.Kind || e.state() != k.State || e.ended() == c.EndedAt.IsZero() ||
		e.notBefore() != unixMilli(k.NotBefore) || e.expiresAt() != unixMilli(expires) {
		t.Fatalf("credential %d of %s: got %+v", c.N, k.ID, *e.r)
	}
	if e.keyID() != k.ID || e.name() != k.Name || e.owner() != k.Owner {
		t.Fatalf("credential %d of %s: got id %q, name %q, owner %q", c.N, k.ID, e.keyID(), e.name(), e.owner())
	}
	for _, name := range []string{"a", "long", "none"} {
		got, ok := e.meta(name)
		if want, has := k.Metadata[name]; got != want || ok != has {
			t.Fatalf("meta(%s) of %s = %q, %v", name, k.ID, got, ok)
		}
	}
	for _, tag := range []string{"red", "blue", "none"} {
		if e.hasTag(tag) != slices.Contains(k.Tags, tag) {
			t.Fatalf("hasTag(%s) of %s", tag, k.ID)
		}
	}
	org := e.org()
	if (org == nil) != (m.orgs[k.Org] == nil) {
		t.Fatalf("org of %s: got %v", k.ID, org)
	}
	checkProfile(t, m, k, e.profile(), org)
}

func checkProfile(t *testing.T, m *model, k *Key, p *profile, org *orgRecord) {
	t.Helper()
	if !p.is(k) || (p.grants == nil) != (len(k.Scopes) == 0) {
		t.Fatalf("profile of %s: got %+v", k.ID, *p)
	}
	if org != nil && org.org != m.orgs[k.Org] {
		t.Fatalf("org of %s: got %+v", k.ID, *org)
	}
}

// TestIndexModel applies random changes and compares each snapshot, and older
// ones later, with the model of their time.
func TestIndexModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			sc, ix := newScript(seed), newIndex(int(seed)*100)
			type kept struct {
				model *model
				snap  *snapshot
			}
			var history []kept
			for step := range 250 {
				batch := sc.batch(1 + sc.rnd.IntN(1+step/8))
				if step%5 == 0 { // loading in parts must come to the same
					ix.stage(batch[:len(batch)/2])
					ix.stage(batch[len(batch)/2:])
					ix.publish()
				} else {
					ix.apply(batch)
				}
				if step%4 == 0 || step < 40 {
					sc.check(t, sc.model, ix.snapshot())
					checkTiers(t, sc.model, ix)
				}
				if step%40 == 0 {
					history = append(history, kept{sc.model.clone(), ix.snapshot()})
				}
			}
			for _, h := range history {
				sc.check(t, h.model, h.snap)
			}
			checkEmptied(t, sc, ix)
		})
	}
}

// checkEmptied deletes everything and looks for what was left behind.
func checkEmptied(t *testing.T, sc *script, ix *index) {
	t.Helper()
	var all []Record
	for _, id := range sc.ids {
		all = append(all, Record{Key: &Key{ID: id, State: StateDeleted}})
	}
	sc.model.apply(all)
	ix.apply(all)
	sc.check(t, sc.model, ix.snapshot())
	checkTiers(t, sc.model, ix)
	if n := len(ix.profiles.byHash); n != 0 || len(ix.profiles.free) != len(ix.profiles.uses) {
		t.Errorf("%d profiles are left", n)
	}
	if n := len(ix.profiles.scopes); n != 0 {
		t.Errorf("%d scope sets are left", n)
	}
	if len(ix.origins.counts) != 0 {
		t.Errorf("origins are left: %v", ix.origins.counts)
	}
	for name, slot := range ix.orgs.byName {
		if ix.orgs.uses[slot] != 1 || sc.model.orgs[name] == nil {
			t.Errorf("org %s has %d uses", name, ix.orgs.uses[slot])
		}
	}
	if len(ix.freeSlots) != int(ix.slots)-1 {
		t.Errorf("%d of %d slots are free", len(ix.freeSlots), ix.slots-1)
	}
}
