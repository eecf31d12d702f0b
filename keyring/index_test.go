package keyring

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

func testKey(n uint64, digests ...[32]byte) *Key {
	k := &Key{ID: testKeyID(n), Name: "CRM sync", State: StateActive, Signing: SigningOff}
	for i, d := range digests {
		k.Credentials = append(k.Credentials, Credential{N: uint32(i + 1), Kind: KindToken, Digest: d})
	}
	return k
}

func mustFind(t *testing.T, s *snapshot, d [32]byte) entry {
	t.Helper()
	e, ok := s.byDigest(&d)
	if !ok {
		t.Fatal("the credential is not found")
	}
	return e
}

func TestIndexEmpty(t *testing.T) {
	t.Parallel()
	s := newIndex(0).snapshot()
	d := testDigest(1)
	if _, ok := s.byDigest(&d); ok {
		t.Error("byDigest found something")
	}
	for _, id := range []string{"", "key_", testKeyID(0)} {
		if _, ok := s.byID(id); ok {
			t.Errorf("byID(%q) found something", id)
		}
	}
	if s.hasOrigin("https://app.example.com") {
		t.Error("hasOrigin found something")
	}
}

// TestIndexTimes: 0 stands for no limit, so no time but the zero one may
// become 0, least of all an expiry.
func TestIndexTimes(t *testing.T) {
	t.Parallel()
	ms := func(n int64) time.Time { return time.UnixMilli(n) }
	for _, c := range []struct {
		name            string
		key, credential time.Time
		want            int64
	}{
		{"none", time.Time{}, time.Time{}, 0},
		{"key", ms(5), time.Time{}, 5},
		{"credential", time.Time{}, ms(5), 5},
		{"key sooner", ms(5), ms(6), 5},
		{"credential sooner", ms(6), ms(5), 5},
		{"epoch", ms(0), time.Time{}, 1},
		{"epoch of credential", ms(7), ms(0), 1},
		{"before the epoch", ms(-5), ms(7), 1},
		{"below a millisecond", time.Unix(0, 5_999_999), time.Time{}, 5},
	} {
		ix, k := newIndex(0), testKey(1, testDigest(1))
		k.ExpiresAt, k.Credentials[0].ExpiresAt = c.key, c.credential
		ix.apply([]Record{{Key: k}})
		if got := mustFind(t, ix.snapshot(), testDigest(1)).expiresAt(); got != c.want {
			t.Errorf("%s: expiresAt = %d, want %d", c.name, got, c.want)
		}
	}
}

// TestIndexUnknownWords: a record of a later version may hold words that this
// one does not know. Each must shut out.
func TestIndexUnknownWords(t *testing.T) {
	t.Parallel()
	ix := newIndex(0)
	state, kind, signing := testKey(1, testDigest(1)), testKey(2, testDigest(2)), testKey(3, testDigest(3))
	state.State, kind.Credentials[0].Kind, signing.Signing = "frozen", "passkey", "always"
	ix.apply([]Record{{Key: state}, {Key: kind}, {Key: signing}})
	s := ix.snapshot()
	if got := mustFind(t, s, testDigest(1)).verdict(1); got != Suspended {
		t.Errorf("unknown state: verdict %d", got)
	}
	if got := mustFind(t, s, testDigest(2)).kind(); got == KindToken {
		t.Errorf("unknown kind: taken for %q", got)
	}
	if got := mustFind(t, s, testDigest(3)).verdict(1); got != MustSign {
		t.Errorf("unknown signing mode: verdict %d", got)
	}
}

// TestIndexMissingOrg: a key whose org has no record, or a damaged one, is
// refused; the org coming back lets it in again.
func TestIndexMissingOrg(t *testing.T) {
	t.Parallel()
	ix, k := newIndex(0), testKey(1, testDigest(1))
	k.Org = "acme"
	want := func(what string, verdict Verdict) {
		t.Helper()
		if got := mustFind(t, ix.snapshot(), testDigest(1)).verdict(1); got != verdict {
			t.Errorf("%s: verdict %d, want %d", what, got, verdict)
		}
	}
	org := Record{Org: &Org{Name: "acme", State: StateActive}}
	ix.apply([]Record{{Key: k}})
	want("no record", OrgSuspended)
	ix.apply([]Record{org})
	want("active", InForce)
	ix.apply([]Record{{Damaged: ErrDamaged, ID: "acme"}})
	want("damaged", OrgSuspended)
	ix.apply([]Record{org})
	want("mended", InForce)
}

// TestIndexSharedDigest: no store gives one digest to two keys. If one did, the
// later one has it, and going it takes nothing else along.
func TestIndexSharedDigest(t *testing.T) {
	t.Parallel()
	ix := newIndex(0)
	ix.apply([]Record{{Key: testKey(1, testDigest(1))}, {Key: testKey(2, testDigest(1), testDigest(2))}})
	if id := mustFind(t, ix.snapshot(), testDigest(1)).keyID(); id != testKeyID(2) {
		t.Errorf("found %s", id)
	}
	ix.apply([]Record{{Key: &Key{ID: testKeyID(1), State: StateDeleted}}})
	if id := mustFind(t, ix.snapshot(), testDigest(1)).keyID(); id != testKeyID(2) {
		t.Errorf("found %s", id)
	}
	if got := ix.snapshot().stats(); got.Keys != 1 || got.Credentials != 2 {
		t.Errorf("%+v", got)
	}
}

