package keyring

import "time"

// clock gives a wall clock that cannot be set back while the process runs: the
// later of the wall clock and of the time that has passed, by the monotonic
// clock, since the keyring was opened. So a key that expired stays expired when
// somebody sets the clock back, and a clock that runs ahead for a moment does
// no lasting harm. After a restart the wall clock is believed again.
type clock struct {
	now    func() time.Time
	opened time.Time // with its monotonic reading
}

func newClock(now func() time.Time) clock {
	if now == nil {
		now = time.Now
	}
	return clock{now: now, opened: now()}
}

// Now returns the time in Unix milliseconds.
func (c *clock) unixMilli() int64 {
	now := c.now()
	wall := now.UnixMilli()
	// Sub uses the monotonic readings, which setting the clock does not move.
	return max(wall, c.opened.UnixMilli()+now.Sub(c.opened).Milliseconds())
}

// time returns Now as a UTC time with millisecond precision.
func (c *clock) time() time.Time { return time.UnixMilli(c.unixMilli()).UTC() }
