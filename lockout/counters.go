package lockout

import (
	"hash/maphash"
	"sync"
	"time"
)

// steps is how many parts a window moves on by.
const steps = 6

// counter counts the outcomes of one rule for one address: of steps spans of time, the first of which
// begins at start. It has no pointers, so that the garbage collector does not look at a million of them.
type counter struct {
	start  int64 // nanoseconds of the table's clock
	addr   [16]byte
	rule   uint16 // 0 for a slot without a counter
	counts [steps]uint16
}

// move lets what is out of the window fall out. It returns how much is left.
func (c *counter) move(now int64, window time.Duration) (total int) {
	step := int64(window) / steps
	if out := (now-c.start)/step - (steps - 1); out > 0 {
		if out >= steps {
			c.counts = [steps]uint16{}
		} else {
			n := copy(c.counts[:], c.counts[out:])
			clear(c.counts[n:])
		}
		c.start += out * step
	}
	for _, n := range c.counts {
		total += int(n)
	}
	return total
}

// add counts one more and returns the total.
func (c *counter) add(now int64, window time.Duration) int {
	total := c.move(now, window)
	if total == 0 {
		c.start = now
	}
	if n := &c.counts[(now-c.start)/(int64(window)/steps)]; *n < MaxLimit {
		*n++
		total++
	}
	return total
}

// counterKey is what a counter is found by.
type counterKey struct {
	addr [16]byte
	rule uint16
}

// The counters are split into shards, each with a lock of its own. A shard is a hash table with linear
// probing, which is filled to fullPart.
const (
	counterShards   = 64
	smallestShard   = 32
	fullPart        = 0.85
	candidatesToOut = 16 // that a counter to be displaced is chosen from
)

type counters struct {
	seed   maphash.Seed
	most   int // slots of a shard
	shards [counterShards]counterShard
}

type counterShard struct {
	mu    sync.Mutex
	slots []counter
	used  int

	displaced, uncounted uint64
	_                    [40]byte // keeps shards on cache lines of their own
}

func newCounters(limit int) *counters {
	perShard := (limit + counterShards - 1) / counterShards
	return &counters{seed: maphash.MakeSeed(), most: max(smallestShard, int(float64(perShard)/fullPart)+1)}
}

func (t *counters) shard(key counterKey) (s *counterShard, hash uint64) {
	hash = maphash.Comparable(t.seed, key)
	return &t.shards[hash>>58], hash
}

// add counts an outcome and returns how many there are in the window.
func (t *counters) add(rules []Rule, key counterKey, now int64) (total int) {
	s, hash := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(key, hash)
	if i < 0 {
		if i = t.insert(s, rules, key, hash, now); i < 0 {
			s.uncounted++
			return 0
		}
	}
	return s.slots[i].add(now, rules[key.rule].Window)
}

// remove forgets a counter.
func (t *counters) remove(key counterKey) {
	s, hash := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(key, hash); i >= 0 {
		t.free(s, i)
	}
}

// insert makes a counter and returns its slot, -1 if there is no room.
func (t *counters) insert(s *counterShard, rules []Rule, key counterKey, hash uint64, now int64) int {
	if s.full() && len(s.slots) < t.most {
		t.rehash(s, rules, now)
	}
	if s.full() {
		victim := s.victim(rules, hash, now)
		if victim < 0 {
			return -1
		}
		if c := &s.slots[victim]; c.move(now, rules[c.rule].Window) > 0 {
			s.displaced++
		}
		t.free(s, victim)
	}
	i := s.vacancy(hash)
	s.slots[i] = counter{start: now, addr: key.addr, rule: key.rule}
	s.used++
	return i
}

// rehash drops counters whose window is over, and gives the others a table of a size that suits them.
func (t *counters) rehash(s *counterShard, rules []Rule, now int64) {
	old := s.slots
	live := 0
	for i := range old {
		if c := &old[i]; c.rule != 0 && c.move(now, rules[c.rule].Window) > 0 {
			live++
		}
	}
	s.slots, s.used = make([]counter, min(t.most, max(smallestShard, 2*live))), live
	for i := range old {
		if c := &old[i]; c.rule != 0 && c.move(now, rules[c.rule].Window) > 0 {
			_, hash := t.shard(counterKey{c.addr, c.rule})
			s.slots[s.vacancy(hash)] = *c
		}
	}
}

// sweep gives back memory that is not needed any more.
func (t *counters) sweep(rules []Rule, now int64) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		if t.rehash(s, rules, now); s.used == 0 {
			s.slots = nil
		}
		s.mu.Unlock()
	}
}

// each calls f with every counter in use.
func (t *counters) each(rules []Rule, now int64, f func(c counter, total int)) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for j := range s.slots {
			if c := &s.slots[j]; c.rule != 0 {
				if total := c.move(now, rules[c.rule].Window); total > 0 {
					f(*c, total)
				}
			}
		}
		s.mu.Unlock()
	}
}

func (s *counterShard) full() bool { return s.used+1 > int(float64(len(s.slots))*fullPart) }

func (s *counterShard) home(hash uint64) int {
	return int(uint64(uint32(hash)) * uint64(len(s.slots)) >> 32)
}

func (s *counterShard) next(i int) int {
	if i++; i == len(s.slots) {
		return 0
	}
	return i
}

// find returns the slot of a key's counter, -1 if there is none.
func (s *counterShard) find(key counterKey, hash uint64) int {
	if len(s.slots) == 0 {
		return -1
	}
	for i := s.home(hash); s.slots[i].rule != 0; i = s.next(i) {
		if c := &s.slots[i]; c.addr == key.addr && c.rule == key.rule {
			return i
		}
	}
	return -1
}

// vacancy returns the slot for a key that has none. There is one: the table is never quite full.
func (s *counterShard) vacancy(hash uint64) int {
	i := s.home(hash)
	for s.slots[i].rule != 0 {
		i = s.next(i)
	}
	return i
}

// victim returns the slot near a key's place whose counter may be displaced, -1 if none may.
func (s *counterShard) victim(rules []Rule, hash uint64, now int64) int {
	victim, least := -1, 0.0
	for i, seen := s.home(hash), 0; seen < candidatesToOut; i = s.next(i) {
		c := &s.slots[i]
		if c.rule == 0 {
			continue
		}
		seen++
		rule := rules[c.rule]
		total := c.move(now, rule.Window)
		if near(total, rule.Limit) {
			continue
		}
		part := float64(total) / float64(rule.Limit)
		if victim < 0 || part < least || part == least && c.start < s.slots[victim].start {
			victim, least = i, part
		}
	}
	return victim
}

// near reports whether a counter is more than half-way to its limit.
func near(total, limit int) bool { return 2*total > limit }

// free empties a slot, and moves those behind it up that would not be found any more.
func (t *counters) free(s *counterShard, hole int) {
	for i := s.next(hole); s.slots[i].rule != 0; i = s.next(i) {
		_, hash := t.shard(counterKey{s.slots[i].addr, s.slots[i].rule})
		home := s.home(hash)
		// One whose home lies behind the hole, up to its own place, stays.
		if hole <= i && hole < home && home <= i || hole > i && (hole < home || home <= i) {
			continue
		}
		s.slots[hole] = s.slots[i]
		hole = i
	}
	s.slots[hole] = counter{}
	s.used--
}
