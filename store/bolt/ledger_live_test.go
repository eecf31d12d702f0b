//go:build unix

package bolt_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

var ledgerNow = time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC)

var bigKeep = usage.Keep{Usage: 400 * 24 * time.Hour, Calls: 30 * 24 * time.Hour, Last: 200}

func ledgerKey(n int) string { return "key_" + strings.Repeat("0", 20-len(itoa(n))) + itoa(n) }

// useBatch is use of count keys from a number on, with calls.
func useBatch(id byte, from, count int, at time.Time) usage.Batch {
	b := usage.Batch{ID: [16]byte{id, byte(from), byte(from >> 8), byte(from >> 16)}}
	for n := from; n < from+count; n++ {
		b.Counters = append(b.Counters, usage.Counter{
			Event: usage.Event{Key: ledgerKey(n), Credential: 1, Route: usage.Route{Site: "api", Rules: []string{"read"}, Method: "GET"}},
			Hour:  at.Truncate(time.Hour), Requests: 1, Statuses: [6]uint64{2: 1}, Bytes: 100, First: at, Last: at,
		})
		b.Calls = append(b.Calls, usage.Call{Key: ledgerKey(n), Credential: 1, Time: at, Method: "GET", Path: "/v1/things/" + itoa(n), Status: 200, UserAgent: "test"})
	}
	return b
}

// fillLedger makes a ledger with use of count keys.
func fillLedger(t *testing.T, path string, count int) {
	t.Helper()
	l := openLedger(t, path, bolt.LedgerOptions{Keep: bigKeep})
	_, err := l.AppendCalls(t.Context(), draft(1), draft(2))
	must(t, err)
	for from := 0; from < count; from += 500 {
		_, err := l.Add(t.Context(), useBatch(1, from, min(500, count-from), ledgerNow))
		must(t, err)
	}
	must(t, l.Close())
}

// ledgerCalls calls everything that touches the file.
func ledgerCalls(t *testing.T, l *bolt.Ledger) map[string]error {
	_, add := l.Add(t.Context(), useBatch(2, 5000, 1, ledgerNow))
	_, uses := l.LastUses(t.Context(), []string{ledgerKey(1)})
	_, scopes := l.Scopes(t.Context(), ledgerKey(1))
	_, _, calls := l.Calls(t.Context(), usage.CallQuery{Key: ledgerKey(1), Limit: 1})
	_, since := l.Since(t.Context())
	_, appended := l.AppendCalls(t.Context(), draft(1))
	_, verified := l.VerifyTrail(t.Context())
	l.Outcome(draft(2))
	return map[string]error{
		"Add": add, "LastUses": uses, "Scopes": scopes, "Calls": calls, "Since": since,
		"Counters":   l.Counters(t.Context(), usage.Query{}, func(*usage.Counter) bool { return true }),
		"Purge":      l.Purge(t.Context()),
		"Forget":     l.Forget(t.Context(), ledgerKey(1)),
		"Health":     l.Health(),
		"Append":     appended,
		"Verify":     verified,
		"Trail":      l.Trail(t.Context(), 0, func(*audit.Entry) bool { return true }),
		"Erase":      l.EraseTrail(t.Context(), func(*audit.Entry) bool { return true }),
		"PurgeTrail": l.PurgeTrail(t.Context(), ledgerNow.Add(time.Hour)),
	}
}

func closeSoon(t *testing.T, l *bolt.Ledger) {
	t.Helper()
	closed := make(chan struct{})
	go func() { defer close(closed); _ = l.Close() }()
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Fatal("Close did not return")
	}
}

// TestLedgerTruncatedWhileOpen cuts the live file: the process survives, and
// every call ends with an error.
func TestLedgerTruncatedWhileOpen(t *testing.T) {
	for name, divisor := range map[string]int64{"to nothing": 0, "by half": 2, "to a tenth": 10} {
		t.Run(name, func(t *testing.T) {
			path := ledgerPath(t)
			fillLedger(t, path, 2000)
			l := openLedger(t, path, bolt.LedgerOptions{Keep: bigKeep})
			size := int64(0)
			if divisor > 0 {
				size = highWater2(t, path) / divisor
			}
			must(t, os.Truncate(path, size))
			for range 2 {
				for what, err := range ledgerCalls(t, l) {
					if !errors.Is(err, keyring.ErrUnavailable) || !errors.Is(err, keyring.ErrDamaged) {
						t.Errorf("%s: %v", what, err)
					}
				}
			}
			closeSoon(t, l)
			// The lock is free again, and the way out is told.
			_, err := bolt.OpenLedger(path, bolt.LedgerOptions{})
			if err == nil || strings.Contains(err.Error(), "has it open") || strings.Contains(err.Error(), "backup") {
				t.Errorf("opening it again: %v", err)
			}
		})
	}
}

