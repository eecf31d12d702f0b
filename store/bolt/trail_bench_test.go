//go:build unix

package bolt_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
)

// BenchmarkSearchTrail1M looks through a million entries of half a million calls.
func BenchmarkSearchTrail1M(b *testing.B) {
	if testing.Short() {
		b.Skip("takes seconds")
	}
	l, err := bolt.OpenLedger(b.TempDir()+"/ledger", bolt.LedgerOptions{Keep: bigKeep, Now: func() time.Time { return ledgerNow }})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	const entries = 1_000_000
	first := ledgerNow.AddDate(0, 0, -100)
	var some []audit.Draft
	for n := range entries / 2 {
		at, key := first.Add(time.Duration(n)*(2*100*24*time.Hour/entries)), ledgerKey(n%2500)
		some = append(some,
			audit.Call{Key: key, Org: "acme", Credential: 1, Site: "api.example.com", Rules: []string{"read", "export"}, Method: "GET", Decision: audit.Allowed,
				RequestID: fmt.Sprintf("%013d", n), Data: []string{"contact details"}}.Draft(at, audit.CallDetails{Address: "203.0.113.9", Path: "/v1/contacts/export", UserAgent: "crm-sync/2.1"}),
			audit.Outcome{Call: uint64(2*n + 1), Key: key, Org: "acme", Status: 200, Bytes: 4711, DurationMS: 12.5}.Draft(at))
		if len(some) == 1000 {
			if _, err := l.AppendCalls(b.Context(), some...); err != nil {
				b.Fatal(err)
			}
			some = nil
		}
	}
	for name, c := range map[string]struct {
		search audit.Search
		want   int
	}{
		"all":    {audit.Search{}, entries},
		"key":    {audit.Search{Key: ledgerKey(1234)}, entries / 2500},
		"nobody": {audit.Search{Actor: "nobody"}, 0},
		"both":   {audit.Search{Key: ledgerKey(1234), Action: audit.ActionCall}, entries / 5000},
		"hour":   {audit.Search{Since: first.Add(1000 * time.Hour), Until: first.Add(1001 * time.Hour)}, 416},
		"recent": {audit.Search{Since: first.Add(2399 * time.Hour)}, 416},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				n := 0
				if _, err := l.SearchTrail(b.Context(), c.search, func(*audit.Entry) bool { n++; return true }); err != nil || n != c.want {
					b.Fatal(n, err)
				}
			}
		})
	}
}
