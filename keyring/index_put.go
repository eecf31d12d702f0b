package keyring

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"time"
)

// put adds a key or replaces what is held of it.
func (ix *index) put(k *Key) {
	id, hash := packID(k.ID), maphash.String(ix.seed, k.ID)
	shard, pos := findID(ix.ids.parts, ix.cold.parts, hash, &id)

	// The new profile is taken before the old one is given back, so that one
	// that stays is not made anew.
	prof, isNew := ix.profiles.acquire(k)
	if isNew {
		p := ix.profiles.at(prof)
		p.orgSlot = ix.orgs.acquire(p.orgName)
	}
	ix.countState(k.State, 1)
	if !k.State.Final() {
		ix.live(prof, 1)
	}

	ix.hashes = ix.hashes[:0]
	for i := range k.Credentials {
		ix.hashes = append(ix.hashes, ix.hashDigest(ix.digest(k, &k.Credentials[i])))
	}

	var slot uint32
	if pos >= 0 {
		slot = ix.ids.parts[shard].slots[pos]
		old := coldOf(ix.cold.parts, slot)
		ix.dropCredentials(slot, old, k)
		ix.dropProfile(old)
	} else {
		slot = ix.newSlot()
		ix.keys++
		ix.growIDs()
	}
	ix.noteIdle(k)
	for i := range k.Credentials {
		ix.putCredential(ix.hashes[i], ix.hotRecord(k, &k.Credentials[i], slot, prof))
	}
	ix.buf = appendCold(ix.buf[:0], k, &id, prof, ix.hashes)
	ix.cold.writable(int(slot/coldPageKeys)).set(int(slot%coldPageKeys), ix.buf)
	if pos < 0 {
		ix.ids.writable(shardOf(hash, len(ix.ids.parts))).add(hash, slot)
	}
}

// remove drops the key with this id, if there is one.
func (ix *index) remove(text string) {
	id, hash := packID(text), maphash.String(ix.seed, text)
	shard, pos := findID(ix.ids.parts, ix.cold.parts, hash, &id)
	if pos < 0 {
		return
	}
	slot := ix.ids.parts[shard].slots[pos]
	delete(ix.idle, text)
	old := coldOf(ix.cold.parts, slot)
	ix.dropCredentials(slot, old, nil)
	ix.dropProfile(old)
	ix.ids.writable(shard).remove(pos, ix.hashSlot)
	ix.cold.writable(int(slot/coldPageKeys)).set(int(slot%coldPageKeys), nil)
	ix.freeSlots = append(ix.freeSlots, slot)
	ix.keys--
}

// noteIdle keeps which keys have a rotation that ends by itself.
func (ix *index) noteIdle(k *Key) {
	if k.Rotation != nil && k.Rotation.EndWhenIdle > 0 && !k.State.Final() {
		ix.idle[k.ID] = struct{}{}
	} else {
		delete(ix.idle, k.ID)
	}
}

// dropCredentials removes the hot records of a key's old version that its new
// one (nil for none), whose hashes are ix.hashes, does not have.
func (ix *index) dropCredentials(slot uint32, old cold, k *Key) {
	rest, count := old.credentials()
next:
	for range count {
		c := rest.nextCredential()
		if k != nil {
			for i := range k.Credentials {
				if k.Credentials[i].N == c.n && ix.hashes[i] == c.hash {
					continue next
				}
			}
		}
		i := shardOf(c.hash, len(ix.hot.parts))
		// A store that gave one digest to two keys left it with the later one.
		if pos := ix.hot.parts[i].findOf(c.hash, slot, c.n); pos >= 0 {
			ix.hot.writable(i).remove(pos, ix.hashDigest)
			ix.credentials--
		}
	}
}

func (ix *index) dropProfile(old cold) {
	slot := old.profile()
	ix.countState(old.state(), -1)
	if !old.state().Final() {
		ix.live(slot, -1)
	}
	p := ix.profiles.at(slot)
	if ix.profiles.release(slot) {
		ix.orgs.release(p.orgName, p.orgSlot)
	}
}

// countState counts the keys of a state. Those of a state that this version does
// not know are not in force, and count as suspended with the rest.
func (ix *index) countState(s State, delta int) {
	switch s {
	case StateActive:
		ix.active += delta
	case StateRevoked:
		ix.revoked += delta
	}
}

