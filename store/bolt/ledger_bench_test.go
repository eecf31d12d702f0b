//go:build unix

package bolt_test

import (
	"crypto/rand"
	"net/netip"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// BenchmarkLedgerAdd adds one second's worth of counters that are there already:
// of 2,500 keys, each from 4 places, with a call of each.
func BenchmarkLedgerAdd(b *testing.B) {
	l, err := bolt.OpenLedger(b.TempDir()+"/ledger", bolt.LedgerOptions{Keep: bigKeep})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	var batch usage.Batch
	for key := range 2500 {
		for place := range 4 {
			batch.Counters = append(batch.Counters, usage.Counter{
				Event: usage.Event{
					Key: ledgerKey(key), Credential: 1, Place: usage.PlaceOf(netip.AddrFrom4([4]byte{10, 0, 0, byte(place)})),
					Route: usage.Route{Site: "api", Rules: []string{"read"}, Method: "GET"},
				},
				Hour: ledgerNow.Truncate(time.Hour), Requests: 2, Statuses: [6]uint64{2: 2}, Bytes: 4711, First: ledgerNow, Last: ledgerNow,
			})
		}
	}
	add := func() {
		_, _ = rand.Read(batch.ID[:])
		if _, err := l.Add(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	add()
	for b.Loop() {
		add()
	}
}
