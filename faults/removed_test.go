//go:build linux

package faults

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestRemoved takes the file away from the running server in the ways that
// people and disks do.
func TestRemoved(t *testing.T) {
	const id = "R09"
	ways := []struct {
		what   string
		store  func(t *testing.T, s *server) // puts the store somewhere special, if not nil
		remove func(s *server) error
		cause  string
		write  bool // found out by the first change, which is of unknown outcome
	}{
		{what: "the file is removed", remove: func(s *server) error { return os.Remove(s.store) }, cause: "the file was removed while in use"},
		{what: "its directory is removed", remove: func(s *server) error { return os.RemoveAll(filepath.Dir(s.store)) }, cause: "the file was removed while in use"},
		{what: "the file is replaced", remove: func(s *server) error {
			text, err := os.ReadFile(s.store)
			if err == nil {
				err = os.WriteFile(s.store+".new", text, 0o600)
			}
			if err == nil {
				err = os.Rename(s.store+".new", s.store)
			}
			return err
		}, cause: "the file was replaced by another one while in use"},
		{what: "the file system becomes read-only after an error (seen by the first change, not before)", store: failingFileSystem, remove: makeReadOnly, cause: "an earlier write failed", write: true},
	}
	for _, way := range ways {
		t.Run(way.what, func(t *testing.T) {
			s := newServer(t)
			if way.store != nil {
				way.store(t, s)
			}
			s.start()
			all := s.expectations()
			tr := s.traffic(time.Millisecond, all)
			if err := way.remove(s); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if way.write {
				if _, _, r, err := s.create(t.Context(), "the first"); err != nil || !strings.Contains(string(r.body), "#outcome-unknown") {
					t.Errorf("the first change: %d %s %v", r.status, r.body, err)
				}
			}
			// The health answer turns without a change, and a change is refused.
			detected := time.Duration(0)
			for detected == 0 {
				r, err := s.manage(t.Context(), "GET", "/health", "")
				if err != nil {
					t.Fatal(err)
				}
				if r.status == http.StatusServiceUnavailable && strings.Contains(string(r.body), way.cause) {
					detected = time.Since(began)
				} else if time.Since(began) > patience {
					t.Fatalf("health after %v: %d %s", patience, r.status, r.body)
				}
				time.Sleep(10 * time.Millisecond) // the interval of a monitor
			}
			refusals := 0
			for range 5 {
				_, _, r, err := s.create(t.Context(), "never")
				if err == nil {
					err = wantProblem(r, http.StatusServiceUnavailable, s.store, way.cause, "Nothing was changed")
				}
				if err != nil {
					t.Fatal(err)
				}
				refusals++
			}
			time.Sleep(200 * time.Millisecond) // traffic goes on meanwhile
			ok, summary := tr.halt()
			within(t, id, way.what+": noticed", "10 s", 10*time.Second, detected, "health after %s, %d of 5 changes refused with the cause", milliseconds(detected), refusals)
			must(t, id, way.what+": decisions meanwhile", "0 wrong, 0 failed", ok, "%s", summary)
		})
	}
}

// failingFileSystem puts the store on a file system that turns read-only when
// it finds an error in itself, as most are set up to. Newer kernels do not show
// that in any way but by refusing to write. (A remount by hand is not possible
// while the file is open for writing.)
func failingFileSystem(t *testing.T, s *server) {
	const id, what = "R09", "the file system becomes read-only after an error"
	disk, image := t.TempDir(), filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 32<<20); err != nil {
		t.Fatal(err)
	}
	for _, words := range [][]string{{"mkfs.ext4", "-q", "-F", image}, {"mount", "-o", "loop,errors=remount-ro", image, disk}} {
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			skip(t, id, what, "needs a file system of its own: %s: %v %s", words[0], err, strings.TrimSpace(string(out)))
		}
	}
	t.Cleanup(func() {
		if s.process != nil {
			s.kill()
		}
		if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	s.store = filepath.Join(disk, "keys", "keys.db")
}

// makeReadOnly tells the file system of the store that it has an error.
func makeReadOnly(s *server) error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	disk := filepath.Dir(filepath.Dir(s.store))
	m := regexp.MustCompile(regexp.QuoteMeta(" "+disk+" ") + `.* - ext4 /dev/(\S+) `).FindStringSubmatch(string(mounts))
	if m == nil {
		return fmt.Errorf("%s is not mounted", disk)
	}
	return os.WriteFile("/sys/fs/ext4/"+m[1]+"/trigger_fs_error", []byte("test"), 0)
}
