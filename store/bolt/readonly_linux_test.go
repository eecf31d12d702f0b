package bolt_test

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/store/storetest"
)

// TestReadOnlyWhileOpen makes the file system of an open store read-only, as
// the kernel does after an error: noticed without a write, and over with it.
func TestReadOnlyWhileOpen(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=8m,mode=0700"); err != nil {
		t.Skipf("needs a file system of its own: mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(disk, syscall.MNT_DETACH)) })
	s, err := bolt.Open(filepath.Join(disk, "keys.db"), bolt.Options{})
	must(t, err)
	defer s.Close()
	must(t, s.Health())

	// Linux does not remount what is open for writing, so a read-only view of it
	// is put over it.
	must(t, syscall.Mount(disk, disk, "", syscall.MS_BIND, ""))
	must(t, syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""))
	if err := s.Health(); !errors.Is(err, keyring.ErrUnavailable) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("Health: %v", err)
	}
	if _, err := s.Apply(t.Context(), keys(0, 1), storetest.Told()); !errors.Is(err, keyring.ErrUnavailable) {
		t.Errorf("Apply: %v", err)
	}
	must(t, syscall.Unmount(disk, 0))
	must(t, s.Health())
	_, err = s.Apply(t.Context(), keys(0, 1), storetest.Told())
	must(t, err)
}
