package limit

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
)

// BenchmarkTake is what a limited request costs in the table: one key with two
// windows, with a quota beside them that is kept on disk, with limits of an org,
// and a hundred thousand keys in turn.
func BenchmarkTake(b *testing.B) {
	window := []Limit{{MaxRate, 1}, {MaxRate, 3600}}
	quota := []Limit{{MaxRate, 1}, {MaxQuota, Month}}
	for _, c := range []struct {
		name string
		keys int
		r    Request
	}{
		{"two-windows", 1, Request{Key: Carrier{Own: window}, Cost: 1}},
		{"window-and-quota", 1, Request{Key: Carrier{Own: quota}, Cost: 1}},
		{"key-and-org", 1, Request{Key: Carrier{Own: window}, Org: Carrier{Name: []byte("acme"), Own: quota}, Cost: 1}},
		{"two-windows-many-keys", 100_000, Request{Key: Carrier{Own: window}, Cost: 1}},
	} {
		b.Run(c.name, func(b *testing.B) {
			t := Open(Options{Path: filepath.Join(b.TempDir(), "limits")})
			b.Cleanup(func() { t.Close() })
			names := make([][]byte, c.keys)
			for i := range names {
				names[i] = fmt.Appendf(nil, "key_%020d", i)
			}
			states := make([]State, 0, 2*MaxLimits)
			i := 0
			take := func() {
				c.r.Key.Name = names[i%len(names)]
				i++
				if _, err := t.Take(context.Background(), &c.r, states); err != nil {
					b.Fatal(err)
				}
			}
			for range names {
				take()
			}
			if n := testing.AllocsPerRun(1000, take); n != 0 {
				b.Errorf("%v allocations", n)
			}
			b.ReportAllocs()
			for b.Loop() {
				take()
			}
		})
	}
}

func BenchmarkTakeParallel(b *testing.B) {
	t := New(nil)
	b.RunParallel(func(pb *testing.PB) {
		r := Request{Key: Carrier{Name: []byte("key_00000000000000000000"), Own: []Limit{{MaxRate, 1}, {MaxRate, 3600}}}, Cost: 1}
		states := make([]State, 0, 2*MaxLimits)
		for pb.Next() {
			_, _ = t.Take(context.Background(), &r, states)
		}
	})
}
