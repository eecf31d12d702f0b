package bolt_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/store/storetest"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

func openLedger(t *testing.T, path string, opts bolt.LedgerOptions) *bolt.Ledger {
	t.Helper()
	l, err := bolt.OpenLedger(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func ledgerPath(t *testing.T) string { return filepath.Join(t.TempDir(), "keys.db.ledger") }

func TestLedger(t *testing.T) {
	storetest.RunUsage(t, func(t *testing.T, keep usage.Keep, now func() time.Time) usage.Store {
		return openLedger(t, ledgerPath(t), bolt.LedgerOptions{Keep: keep, Now: now})
	})
}

// What was written last before a start tells whether the clock is ahead; of a new
// ledger nothing is known, and its own start does not count.
func TestWrittenBefore(t *testing.T) {
	path := ledgerPath(t)
	var want time.Time
	for _, now := range []time.Time{
		time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), time.Date(2036, 3, 2, 0, 0, 0, 0, time.UTC),
	} {
		clock := now
		l := openLedger(t, path, bolt.LedgerOptions{Now: func() time.Time { return clock }})
		if got := l.WrittenBefore(); !got.Equal(want) {
			t.Errorf("at %v: written before at %v, want %v", now, got, want)
		}
		clock = now.Add(time.Hour)
		want = clock
		if _, err := l.Add(t.Context(), usage.Batch{ID: [16]byte{byte(now.Day()), byte(now.Year())}}); err != nil {
			t.Fatal(err)
		}
		if got := l.WrittenBefore(); got.Equal(want) {
			t.Errorf("it moves to %v", got)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
