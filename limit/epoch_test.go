package limit

import (
	"path/filepath"
	"testing"
	"time"
)

// A machine that starts at the epoch, as those without a clock of their own do,
// or before it, counts as ever, and leaves a file that can be read.
func TestClockAtTheEpoch(t *testing.T) {
	for _, start := range []string{"1970-01-01T00:00:00Z", "1970-01-01T00:10:00Z", "1969-12-31T23:59:59Z", "1901-12-13T20:45:52Z", "1970-01-31T23:59:59Z"} {
		clock := newTestClock(start)
		path := filepath.Join(t.TempDir(), "limits")
		table := clock.on(Open(Options{Path: path}))
		r := keyRequest("k", 1, "5/1h", "3/day", "4/month")
		if n := takeAll(t, table, r); n != 3 {
			t.Errorf("%s: %d of 3", start, n)
		}
		table.Sweep()
		if err := table.Close(); err != nil {
			t.Fatal(err)
		}
		table = clock.on(Open(Options{Path: path}))
		if err := table.Health(); err != nil {
			t.Errorf("%s: opened again: %v", start, err)
			continue
		}
		if n := takeAll(t, table, r); n != 0 {
			t.Errorf("%s: %d more after a restart", start, n)
		}
		clock.wall = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC) // it is set
		clock.pass(2 * time.Hour)
		if n := takeAll(t, table, r); n != 3 {
			t.Errorf("%s: %d of 3 with the clock set", start, n)
		}
		if err := table.Close(); err != nil {
			t.Fatal(err)
		}
		if table = Open(Options{Path: path, Now: func() time.Time { return clock.wall }}); table.Health() != nil {
			t.Errorf("%s: opened with the clock set: %v", start, table.Health())
		}
		_ = table.Close()
	}
}
