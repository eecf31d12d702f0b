package limit

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

const shards = 64

// carriers are the keys, or the orgs, that have spent something.
type carriers struct {
	seed   maphash.Seed
	shards [shards]shard
}

type shard struct {
	mu     sync.Mutex
	byName map[string]*entry
	_      [48]byte // a cache line each
}

// entry is what one carrier has spent, of each span that a limit of it ever was
// about.
type entry struct {
	windows []*window
	quotas  []*quota
}

func (c *carriers) shard(name []byte) *shard {
	return &c.shards[maphash.Bytes(c.seed, name)%shards]
}

// look appends how the limits of a carrier stand. create says whether counters are
// made that are not there.
func (t *Table) look(s *shard, c *Carrier, org, create bool, now instant, states []State) []State {
	e := s.byName[string(c.Name)]
	if e == nil {
		e = new(entry)
		if create {
			s.byName[string(c.Name)] = e
		}
	}
	for l, tier := range c.each {
		state := State{Limit: l, Org: org, Tier: tier, shard: s}
		if l.Span.Calendar() {
			state.period = e.quota(l.Span).at(t.number(l.Span, now), t.floor(l.Span).Load())
			state.Used = state.period.spent
		} else {
			state.window = e.window(l.Span)
			state.window.advance(now.mono)
			state.Used = state.window.total
		}
		state.Left = l.Amount - min(l.Amount, state.Used)
		states = append(states, state)
	}
	return states
}

func (e *entry) window(span Span) *window {
	for _, w := range e.windows {
		if w.span == span {
			return w
		}
	}
	e.windows = append(e.windows, &window{span: span})
	return e.windows[len(e.windows)-1]
}

func (e *entry) quota(span Span) *quota {
	for _, q := range e.quotas {
		if q.span == span {
			return q
		}
	}
	e.quotas = append(e.quotas, &quota{span: span})
	return e.quotas[len(e.quotas)-1]
}

func (t *Table) floor(span Span) *atomic.Int32 { return &t.floors[-1-span] }

// Sweep drops the carriers that have nothing in any window, and have spent of no
// day or month that may come again. It should be called about once a minute.
func (t *Table) Sweep() {
	now := t.clock.read()
	for _, of := range []*carriers{&t.keys, &t.orgs} {
		for i := range of.shards {
			s := &of.shards[i]
			s.mu.Lock()
			for name, e := range s.byName {
				if t.isOver(e, now) {
					delete(s.byName, name)
				}
			}
			s.mu.Unlock()
		}
	}
}

// isOver drops what is over of an entry, and reports whether that was all. The
// period before this one is kept: clocks are set back by a little.
func (t *Table) isOver(e *entry, now instant) bool {
	windows, quotas := e.windows[:0], e.quotas[:0]
	for _, w := range e.windows {
		if w.advance(now.mono); w.total > 0 {
			windows = append(windows, w)
		}
	}
	for _, q := range e.quotas {
		if newest := q.newest(); newest < t.number(q.span, now)-1 {
			floor := t.floor(q.span)
			floor.Store(max(floor.Load(), newest)) // only Sweep and loading a file do that
		} else {
			quotas = append(quotas, q)
		}
	}
	clear(e.windows[len(windows):])
	clear(e.quotas[len(quotas):])
	e.windows, e.quotas = windows, quotas
	return len(windows) == 0 && len(quotas) == 0
}

// Size returns how many carriers the table counts for.
func (t *Table) Size() (keys, orgs int) {
	for i := range shards {
		for _, c := range []struct {
			of *carriers
			n  *int
		}{{&t.keys, &keys}, {&t.orgs, &orgs}} {
			s := &c.of.shards[i]
			s.mu.Lock()
			*c.n += len(s.byName)
			s.mu.Unlock()
		}
	}
	return keys, orgs
}
