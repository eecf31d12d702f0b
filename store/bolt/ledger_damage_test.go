//go:build unix

package bolt_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

const childFlips = "BOLT_TEST_FLIPS"

// childSpoilt opens and uses one spoilt copy of a ledger after another.
func childSpoilt(path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	pageSize := os.Getpagesize()
	perPage, _ := strconv.Atoi(os.Getenv(childFlips))
	rnd := rand.New(rand.NewPCG(1, uint64(perPage)))
	try := func(what string, change func(b []byte)) {
		spoilt := bytes.Clone(data)
		change(spoilt)
		if err := os.WriteFile(path+".spoilt", spoilt, 0o600); err != nil {
			panic(err)
		}
		fmt.Println(what)
		useSpoilt(path + ".spoilt")
	}
	for page := range len(data) / pageSize {
		for range perPage {
			bit := page*pageSize*8 + rnd.IntN(8*96)
			try(fmt.Sprint("bit ", bit), func(b []byte) { b[bit/8] ^= 1 << (bit % 8) })
		}
		for name, with := range map[string][]byte{
			"zeroed": make([]byte, pageSize), "ones": bytes.Repeat([]byte{0xff}, pageSize),
			"next": data[(page+1)*pageSize%len(data):][:pageSize],
			// A page that was something else before, as after a lost write.
			"third": data[3*pageSize:][:pageSize],
		} {
			try(fmt.Sprint(name, " page ", page), func(b []byte) { copy(b[page*pageSize:], with) })
		}
	}
	fmt.Println("end")
	os.Exit(0)
}

func useSpoilt(path string) {
	ctx := context.Background()
	l, err := bolt.OpenLedger(path, bolt.LedgerOptions{Keep: bigKeep})
	if err != nil {
		return
	}
	_, _ = l.Add(ctx, useBatch(9, 0, 50, ledgerNow))
	_ = l.Counters(ctx, usage.Query{}, func(*usage.Counter) bool { return true })
	_, _ = l.LastUses(ctx, []string{ledgerKey(1), ledgerKey(2)})
	_, _, _ = l.Calls(ctx, usage.CallQuery{Key: ledgerKey(1), Limit: 10})
	_, _ = l.Gaps(ctx, usage.Span{})
	_ = l.Purge(ctx)
	_ = l.Forget(ctx, ledgerKey(3))
	_ = l.Close()
}

// TestLedgerSpoilt spoils each page of a ledger in many ways. Unlike a store it
// is not checked when it is opened, so a wrong page may go unnoticed as long as
// it is not used; but it never ends the process, or keeps it from going on.
func TestLedgerSpoilt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	fillLedger(t, path, 500)
	t.Setenv(childFlips, itoa(2**flips))
	must(t, os.Truncate(path, highWater(t, path)))
	_, out := child(t, "spoilt ledgers", path) // its last words go to our stderr
	last, n := "", 0
	for lines := bufio.NewScanner(out); lines.Scan(); n++ {
		last = lines.Text()
	}
	if last != "end" {
		t.Fatalf("the process ended at %q", last)
	}
	t.Logf("%d spoilt files", n-1)
}
