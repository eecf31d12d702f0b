//go:build unix

package bolt_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
)

func draft(n int) audit.Draft {
	return audit.Draft{
		Time:    ledgerNow.Add(time.Duration(n) * time.Minute),
		Payload: fmt.Appendf(nil, `{"action":"call","n":%d}`, n),
		Details: fmt.Appendf(nil, `{"addr":"192.0.2.%d"}`, n%256),
	}
}

// fillTrail makes a ledger with count entries in its trail, and leaves it open.
func fillTrail(t *testing.T, path string, count int) *bolt.Ledger {
	t.Helper()
	l := openLedger(t, path, bolt.LedgerOptions{Keep: bigKeep, Now: func() time.Time { return ledgerNow }})
	for from := 0; from < count; from += 100 {
		var drafts []audit.Draft
		for n := from; n < min(from+100, count); n++ {
			drafts = append(drafts, draft(n))
		}
		if first, err := l.AppendCalls(t.Context(), drafts...); err != nil || first != uint64(from)+1 {
			t.Fatalf("AppendCalls: %d, %v", first, err)
		}
	}
	return l
}

func trailOf(t *testing.T, l *bolt.Ledger, after uint64) (all []audit.Entry) {
	t.Helper()
	must(t, l.Trail(t.Context(), after, func(e *audit.Entry) bool { all = append(all, *e); return true }))
	return all
}

// verify checks that the trail has exactly these faults.
func verify(t *testing.T, l *bolt.Ledger, want ...string) *audit.Report {
	t.Helper()
	r, err := l.VerifyTrail(t.Context())
	must(t, err)
	var got []string
	for _, f := range r.Faults {
		got = append(got, fmt.Sprintf("%d %s", f.Seq, f.What))
	}
	if !slices.Equal(got, want) {
		t.Errorf("faults: %q\nwant: %q", got, want)
	}
	return r
}

func TestTrailAppend(t *testing.T) {
	path := ledgerPath(t)
	l := fillTrail(t, path, 1500)
	for range 2 {
		all := trailOf(t, l, 0)
		if len(all) != 1500 {
			t.Fatalf("%d entries", len(all))
		}
		for i, e := range all {
			want := draft(i)
			if e.Seq != uint64(i)+1 || !e.Time.Equal(want.Time) || string(e.Payload) != string(want.Payload) || string(e.Details) != string(want.Details) || e.Erased {
				t.Errorf("entry %d: %+v", i, e)
			}
		}
		if got := trailOf(t, l, 1400); len(got) != 100 || got[0].Seq != 1401 {
			t.Errorf("after 1400: %d entries", len(got))
		}
		if r := verify(t, l); r.First != 1 || r.Last != 1500 || r.Hash != all[1499].Hash {
			t.Errorf("%+v", r)
		}
		must(t, l.Close())
		l = openLedger(t, path, bolt.LedgerOptions{Keep: bigKeep})
	}
	n := 0
	must(t, l.Trail(t.Context(), 0, func(*audit.Entry) bool { n++; return false }))
	if n != 1 {
		t.Errorf("a walk that was ended went on to %d", n)
	}
}

