package keyring

import (
	"testing"
	"time"
)

func TestClockSetBack(t *testing.T) {
	opened := time.UnixMilli(1_000_000)
	var wall time.Time
	var elapsed time.Duration
	c := clock{
		now:     func() time.Time { return wall },
		opened:  opened.UnixMilli(),
		elapsed: func(time.Time) time.Duration { return elapsed },
	}
	for _, step := range []struct {
		name          string
		wall, elapsed time.Duration // since opened
		want          time.Duration
	}{
		{"at once", 0, 0, 0},
		{"an hour later", time.Hour, time.Hour, time.Hour},
		{"set back by an hour", 0, time.Hour, time.Hour},
		{"set back, and an hour later", time.Hour, 2 * time.Hour, 2 * time.Hour},
		{"set forward by a day", 26 * time.Hour, 2 * time.Hour, 26 * time.Hour},
		{"and put right again", 2 * time.Hour, 2 * time.Hour, 2 * time.Hour},
		{"slept for ten minutes, which the monotonic clock did not count", 3*time.Hour + 10*time.Minute, 3 * time.Hour, 3*time.Hour + 10*time.Minute},
	} {
		wall, elapsed = opened.Add(step.wall), step.elapsed
		if got := time.Duration(c.unixMilli()-c.opened) * time.Millisecond; got != step.want {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
}
