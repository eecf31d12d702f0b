package limit

import "errors"

// batch is what is reserved by one write.
type batch struct {
	wants map[leaseKey]want
	done  chan struct{}
	err   error // valid once done is closed
}

type leaseKey struct {
	org    bool
	name   string
	span   Span
	number int32
}

type want struct {
	units  uint64 // that requests wait for
	amount uint64 // of the limit
}

// reserve returns what has to be waited for before units may be spent of what
// quotas have, nil if they are reserved. If the reserve runs low it is filled up
// meanwhile. The locks of the states are held.
func (t *Table) reserve(r *Request, states []State) (wait *batch) {
	b := t.book
	if b == nil || r.Cost == 0 {
		return nil
	}
	for i := range states {
		s := &states[i]
		if s.period == nil {
			continue
		}
		waits := s.period.spent+r.Cost > s.period.reserved || b.unread.Load()
		if !waits && (s.period.reserved-s.period.spent-r.Cost >= lease(s.Amount)/2 || s.period.reserved >= s.Amount) {
			continue
		}
		key := leaseKey{s.Org, "", s.Span, s.period.number}
		if key.name = string(r.Key.Name); s.Org {
			key.name = string(r.Org.Name)
		}
		units := r.Cost
		if !waits {
			units = 0
		}
		if joined := b.join(key, want{units, s.Amount}); waits {
			wait = joined
		}
	}
	return wait
}

var (
	errClosed  = errors.New("the server is stopping")
	closedDone = func() chan struct{} { c := make(chan struct{}); close(c); return c }()
)

// join adds to what is written next.
func (b *book) join(key leaseKey, w want) *batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return &batch{done: closedDone, err: errClosed}
	}
	if b.pending == nil {
		b.pending = &batch{wants: make(map[leaseKey]want), done: make(chan struct{})}
		b.wake <- struct{}{} // has room: it is taken with the batch
	}
	known := b.pending.wants[key]
	b.pending.wants[key] = want{known.units + w.units, max(known.amount, w.amount)}
	return b.pending
}

func (b *book) take() *batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.pending
	b.pending = nil
	return taken
}

// commit reserves on disk, and then in memory.
func (b *book) commit(wants map[leaseKey]want) error {
	if b.unread.Load() {
		if err := b.load(); err != nil {
			return err
		}
	}
	targets := make(map[leaseKey]uint64, len(wants))
	for key, w := range wants {
		b.with(key, func(p *period) {
			targets[key] = max(p.reserved, min(w.amount, p.spent+w.units+lease(w.amount)))
		})
	}
	var err error
	if b.mustRewrite() {
		err = b.rewrite(targets, false)
	} else {
		err = b.add(targets)
	}
	if err != nil {
		return err
	}
	for key, target := range targets {
		b.with(key, func(p *period) { p.reserved = max(p.reserved, target) })
	}
	return nil
}

// with calls f with a period, locked, if it is still known.
func (b *book) with(key leaseKey, f func(*period)) {
	of := &b.table.keys
	if key.org {
		of = &b.table.orgs
	}
	s := of.shard([]byte(key.name))
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byName[key.name]
	if e == nil {
		return
	}
	for _, q := range e.quotas {
		if p := q.find(key.number); q.span == key.span && p != nil {
			f(p)
		}
	}
}
