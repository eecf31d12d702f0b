//go:build linux

package faults

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDiskFull fills the disk of the store while keys are used and managed, and
// frees it again.
func TestDiskFull(t *testing.T) {
	const id = "R06"
	s := newServer(t)
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		skip(t, id, "disk full", "needs a small file system of its own: mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s.store = filepath.Join(disk, "keys.db")
	s.start()
	tr := s.traffic(time.Millisecond, s.expectations())
	b := newBook(s, 2)

	var slowest, back time.Duration
	refused, rounds := 0, amount(2, 10)
	for round := range rounds {
		for range 20 {
			for _, c := range b.clerks {
				if _, err := c.step(); err != nil {
					t.Fatal(err)
				}
			}
		}
		ballast := filepath.Join(disk, "ballast")
		fillDisk(t, ballast)
		// What is left in the file is used up first.
		full := false
		for i := range 2000 {
			began := time.Now()
			r, err := s.manage(t.Context(), "POST", "/keys", fmt.Sprintf(`{"name":"ballast %d %d","metadata":{"big":%q}}`, round, i, bigText))
			if err != nil {
				t.Fatal(err)
			}
			if r.status == http.StatusCreated {
				continue
			}
			full = true
			slowest = max(slowest, time.Since(began))
			if err := wantProblem(r, http.StatusInsufficientStorage, s.store, "no space left", "Nothing was changed"); err != nil {
				t.Fatalf("disk full: %v", err)
			}
			if refused++; refused%100 == 0 {
				break
			}
		}
		if !full {
			t.Fatal("the disk never became full")
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		freed := time.Now()
		for {
			_, _, r, err := s.create(context.Background(), fmt.Sprint("after ", round))
			if err != nil || time.Since(freed) > patience {
				t.Fatalf("after space was freed: %v %s", err, r.body)
			}
			if r.status == http.StatusCreated {
				break
			}
			time.Sleep(10 * time.Millisecond) // nothing signals that the store recovered but that it does
		}
		back = max(back, time.Since(freed))
	}
	ok, summary := tr.halt()
	within(t, id, "disk full: a change is refused with 507 and the cause", "1 s", time.Second, slowest, "%d refusals, slowest %s", refused, milliseconds(slowest))
	must(t, id, "disk full: decisions meanwhile", "0 wrong, 0 failed", ok, "%s", summary)
	within(t, id, "changes are possible again after space was freed, without help", "5 s", 5*time.Second, back, "slowest of %d: %s", rounds, milliseconds(back))

	// What was acknowledged before, between and after is there after a crash.
	s.kill()
	s.start()
	var err error
	for _, c := range b.clerks {
		for _, e := range c.entries {
			got, found, getErr := s.get(e.id)
			if getErr != nil || !found {
				err = fmt.Errorf("%s: found %v, %v", e.id, found, getErr)
			} else if cmp := b.compare(e, got, true); cmp != nil {
				err = cmp
			}
		}
	}
	must(t, id, "acknowledged writes lost on a full disk", "0", err == nil, "%d writes; %s", b.acknowledged(), errText(err))
}

// bigText makes a record large, so that few fill the disk.
var bigText = strings.Repeat("x", 480)

// fillDisk writes a file until there is no space.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.CopyN(f, zeros{}, 64<<20); err == nil {
		t.Fatal("64 MB did not fill the disk")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
