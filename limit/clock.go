package limit

import "time"

// clock gives the two times that limits go by. Windows go by the monotonic
// clock. Days and months go by the wall clock, as far as it was not set back
// while the process runs: it is the later of the wall clock and of the time that
// has passed since it started, as in package keyring.
type clock struct {
	now     func() time.Time
	opened  int64                             // milliseconds since 1970
	elapsed func(now time.Time) time.Duration // since then, by the monotonic clock
}

// instant is a moment by both.
type instant struct {
	mono int64 // nanoseconds since long before the process began
	wall int64 // milliseconds since 1970
}

// earliest is the second day of 1970. A clock that is not there yet is taken for
// that: days are numbered from 1, and 0 is none.
const earliest = int64(24 * time.Hour / time.Millisecond)

// before is how far the monotonic times of a process reach back: to what was
// saved by the one before.
const before = int64(2 * MaxWindow)

func newClock(now func() time.Time) clock {
	if now == nil {
		now = time.Now
	}
	opened := now()
	return clock{now, opened.UnixMilli(), func(now time.Time) time.Duration { return now.Sub(opened) }}
}

func (c *clock) read() instant {
	now := c.now()
	elapsed := c.elapsed(now)
	return instant{before + int64(elapsed), max(now.UnixMilli(), c.opened+elapsed.Milliseconds(), earliest)}
}

func (i instant) unix() int64 { return i.wall / 1000 }

// monthOf is the month that it was when somebody last asked: working it out takes
// longer than all the rest.
type monthOf struct {
	number     int32
	start, end int64
}

// number returns the number of the day or month that it is.
func (t *Table) number(span Span, now instant) int32 {
	if span == Day {
		return numberOf(Day, now.unix())
	}
	return t.monthAt(now.unix()).number
}

func (t *Table) monthAt(unix int64) *monthOf {
	if m := t.month.Load(); m != nil && m.start <= unix && unix < m.end {
		return m
	}
	number := numberOf(Month, unix)
	m := &monthOf{number, endOf(Month, number-1), endOf(Month, number)}
	t.month.Store(m)
	return m
}

// end is endOf, at once for the month that it is.
func (t *Table) end(span Span, number int32) int64 {
	if m := t.month.Load(); span == Month && m != nil && m.number == number {
		return m.end
	}
	return endOf(span, number)
}
