//go:build unix

package denylist

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe or a device is refused, without waiting for it.
func TestNoRegularFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	for _, path := range []string{pipe, "/dev/zero", "/dev/null", "/dev/tty", "/proc/self/fd"} {
		if _, err := Open(path, true); err == nil {
			t.Errorf("%s was opened", path)
		}
	}
	f := open(t, "203.0.113.7\n")
	if err := os.Rename(pipe, f.path); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		f.Look(false)
	}
	if fault := f.Status().Fault; fault == nil || !strings.Contains(fault.Error(), "no regular file") || !f.Contains(bad) {
		t.Errorf("fault %v", fault)
	}
}

// A file that may not be read is one once it may, although it is the same.
func TestNotReadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything")
	}
	f := open(t, "203.0.113.7\n")
	write(t, f.path, "192.0.2.1\n")
	os.Chmod(f.path, 0)
	f.Look(false)
	if f.Look(false) || f.Status().Fault == nil {
		t.Error("no fault")
	}
	os.Chmod(f.path, 0o600)
	if !f.Look(false) || !f.Contains(good) {
		t.Errorf("not taken: %v", f.Status().Fault)
	}
}
