//go:build unix

package bolt_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// childLedger adds batches for ever, and says so after each acknowledgement. It
// goes on where the ledger ends, with the batch whose outcome it does not know.
func childLedger(path string) {
	exit := func(err error) {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	l, err := bolt.OpenLedger(path, bolt.LedgerOptions{Keep: bigKeep})
	if err != nil {
		exit(err)
	}
	n := 0
	err = l.Counters(context.Background(), usage.Query{}, func(c *usage.Counter) bool { n += int(c.Requests); return true })
	if err != nil {
		exit(err)
	}
	for n = max(n-1, 0); ; n++ {
		if _, err := l.Add(context.Background(), useBatch(1, n, 1, ledgerNow)); err != nil {
			exit(err)
		}
		if _, err := l.AppendCalls(context.Background(), draft(n)); err != nil {
			exit(err)
		}
		fmt.Println(n)
	}
}

// TestLedgerKill kills a process that records at a random moment, over and over:
// nothing that was acknowledged is lost, nothing is counted twice, each kill is
// told as a gap, and the trail can be verified.
func TestLedgerKill(t *testing.T) {
	path := ledgerPath(t)
	acknowledged, killed := -1, 0
	for round := range *kills {
		c, out := child(t, "ledger", path)
		after := rand.IntN(60) // acknowledgements
		timer := time.AfterFunc(time.Duration(50+rand.IntN(100))*time.Millisecond, func() { _ = c.Process.Kill() })
		lines := bufio.NewScanner(out)
		for i := 0; lines.Scan(); i++ {
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatalf("round %d: %s", round, lines.Text())
			}
			if acknowledged = n; i == after {
				_ = c.Process.Kill()
			}
			if i == 1 {
				killed++ // it wrote, at the latest now
			}
		}
		timer.Stop()
		_ = c.Wait()
	}
	l := openLedger(t, path, bolt.LedgerOptions{Keep: bigKeep})
	stored := 0
	must(t, l.Counters(t.Context(), usage.Query{}, func(*usage.Counter) bool { stored++; return true }))
	if stored != acknowledged+1 && stored != acknowledged+2 {
		t.Errorf("%d batches are stored, %d were acknowledged", stored, acknowledged+1)
	}
	checkUse(t, l, stored)
	for n := range stored {
		calls, _, err := l.Calls(t.Context(), usage.CallQuery{Key: ledgerKey(n), Limit: 10})
		if err != nil || len(calls) != 1 {
			t.Errorf("%d calls of key %d, %v", len(calls), n, err)
		}
	}
	gaps, err := l.Gaps(t.Context(), usage.Span{})
	if err != nil || len(gaps) < killed || killed == 0 {
		t.Errorf("%d gaps after %d kills, %v", len(gaps), killed, err)
	}
	t.Logf("%d kills, %d batches, %d gaps", *kills, stored, len(gaps))

	r := verify(t, l)
	if r.Last < uint64(acknowledged+1) {
		t.Errorf("%d entries of the trail are stored, %d were acknowledged", r.Last, acknowledged+1)
	}

	// Closed in order, it has no gap.
	must(t, l.Close())
	l = openLedger(t, path, bolt.LedgerOptions{Keep: bigKeep})
	if again, err := l.Gaps(t.Context(), usage.Span{}); err != nil || len(again) > len(gaps) {
		t.Errorf("%d gaps, then %d, %v", len(gaps), len(again), err)
	}
}

// checkUse checks that each of the first count keys was used once.
func checkUse(t *testing.T, l *bolt.Ledger, count int) {
	t.Helper()
	seen := make(map[string]uint64)
	must(t, l.Counters(t.Context(), usage.Query{}, func(c *usage.Counter) bool { seen[c.Key] += c.Requests; return true }))
	for n := range count {
		if seen[ledgerKey(n)] != 1 {
			t.Errorf("key %d has %d requests", n, seen[ledgerKey(n)])
		}
	}
	if len(seen) != count {
		t.Errorf("%d keys; want %d", len(seen), count)
	}
}
