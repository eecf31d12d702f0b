//go:build unix

package bolt_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/store/storetest"
)

// One durable change after another, as a script that creates keys does it.
func BenchmarkCreateSequential(b *testing.B) {
	s := open(b, newPath(b))
	for n := 0; b.Loop(); n++ {
		if _, err := s.Apply(b.Context(), []keyring.Mutation{{Key: storetest.Key(n)}}, storetest.Told()); err != nil {
			b.Fatal(err)
		}
	}
}

// Durable changes of 16 callers at once.
func BenchmarkCreateParallel(b *testing.B) {
	s := open(b, newPath(b))
	next := make(chan int)
	go func() {
		for n := range b.N {
			next <- n
		}
		close(next)
	}()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Apply(b.Context(), []keyring.Mutation{{Key: storetest.Key(<-next)}}, storetest.Told()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// An import of 200,000 keys in one call.
func BenchmarkImport200k(b *testing.B) {
	if testing.Short() {
		b.Skip("takes seconds")
	}
	mutations := keys(0, 200_000)
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		s := open(b, newPath(b))
		b.StartTimer()
		if _, err := s.Apply(b.Context(), mutations, storetest.Told()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = s.Close()
		b.StartTimer()
	}
}

// Reading a million keys, as at start.
func BenchmarkSnapshot1M(b *testing.B) {
	path := million(b)
	s := open(b, path)
	b.ResetTimer()
	for b.Loop() {
		n := 0
		if _, err := s.Snapshot(b.Context(), func(keyring.Record) error { n++; return nil }); err != nil || n != 1_000_000 {
			b.Fatal(n, err)
		}
	}
}

// Opening a store of a million keys: the check of its whole structure.
func BenchmarkOpen1M(b *testing.B) {
	path := million(b)
	st, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(st.Size())
	b.ResetTimer()
	for b.Loop() {
		s, err := bolt.Open(path, bolt.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func million(b *testing.B) string {
	if testing.Short() {
		b.Skip("takes seconds")
	}
	path := newPath(b)
	s := open(b, path)
	for i := range 10 {
		if _, err := s.Apply(b.Context(), keys(i*100_000, 100_000), storetest.Told()); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return path
}

func keys(from, count int) []keyring.Mutation {
	all := make([]keyring.Mutation, count)
	for i := range all {
		all[i].Key = storetest.Key(from + i)
	}
	return all
}

// Verifying 100,000 entries of the usual size.
func BenchmarkVerifyTrail100k(b *testing.B) {
	if testing.Short() {
		b.Skip("takes seconds")
	}
	s := open(b, newPath(b))
	some := make([]audit.Draft, 1000)
	for i := range some {
		some[i] = audit.Draft{Time: ledgerNow, Payload: bytes.Repeat([]byte("x"), 450), Details: bytes.Repeat([]byte("y"), 200)}
	}
	for range 100 {
		if _, err := s.Apply(b.Context(), nil, some); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for b.Loop() {
		if r, err := s.VerifyTrail(b.Context()); err != nil || r.Last != 100_000 || len(r.Faults) > 0 {
			b.Fatal(r, err)
		}
	}
	b.StopTimer()
	if st, err := os.Stat(s.Path()); err == nil {
		b.ReportMetric(float64(st.Size())/100_000, "B/entry")
	}
}