func TestTrailRefuses(t *testing.T) {
	l := fillTrail(t, ledgerPath(t), 1)
	var invalid *keyring.InvalidError
	for what, drafts := range map[string][]audit.Draft{
		"nothing":   {},
		"empty":     {draft(1), {Time: ledgerNow}},
		"too large": {{Payload: make([]byte, 1<<20)}},
		"too many":  make([]audit.Draft, 5000),
	} {
		if _, err := l.AppendCalls(t.Context(), drafts...); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.AppendCalls(ctx, draft(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if got := trailOf(t, l, 0); len(got) != 1 {
		t.Errorf("%d entries", len(got))
	}
	must(t, l.Close())
	if _, err := l.AppendCalls(t.Context(), draft(1)); !errors.Is(err, keyring.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestTrailTogether appends from many goroutines while others use the ledger:
// every number is given once, and each entry is where its caller was told.
func TestTrailTogether(t *testing.T) {
	l := fillTrail(t, ledgerPath(t), 1)
	const callers, each = 32, 20
	told := make([][]uint64, callers)
	var wait sync.WaitGroup
	for c := range callers {
		wait.Go(func() {
			for i := range each {
				seq, err := l.AppendCalls(t.Context(), draft(1000*c+i), draft(1000*c+i))
				if err != nil {
					t.Error(err)
					return
				}
				told[c] = append(told[c], seq)
				if !l.Outcome(audit.Draft{Time: ledgerNow, Payload: fmt.Appendf(nil, `{"outcome_of":%d}`, seq)}) {
					t.Error("no room for an outcome")
				}
			}
		})
		if c%8 == 0 {
			wait.Go(func() {
				if _, err := l.Add(t.Context(), useBatch(byte(c), 1000*c, 100, ledgerNow)); err != nil {
					t.Error(err)
				}
				verify(t, l)
			})
		}
	}
	wait.Wait()
	want := 1 + callers*each*3
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if r := verify(t, l); r.Last == uint64(want) {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the outcomes were not written: %d entries of %d", r.Last, want)
		}
	}
	all := trailOf(t, l, 0)
	for c, seqs := range told {
		for i, seq := range seqs {
			for k := range uint64(2) {
				if got := string(all[seq-1+k].Payload); got != string(draft(1000*c+i).Payload) {
					t.Errorf("entry %d is %s", seq+k, got)
				}
			}
		}
	}
}

// TestTrailOutcomesAtClose: what waits is written when the ledger is closed.
func TestTrailOutcomesAtClose(t *testing.T) {
	path := ledgerPath(t)
	l := fillTrail(t, path, 1)
	for n := range 10 {
		if !l.Outcome(draft(100 + n)) {
			t.Error("no room")
		}
	}
	must(t, l.Close())
	l = openLedger(t, path, bolt.LedgerOptions{Keep: bigKeep})
	if got := trailOf(t, l, 0); len(got) != 11 {
		t.Errorf("%d entries", len(got))
	}
	verify(t, l)
}

// TestTrailPurge removes old entries: what is left can be verified, goes on,
// and shows it if more is taken away than was told.
func TestTrailPurge(t *testing.T) {
	const count, gone = 10_000, 9_000 // more than one step
	path := ledgerPath(t)
	l := fillTrail(t, path, count)
	must(t, l.PurgeTrail(t.Context(), ledgerNow.Add(gone*time.Minute)))
	check := func(first, last uint64) {
		t.Helper()
		if r := verify(t, l); r.First != first || r.Last < last {
			t.Errorf("%+v; want entries from %d to %d or more", r, first, last)
		}
		if all := trailOf(t, l, 0); all[0].Seq != first {
			t.Errorf("it begins with %d", all[0].Seq)
		}
	}
	check(gone+1, count+1)
	if _, err := l.AppendCalls(t.Context(), draft(count)); err != nil {
		t.Error(err)
	}
	must(t, l.PurgeTrail(t.Context(), ledgerNow.Add(gone*time.Minute))) // nothing is left to do
	last := verify(t, l).Last
	must(t, l.Close())
	l = openLedger(t, path, bolt.LedgerOptions{Keep: bigKeep})
	check(gone+1, last)
	must(t, l.Close())

	edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("trail")).Delete(seqKey(gone + 1)) })
	l = openLedger(t, path, bolt.LedgerOptions{Keep: bigKeep})
	verify(t, l, fmt.Sprintf("%d missing, up to %d", gone+1, gone+1))
	if err := l.PurgeTrail(t.Context(), ledgerNow.Add(2*count*time.Minute)); !errors.Is(err, keyring.ErrDamaged) {
		t.Errorf("a trail with a gap was purged: %v", err)
	}
}

// TestTrailErase erases the details of some entries: the chain holds, and tells
// how many.
func TestTrailErase(t *testing.T) {
	l := fillTrail(t, ledgerPath(t), 2000)
	must(t, l.EraseTrail(t.Context(), func(e *audit.Entry) bool { return strings.Contains(string(e.Details), `"192.0.2.7"`) }))
	erased := uint64(0)
	for i, e := range trailOf(t, l, 0) {
		if e.Erased {
			erased++
		}
		if gone := i%256 == 7; e.Erased != gone || (len(e.Details) == 0) != gone {
			t.Errorf("entry %d: %+v", e.Seq, e)
		}
	}
	if r := verify(t, l); r.Erased != erased || erased != 8 {
		t.Errorf("%d erased, %+v", erased, r)
	}
	if _, err := l.AppendCalls(t.Context(), draft(1)); err != nil {
		t.Error(err)
	}
	verify(t, l)
}

// TestTrailWhilePurged verifies while the trail is purged and grows.
func TestTrailWhilePurged(t *testing.T) {
	l := fillTrail(t, ledgerPath(t), 20_000)
	var wait sync.WaitGroup
	wait.Go(func() {
		for n := range 40 {
			if err := l.PurgeTrail(t.Context(), ledgerNow.Add(time.Duration(n*500)*time.Minute)); err != nil {
				t.Error(err)
			}
			if _, err := l.AppendCalls(t.Context(), draft(30_000)); err != nil {
				t.Error(err)
			}
		}
	})
	for range 20 {
		verify(t, l)
	}
	wait.Wait()
	verify(t, l)
}

// TestTrailBack reads the trail from its end, over slices and beside a purge.
func TestTrailBack(t *testing.T) {
	l := fillTrail(t, ledgerPath(t), 1500)
	for before, want := range map[uint64]uint64{0: 1500, 1500: 1499, 1: 0, 600: 599, 9999: 1500} {
		next := want
		must(t, l.TrailBack(t.Context(), before, func(e *audit.Entry) bool {
			if e.Seq != next {
				t.Fatalf("before %d: %d, want %d", before, e.Seq, next)
			}
			next--
			return true
		}))
		if next != 0 {
			t.Errorf("before %d: it ended at %d", before, next)
		}
	}
	must(t, l.PurgeTrail(t.Context(), ledgerNow.Add(1490*time.Minute)))
	n := 0
	must(t, l.TrailBack(t.Context(), 0, func(*audit.Entry) bool { n++; return true }))
	if n != 11 { // and what tells of the purge
		t.Errorf("%d entries", n)
	}
}