// live counts the keys of a profile that are not final, by their tier too, and
// with the first and the last of them the origins it lists.
func (ix *index) live(slot uint32, delta int) {
	use := &ix.profiles.uses[slot]
	before := use.live
	use.live += delta
	p := ix.profiles.at(slot)
	ix.tiers.count(p.tier, delta, 0)
	if before == 0 || use.live == 0 {
		ix.origins.count(ix.seed, p.origins, delta)
	}
}

// putOrg adds an org or replaces what is held of it.
func (ix *index) putOrg(org *Org) {
	ix.tiers.count(org.Tier, 0, 1)
	ix.tiers.count(ix.orgs.tierOf(org.Name), 0, -1)
	ix.orgs.put(org)
}

// removeOrg drops the org of this name, if there is one.
func (ix *index) removeOrg(name string) {
	ix.tiers.count(ix.orgs.tierOf(name), 0, -1)
	ix.orgs.remove(name)
}

// putCredential adds a hot record, or replaces the one with its digest.
func (ix *index) putCredential(hash uint64, r hot) {
	i := shardOf(hash, len(ix.hot.parts))
	if pos := ix.hot.parts[i].find(hash, &r.digest); pos >= 0 {
		if *ix.hot.parts[i].at(pos) != r {
			*ix.hot.writable(i).at(pos) = r
		}
		return
	}
	for ix.credentials >= len(ix.hot.parts)*shardMean || len(ix.hot.parts[i].records) >= shardMax {
		ix.hot.reset(splitHot(ix.hot.parts, ix.hashDigest))
		i = shardOf(hash, len(ix.hot.parts))
	}
	ix.hot.writable(i).add(hash, &r)
	ix.credentials++
}

// growIDs makes room for one more id, wherever it belongs.
func (ix *index) growIDs() {
	for ix.keys > len(ix.ids.parts)*shardMean {
		ix.ids.reset(splitIDs(ix.ids.parts, ix.hashSlot))
	}
}

func (ix *index) newSlot() uint32 {
	if n := len(ix.freeSlots); n > 0 {
		slot := ix.freeSlots[n-1]
		ix.freeSlots = ix.freeSlots[:n-1]
		return slot
	}
	slot := ix.slots
	ix.slots++
	if slot%coldPageKeys == 0 {
		ix.cold.add(new(coldPage))
	}
	return slot
}

func (ix *index) hotRecord(k *Key, c *Credential, slot, prof uint32) hot {
	expires := unixMilli(k.ExpiresAt)
	if e := unixMilli(c.ExpiresAt); expires == 0 || e != 0 && e < expires {
		expires = e
	}
	return hot{
		digest:     *ix.digest(k, c),
		expiresAt:  expires,
		notBefore:  unixMilli(k.NotBefore),
		key:        slot,
		profile:    prof,
		credential: c.N,
		kind:       kindCode(c.Kind),
		state:      stateCode(k.State),
		ended:      !c.EndedAt.IsZero(),
		retiring:   k.Retires(c.N),
	}
}

// digest returns what a credential is found by. One without a token gets a
// digest of its own, which depends on a secret: no token can be made that has
// it.
func (ix *index) digest(k *Key, c *Credential) *[32]byte {
	if c.Digest != ([32]byte{}) {
		return &c.Digest
	}
	b := append(ix.buf[:0], ix.salt[:]...)
	b = append(b, k.ID...)
	b = binary.LittleEndian.AppendUint32(b, c.N)
	ix.buf = b
	d := sha256.Sum256(b)
	return &d
}

func (ix *index) hashDigest(d *[32]byte) uint64 { return maphash.Bytes(ix.seed, d[:]) }

// hashSlot returns the hash of the id of a key in the cold table.
func (ix *index) hashSlot(slot uint32) uint64 {
	var buf [keyIDLen]byte
	return maphash.Bytes(ix.seed, coldOf(ix.cold.parts, slot).appendID(buf[:0]))
}

// unixMilli returns 0 for the zero time only: in a record 0 means no limit.
func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(t.UnixMilli(), 1)
}
