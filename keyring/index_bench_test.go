package keyring

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"slices"
	"testing"
)

// testKeyID returns a key id of the regular form.
func testKeyID(n uint64) string {
	id := appendBase32([]byte(keyIDPrefix), 1_700_000_000_000+n)
	return string(appendBase32(id, n*0x9E3779B97F4A7C15>>14))
}

func testDigest(n uint64) (d [32]byte) {
	rnd := rand.New(rand.NewPCG(n, 7))
	for i := 0; i < 32; i += 8 {
		binary.LittleEndian.PutUint64(d[i:], rnd.Uint64())
	}
	return d
}

// testRecords returns n keys with one token each, as a large service has them:
// names of 16 bytes, 1,000 owners, and 1,000 orgs whose keys are alike.
func testRecords(n int) []Record {
	orgs := min(n, 1000)
	records := make([]Record, 0, n+orgs)
	for i := range orgs {
		records = append(records, Record{Org: &Org{Name: fmt.Sprintf("org-%04d", i), State: StateActive}})
	}
	for i := range n {
		group := i % orgs
		records = append(records, Record{Key: &Key{
			ID:          testKeyID(uint64(i)),
			Name:        fmt.Sprintf("integration %04d", i%10000),
			Org:         fmt.Sprintf("org-%04d", group),
			Owner:       fmt.Sprintf("owner%04d@example.com", group),
			State:       StateActive,
			Scopes:      []string{"contacts:read", "deals:*"},
			Signing:     SigningOff,
			Credentials: []Credential{{N: 1, Kind: KindToken, Digest: testDigest(uint64(i))}},
		}})
	}
	return records
}

// heap returns the bytes that are in use after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// load fills an index in parts that are dropped at once, as from a store.
func load(n int) *index {
	ix := newIndex(0)
	records := testRecords(min(n, 1000))
	ix.stage(records)
	for i := len(records) / 2; i < n; {
		chunk := make([]Record, 0, 1<<16)
		for ; i < n && len(chunk) < cap(chunk); i++ {
			k := *records[1000+i%1000].Key
			k.ID = testKeyID(uint64(i))
			k.Credentials = []Credential{{N: 1, Kind: KindToken, Digest: testDigest(uint64(i))}}
			chunk = append(chunk, Record{Key: &k})
		}
		ix.stage(chunk)
	}
	ix.publish()
	return ix
}

var benchSizes = []int{1_000, 100_000, 1_000_000}

func BenchmarkIndexLookup(b *testing.B) {
	for _, n := range benchSizes {
		ix := load(n)
		for _, c := range []struct {
			name  string
			first uint64
		}{{"known", 0}, {"unknown", 1 << 40}} {
			digests := make([][32]byte, 1<<16)
			for i := range digests {
				digests[i] = testDigest(c.first + rand.Uint64N(uint64(n)))
			}
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				b.ReportAllocs()
				found := 0
				for i := 0; b.Loop(); i++ {
					if e, ok := ix.snapshot().byDigest(&digests[i&(1<<16-1)]); ok && e.state() == StateActive {
						found++
					}
				}
				if (found > 0) != (c.first == 0) {
					b.Fatal(found)
				}
			})
		}
	}
}

// BenchmarkIndexDecision is a look-up with all that a decision reads.
func BenchmarkIndexDecision(b *testing.B) {
	for _, n := range benchSizes {
		ix := load(n)
		digests := make([][32]byte, 1<<16)
		for i := range digests {
			digests[i] = testDigest(rand.Uint64N(uint64(n)))
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e, _ := ix.snapshot().byDigest(&digests[i&(1<<16-1)])
				if e.verdict(1) != InForce || !e.profile().grants.Covers("deals:read") {
					b.Fatal("not in force")
				}
			}
		})
	}
}

func BenchmarkIndexByID(b *testing.B) {
	for _, n := range benchSizes {
		ix := load(n)
		ids := make([]string, 1<<16)
		for i := range ids {
			ids[i] = testKeyID(rand.Uint64N(uint64(n)))
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, ok := ix.snapshot().byID(ids[i&(1<<16-1)]); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}

// BenchmarkIndexApply is a batch of changed keys on an index of a million.
func BenchmarkIndexApply(b *testing.B) {
	const n = 1_000_000
	for _, size := range []int{1, 100, 200_000} {
		ix := load(n)
		records := testRecords(1000)[1000:]
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.ReportAllocs()
			batch := make([]Record, size)
			state := StateSuspended
			for b.Loop() {
				b.StopTimer()
				for i := range batch {
					k := *records[i%len(records)].Key
					at := uint64(rand.IntN(n))
					k.ID, k.State = testKeyID(at), state
					k.Credentials = []Credential{{N: 1, Kind: KindToken, Digest: testDigest(at)}}
					batch[i].Key = &k
				}
				b.StartTimer()
				ix.apply(batch)
			}
		})
	}
}

// BenchmarkIndexLoad builds an index of a million keys, in one batch and in
// parts.
func BenchmarkIndexLoad(b *testing.B) {
	records := testRecords(1_000_000)
	for _, part := range []int{len(records), 1 << 16} {
		b.Run(fmt.Sprint(part), func(b *testing.B) {
			for b.Loop() {
				ix := newIndex(0)
				for rest := records; len(rest) > 0; {
					n := min(part, len(rest))
					ix.stage(rest[:n])
					rest = rest[n:]
				}
				ix.publish()
			}
		})
	}
}

// BenchmarkIndexMemory reports what an index costs: bytes, and processor time
// of one full collection. 600,000 keys are about the worst case, just after the
// shards were doubled.
func BenchmarkIndexMemory(b *testing.B) {
	for _, n := range []int{100_000, 600_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			before, gcBefore := heap(), gcTime()
			var ix *index
			for b.Loop() {
				ix = nil
				ix = load(n)
			}
			b.ReportMetric(float64(heap()-before)/float64(n), "B/key")
			b.ReportMetric((gcTime()-gcBefore)*1000, "ms/GC")
			runtime.KeepAlive(ix)
		})
	}
}

// gcTime returns the seconds of processor time that a full collection takes,
// the median of some: other work on the machine disturbs single ones.
func gcTime() float64 {
	total := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}}
	var spans []float64
	for range 51 {
		metrics.Read(total)
		before := total[0].Value.Float64()
		runtime.GC()
		metrics.Read(total)
		spans = append(spans, total[0].Value.Float64()-before)
	}
	slices.Sort(spans)
	return spans[len(spans)/2]
}
