package keyring

import (
	"crypto/subtle"
	"math/bits"
)

// hot is everything about one credential that decides whether a request is let
// in, less what its key shares with others (its profile and org). It is one
// cache line and holds no pointer, so that a million of them cost the garbage
// collector nothing.
type hot struct {
	digest     [32]byte // of the token; for other kinds a value that no token has
	expiresAt  int64    // Unix milliseconds; the sooner of key and credential; 0: never
	notBefore  int64    // Unix milliseconds; 0: no limit
	key        uint32   // slot of the key in the cold table
	profile    uint32   // slot of the key's profile
	credential uint32   // its number within the key
	kind       uint8    // index into kindCodes
	state      uint8    // of the key, index into stateCodes
	ended      bool
	retiring   bool // an old one of a rotation
}

// The codes of the words in packed records. The first of each stands for words
// that this version does not know: such a key or credential is not in force.
var (
	stateCodes = [...]State{StateSuspended, StateActive, StateSuspended, StateRevoked}
	kindCodes  = [...]Kind{"", KindToken, KindSharedSecret, KindPublicKey}
)

func stateCode(s State) uint8 {
	switch s {
	case StateActive:
		return 1
	case StateSuspended:
		return 2
	case StateRevoked:
		return 3
	}
	return 0
}

func kindCode(k Kind) uint8 {
	switch k {
	case KindToken:
		return 1
	case KindSharedSecret:
		return 2
	case KindPublicKey:
		return 3
	}
	return 0
}

// Shards. A hash's high bits choose the shard, its low bits the place in the
// shard's table, the bits between a tag that spares comparing digests. The
// hash is seeded at random: nobody can choose digests that meet in one place.
const (
	shardSlots = 512 // places in a shard's table, a power of two
	shardMask  = shardSlots - 1
	shardMax   = 448 // entries a shard may hold, below 1<<9 and shardSlots
	shardMean  = 288 // entries a shard holds on average before shards are doubled
	tagMask    = 0xffff &^ shardMask
)

// hotShard is a part of the credentials: records without order, and an
// open-addressing table that finds them. The one pointer stands first, so that
// the garbage collector does not look at the table.
type hotShard struct {
	records []hot
	table   [shardSlots]uint16 // tag | 1+place in records; 0: free
}

// shardOf returns the number of the shard, of n, that holds a hash.
func shardOf(hash uint64, n int) int {
	return int(hash >> bits.LeadingZeros64(uint64(n-1)))
}

// find returns the table position of the record with a digest, or -1.
func (s *hotShard) find(hash uint64, digest *[32]byte) int {
	tag := uint16(hash) & tagMask
	for pos := int(hash & shardMask); ; pos = (pos + 1) & shardMask {
		v := s.table[pos]
		if v == 0 {
			return -1
		}
		if v&tagMask == tag && subtle.ConstantTimeCompare(s.records[v&shardMask-1].digest[:], digest[:]) == 1 {
			return pos
		}
	}
}

// findOf returns the table position of the record of a key's credential, or -1.
func (s *hotShard) findOf(hash uint64, key, credential uint32) int {
	tag := uint16(hash) & tagMask
	for pos := int(hash & shardMask); ; pos = (pos + 1) & shardMask {
		v := s.table[pos]
		if v == 0 {
			return -1
		}
		if v&tagMask == tag {
			if r := &s.records[v&shardMask-1]; r.key == key && r.credential == credential {
				return pos
			}
		}
	}
}

// at returns the record of a table position.
func (s *hotShard) at(pos int) *hot { return &s.records[s.table[pos]&shardMask-1] }

// add appends a record that find does not find.
func (s *hotShard) add(hash uint64, r *hot) {
	if n := len(s.records); n == cap(s.records) {
		s.resize(n + n/2 + 8)
	}
	s.records = append(s.records, *r)
	s.link(hash, len(s.records))
}

// link enters place (counted from 1) into the table.
func (s *hotShard) link(hash uint64, place int) {
	pos := int(hash & shardMask)
	for s.table[pos] != 0 {
		pos = (pos + 1) & shardMask
	}
	s.table[pos] = uint16(hash)&tagMask | uint16(place)
}

// remove takes out the record of a table position. hashOf hashes a digest.
func (s *hotShard) remove(pos int, hashOf func(*[32]byte) uint64) {
	home := func(v uint16) int { return int(hashOf(&s.records[v&shardMask-1].digest) & shardMask) }
	place, last := s.table[pos]&shardMask, uint16(len(s.records))

	// The last record fills the gap, unless it is the one that goes.
	if place != last {
		p := home(last)
		for s.table[p]&shardMask != last {
			p = (p + 1) & shardMask
		}
		s.table[p] = s.table[p]&tagMask | place
		s.records[place-1] = s.records[last-1]
	}
	s.records = s.records[:last-1]

	// Entries behind the freed position that a probe would no longer reach
	// move up into it.
	s.table[pos] = 0
	for p := (pos + 1) & shardMask; s.table[p] != 0; p = (p + 1) & shardMask {
		if (p-home(s.table[p]))&shardMask >= (p-pos)&shardMask {
			s.table[pos], s.table[p] = s.table[p], 0
			pos = p
		}
	}
}

// resize moves the records into an array for n, rounded up to what the
// allocator gives anyway.
func (s *hotShard) resize(n int) {
	fresh := append([]hot(nil), make([]hot, n)...)
	s.records = fresh[:copy(fresh, s.records)]
}

func (s *hotShard) clone() *hotShard {
	c := &hotShard{s.records, s.table}
	c.resize(len(s.records) + 1)
	return c
}

// seal gives back room that bulk loading left over.
func (s *hotShard) seal() {
	if n := len(s.records); cap(s.records)-n > 8+n/16 {
		s.resize(n)
	}
}

// split returns twice as many shards with the same records.
func splitHot(old []*hotShard, hashOf func(*[32]byte) uint64) []*hotShard {
	parts := make([]*hotShard, 2*len(old))
	for i, s := range old {
		a, b := new(hotShard), new(hotShard)
		if n := len(s.records)/2 + len(s.records)/16; n > 0 {
			a.resize(n)
			b.resize(n)
		}
		parts[2*i], parts[2*i+1] = a, b
		for j := range s.records {
			hash := hashOf(&s.records[j].digest)
			parts[shardOf(hash, len(parts))].add(hash, &s.records[j])
		}
	}
	return parts
}
