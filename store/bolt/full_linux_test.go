package bolt_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/store/storetest"
)

// TestDiskFull fills the disk under a store and frees it again.
func TestDiskFull(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Skipf("needs a small file system of its own: mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(disk, syscall.MNT_DETACH)) })
	path := filepath.Join(disk, "keys.db")
	ballast := filepath.Join(disk, "ballast")
	s, err := bolt.Open(path, bolt.Options{})
	must(t, err)
	defer s.Close()
	must(t, os.WriteFile(ballast, make([]byte, 2<<20), 0o600))

	stored := fillUp(t, s, 0)
	checkKeys(t, s, stored)
	if err := s.Backup(t.Context(), nil); !errors.Is(err, keyring.ErrFull) {
		t.Errorf("Backup: %v", err)
	}
	if _, err := bolt.Open(filepath.Join(disk, "other.db"), bolt.Options{}); !errors.Is(err, keyring.ErrFull) {
		t.Errorf("creating a second store: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(disk, ".*")); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
	must(t, os.Remove(ballast))
	for range 100 {
		if _, err := s.Apply(t.Context(), keys(stored, 1), storetest.Told()); err != nil {
			t.Fatalf("after space was freed: %v", err)
		}
		stored++
	}
	stored = fillUp(t, s, stored)
	checkKeys(t, s, stored)
	must(t, s.Close())
	checkKeys(t, open(t, path), stored)
}
