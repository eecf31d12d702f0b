package keyring

import "time"

// TimeFormat is how the trail, its log and the management API write a time, once
// it is in UTC: RFC 3339 with milliseconds, the precision of the store.
const TimeFormat = "2006-01-02T15:04:05.000Z07:00"

// clock gives a wall clock that cannot be set back while the process runs: the
// later of the wall clock and of the time that has passed, by the monotonic
// clock, since the keyring was opened. So a key that expired stays expired when
// somebody sets the clock back, and a clock that runs ahead for a moment does
// no lasting harm. After a restart the wall clock is believed again.
type clock struct {
	now     func() time.Time
	opened  int64                             // Unix milliseconds
	elapsed func(now time.Time) time.Duration // since opened, by the monotonic clock
}

func newClock(now func() time.Time) clock {
	if now == nil {
		now = time.Now
	}
	opened := now()
	// Sub uses the monotonic readings, which setting the clock does not move.
	return clock{now, opened.UnixMilli(), func(now time.Time) time.Duration { return now.Sub(opened) }}
}

// unixMilli returns the time in Unix milliseconds.
func (c *clock) unixMilli() int64 {
	now := c.now()
	return max(now.UnixMilli(), c.opened+c.elapsed(now).Milliseconds())
}

// time returns the time in UTC with millisecond precision.
func (c *clock) time() time.Time { return time.UnixMilli(c.unixMilli()).UTC() }
