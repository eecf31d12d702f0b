package caddyapikey

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// maxAhead is how far the wall clock may get ahead of the time that passes, by
	// itself or by being set. One that goes further cannot be told from a wrong one.
	maxAhead = 24 * time.Hour

	// steadyTime is how long nothing is purged then: time to set the clock right.
	steadyTime = 24 * time.Hour
)

// purgeGuard says when old records may be purged. What is old, the wall clock
// says, and one jump ahead would delete the record of years.
type purgeGuard struct {
	opened time.Time // with its monotonic reading, which setting the clock does not move
	wall   time.Time // without

	mu      sync.Mutex
	ahead   time.Duration // of the wall clock since then: the least since the last jump
	waiting bool          // nothing is purged
	since   time.Duration // opened
	why     string        // "" once it was told
}

// newPurgeGuard returns the guard of a record that is opened now, and was
// written last at a time, zero if it is new. Beside a new one old management
// actions may stand, so that it waits, too; there is nothing to tell of that.
func newPurgeGuard(now, written time.Time) *purgeGuard {
	g := &purgeGuard{opened: now, wall: now.Round(0)}
	switch {
	case written.IsZero():
		g.wait(0, "")
	case now.Sub(written) > maxAhead:
		g.wait(0, "the record was not written for more than a day before the start, or the clock is ahead")
	}
	return g
}

func (g *purgeGuard) wait(since time.Duration, why string) {
	g.waiting, g.since, g.why = true, since, why
}

// look is told the wall clock and the time that passed since the record was
// opened, and reports whether records may be purged now. If they may not for a
// reason that was not told yet, that is the reason.
func (g *purgeGuard) look(wall time.Time, passed time.Duration) (purge bool, news string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch ahead := wall.Sub(g.wall) - passed; {
	case ahead > g.ahead+maxAhead:
		g.ahead = ahead
		g.wait(passed, "the clock went ahead by more than a day")
	case ahead < g.ahead: // it was set back, and can go ahead again
		g.ahead = ahead
	}
	if g.waiting = g.waiting && passed-g.since < steadyTime; !g.waiting {
		return true, ""
	}
	news, g.why = g.why, ""
	return false, news
}

// mayPurge reports whether the clock can be trusted with the records, and warns
// if not.
func (u *useRecord) mayPurge(now time.Time) bool {
	purge, news := u.purging.look(now.Round(0), now.Sub(u.purging.opened))
	if news != "" {
		u.logger.Warn("old records are kept until the clock went along steadily for a day: "+news,
			zap.Time("clock", now), zap.String("remedy", "compare the clock with the right time; if it is wrong, set it within a day, and else do nothing"))
	}
	return purge
}
