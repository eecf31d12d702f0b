//go:build unix

package bolt_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/store/storetest"
)

// TestTruncatedWhileOpen cuts the live file, as logrotate's copytruncate does.
// The process survives, every call ends with an error, and memory still serves.
func TestTruncatedWhileOpen(t *testing.T) {
	for name, size := range map[string]int64{"to nothing": 0, "to two pages": 2 * int64(os.Getpagesize()), "by half": -1} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			fill(t, path, 2000)
			s := open(t, path)
			cursor, err := s.Snapshot(t.Context(), func(keyring.Record) error { return nil })
			must(t, err)
			if size < 0 {
				size = highWater2(t, path) / 2
			}
			// The cut falls into a snapshot: its slices after the first one fault.
			n := 0
			_, err = s.Snapshot(t.Context(), func(keyring.Record) error {
				if n++; n == 1 {
					must(t, os.Truncate(path, size))
				}
				return nil
			})
			if err == nil && n != 2001 || err != nil && !errors.Is(err, keyring.ErrDamaged) {
				t.Errorf("Snapshot during the cut: %v after %d records", err, n)
			}
			for range 2 {
				_, snapshot := s.Snapshot(t.Context(), func(keyring.Record) error { return nil })
				_, applied := s.Apply(t.Context(), keys(5000, 1), storetest.Told())
				_, key := s.Key(t.Context(), storetest.Key(1999).ID)
				for what, err := range map[string]error{
					"Snapshot": snapshot, "Apply": applied, "Key": key, "Health": s.Health(),
					"Keys":   s.Keys(t.Context(), "", func(*keyring.Key) bool { return true }),
					"Backup": s.Backup(t.Context(), new(bytes.Buffer)),
				} {
					if !errors.Is(err, keyring.ErrUnavailable) || !errors.Is(err, keyring.ErrDamaged) {
						t.Errorf("%s: %v", what, err)
					}
				}
			}
			enough := errors.New("enough")
			if err := s.Watch(t.Context(), cursor, func(keyring.Batch) error { return enough }); !errors.Is(err, enough) {
				t.Errorf("Watch: %v", err)
			}
			closed := make(chan struct{})
			go func() { defer close(closed); _ = s.Close() }()
			select {
			case <-closed:
			case <-time.After(time.Minute):
				t.Fatal("Close did not return")
			}
			// The lock is free again.
			if _, err := bolt.Open(path, bolt.Options{}); err == nil || bytes.Contains([]byte(err.Error()), []byte("has it open")) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

// TestPunchedWhileOpen zeroes the pages of an open store: its size stays.
func TestPunchedWhileOpen(t *testing.T) {
	path := newPath(t)
	fill(t, path, 2000)
	s := open(t, path)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt(make([]byte, highWater2(t, path)), 0)
	must(t, err)
	if _, err := s.Apply(t.Context(), keys(5000, 1), storetest.Told()); !errors.Is(err, keyring.ErrUnavailable) || !errors.Is(err, keyring.ErrDamaged) {
		t.Errorf("Apply: %v", err)
	}
	if _, err := s.Key(t.Context(), storetest.Key(1).ID); !errors.Is(err, keyring.ErrDamaged) {
		t.Errorf("Key: %v", err)
	}
	_ = s.Close()
}

// TestRemovedWhileOpen checks that no change is acknowledged that would be
// gone with the process.
func TestRemovedWhileOpen(t *testing.T) {
	for name, remove := range map[string]func(t *testing.T, path string){
		"removed":  func(t *testing.T, path string) { must(t, os.Remove(path)) },
		"replaced": func(t *testing.T, path string) { must(t, os.Remove(path)); fill(t, path, 1) },
		"moved":    func(t *testing.T, path string) { must(t, os.Rename(path, path+".old")) },
		"directory removed": func(t *testing.T, path string) {
			must(t, os.RemoveAll(filepath.Dir(path)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			fill(t, path, 10)
			s := open(t, path)
			must(t, s.Health())
			remove(t, path)
			if err := s.Health(); !errors.Is(err, keyring.ErrUnavailable) {
				t.Errorf("Health: %v", err)
			}
			if _, err := s.Apply(t.Context(), keys(100, 1), storetest.Told()); !errors.Is(err, keyring.ErrUnavailable) {
				t.Errorf("Apply: %v", err)
			}
			if _, err := s.Key(t.Context(), storetest.Key(1).ID); err != nil {
				t.Errorf("Key: %v", err)
			}
			if name == "moved" { // and back
				must(t, os.Rename(path+".old", path))
				if _, err := s.Apply(t.Context(), keys(100, 1), storetest.Told()); err != nil {
					t.Errorf("Apply after the file is back: %v", err)
				}
			}
		})
	}
}
