package limit

import (
	"context"
	"errors"
	"hash/maphash"
	"sync/atomic"
	"time"
)

// Errors of Take.
var (
	// ErrExceeded: a limit has no room. Nothing was spent.
	ErrExceeded = errors.New("a limit is exceeded")
	// ErrUnavailable: it cannot be made sure that what is spent of a quota would
	// survive a crash. Nothing was spent.
	ErrUnavailable = errors.New("quotas cannot be written")
)

// Carrier is something that limits hold for, and what they are at this moment.
type Carrier struct {
	Name []byte  // up to MaxName bytes; not kept
	Own  []Limit // normalized
	Tier []Limit // normalized; one of a span that Own has, too, does not hold
}

// MaxName is the longest name of a carrier in bytes.
const MaxName = 64

// Empty reports whether no limit holds for c.
func (c *Carrier) Empty() bool { return len(c.Own) == 0 && len(c.Tier) == 0 }

// each calls yield with every limit that holds.
func (c *Carrier) each(yield func(l Limit, tier bool) bool) {
	for _, l := range c.Own {
		if !yield(l, false) {
			return
		}
	}
next:
	for _, l := range c.Tier {
		for _, own := range c.Own {
			if own.Span == l.Span {
				continue next
			}
		}
		if !yield(l, true) {
			return
		}
	}
}

// Request is what one request wants to spend. Every limit of the key and every
// limit of its org must have room.
type Request struct {
	Key, Org Carrier
	Cost     uint64 // up to MaxCost; 0 spends nothing and is let in always

	Waited bool // set by Take: it had to wait for the disk
}

// State is how a limit stands after a request.
type State struct {
	Limit
	Org      bool   // it is shared by the keys of an org
	Tier     bool   // it comes from a tier
	Exceeded bool   // it had no room
	Used     uint64 // more than the amount, if that was lowered meanwhile
	Left     uint64
	More     time.Duration // until more is left; 0 if nothing is spent
	Wait     time.Duration // until there may be room, if it was exceeded

	shard  *shard
	window *window
	period *period
	at     int64 // the step, or the number of the period, that it was spent in
}

// Table counts what carriers spend. It is safe for concurrent use.
//
// Locks are taken in the order keys, orgs, leases, and never held while
// something waits.
type Table struct {
	clock      clock
	keys, orgs carriers
	floors     [2]atomic.Int32 // the latest day and month that was ever forgotten of any carrier
	month      atomic.Pointer[monthOf]
	book       *book // nil: quotas are kept in memory only
}

// New returns a table that keeps quotas in memory only. now is the clock, nil
// for time.Now.
func New(now func() time.Time) *Table {
	t := &Table{clock: newClock(now)}
	for _, c := range []*carriers{&t.keys, &t.orgs} {
		c.seed = maphash.MakeSeed()
		for i := range c.shards {
			c.shards[i].byName = make(map[string]*entry)
		}
	}
	return t
}

// Take spends the cost of a request from all limits that hold, or from none. The
// states of the limits are appended to states, also with ErrExceeded.
//
// No window of a limit, wherever it is laid, ever has more than its amount in
// it, and no day or month. Take allocates nothing but for a carrier that is new,
// and waits for nothing, except that a quota whose reserve on disk is used up has
// to have more reserved; with ctx, or after a few seconds, it gives that up.
func (t *Table) Take(ctx context.Context, r *Request, states []State) ([]State, error) {
	states, wait, err := t.try(r, states)
	if wait == nil {
		return states, err
	}
	return t.takeSlowly(ctx, r, states[:0], wait)
}

// takeSlowly goes on when the disk has to be waited for.
func (t *Table) takeSlowly(ctx context.Context, r *Request, states []State, wait *batch) ([]State, error) {
	r.Waited = true
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	for {
		select {
		case <-wait.done:
		case <-ctx.Done():
			return states, errors.Join(ErrUnavailable, ctx.Err())
		}
		if wait.err != nil {
			return states, errors.Join(ErrUnavailable, wait.err)
		}
		var err error
		if states, wait, err = t.try(r, states[:0]); wait == nil {
			return states, err
		}
	}
}

// try is one attempt. It returns what has to be waited for before the next one,
// nil if it was the last.
func (t *Table) try(r *Request, states []State) ([]State, *batch, error) {
	now := t.clock.read()
	var key, org *shard
	if !r.Key.Empty() {
		key = t.keys.shard(r.Key.Name)
		key.mu.Lock()
		defer key.mu.Unlock()
		states = t.look(key, &r.Key, false, true, now, states)
	}
	if !r.Org.Empty() {
		org = t.orgs.shard(r.Org.Name)
		org.mu.Lock()
		defer org.mu.Unlock()
		states = t.look(org, &r.Org, true, true, now, states)
	}
	exceeded := false
	for i := range states {
		s := &states[i]
		s.Exceeded = r.Cost > s.Left
		exceeded = exceeded || s.Exceeded
	}
	if !exceeded {
		if wait := t.reserve(r, states); wait != nil {
			return states, wait, nil
		}
		for i := range states {
			states[i].spend(r.Cost)
		}
	}
	for i := range states {
		t.foresee(&states[i], now, r.Cost)
	}
	if exceeded {
		return states, nil, ErrExceeded
	}
	return states, nil, nil
}

// Look returns how the limits of a carrier stand, and spends nothing.
// ErrUnavailable while it is not known what was spent of quotas.
func (t *Table) Look(c Carrier, org bool) ([]State, error) {
	if t.book != nil && t.book.unread.Load() {
		return nil, errors.Join(ErrUnavailable, t.Health())
	}
	now := t.clock.read()
	of := &t.keys
	if org {
		of = &t.orgs
	}
	s := of.shard(c.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	states := t.look(s, &c, org, false, now, nil)
	for i := range states {
		t.foresee(&states[i], now, 0)
	}
	return states, nil
}

func (s *State) spend(units uint64) {
	s.Left -= units
	s.Used += units
	if s.window != nil {
		s.window.spend(units)
		s.at = s.window.last
	} else {
		s.period.spent += units
		s.at = int64(s.period.number)
	}
}

// GiveBack takes back what Take spent, as far as it still counts. It is given the
// states that Take returned, and the cost.
func (t *Table) GiveBack(states []State, cost uint64) {
	for i := range states {
		s := &states[i]
		s.shard.mu.Lock()
		switch {
		case s.window != nil:
			s.window.giveBack(s.at, cost)
		case int64(s.period.number) == s.at:
			s.period.spent -= min(cost, s.period.spent)
		}
		s.shard.mu.Unlock()
	}
}

// foresee fills in when more is left.
func (t *Table) foresee(s *State, now instant, cost uint64) {
	if s.window != nil {
		s.More = s.window.untilMore(now.mono)
		if s.Exceeded {
			s.Wait = max(s.window.until(now.mono, s.Amount, cost), s.More)
		}
		return
	}
	ends := time.Duration(max(t.end(s.Span, s.period.number)*1000-now.wall, 0)) * time.Millisecond
	if s.period.spent > 0 {
		s.More = ends
	}
	if s.Exceeded {
		s.Wait = ends
	}
}
