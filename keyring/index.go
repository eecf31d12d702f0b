package keyring

import (
	"crypto/rand"
	"hash/maphash"
	"maps"
	"slices"
	"sync/atomic"
)

// index holds every key that is not deleted, in memory, for deciding about
// requests. One goroutine at a time changes it; any number read its latest
// snapshot meanwhile, without locks, and keep it as long as they like.
//
// What a decision needs is one hot record per credential, found by the digest
// of the token (index_hot.go), and what the key shares with others: its profile
// and its org (index_profile.go, index_orgs.go). All else is packed
// (index_cold.go). Snapshots share whatever did not change (index_cow.go).
type index struct {
	current atomic.Pointer[snapshot]

	seed maphash.Seed
	salt [32]byte // makes the digests of credentials that have no token

	hot      cow[hotShard]
	ids      cow[idShard]
	cold     cow[coldPage]
	profiles profiles
	orgs     orgs
	origins  origins
	tiers    tiers

	slots       uint32   // cold slots ever used; slot 0 is none
	freeSlots   []uint32 // of these, those that can be used again
	keys        int
	active      int // of them
	revoked     int // of them
	credentials int
	damaged     map[string]struct{}
	idle        map[string]struct{} // keys whose rotation ends when its old credentials are idle

	buf    []byte
	hashes []uint64
}

// newIndex returns an empty index, with room for sizeHint keys made beforehand.
func newIndex(sizeHint int) *index {
	ix := &index{
		seed:    maphash.MakeSeed(),
		hot:     cow[hotShard]{clone: (*hotShard).clone, seal: (*hotShard).seal},
		ids:     cow[idShard]{clone: clonePart[idShard]},
		cold:    cow[coldPage]{clone: (*coldPage).clone, seal: (*coldPage).seal},
		orgs:    newOrgs(),
		origins: newOrigins(),
		slots:   1,
		damaged: make(map[string]struct{}),
		idle:    make(map[string]struct{}),
	}
	rand.Read(ix.salt[:]) // never fails
	ix.profiles = newProfiles(ix.seed)
	ix.reserve(sizeHint)
	ix.cold.add(new(coldPage))
	ix.publish()
	return ix
}

// reserve makes the shards of an empty index for n keys.
func (ix *index) reserve(n int) {
	shards := 1
	for shards*shardMean < n {
		shards *= 2
	}
	hots, ids := make([]*hotShard, shards), make([]*idShard, shards)
	for i := range shards {
		hots[i], ids[i] = new(hotShard), new(idShard)
	}
	ix.hot.reset(hots)
	ix.ids.reset(ids)
}

// snapshot returns what was last published.
func (ix *index) snapshot() *snapshot { return ix.current.Load() }

// apply takes over records in their order and publishes the result at once.
// The index keeps the orgs that it is given, but nothing of the keys.
func (ix *index) apply(records []Record) {
	ix.stage(records)
	ix.publish()
}

// stage takes over records without publishing them: for loading in parts,
// which saves copying what nobody has seen.
func (ix *index) stage(records []Record) {
	if ix.keys == 0 && len(records) > len(ix.ids.parts)*shardMean {
		ix.reserve(len(records))
	}
	for i := range records {
		switch r := &records[i]; {
		case r.Damaged != nil:
			// It may be a key or an org, and whichever it is cannot be trusted.
			ix.remove(r.ID)
			ix.removeOrg(r.ID)
			ix.damaged[r.ID] = struct{}{}
		case r.Org != nil:
			delete(ix.damaged, r.Org.Name)
			ix.putOrg(r.Org)
		case r.Key != nil:
			delete(ix.damaged, r.Key.ID)
			if r.Key.State == StateDeleted {
				ix.remove(r.Key.ID)
			} else {
				ix.put(r.Key)
			}
		}
	}
}

// publish makes what was staged the current snapshot.
func (ix *index) publish() {
	ix.current.Store(&snapshot{
		seed:        ix.seed,
		hot:         ix.hot.freeze(),
		ids:         ix.ids.freeze(),
		cold:        ix.cold.freeze(),
		profiles:    ix.profiles.pages.freeze(),
		orgs:        ix.orgs.pages.freeze(),
		origins:     ix.origins.parts.freeze(),
		keys:        ix.keys,
		active:      ix.active,
		revoked:     ix.revoked,
		credentials: ix.credentials,
		orgCount:    ix.orgs.records,
		damaged:     len(ix.damaged),
		idle:        slices.Collect(maps.Keys(ix.idle)),
	})
}
