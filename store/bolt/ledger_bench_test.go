//go:build unix

package bolt_test

import (
	"bytes"
	"crypto/rand"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// BenchmarkTrail is the rate of 64 callers each of whom waits until its entry is
// on the disk, with an outcome for each.
func BenchmarkTrail(b *testing.B) {
	l, err := bolt.OpenLedger(b.TempDir()+"/ledger", bolt.LedgerOptions{Keep: bigKeep})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	entry := audit.Draft{Time: ledgerNow, Payload: bytes.Repeat([]byte("x"), 200), Details: bytes.Repeat([]byte("y"), 150)}
	var next atomic.Int64
	took := make([]time.Duration, b.N)
	var wait sync.WaitGroup
	b.ResetTimer()
	for range 64 {
		wait.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				began := time.Now()
				if _, err := l.AppendCalls(b.Context(), entry); err != nil {
					b.Error(err)
					return
				}
				took[n-1] = time.Since(began)
				l.Outcome(entry)
			}
		})
	}
	wait.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
	b.ReportMetric(float64(took[b.N/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[b.N*99/100].Microseconds())/1000, "p99-ms")
}

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

// BenchmarkReport adds up ten million requests: of 2,500 keys from 4 places in
// each of 100 hours, a hundred days apart, ten at a time.
func BenchmarkReport(b *testing.B) {
	first := ledgerNow.Truncate(time.Hour).AddDate(0, 0, -100)
	l, err := bolt.OpenLedger(b.TempDir()+"/ledger", bolt.LedgerOptions{Keep: usage.Keep{Usage: 400 * 24 * time.Hour, Calls: time.Hour, Last: 1}})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for day := range 100 {
		hour := first.AddDate(0, 0, day)
		var batch usage.Batch
		_, _ = rand.Read(batch.ID[:])
		for key := range 2500 {
			for place := range 4 {
				batch.Counters = append(batch.Counters, usage.Counter{
					Event: usage.Event{
						Key: ledgerKey(key), Credential: 1, Place: usage.PlaceOf(netip.AddrFrom4([4]byte{10, 0, 0, byte(place)})),
						Route: usage.Route{Site: "api", Rules: []string{"read"}, Method: "GET"},
					},
					Hour: hour, Requests: 10, Statuses: [6]uint64{2: 10}, Bytes: 47110, First: hour, Last: hour.Add(time.Minute),
				})
			}
		}
		if _, err := l.Add(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	place := usage.PlaceOf(netip.AddrFrom4([4]byte{10, 0, 0, 1}))
	for name, q := range map[string]struct {
		query usage.Query
		want  uint64
	}{
		"key":     {usage.Query{Key: ledgerKey(1234)}, 4000},
		"address": {usage.Query{Place: &place}, 2_500_000},
		"all":     {usage.Query{}, 10_000_000},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if sum, err := usage.Summarize(b.Context(), l, q.query, nil); err != nil || sum.Requests != q.want {
					b.Fatal(sum.Requests, err)
				}
			}
		})
	}
}
