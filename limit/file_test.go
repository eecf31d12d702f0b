package limit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync/atomic"
	"testing"
	"time"
)

// crash returns a table that is opened on the file as it is now.
func crash(t *testing.T, path string) *Table {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "limits")
	if err := os.WriteFile(copied, data, 0o600); err != nil {
		t.Fatal(err)
	}
	table := Open(Options{Path: copied})
	t.Cleanup(func() { _ = table.Close() })
	return table
}

// After a crash at any moment a quota is never overspent, and what is lost of it
// is at most the hundredth that was reserved.
func TestCrashLosesAtMostALease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	table := Open(Options{Path: path})
	defer table.Close()
	r := keyRequest("k", 7, "100000/month")
	for spent := uint64(0); spent < 30_000; {
		if !take(t, table, r) {
			t.Fatal("refused")
		}
		if spent += 7; spent%91 != 0 {
			continue
		}
		after := look(t, crash(t, path), r.Key, false)[0]
		if used := after.Amount - after.Left; used < spent || used > spent+1000+7 {
			t.Fatalf("%d spent, %d after a crash", spent, used)
		}
	}
}

func TestCloseKeepsExactlyWhatWasSpent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	table := Open(Options{Path: path})
	r := keyRequest("k", 7, "100/1s", "100/1m", "100000/month")
	r.Org = Carrier{Name: []byte("acme"), Own: limits("50/1h", "500/day")}
	take(t, table, r)
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Take(t.Context(), r, nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
	again := Open(Options{Path: path})
	defer again.Close()
	states := append(look(t, again, r.Key, false), look(t, again, r.Org, true)...)
	for i, want := range []uint64{100, 93, 99_993, 43, 493} { // a window of a second is not kept
		if states[i].Left != want {
			t.Errorf("%v: %d left, want %d", states[i].Limit, states[i].Left, want)
		}
	}
	if after := states[1].More; after < 30*time.Second || after > 66*time.Second {
		t.Errorf("the window of a minute ends in %v", after)
	}
}

func TestNoQuotasNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	table := Open(Options{Path: path})
	take(t, table, keyRequest("k", 1, "100/1s"))
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file was made")
	}
}

// The file is written anew before it has grown to much more than what is in it.
func TestFileStaysSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	table := Open(Options{Path: path})
	defer table.Close()
	for i := range 4000 {
		take(t, table, keyRequest(fmt.Sprintf("a-rather-long-name-of-a-carrier-%d", i%10), 1, "10000/day"))
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 2*minAdditions {
		t.Errorf("%v, %v", info.Size(), err)
	}
}

// What cannot be written is not spent. Once it can be, requests are let in again.
func TestFailsClosed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file, where a directory is needed
		t.Fatal(err)
	}
	var told atomic.Pointer[error]
	table := Open(Options{Path: filepath.Join(dir, "limits"), Failed: func(err error) { told.Store(&err) }})
	defer table.Close()
	r := keyRequest("k", 1, "1000/day", "100/1h")
	if _, err := table.Take(t.Context(), r, nil); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	if _, err := table.Look(r.Key, false); !errors.Is(err, ErrUnavailable) {
		t.Errorf("how limits stand is told: %v", err)
	}
	if table.Health() == nil || told.Load() == nil || *told.Load() == nil {
		t.Error("nobody is told")
	}
	if n := takeAll(t, table, keyRequest("k", 1, "10/1h")); n != 10 {
		t.Error("a window is refused, or was spent from")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		_, err := table.Take(t.Context(), r, nil)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // a directory has no signal
	}
	if table.Health() != nil || *told.Load() != nil {
		t.Error("it is not over")
	}
}

// A file that was removed or replaced is not added to.
func TestFileReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	table := Open(Options{Path: path})
	defer table.Close()
	r := keyRequest("k", 2, "40/day") // each has more reserved
	for i, spoil := range []func() error{
		func() error { return os.Remove(path) },
		func() error { return os.WriteFile(path, nil, 0o600) },
		func() error { return errors.Join(os.Remove(path), os.WriteFile(path, []byte("x"), 0o600)) },
	} {
		take(t, table, r)
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		take(t, table, r)
		if left := look(t, crash(t, path), r.Key, false)[0].Left; left > uint64(40-4*(i+1)) {
			t.Errorf("after a crash %d are left", left)
		}
	}
}

// Every cut of a file is a file without its last additions, or damage; every
// flipped bit in front of the last addition is damage.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	table := Open(Options{Path: path})
	defer table.Close()
	for i := range 20 {
		take(t, table, keyRequest(fmt.Sprintf("k%d", i), 1, "100/day"))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole, torn, err := decodeFile(data)
	if err != nil || torn || len(whole.records) != 20 {
		t.Fatalf("%d records, %v, %v", len(whole.records), torn, err)
	}
	last := len(data)
	for n := range data {
		c, torn, err := decodeFile(data[:n])
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
		if err == nil && !reflect.DeepEqual(c.records, whole.records[:len(c.records)]) {
			t.Errorf("cut to %d bytes it has other records", n)
		}
		if err == nil && !torn {
			last = n
		}
	}
	for bit := range 8 * last {
		flipped := bytes.Clone(data)
		flipped[bit/8] ^= 1 << (bit % 8)
		if _, _, err := decodeFile(flipped); !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit %d: %v", bit, err)
		}
	}
}

// FuzzFile: whatever is read as a file is the same when it is written and read
// again.
func FuzzFile(f *testing.F) {
	clock := newTestClock("2026-11-27T12:00:00Z")
	table := clock.on(New(nil))
	r := keyRequest("k", 7, "100/1m", "100000/month")
	r.Org = Carrier{Name: []byte("acme"), Own: limits("50/1h", "500/day")}
	_, _ = table.Take(f.Context(), r, nil)
	data, _ := table.encode(nil, true)
	f.Add(data)
	added := newAddition(int64(len(data)))
	added.quota(false, "k", Day, 20000, 5)
	added.flush()
	f.Add(append(data, added.data...))
	f.Add(newImage().image())
	forgetful := newImage()
	forgetful.forgotten(true, "acme", Month, 24000)
	f.Add(forgetful.image())
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, err := decodeFile(data)
		if err != nil {
			return
		}
		w := newImage()
		w.saved(c.saved)
		for i := range c.records {
			r := &c.records[i]
			if !r.span.Calendar() && c.saved == 0 {
				return // a later record took back when windows were saved
			}
			if r.forgotten {
				w.forgotten(r.org, r.name, r.span, r.number)
			} else if r.span.Calendar() {
				w.quota(r.org, r.name, r.span, r.number, r.reserved)
			} else {
				win := &window{span: r.span, last: windowSteps}
				for i, n := range r.counts {
					win.counts[(win.last-windowSteps+1+int64(i))&stepMask] = n
				}
				w.window(r.org, r.name, win, win.last*r.span.step()+r.age)
			}
		}
		w.floors(c.floors)
		if again, torn, err := decodeFile(w.image()); err != nil || torn || !reflect.DeepEqual(again, c) {
			t.Fatalf("%v, %v\n%+v\n%+v", torn, err, c, again)
		}
		table := New(nil)
		table.restore(&c)
	})
}
