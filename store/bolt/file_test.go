//go:build unix

package bolt_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/store/storetest"
)

func TestOpenCreates(t *testing.T) {
	path := newPath(t)
	open(t, path)
	for name, want := range map[string]os.FileMode{filepath.Dir(path): 0o700 | os.ModeDir, path: 0o600} {
		st, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, st.Mode(), want)
		}
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestOpenRefuses puts a store into each condition in which it must not be
// used, and checks what the operator is told.
func TestOpenRefuses(t *testing.T) {
	restore := "Restore a backup: stop Caddy, then cp <backup> FILE"
	for _, test := range []struct {
		name   string
		spoil  func(t *testing.T, path string) // of a store with a key
		damage bool
		want   []string // FILE and DIR stand for the paths
	}{
		{"relative path", nil, false, []string{"the path must be absolute"}},
		{"symbolic link", func(t *testing.T, path string) {
			must(t, os.Rename(path, path+".real"))
			must(t, os.Symlink(path+".real", path))
		}, false, []string{"is a symbolic link", "Name FILE.real in the configuration"}},
		{"dangling symbolic link", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			must(t, os.Symlink(path+".real", path))
		}, false, []string{"is a symbolic link"}},
		{"directory", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			must(t, os.Mkdir(path, 0o700))
		}, false, []string{"is not a regular file"}},
		{"pipe", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			mkfifo(t, path)
		}, false, []string{"is not a regular file"}},
		{"hard link", func(t *testing.T, path string) { must(t, os.Link(path, path+".2")) },
			false, []string{"has 2 names", "cp FILE FILE.copy && mv FILE.copy FILE"}},
		{"readable by others", func(t *testing.T, path string) { must(t, os.Chmod(path, 0o640)) },
			false, []string{"mode 0640", "Run chmod 600 FILE"}},
		{"directory of others", func(t *testing.T, path string) { must(t, os.Chmod(filepath.Dir(path), 0o770)) },
			false, []string{"mode 0770", "Run chmod go-w DIR"}},
		{"directory owned by another user", func(t *testing.T, path string) {
			if os.Geteuid() != 0 {
				t.Skip("only root can give a directory away")
			}
			must(t, os.Chown(filepath.Dir(path), 4711, -1))
		}, false, []string{"belongs to user 4711", "Run chown 0 DIR"}},
		{"empty", func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) },
			false, []string{"is empty", "cp <backup> FILE", "rm FILE"}},
		{"text file", func(t *testing.T, path string) {
			must(t, os.WriteFile(path, []byte(strings.Repeat("not a store\n", 1000)), 0o600))
		}, false, []string{"is not a store", "Choose another path"}},
		{"short text file", func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte("x"), 0o600)) },
			false, []string{"is not a store", "Choose another path"}},
		{"all zeros", func(t *testing.T, path string) { must(t, os.WriteFile(path, make([]byte, 1<<20), 0o600)) },
			true, []string{"pages 0 and 1 damaged", restore}},
		{"another program's database", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			edit(t, path, func(tx *bbolt.Tx) error {
				b, err := tx.CreateBucket([]byte("things"))
				must(t, err)
				_, err = b.CreateBucket([]byte("nested"))
				return err
			})
		}, false, []string{"is a database of another program", "Choose another path"}},
		{"newer version", func(t *testing.T, path string) { setSchema(t, path, 3) },
			false, []string{"was written by a newer version (schema 3, this one knows 2)", "cp <backup> FILE"}},
		{"older version", func(t *testing.T, path string) { setSchema(t, path, 1) },
			false, []string{"was written by a version from before the first release", "mv FILE FILE.old"}},
		{"trail cut off", func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("trail")).Delete(seqKey(1)) })
		}, true, []string{"bucket trail has 2 of 3 records", restore}},
		{"truncated to a tenth", truncate(10), true, []string{"truncated: it has ", restore}},
		{"truncated to one page", func(t *testing.T, path string) { must(t, os.Truncate(path, int64(os.Getpagesize()))) },
			true, []string{"truncated: it has ", restore}},
		{"truncated by a page", func(t *testing.T, path string) { must(t, os.Truncate(path, highWater(t, path)-1)) },
			true, []string{"truncated: it has ", restore}},
		{"one meta page damaged", func(t *testing.T, path string) { flip(t, path, 16+20, 1) },
			true, []string{"page 0 damaged, so that the last change may be lost", restore, "dd if=FILE of=FILE bs="}},
		{"both meta pages damaged", func(t *testing.T, path string) {
			flip(t, path, 16+20, 1)
			flip(t, path, int64(os.Getpagesize())+16+20, 1)
		}, true, []string{"pages 0 and 1 damaged", restore}},
		{"keys gone", func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error {
				must(t, tx.DeleteBucket([]byte("keys")))
				_, err := tx.CreateBucket([]byte("keys"))
				return err
			})
		}, true, []string{"bucket keys has 0 of 100 records", restore}},
		{"bucket gone", func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("digests")) })
		}, true, []string{"bucket digests is missing", restore}},
		{"state gone", func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Delete([]byte("state")) })
		}, true, []string{"state record damaged", restore}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := newPath(t)
			if test.spoil == nil {
				path = "keys.db"
			} else {
				fill(t, path, 100)
				test.spoil(t, path)
			}
			s, err := bolt.Open(path, bolt.Options{})
			if err == nil {
				_ = s.Close()
				t.Fatal("opened")
			}
			if errors.Is(err, keyring.ErrDamaged) != test.damage {
				t.Errorf("ErrDamaged: %v, want %v", !test.damage, test.damage)
			}
			for _, want := range append(test.want, "FILE") {
				want = strings.NewReplacer("FILE", path, "DIR", filepath.Dir(path)).Replace(want)
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error does not say %q:\n%v", want, err)
				}
			}
		})
	}
}

