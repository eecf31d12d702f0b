package lockout

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Limits bound what a table remembers.
type Limits struct {
	Counters int // of one rule for one address
	Locks    int // and what is remembered of locks that ended
}

// DefaultLimits keep a table under 100 MB.
var DefaultLimits = Limits{Counters: 1 << 20, Locks: 1 << 18}

// moreByHand is how many locks may be added by hand to a full table.
const moreByHand = 4096

// MaxReason bounds the reason of a lock by hand, in bytes.
const MaxReason = 200

// Errors of locks by hand.
var (
	ErrFull   = errors.New("there is no room for another lock")
	ErrReason = fmt.Errorf("a reason has up to %d bytes", MaxReason)
)

// Table counts outcomes and knows which addresses are locked. Its methods may be called at the same time.
type Table struct {
	epoch    time.Time // of its clock
	counters *counters
	locks    *locks

	rules   atomic.Pointer[[]Rule] // of all policies there ever were; the first is none
	mu      sync.Mutex             // of rules
	changed chan struct{}
}

// New returns a table that knows nothing.
func New(limits Limits) *Table {
	t := &Table{
		epoch:    time.Now(),
		counters: newCounters(limits.Counters),
		locks:    newLocks(limits.Locks),
		changed:  make(chan struct{}, 1),
	}
	t.rules.Store(&[]Rule{{}})
	return t
}

// now is the time of the table's clock, which is the process's monotonic one.
func (t *Table) now() int64 { return int64(time.Since(t.epoch)) }

// Changed tells that a lock began or was released, so that the table should be saved.
func (t *Table) Changed() <-chan struct{} { return t.changed }

func (t *Table) change() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// ruleID returns the number of a rule. Equal rules have one number, so that they go on counting when a
// policy is replaced by one that has them, too.
func (t *Table) ruleID(r Rule) (uint16, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rules := *t.rules.Load()
	if i := slices.Index(rules, r); i > 0 {
		return uint16(i), nil
	}
	if len(rules) > MaxLimit {
		return 0, errors.New("too many different rules since the process started; restart it")
	}
	more := append(slices.Clip(rules), r)
	t.rules.Store(&more)
	return uint16(len(more) - 1), nil
}

// Lock is a lock that is in force.
type Lock struct {
	Prefix    netip.Prefix
	Age       time.Duration // since it began
	Remaining time.Duration
	Times     int    // how often in a row the address was locked
	Rule      Rule   // that was broken; the zero Rule for a lock by hand
	Reason    string // of a lock by hand
}

func (t *Table) lock(key lockKey, record lock, reason string, now int64) Lock {
	return Lock{
		Prefix:    key.prefix(),
		Age:       time.Duration(now - record.since),
		Remaining: time.Duration(record.until - now),
		Times:     int(record.times),
		Rule:      (*t.rules.Load())[record.rule],
		Reason:    reason,
	}
}

// Remaining returns how long an address is still locked, 0 if it is not.
func (t *Table) Remaining(addr netip.Addr) (remaining time.Duration) {
	t.locks.find(addr, func(_ lockKey, record lock) bool {
		remaining = max(remaining, time.Duration(record.until-t.now()))
		return true
	})
	return remaining
}

// Release ends the locks of an address, forgets that there were any, and counts anew. It returns the
// prefixes that were locked.
func (t *Table) Release(addr netip.Addr) (released []netip.Prefix) {
	now := t.now()
	t.locks.find(addr, func(key lockKey, _ lock) bool {
		s := t.locks.shard(key)
		s.mu.Lock()
		defer s.mu.Unlock()
		record, still := s.locks[key]
		if !still {
			return true
		}
		t.locks.drop(s, key)
		if record.until > now {
			released = append(released, key.prefix())
		}
		t.forget(key.addr)
		return true
	})
	if released != nil {
		t.change()
	}
	return released
}

// forget drops every counter of an address.
func (t *Table) forget(addr [16]byte) {
	for id := range *t.rules.Load() {
		t.counters.remove(counterKey{addr, uint16(id)})
	}
}

// List returns up to limit locks in force, in the order of their prefixes, from behind the prefix after,
// and whether there are more. The zero Prefix is in front of all.
func (t *Table) List(after netip.Prefix, limit int) (list []Lock, more bool) {
	now := t.now()
	t.locks.each(func(key lockKey, record lock, reason string) {
		if record.until <= now || after.IsValid() && key.prefix().Compare(after) <= 0 {
			return
		}
		at, _ := slices.BinarySearchFunc(list, key.prefix(), func(l Lock, p netip.Prefix) int { return l.Prefix.Compare(p) })
		if at > limit {
			return
		}
		list = slices.Insert(list, at, t.lock(key, record, reason, now))
		list = list[:min(len(list), limit+1)]
	})
	if len(list) > limit {
		return list[:limit], true
	}
	return list, false
}

// Sweep drops what is over and gives its memory back. It should be called about once a minute.
func (t *Table) Sweep() {
	now := t.now()
	t.locks.tidy(func(record lock) bool { return record.until <= now && record.forget <= now })
	t.counters.sweep(*t.rules.Load(), now)
}

// Stats is what a table holds, and what it could not.
type Stats struct {
	Locked    int    // prefixes that are locked
	Counters  int    // in use, or not swept up yet
	Displaced uint64 // counters that gave their place to new ones
	Uncounted uint64 // outcomes that there was no place for
	Unlocked  uint64 // outcomes after which there was no room for a lock
}

// Stats looks at every lock.
func (t *Table) Stats() Stats {
	var stats Stats
	now := t.now()
	t.locks.each(func(_ lockKey, record lock, _ string) {
		if record.until > now {
			stats.Locked++
		}
	})
	for i := range t.counters.shards {
		s := &t.counters.shards[i]
		s.mu.Lock()
		stats.Counters += s.used
		stats.Displaced += s.displaced
		stats.Uncounted += s.uncounted
		s.mu.Unlock()
	}
	stats.Unlocked = t.locks.full.Load()
	return stats
}