func TestIndexIDs(t *testing.T) {
	t.Parallel()
	regular := []string{testKeyID(0), testKeyID(12345), "key_" + "zzzzzzzzzzzzzzzzzzzz", "key_" + "00000000000000000000"}
	other := []string{"", "k", "key_", "key_0000000000000000000", "key_0000000000000000000i", "KEY_00000000000000000000", "key_000000000000000000000"}
	for _, id := range slices.Concat(regular, other) {
		p := packID(id)
		if p.regular != slices.Contains(regular, id) {
			t.Errorf("%q: regular = %v", id, p.regular)
		}
		if !p.regular {
			continue
		}
		if got := string(appendUnpacked(nil, p.packed[:])); got != id {
			t.Errorf("%q came back as %q", id, got)
		}
	}
}

// TestIndexGrowth goes through several doublings and back.
func TestIndexGrowth(t *testing.T) {
	t.Parallel()
	const n = 10_000
	ix, records := newIndex(0), testRecords(n)
	keys := records[len(records)-n:]
	for chunk := range slices.Chunk(records, 333) {
		ix.apply(chunk)
	}
	full := ix.snapshot()
	for i := range keys {
		if i%3 != 0 {
			gone := *keys[i].Key
			gone.State = StateDeleted
			ix.apply([]Record{{Key: &gone}})
		}
	}
	part := ix.snapshot()
	for i := range keys {
		k := keys[i].Key
		if e := mustFind(t, full, k.Credentials[0].Digest); e.keyID() != k.ID || e.owner() != k.Owner {
			t.Fatalf("%s: found %s of %s", k.ID, e.keyID(), e.owner())
		}
		if _, ok := part.byDigest(&k.Credentials[0].Digest); ok != (i%3 == 0) {
			t.Fatalf("after deleting, key %d: found = %v", i, ok)
		}
		if _, ok := part.byID(k.ID); ok != (i%3 == 0) {
			t.Fatalf("after deleting, id %d: found = %v", i, ok)
		}
	}
}

// TestIndexMemory holds the index to the 200 bytes a key that are promised:
// 64 for the hot record, about 65 for the packed id, name, owner and so on, 9
// for the two tables' places, and what is free in them.
func TestIndexMemory(t *testing.T) { // alone: it measures the heap
	const n = 100_000
	before := heap()
	ix := load(n)
	perKey := float64(heap()-before) / n
	if keys := ix.snapshot().stats().Keys; keys != n {
		t.Fatalf("%d keys", keys)
	}
	if perKey > 200 {
		t.Errorf("%.0f bytes a key", perKey)
	}
}

func TestIndexAllocations(t *testing.T) { // alone: it counts allocations
	ix := load(1000)
	known, unknown, id := testDigest(7), testDigest(1<<40), testKeyID(7)
	allocs := testing.AllocsPerRun(1000, func() {
		s := ix.snapshot()
		e, ok := s.byDigest(&known)
		_, wrong := s.byDigest(&unknown)
		k, found := s.byID(id)
		live := 0
		for c := range k.credentials {
			if !c.ended() {
				live++
			}
		}
		if !ok || wrong || !found || live != 1 || e.verdict(1) != InForce || e.hasTag("red") || s.hasOrigin("https://app.example.com") {
			t.Fatal("wrong answer")
		}
		if _, ok := e.meta("none"); ok {
			t.Fatal("wrong answer")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// TestIndexConcurrent reads while keys change. Each version of a key names
// itself in its attributes, its profile and its org, which must never be of
// different versions.
func TestIndexConcurrent(t *testing.T) {
	t.Parallel()
	const keys, versions = 100, 100
	ix := newIndex(0)
	version := func(i, v uint64) Record {
		k := testKey(i, testDigest(i))
		k.Name = fmt.Sprint(v)
		k.Tier = fmt.Sprint(v)
		k.Owner = string(make([]byte, v%50)) // moves its neighbours
		k.Metadata = map[string]string{"v": k.Name}
		return Record{Key: k}
	}
	write := func(v uint64) {
		batch := []Record{{Org: &Org{Name: "acme", State: StateActive, Tier: fmt.Sprint(v)}}}
		for i := range uint64(keys) {
			batch = append(batch, version(i, v))
			batch[len(batch)-1].Key.Org = "acme"
			// Others come and go, and their slots with them.
			other := testKey(1000+i, testDigest(1000+i*1000+v))
			if rand.IntN(3) == 0 {
				other.State = StateDeleted
			}
			batch = append(batch, Record{Key: other})
		}
		ix.apply(batch)
	}
	write(0)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				s := ix.snapshot()
				var first string
				for i := range uint64(keys) {
					e := mustRead(t, s, i)
					v := e.name()
					if i == 0 {
						first = v
					}
					meta, _ := e.meta("v")
					if v != first || meta != v || e.profile().tier != v || e.org().tier != v || e.keyID() != testKeyID(i) {
						t.Errorf("versions mixed: %s, %s, %s, %s", first, v, meta, e.profile().tier)
						return
					}
				}
				runtime.Gosched()
			}
		})
	}
	for v := range uint64(versions) {
		write(v)
	}
	close(done)
	readers.Wait()
}

// mustRead is mustFind for goroutines that may not end the test.
func mustRead(t *testing.T, s *snapshot, i uint64) entry {
	d := testDigest(i)
	e, ok := s.byDigest(&d)
	if !ok {
		t.Error("the credential is not found")
		return entry{s, &hot{}}
	}
	return e
}
