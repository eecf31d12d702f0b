package caddyapikey

import (
	"context"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/limit"
)

// limitCall is newCall with a key that has limits.
func limitCall(tb testing.TB, limits ...limit.Limit) *call {
	tb.Helper()
	c := newCall(tb, benchPolicies[0].rules, new(Handler))
	kr := c.h.app.Keyring()
	var id string
	if err := kr.EachKey(context.Background(), func(k *keyring.Key) { id = k.ID }); err != nil {
		tb.Fatal(err)
	}
	if _, err := kr.Edit(context.Background(), id, keyring.AnyRevision, keyring.Edits{}, func(k *keyring.Key) error {
		k.Limits = limits
		return nil
	}); err != nil {
		tb.Fatal(err)
	}
	return c
}

// BenchmarkHandlerLimits is what limits add to a whole request: none, two windows,
// a window and a quota on disk.
func BenchmarkHandlerLimits(b *testing.B) {
	for _, c := range []struct {
		name   string
		limits []limit.Limit
	}{
		{"none", nil},
		{"two-windows", []limit.Limit{{Amount: limit.MaxRate, Span: 1}, {Amount: limit.MaxRate, Span: 3600}}},
		{"window-and-quota", []limit.Limit{{Amount: limit.MaxRate, Span: 1}, {Amount: limit.MaxQuota, Span: limit.Month}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			call := limitCall(b, c.limits...)
			b.ReportAllocs()
			for b.Loop() {
				if err := call.serve(); err != nil {
					b.Fatal(err)
				}
			}
			if (call.w.header["Ratelimit"] == nil) != (c.limits == nil) {
				b.Fatalf("%v", call.w.header)
			}
		})
	}
}

// Limits cost a request five allocations: how they stand, the two header fields
// and their lists.
func TestLimitAllocations(t *testing.T) {
	call := limitCall(t, limit.Limit{Amount: limit.MaxRate, Span: 1}, limit.Limit{Amount: limit.MaxQuota, Span: limit.Month})
	if got := testing.AllocsPerRun(1000, func() {
		if err := call.serve(); err != nil {
			t.Error(err)
		}
	}); got > 2+5 {
		t.Errorf("ServeHTTP allocates %v times", got)
	}
}
