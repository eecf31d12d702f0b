package caddyapikey

import (
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/lockout"
)

// newLockoutCall provisions a handler, and a request from 192.0.2.1.
func newLockoutCall(tb testing.TB, on ...LockoutRule) (*Lockout, *nopWriter, *http.Request) {
	tb.Helper()
	tb.Setenv("XDG_DATA_HOME", tb.TempDir())
	off := false
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: &off}},
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}}}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	h := &Lockout{Name: "bench", On: on}
	if err := h.Provision(ctx); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = h.state.release() })
	w := &nopWriter{http.Header{}}
	r := caddyhttp.PrepareRequest(httptest.NewRequest("GET", "/", nil), caddy.NewReplacer(), w, new(caddyhttp.Server))
	return h, w, r
}

// BenchmarkLockout is what a request costs that is let pass, alone and while a
// thousand addresses are locked and a million are counted, and one that is
// refused.
func BenchmarkLockout(b *testing.B) {
	serve := func(name string, h *Lockout, w http.ResponseWriter, r *http.Request) {
		vars := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				delete(vars, lockoutsVar)
				if err := h.ServeHTTP(w, r, nopHandler{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	h, w, r := newLockoutCall(b)
	serve("idle", h, w, r)
	guard, err := h.state.guard()
	if err != nil {
		b.Fatal(err)
	}
	for i := range uint32(1_000_000) {
		guard.Count(host4(i), 429)
	}
	for i := range uint32(1000) {
		if _, err := guard.Lock(host4(i), time.Hour, ""); err != nil {
			b.Fatal(err)
		}
	}
	serve("busy", h, w, r)
	if _, err := guard.Lock(netip.MustParseAddr("192.0.2.1"), time.Hour, ""); err != nil {
		b.Fatal(err)
	}
	serve("locked", h, w, r)
}

// BenchmarkLockoutRequest is what a request costs that is counted as one, of a
// thousand addresses in turn.
func BenchmarkLockoutRequest(b *testing.B) {
	h, w, r := newLockoutCall(b, LockoutRule{"request", lockout.MaxLimit - 1, caddy.Duration(time.Second)})
	vars := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	addrs := make([]any, 1000)
	for i := range addrs {
		addrs[i] = host4(uint32(i)).String()
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		delete(vars, lockoutsVar)
		vars[caddyhttp.ClientIPVarKey] = addrs[i%len(addrs)]
		i++
		if err := h.ServeHTTP(w, r, nopHandler{}); err != nil {
			b.Fatal(err)
		}
	}
}

// host4 returns one of 2^24 addresses.
func host4(i uint32) netip.Addr {
	var addr [4]byte
	binary.BigEndian.PutUint32(addr[:], 10<<24|i)
	return netip.AddrFrom4(addr)
}

// A request that passes costs no allocation, also if it is counted.
func TestLockoutAllocations(t *testing.T) {
	h, w, r := newLockoutCall(t, LockoutRule{"request", 60000, caddy.Duration(time.Hour)})
	vars := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	if got := testing.AllocsPerRun(1000, func() {
		delete(vars, lockoutsVar)
		if err := h.ServeHTTP(w, r, nopHandler{}); err != nil {
			t.Error(err)
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
