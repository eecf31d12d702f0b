package keyring

// idShard is a part of the table from key ids to their slots. It keeps no ids:
// the cold record of a slot has them.
type idShard struct {
	slots [shardSlots]uint32 // 0: free
	tags  [shardSlots]uint8  // hash bits that spare looking into the cold record
}

func idTag(hash uint64) uint8 { return uint8(hash >> 16) }

// findID returns the shard number and the position of a key id, -1 for none.
func findID(shards []*idShard, cold []*coldPage, hash uint64, id *packedID) (shard, pos int) {
	shard = shardOf(hash, len(shards))
	s, tag := shards[shard], idTag(hash)
	for pos = int(hash & shardMask); s.slots[pos] != 0; pos = (pos + 1) & shardMask {
		if s.tags[pos] == tag && coldOf(cold, s.slots[pos]).hasID(id) {
			return shard, pos
		}
	}
	return shard, -1
}

func (s *idShard) add(hash uint64, slot uint32) {
	pos := int(hash & shardMask)
	for s.slots[pos] != 0 {
		pos = (pos + 1) & shardMask
	}
	s.slots[pos], s.tags[pos] = slot, idTag(hash)
}

// remove frees a position. hashOf returns the hash of a slot's id.
func (s *idShard) remove(pos int, hashOf func(slot uint32) uint64) {
	s.slots[pos] = 0
	for p := (pos + 1) & shardMask; s.slots[p] != 0; p = (p + 1) & shardMask {
		home := int(hashOf(s.slots[p]) & shardMask)
		if (p-home)&shardMask >= (p-pos)&shardMask {
			s.slots[pos], s.tags[pos], s.slots[p] = s.slots[p], s.tags[p], 0
			pos = p
		}
	}
}

// splitIDs returns twice as many shards with the same slots.
func splitIDs(old []*idShard, hashOf func(slot uint32) uint64) []*idShard {
	parts := make([]*idShard, 2*len(old))
	for i, s := range old {
		parts[2*i], parts[2*i+1] = new(idShard), new(idShard)
		for _, slot := range s.slots {
			if slot != 0 {
				hash := hashOf(slot)
				parts[shardOf(hash, len(parts))].add(hash, slot)
			}
		}
	}
	return parts
}
