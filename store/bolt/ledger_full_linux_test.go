package bolt_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// smallDisk is a file system of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size="+size+",mode=0700"); err != nil {
		t.Skipf("needs a small file system of its own: mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(disk, syscall.MNT_DETACH)) })
	return disk
}

// TestLedgerDiskFull has others fill the disk under a ledger: nothing that it
// has is dropped, the batch that did not fit is repeated when there is room
// again, and its health recovers by itself.
func TestLedgerDiskFull(t *testing.T) {
	disk := smallDisk(t, "8m")
	path := filepath.Join(disk, "keys.db.ledger")
	ballast := filepath.Join(disk, "ballast")
	l := openLedger(t, path, bolt.LedgerOptions{Keep: bigKeep})
	must(t, os.WriteFile(ballast, make([]byte, 4<<20), 0o600))

	begun, err := l.Since(t.Context())
	must(t, err)
	stored, day := 0, ledgerNow
	var full usage.Batch
	for ; ; stored += 100 {
		day = day.Add(24 * time.Hour)
		full = useBatch(1, stored, 100, day)
		began := time.Now()
		if _, err = l.Add(t.Context(), full); err != nil {
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("the refusal took %v", took)
			}
			break
		}
		if stored > 100_000 {
			t.Fatal("never full")
		}
	}
	appended := 0
	for ; ; appended++ { // what is small may fit yet
		began := time.Now()
		_, err := l.AppendCalls(t.Context(), draft(appended))
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("AppendCalls took %v", took)
		}
		if errors.Is(err, keyring.ErrFull) {
			break
		}
		must(t, err)
	}
	for range 3 {
		if !errors.Is(err, keyring.ErrFull) || !errors.Is(l.Health(), keyring.ErrFull) {
			t.Errorf("Add: %v, Health: %v", err, l.Health())
		}
		_, err = l.Add(t.Context(), full)
	}
	if since, err := l.Since(t.Context()); err != nil || !since.Equal(begun) {
		t.Errorf("dropped what was before %s, %v", since, err)
	}
	checkUse(t, l, stored)
	must(t, os.Remove(ballast))
	for deadline := time.Now().Add(time.Minute); l.Health() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no recovery: %v", l.Health())
		}
	}
	for range 2 {
		if _, err := l.Add(t.Context(), full); err != nil {
			t.Errorf("repeated: %v", err)
		}
	}
	checkUse(t, l, stored+100)
	if first, err := l.AppendCalls(t.Context(), draft(appended)); err != nil || first != uint64(appended)+1 {
		t.Errorf("AppendCalls: %d, %v; want %d", first, err, appended+1)
	}
	verify(t, l)
	must(t, l.Close())
	checkUse(t, openLedger(t, path, bolt.LedgerOptions{Keep: bigKeep}), stored+100)
}