// TestLedgerPunchedWhileOpen zeroes the pages of an open ledger; its size stays.
func TestLedgerPunchedWhileOpen(t *testing.T) {
	path := ledgerPath(t)
	fillLedger(t, path, 2000)
	l := openLedger(t, path, bolt.LedgerOptions{Keep: bigKeep})
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt(make([]byte, highWater2(t, path)), 0)
	must(t, err)
	for what, err := range ledgerCalls(t, l) {
		if !errors.Is(err, keyring.ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	closeSoon(t, l)
}

func TestLedgerRemovedWhileOpen(t *testing.T) {
	for name, remove := range map[string]func(t *testing.T, path string){
		"removed":           func(t *testing.T, path string) { must(t, os.Remove(path)) },
		"replaced":          func(t *testing.T, path string) { must(t, os.Remove(path)); fillLedger(t, path, 1) },
		"moved":             func(t *testing.T, path string) { must(t, os.Rename(path, path+".old")) },
		"directory removed": func(t *testing.T, path string) { must(t, os.RemoveAll(filepath.Dir(path))) },
	} {
		t.Run(name, func(t *testing.T) {
			path := ledgerPath(t)
			fillLedger(t, path, 10)
			l := openLedger(t, path, bolt.LedgerOptions{Keep: bigKeep})
			must(t, l.Health())
			remove(t, path)
			_, add := l.Add(t.Context(), useBatch(2, 100, 1, ledgerNow))
			for what, err := range map[string]error{"Health": l.Health(), "Add": add} {
				if !errors.Is(err, keyring.ErrUnavailable) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "backup") {
					t.Errorf("%s: %v", what, err)
				}
			}
			if uses, err := l.LastUses(t.Context(), []string{ledgerKey(1)}); err != nil || len(uses[0]) != 1 {
				t.Errorf("reading: %v, %v", uses, err)
			}
			if name == "moved" { // and back
				must(t, os.Rename(path+".old", path))
				_, err := l.Add(t.Context(), useBatch(2, 100, 1, ledgerNow))
				must(t, err)
				must(t, l.Health())
			}
		})
	}
}

// TestLedgerOpenRefuses puts a ledger into conditions in which it cannot be
// used. None of the messages tells to restore a backup: that is one of keys.
func TestLedgerOpenRefuses(t *testing.T) {
	evidence := "mv FILE FILE.damaged, then restart Caddy"
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  []string
	}{
		"empty":         {func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) }, []string{"is empty", "rm FILE"}},
		"text":          {func(t *testing.T, path string) { must(t, os.WriteFile(path, bytes.Repeat([]byte("x"), 9999), 0o600)) }, []string{evidence}},
		"cut":           {truncate(2), []string{"truncated", evidence}},
		"one meta page": {func(t *testing.T, path string) { flip(t, path, 16+20, 1) }, []string{evidence}},
		"for others":    {func(t *testing.T, path string) { must(t, os.Chmod(path, 0o644)) }, []string{"Run chmod 600 FILE"}},
		"a symlink": {func(t *testing.T, path string) {
			must(t, os.Rename(path, path+"2"))
			must(t, os.Symlink(path+"2", path))
		}, []string{"symbolic link"}},
		"a store": {func(t *testing.T, path string) { must(t, os.Remove(path)); fill(t, path, 1) }, []string{"is not a ledger", "mv FILE FILE.other"}},
		"another program's": {func(t *testing.T, path string) {
			must(t, os.Remove(path))
			edit(t, path, func(tx *bbolt.Tx) error {
				b, err := tx.CreateBucket([]byte("things"))
				must(t, err)
				_, err = b.CreateBucket([]byte("nested"))
				return err
			})
		}, []string{"is not a ledger", "mv FILE FILE.other"}},
		"newer":          {func(t *testing.T, path string) { setLedgerVersion(t, path, 2) }, []string{"newer version (schema 2, this one knows 1)"}},
		"state damaged":  {func(t *testing.T, path string) { setLedgerState(t, path, []byte("?")) }, []string{"state record damaged", evidence}},
		"routes damaged": {func(t *testing.T, path string) { spoilRecord(t, path, "routes") }, []string{"names damaged", evidence}},
	} {
		t.Run(name, func(t *testing.T) {
			path := ledgerPath(t)
			fillLedger(t, path, 100)
			c.spoil(t, path)
			l, err := bolt.OpenLedger(path, bolt.LedgerOptions{Keep: bigKeep})
			if err == nil {
				_ = l.Close()
				t.Fatal("opened")
			}
			for _, want := range append(c.want, "FILE") {
				if want = strings.ReplaceAll(want, "FILE", path); !strings.Contains(err.Error(), want) {
					t.Errorf("error does not say %q:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), "backup") {
				t.Errorf("tells of a backup: %v", err)
			}
		})
	}
}

// TestLedgerDamagedRecords changes records behind the ledger's back: what was
// read is right or told, and nothing is written over them.
func TestLedgerDamagedRecords(t *testing.T) {
	for _, bucket := range []string{"days", "last", "calls"} {
		t.Run(bucket, func(t *testing.T) {
			path := ledgerPath(t)
			fillLedger(t, path, 100)
			spoilRecord(t, path, bucket)
			l := openLedger(t, path, bolt.LedgerOptions{Keep: bigKeep})
			before, err := os.ReadFile(path)
			must(t, err)
			must(t, l.Health())
			var add error
			for id := range 3 {
				_, add = l.Add(t.Context(), useBatch(byte(2+id), 0, 100, ledgerNow))
				if !errors.Is(add, keyring.ErrDamaged) || !errors.Is(add, keyring.ErrUnavailable) || !strings.Contains(add.Error(), "mv ") {
					t.Errorf("Add: %v", add)
				}
			}
			if err := l.Health(); !errors.Is(err, keyring.ErrDamaged) {
				t.Errorf("Health: %v", err)
			}
			n := 0
			err = l.Counters(t.Context(), usage.Query{}, func(c *usage.Counter) bool {
				if n++; c.Requests != 1 {
					t.Errorf("silently wrong: %+v", c)
				}
				return true
			})
			if wrong := bucket == "days"; n < 99 || errors.Is(err, keyring.ErrDamaged) != wrong {
				t.Errorf("%d counters, %v", n, err)
			}
			must(t, l.Close())
			after, err := os.ReadFile(path)
			must(t, err)
			if !bytes.Equal(before, after) {
				t.Error("the evidence was written over")
			}
		})
	}
}
