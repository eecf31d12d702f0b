package keyring

import "hash/maphash"

// snapshot is the index at one moment. It never changes.
type snapshot struct {
	seed     maphash.Seed
	hot      []*hotShard
	ids      []*idShard
	cold     []*coldPage
	profiles []*profilePage
	orgs     []*orgPage
	origins  []*originPart

	keys        int
	credentials int
	orgCount    int
	damaged     int
	idle        []string // keys whose rotation ends by itself
}

// byDigest returns the credential with this digest, in whatever state it and
// its key are. It does not allocate.
func (s *snapshot) byDigest(d *[32]byte) (entry, bool) {
	hash := maphash.Bytes(s.seed, d[:])
	shard := s.hot[shardOf(hash, len(s.hot))]
	pos := shard.find(hash, d)
	if pos < 0 {
		return entry{}, false
	}
	return entry{s, shard.at(pos)}, true
}

// byID returns the key with this id. It does not allocate.
func (s *snapshot) byID(id string) (indexedKey, bool) {
	packed, hash := packID(id), maphash.String(s.seed, id)
	shard, pos := findID(s.ids, s.cold, hash, &packed)
	if pos < 0 {
		return indexedKey{}, false
	}
	return indexedKey{s, s.ids[shard].slots[pos]}, true
}

// allKeys calls yield with every key.
func (s *snapshot) allKeys(yield func(indexedKey) bool) {
	for _, shard := range s.ids {
		for _, slot := range shard.slots {
			if slot != 0 && !yield(indexedKey{s, slot}) {
				return
			}
		}
	}
}

// stats returns how many keys and credentials there are, ended ones included,
// and how many records of the store are damaged.
func (s *snapshot) stats() (keys, credentials, damaged int) {
	return s.keys, s.credentials, s.damaged
}

// hasOrigin reports whether a key that is not final lists this browser origin.
func (s *snapshot) hasOrigin(origin string) bool {
	_, ok := (*s.origins[originPartOf(s.seed, origin)])[origin]
	return ok
}

// entry is a credential in a snapshot. The zero entry is none.
type entry struct {
	s *snapshot
	r *hot
}

func (e entry) isZero() bool { return e.r == nil }

func (e entry) kind() Kind         { return kindCodes[e.r.kind] }
func (e entry) state() State       { return stateCodes[e.r.state] } // of the key
func (e entry) ended() bool        { return e.r.ended }             // by hand
func (e entry) retiring() bool     { return e.r.retiring }          // by a rotation
func (e entry) credential() uint32 { return e.r.credential }

// notBefore and expiresAt are in Unix milliseconds, 0 for no limit. A
// credential ends with its key at the latest.
func (e entry) notBefore() int64 { return e.r.notBefore }
func (e entry) expiresAt() int64 { return e.r.expiresAt }

func (e entry) profile() *profile { return profileAt(e.s.profiles, e.r.profile) }

// org returns the key's org: nil if it has none (the profile's orgName is ""),
// and nil if its org is missing, which must refuse.
func (e entry) org() *orgRecord { return orgAt(e.s.orgs, e.profile().orgSlot) }

func (e entry) key() indexedKey { return indexedKey{e.s, e.r.key} }

// These unpack what no decision needs; those that return a string allocate it.
func (e entry) keyID() string                   { return e.key().id() }
func (e entry) name() string                    { return e.key().cold().name() }
func (e entry) owner() string                   { return e.key().cold().owner() }
func (e entry) meta(name string) (string, bool) { return e.key().cold().meta(name) }
func (e entry) hasTag(tag string) bool          { return e.key().cold().hasTag(tag) }

// indexedKey is a key in a snapshot.
type indexedKey struct {
	s    *snapshot
	slot uint32
}

func (k indexedKey) cold() cold { return coldOf(k.s.cold, k.slot) }

func (k indexedKey) id() string {
	var buf [keyIDLen]byte
	return string(k.cold().appendID(buf[:0]))
}

func (k indexedKey) state() State      { return k.cold().state() }
func (k indexedKey) profile() *profile { return profileAt(k.s.profiles, k.cold().profile()) }

// credentials calls yield with the key's credentials, ended ones too, in the
// order the key has them, each with what verifies its signatures.
func (k indexedKey) credentials(yield func(entry, []byte) bool) {
	rest, count := k.cold().credentials()
	for range count {
		c := rest.nextCredential()
		shard := k.s.hot[shardOf(c.hash, len(k.s.hot))]
		if pos := shard.findOf(c.hash, k.slot, c.n); pos >= 0 && !yield(entry{k.s, shard.at(pos)}, c.material) {
			return
		}
	}
}
