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
