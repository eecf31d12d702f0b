package usage

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// Bounds of what is counted apart in memory.
const (
	maxPlaces        = 1024    // places of one key at a time
	maxStrangers     = 16384   // places of requests without a proven key
	maxCells         = 1 << 18 // combinations, some 200 bytes each
	idleCells        = 1 << 14 // up to so many stay though they were not used lately
	idleFlushes      = 120
	shardCount       = 64 // a power of two
	initialShardSize = 16
)

// cells are all combinations that were used lately. Finding one takes no lock.
type cells struct {
	seed   [2]uint64
	count  atomic.Int64
	shards [shardCount]cellShard
}

// cellShard has the cells of some keys.
type cellShard struct {
	table atomic.Pointer[cellTable]

	mu      sync.Mutex // for changes of the table
	places  map[[KeyLen]byte]int
	retired []*cell // taken out, but perhaps still in somebody's hand
	_       [64]byte
}

// cellTable is an open-addressing table that is never more than half full.
type cellTable struct {
	slots []atomic.Pointer[cell]
	used  int // guarded by the shard's mu
}

func newCells() *cells {
	c := new(cells)
	c.seed = [2]uint64{rand.Uint64(), rand.Uint64() | 1}
	for i := range c.shards {
		c.shards[i].table.Store(newCellTable(initialShardSize))
		c.shards[i].places = make(map[[KeyLen]byte]int)
	}
	return c
}

func newCellTable(size int) *cellTable { return &cellTable{slots: make([]atomic.Pointer[cell], size)} }

// hash returns a number for the shard and one for the place in its table. They
// are seeded: nobody can choose addresses that meet in one place.
func (c *cells) hash(id *cellID) (shard int, h uint64) {
	mix := func(h, w uint64) uint64 {
		hi, lo := bits.Mul64(h^w, 0x9e3779b97f4a7c15^c.seed[1])
		return hi ^ lo
	}
	h = c.seed[0]
	h = mix(h, binary.LittleEndian.Uint64(id.key[0:]))
	h = mix(h, binary.LittleEndian.Uint64(id.key[8:]))
	h = mix(h, binary.LittleEndian.Uint64(id.key[16:]))
	shard = int(h >> 58)
	h = mix(h, binary.LittleEndian.Uint64(id.addr[0:]))
	h = mix(h, binary.LittleEndian.Uint64(id.addr[8:]))
	h = mix(h, uint64(id.credential)<<32|uint64(id.route))
	rest := uint64(id.reason)<<16 | uint64(id.kind)<<8
	if id.observed {
		rest |= 1
	}
	return shard, mix(h, rest)
}

// find returns the cell of a combination. If there is no room for one more, it
// is that of all places beyond those that are kept apart.
func (c *cells) find(id *cellID) *cell {
	shard, h := c.hash(id)
	s := &c.shards[shard]
	if found := s.table.Load().find(id, h); found != nil {
		return found
	}
	return c.findOther(id, s, h)
}

// findOther looks for the cell that takes over before it takes the lock: once
// there are too many places a flood of them must not wait for one another.
func (c *cells) findOther(id *cellID, s *cellShard, h uint64) *cell {
	other := id.elsewhere()
	_, otherHash := c.hash(&other)
	if found := s.table.Load().find(&other, otherHash); found != nil {
		return found
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.table.Load().find(id, h); found != nil {
		return found
	}
	most := maxPlaces
	if id.key == [KeyLen]byte{} {
		most = maxStrangers
	}
	if s.places[id.key] < most && c.count.Load() < maxCells || id.kind == placeOther {
		s.places[id.key]++
		return c.add(s, id, h)
	}
	if found := s.table.Load().find(&other, otherHash); found != nil {
		return found
	}
	return c.add(s, &other, otherHash)
}

// add is called with s.mu held.
func (c *cells) add(s *cellShard, id *cellID, h uint64) *cell {
	t := s.table.Load()
	if 2*(t.used+1) > len(t.slots) {
		t = t.resized(c, 2*len(t.slots))
		s.table.Store(t)
	}
	added := &cell{id: *id}
	t.put(added, h)
	c.count.Add(1)
	return added
}

func (t *cellTable) find(id *cellID, h uint64) *cell {
	for i := h; ; i++ {
		found := t.slots[i&uint64(len(t.slots)-1)].Load()
		if found == nil || found.id == *id {
			return found
		}
	}
}

func (t *cellTable) put(c *cell, h uint64) {
	for i := h; ; i++ {
		if slot := &t.slots[i&uint64(len(t.slots)-1)]; slot.Load() == nil {
			slot.Store(c)
			t.used++
			return
		}
	}
}

func (t *cellTable) resized(c *cells, size int) *cellTable {
	next := newCellTable(size)
	for i := range t.slots {
		if found := t.slots[i].Load(); found != nil {
			_, h := c.hash(&found.id)
			next.put(found, h)
		}
	}
	return next
}

// take calls fn with everything that was counted since the last time, and
// takes out what nobody used for long. Only one take runs at a time. afresh
// says that places are counted anew: an hour began.
func (c *cells) take(afresh bool, fn func(id *cellID, counter *Counter)) {
	many := c.count.Load() > idleCells
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		t, retired := s.table.Load(), s.retired
		s.retired = nil
		s.mu.Unlock()
		var counter Counter
		for _, old := range retired {
			if old.take(&counter) {
				fn(&old.id, &counter)
			}
		}
		out := 0
		for j := range t.slots {
			found := t.slots[j].Load()
			if found == nil {
				continue
			}
			if found.take(&counter) {
				found.idle = 0
				fn(&found.id, &counter)
			} else {
				found.idle++
			}
			if found.overdue(many, afresh) {
				out++
			}
		}
		if out > 0 {
			c.retire(s, many, afresh)
		}
	}
}

// retire takes cells out of the table. Somebody may have found one and be about
// to count: it is emptied once more by the next take.
func (c *cells) retire(s *cellShard, many, afresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.table.Load()
	kept := 0
	for i := range old.slots {
		if found := old.slots[i].Load(); found != nil && !found.overdue(many, afresh) {
			kept++
		}
	}
	size := initialShardSize
	for size < 4*kept {
		size *= 2
	}
	next := newCellTable(size)
	for i := range old.slots {
		found := old.slots[i].Load()
		switch {
		case found == nil:
		case found.overdue(many, afresh):
			found.gone.Store(true)
			s.retired = append(s.retired, found)
			c.count.Add(-1)
			if n := s.places[found.id.key] - 1; n > 0 {
				s.places[found.id.key] = n
			} else {
				delete(s.places, found.id.key)
			}
		default:
			_, h := c.hash(&found.id)
			next.put(found, h)
		}
	}
	s.table.Store(next)
}