// TestWayOut follows the advice for a damaged meta page.
func TestWayOut(t *testing.T) {
	path := newPath(t)
	fill(t, path, 100)
	flip(t, path, int64(os.Getpagesize())+16+40, 1)
	_, err := bolt.Open(path, bolt.Options{})
	if err == nil {
		t.Fatal("opened")
	}
	_, command, ok := strings.Cut(err.Error(), "without the last change: ")
	if !ok {
		t.Fatal(err)
	}
	shell(t, command)
	s := open(t, path)
	for n := range 3 {
		if _, err := s.Apply(t.Context(), keys(1000+n, 1), storetest.Told()); err != nil {
			t.Fatal(err)
		}
	}
	must(t, s.Close())
	open(t, path)
}

func TestOpenLeavesForeignFilesAlone(t *testing.T) {
	path := newPath(t)
	must(t, os.Mkdir(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, []byte("precious"), 0o600))
	if _, err := bolt.Open(path, bolt.Options{}); err == nil {
		t.Fatal("opened")
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "precious" {
		t.Errorf("the file now holds %q, %v", got, err)
	}
}

func TestOpenHeld(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	begun := time.Now()
	_, err := bolt.Open(path, bolt.Options{Timeout: 50 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "has it open") {
		t.Fatalf("second Open: %v", err)
	}
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
	if want := fmt.Sprintf("this process (pid %d)", os.Getpid()); locksListed() && !strings.Contains(err.Error(), want) {
		t.Errorf("does not say %q: %v", want, err)
	}
	must(t, s.Close())
	open(t, path)
}

func TestOpenSizes(t *testing.T) {
	for _, size := range []int64{-1, 1, 1<<20 - 1} {
		if _, err := bolt.Open(newPath(t), bolt.Options{MaxSize: size}); err == nil || !strings.Contains(err.Error(), "1 MiB") {
			t.Errorf("MaxSize %d: %v", size, err)
		}
	}
}

// fill makes a store of count keys, with some history behind it.
func fill(t testing.TB, path string, count int) {
	t.Helper()
	s := open(t, path)
	for _, m := range [][]keyring.Mutation{{{Org: storetest.FullOrg("acme")}}, keys(0, count/2), keys(count/2, count-count/2)} {
		if _, err := s.Apply(t.Context(), m, storetest.Told()); err != nil {
			t.Fatal(err)
		}
	}
	must(t, s.Close())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func edit(t *testing.T, path string, change func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(change))
	must(t, db.Close())
}

func highWater(t *testing.T, path string) (size int64) {
	t.Helper()
	edit(t, path, func(tx *bbolt.Tx) error { size = tx.Size(); return nil })
	return size
}

func truncate(divisor int64) func(*testing.T, string) {
	return func(t *testing.T, path string) { must(t, os.Truncate(path, highWater(t, path)/divisor)) }
}

func flip(t *testing.T, path string, at int64, bits byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	must(t, err)
	b[0] ^= bits
	_, err = f.WriteAt(b[:], at)
	must(t, err)
}

func locksListed() bool {
	data, err := os.ReadFile("/proc/locks")
	return err == nil && strings.Contains(string(data), fmt.Sprintf(" %d ", os.Getpid()))
}

// highWater2 is highWater for a file that is open.
func highWater2(t *testing.T, path string) int64 {
	t.Helper()
	copied := path + ".copy"
	data, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(copied, data, 0o600))
	defer os.Remove(copied)
	return highWater(t, copied)
}

// swap exchanges two records of the keys bucket.
func swap(t *testing.T, path, a, b string) {
	t.Helper()
	edit(t, path, func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte("keys"))
		va, vb := slices.Clone(bucket.Get([]byte(a))), slices.Clone(bucket.Get([]byte(b)))
		must(t, bucket.Put([]byte(a), vb))
		return bucket.Put([]byte(b), va)
	})
}

func itoa(n int) string { return strconv.Itoa(n) }
