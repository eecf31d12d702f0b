package lockout

import (
	"net/netip"
	"testing"
	"time"
)

// What every request costs: an address that is not locked, while as many as possible are.
func BenchmarkRemaining(b *testing.B) {
	full := guard(b, New(DefaultLimits), policy(Rule{429, 1, time.Hour}))
	v4 := func(i uint64) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range uint64(DefaultLimits.Locks) {
		full.Count(v4(i), 429)
	}
	for _, c := range []struct {
		name  string
		guard *Guard
		addr  func(uint64) netip.Addr
	}{
		{"empty", guard(b, New(DefaultLimits), policy()), func(uint64) netip.Addr { return attacker }},
		{"free_one", full, func(uint64) netip.Addr { return attacker }},
		{"free_many", full, func(i uint64) netip.Addr { return v4(1<<20 + i*7919%(1<<18)) }},
		{"locked_one", full, func(uint64) netip.Addr { return v4(1) }},
		{"locked_many", full, func(i uint64) netip.Addr { return v4(i * 7919 % (1 << 18)) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			i := uint64(0)
			for b.Loop() {
				c.guard.Remaining(c.addr(i))
				i++
			}
		})
	}
	b.Run("locked_parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				full.Remaining(v4(1))
			}
		})
	})
}

// What a counted outcome costs with a million addresses in the table.
func BenchmarkCount(b *testing.B) {
	for _, c := range []struct {
		name  string
		addrs uint64
	}{{"one", 1}, {"million", 1_000_000}, {"flood", 1 << 40}} {
		b.Run(c.name, func(b *testing.B) {
			g := guard(b, New(DefaultLimits), policy(Rule{Refused, MaxLimit, time.Hour}))
			for i := range min(c.addrs, 2_000_000) {
				g.Count(host(i), Refused)
			}
			b.ReportAllocs()
			i := uint64(3_000_000)
			for b.Loop() {
				g.Count(host(i*7919%c.addrs), Refused)
				i++
			}
		})
	}
}
