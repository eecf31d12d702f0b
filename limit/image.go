package limit

import (
	"slices"
	"time"
)

// minSaved is the shortest window that is saved at the end of a process.
const minSaved = Span(60)

// encode returns the file of the table, with what is about to be reserved. empty
// says that nothing is in it. If it is the final one, nothing is reserved but what
// was spent, from now on in memory, too.
func (t *Table) encode(targets map[leaseKey]uint64, final bool) (data []byte, empty bool) {
	w, now := newImage(), t.clock.read()
	if final {
		w.saved(now.wall)
	}
	empty = true
	for org, of := range map[bool]*carriers{false: &t.keys, true: &t.orgs} {
		for i := range of.shards {
			s := &of.shards[i]
			s.mu.Lock()
			for name, e := range s.byName {
				for _, q := range e.quotas {
					if q.floor > 0 {
						w.forgotten(org, name, q.span, q.floor)
						empty = false
					}
					for _, p := range inOrder(q) {
						if final {
							p.reserved = p.spent
						}
						reserved := max(p.reserved, targets[leaseKey{org, name, q.span, p.number}])
						if reserved > 0 {
							w.quota(org, name, q.span, p.number, reserved)
							empty = false
						}
					}
				}
				for _, win := range e.windows {
					if win.advance(now.mono); final && win.total > 0 && win.span >= minSaved {
						w.window(org, name, win, now.mono)
						empty = false
					}
				}
			}
			s.mu.Unlock()
		}
	}
	// Last: what Sweep forgets meanwhile is in here, or in what was written.
	w.floors([2]int32{t.floors[0].Load(), t.floors[1].Load()})
	return w.image(), empty
}

// inOrder returns the periods that there are, the earlier one first.
func inOrder(q *quota) []*period {
	list := make([]*period, 0, len(q.periods))
	for i := range q.periods {
		if q.periods[i].number != 0 {
			list = append(list, &q.periods[i])
		}
	}
	slices.SortFunc(list, func(a, b *period) int { return int(a.number - b.number) })
	return list
}

// restore takes over the contents of a file. What was reserved counts as spent.
func (t *Table) restore(c *contents) {
	now := t.clock.read()
	for i := range c.floors {
		t.floors[i].Store(max(t.floors[i].Load(), c.floors[i]))
	}
	for i := range c.records {
		r := &c.records[i]
		of := &t.keys
		if r.org {
			of = &t.orgs
		}
		s := of.shard([]byte(r.name))
		s.mu.Lock()
		e := s.byName[r.name]
		if e == nil {
			e = new(entry)
			s.byName[r.name] = e
		}
		switch {
		case r.forgotten:
			q := e.quota(r.span)
			q.floor = max(q.floor, r.number)
		case r.span.Calendar():
			e.quota(r.span).restore(r.number, r.reserved)
		default:
			e.window(r.span).restore(r, now, c.saved)
		}
		s.mu.Unlock()
	}
}

// restore takes over a window that was saved. Its steps began at other times than
// those of this process: each is put into the one that its end is in, so that
// nothing comes back sooner.
func (w *window) restore(r *record, now instant, saved int64) {
	if w.total > 0 {
		return
	}
	passed := time.Duration(max(now.wall-saved, 0)) * time.Millisecond
	if passed > 2*w.span.Window() || time.Duration(r.age) > 2*w.span.Window() {
		return
	}
	step := w.span.step()
	began := now.mono - int64(passed) - r.age
	w.last = (began + step - 1) / step
	for i, count := range r.counts {
		w.counts[(w.last-windowSteps+1+int64(i))&stepMask] = count
		w.total += uint64(count)
	}
	w.advance(now.mono)
}
