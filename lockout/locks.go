package lockout

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// lockKey is a prefix without pointers; IPv4 is in its IPv6-mapped form.
type lockKey struct {
	addr [16]byte
	bits uint8
}

func keyOf(p netip.Prefix) lockKey {
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	return lockKey{p.Addr().As16(), uint8(bits)}
}

func (k lockKey) prefix() netip.Prefix {
	addr, bits := netip.AddrFrom16(k.addr), int(k.bits)
	if addr.Is4In6() && bits >= 96 {
		addr, bits = addr.Unmap(), bits-96
	}
	return netip.PrefixFrom(addr, bits)
}

// lock is a lock, or what is remembered of one that ended.
type lock struct {
	since, until int64 // nanoseconds of the table's clock
	forget       int64 // until when a repetition counts as one
	times        uint32
	rule         uint16 // that was broken, 0 for a lock by hand
}

const lockShards = 64

type locks struct {
	most   int64
	count  atomic.Int64
	full   atomic.Uint64 // locks that there was no room for
	shards [lockShards]lockShard

	// The lengths of prefixes that were ever locked, each of which a look-up has to try: usually one of
	// each family, and more after a change of the policy.
	lengths  atomic.Pointer[lengths]
	grow     sync.Mutex   // of lengths
	tidiedAt atomic.Int64 // when room was last made
}

type lengths struct{ v4, v6 []int }

type lockShard struct {
	mu      sync.RWMutex
	locks   map[lockKey]lock
	reasons map[lockKey]string // of locks by hand
	_       [24]byte           // keeps shards on cache lines of their own
}

func newLocks(limit int) *locks {
	l := &locks{most: int64(limit)}
	l.lengths.Store(new(lengths))
	l.tidiedAt.Store(-int64(time.Hour))
	return l
}

func (l *locks) shard(key lockKey) *lockShard {
	mixed := binary.BigEndian.Uint64(key.addr[:8]) ^ binary.BigEndian.Uint64(key.addr[8:])
	return &l.shards[mixed*0x9e3779b97f4a7c15>>58]
}

// find calls f with each record of a prefix that covers an address, until it returns false.
func (l *locks) find(addr netip.Addr, f func(lockKey, lock) bool) {
	known := l.lengths.Load()
	list := known.v6
	if addr.Is4() {
		list = known.v4
	}
	for _, bits := range list {
		prefix, _ := addr.Prefix(bits)
		key := keyOf(prefix)
		s := l.shard(key)
		s.mu.RLock()
		record, ok := s.locks[key]
		s.mu.RUnlock()
		if ok && !f(key, record) {
			return
		}
	}
}

// put makes or replaces a record. The caller holds s.mu.
func (l *locks) put(s *lockShard, key lockKey, record lock, reason string) {
	if s.locks == nil {
		s.locks = make(map[lockKey]lock)
	}
	if _, known := s.locks[key]; !known {
		l.count.Add(1)
	}
	s.locks[key] = record
	delete(s.reasons, key)
	if reason != "" {
		if s.reasons == nil {
			s.reasons = make(map[lockKey]string)
		}
		s.reasons[key] = reason
	}
	l.learn(key.prefix())
}

// drop removes a record. The caller holds s.mu.
func (l *locks) drop(s *lockShard, key lockKey) {
	delete(s.locks, key)
	delete(s.reasons, key)
	l.count.Add(-1)
}

// learn adds the length of a prefix to those that are looked up.
func (l *locks) learn(p netip.Prefix) {
	has := func(known *lengths) bool {
		list := known.v6
		if p.Addr().Is4() {
			list = known.v4
		}
		for _, bits := range list {
			if bits == p.Bits() {
				return true
			}
		}
		return false
	}
	if has(l.lengths.Load()) {
		return
	}
	l.grow.Lock()
	defer l.grow.Unlock()
	known := l.lengths.Load()
	if has(known) {
		return
	}
	more := &lengths{append([]int(nil), known.v4...), append([]int(nil), known.v6...)}
	if p.Addr().Is4() {
		more.v4 = append(more.v4, p.Bits())
	} else {
		more.v6 = append(more.v6, p.Bits())
	}
	l.lengths.Store(more)
}

// hasRoom reports whether a record more fits, and makes room if that is possible. It looks at most once
// a second, since it looks at all.
func (l *locks) hasRoom(now int64) bool {
	if l.count.Load() < l.most {
		return true
	}
	last := l.tidiedAt.Load()
	if now-last < int64(time.Second) || !l.tidiedAt.CompareAndSwap(last, now) {
		return false
	}
	l.tidy(func(record lock) bool { return record.forget <= now && record.until <= now })
	if l.count.Load() >= l.most {
		l.tidy(func(record lock) bool { return record.until <= now })
	}
	return l.count.Load() < l.most
}

// tidy drops the records that are over.
func (l *locks) tidy(over func(lock) bool) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for key, record := range s.locks {
			if over(record) {
				l.drop(s, key)
			}
		}
		s.mu.Unlock()
	}
}

// each calls f with every record.
func (l *locks) each(f func(lockKey, lock, string)) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.RLock()
		for key, record := range s.locks {
			f(key, record, s.reasons[key])
		}
		s.mu.RUnlock()
	}
}
