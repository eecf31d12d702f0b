package lockout

import (
	"math"
	"net/netip"
	"time"
)

// Guard is a policy at work on a table. Guards of one table share its locks, and the counters of equal
// rules.
type Guard struct {
	*Table
	policy Policy
	ids    []uint16 // of the policy's rules
}

// Guard returns a guard with a policy.
func (t *Table) Guard(p Policy) (*Guard, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	g := &Guard{Table: t, policy: p}
	for _, r := range p.Rules {
		id, err := t.ruleID(r)
		if err != nil {
			return nil, err
		}
		g.ids = append(g.ids, id)
	}
	return g, nil
}

// Count counts an outcome for an address. It returns the lock if one begins.
func (g *Guard) Count(addr netip.Addr, on Outcome) (begun Lock, locked bool) {
	for i, r := range g.policy.Rules {
		if r.On != on {
			continue
		}
		if !locked && g.Remaining(addr) > 0 {
			return Lock{}, false // the request was let in before
		}
		key := keyOf(g.policy.prefix(addr))
		now := g.now()
		counted := counterKey{key.addr, g.ids[i]}
		if !r.reached(g.counters.add(*g.rules.Load(), counted, now)) || locked {
			continue
		}
		if begun, locked = g.begin(key, g.ids[i], now); locked {
			g.counters.remove(counted)
			g.change()
		}
	}
	return begun, locked
}

// begin locks a prefix that is not locked, unless there is no room.
func (g *Guard) begin(key lockKey, rule uint16, now int64) (Lock, bool) {
	room := g.locks.hasRoom(now)
	s := g.locks.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	last, known := s.locks[key]
	switch {
	case known && last.until > now:
		return Lock{}, false // by another request, a moment ago
	case !known && !room:
		g.locks.full.Add(1)
		return Lock{}, false
	}
	record := lock{since: now, times: 1, rule: rule}
	if known && now < last.forget && last.times < math.MaxUint32 {
		record.times = last.times + 1
	}
	record.until = now + int64(g.policy.duration(record.times))
	if record.forget = record.until; g.policy.Factor > 0 {
		record.forget += int64(g.policy.Longest)
	}
	g.locks.put(s, key, record, "")
	return g.lock(key, record, "", now), true
}

// Lock locks the prefix of an address by hand, from now on. It replaces a lock that is in force.
func (g *Guard) Lock(addr netip.Addr, d time.Duration, reason string) (Lock, error) {
	if len(reason) > MaxReason {
		return Lock{}, ErrReason
	}
	now := g.now()
	key := keyOf(g.policy.prefix(addr))
	room := g.locks.hasRoom(now) || g.locks.count.Load() < g.locks.most+moreByHand
	s := g.locks.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	last, known := s.locks[key]
	if !known && !room {
		return Lock{}, ErrFull
	}
	record := lock{since: now, until: now + int64(min(d, MaxLock))}
	record.forget = max(record.until, last.forget)
	if last.forget > now {
		record.times = last.times
	}
	g.locks.put(s, key, record, reason)
	g.change()
	return g.lock(key, record, reason, now), nil
}
