package caddyapikey

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	_ "github.com/caddy-apikey/caddy-apikey/store/bolt"
)

// The policies that are measured. The first shows the handler alone; the second
// is an ordinary one, whose matchers are Caddy's.
var benchPolicies = []struct {
	name  string
	rules string
}{
	{"one-rule", `[{"scopes": ["contacts:read"]}]`},
	{"matchers", `[
		{"access": "public", "match": [{"path": ["/health"]}]},
		{"match": [{"method": ["GET", "HEAD"]}], "scopes": ["contacts:read"]},
		{"match": [{"method": ["POST", "PUT", "PATCH", "DELETE"]}], "scopes": ["contacts:write"]}]`},
}

// call is one request that can be served again and again.
type call struct {
	h        *Handler
	w        *nopWriter
	r        *http.Request
	headers  http.Header
	repl     *caddy.Replacer
	pristine caddy.Replacer
}

// newCall provisions a handler with a policy, and a request with a key in force
// that has scopes and an address list.
func newCall(tb testing.TB, rules string, h *Handler) *call {
	tb.Helper()
	store, err := json.Marshal(map[string]string{"module": "bolt", "path": filepath.Join(tb.TempDir(), "store", "keys.db")})
	if err != nil {
		tb.Fatal(err)
	}
	off := false
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: &off}},
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}}}},
		AppsRaw: caddy.ModuleMap{"api_keys": fmt.Appendf(nil, `{"store": %s}`, store)},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { caddy.Stop() })
	app, err := ctx.App("api_keys")
	if err != nil {
		tb.Fatal(err)
	}
	if err := app.(*App).Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { app.(*App).Cleanup() })
	if err := json.Unmarshal([]byte(rules), &h.Rules); err != nil {
		tb.Fatal(err)
	}
	if err := h.Provision(ctx); err != nil {
		tb.Fatal(err)
	}
	_, token, err := app.(*App).Keyring().Create(context.Background(), keyring.Key{
		Name:   "CRM sync",
		Scopes: []string{"contacts:read", "deals:*"},
		Allow:  []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
	}, keyring.Issue{Prefix: "ck"})
	if err != nil {
		tb.Fatal(err)
	}

	c := &call{h: h, w: &nopWriter{http.Header{}}, repl: caddy.NewReplacer()}
	r := httptest.NewRequest("GET", "/v1/contacts?limit=50", nil) // from 192.0.2.1
	r.Header = http.Header{
		"Accept":          {"application/json"},
		"Accept-Encoding": {"gzip"},
		"Authorization":   {"Bearer " + token.Reveal()},
		"User-Agent":      {"crm-sync/2.1"},
	}
	c.headers = r.Header.Clone()
	c.r = caddyhttp.PrepareRequest(r, c.repl, c.w, new(caddyhttp.Server))
	c.pristine = *c.repl
	return c
}

// serve serves the request as it was when it came.
func (c *call) serve() error {
	clear(c.w.header)
	maps.Copy(c.r.Header, c.headers)
	*c.repl = c.pristine // or the providers of all calls would pile up
	return c.h.ServeHTTP(c.w, c.r, nopHandler{})
}

// nopWriter writes nowhere.
type nopWriter struct{ header http.Header }

func (w *nopWriter) Header() http.Header         { return w.header }
func (w *nopWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *nopWriter) WriteHeader(int)             {}

// nopHandler is the handler behind ours.
type nopHandler struct{}

func (nopHandler) ServeHTTP(http.ResponseWriter, *http.Request) error { return nil }

// BenchmarkHandlerToken is the decision alone: strict checks, rules, token,
// address list and scopes.
func BenchmarkHandlerToken(b *testing.B) {
	for _, policy := range benchPolicies {
		b.Run(policy.name, func(b *testing.B) {
			c := newCall(b, policy.rules, new(Handler))
			b.ReportAllocs()
			for b.Loop() {
				var d decision
				if c.h.decide(c.r, &d); d.why != nil {
					b.Fatal(d.why.reason)
				}
			}
		})
	}
}

// BenchmarkHandlerServeHTTP is the decision and what follows from it: headers,
// stripping, placeholders. Restoring the request is measured by itself, as
// "restore".
func BenchmarkHandlerServeHTTP(b *testing.B) {
	for _, policy := range benchPolicies {
		b.Run(policy.name, func(b *testing.B) { benchServe(b, policy.rules, new(Handler)) })
	}
	b.Run("forward", func(b *testing.B) {
		benchServe(b, benchPolicies[0].rules, &Handler{Forward: []Forward{{"id", "X-Key-Id"}}})
	})
	b.Run("restore", func(b *testing.B) {
		c := newCall(b, benchPolicies[0].rules, new(Handler))
		b.ReportAllocs()
		for b.Loop() {
			clear(c.w.header)
			delete(c.r.Header, "Authorization")
			maps.Copy(c.r.Header, c.headers)
			*c.repl = c.pristine
		}
	})
}

func benchServe(b *testing.B, rules string, h *Handler) {
	c := newCall(b, rules, h)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.serve(); err != nil {
			b.Fatal(err)
		}
	}
	if c.w.header["Vary"] == nil {
		b.Fatal("the request was not let in")
	}
}

// BenchmarkHandlerRefusal is a key that is not known, with the whole answer.
func BenchmarkHandlerRefusal(b *testing.B) {
	c := newCall(b, benchPolicies[0].rules, new(Handler))
	c.headers.Set("Authorization", "Bearer an-imported-token-that-was-never-imported")
	b.ReportAllocs()
	for b.Loop() {
		if err := c.serve(); err != nil {
			b.Fatal(err)
		}
	}
	if c.w.header["Www-Authenticate"] == nil {
		b.Fatal("the request was not refused")
	}
}

// A request with a token costs no allocation to decide about, and two to hand
// on: the placeholders' values and their provider.
func TestHandlerAllocations(t *testing.T) {
	for _, policy := range benchPolicies {
		c := newCall(t, policy.rules, new(Handler))
		if got := testing.AllocsPerRun(1000, func() {
			var d decision
			if c.h.decide(c.r, &d); d.why != nil {
				t.Error(d.why.reason)
			}
		}); got != 0 {
			t.Errorf("%s: decide allocates %v times", policy.name, got)
		}
		if got := testing.AllocsPerRun(1000, func() {
			if err := c.serve(); err != nil || c.w.header["Vary"] == nil {
				t.Error(err, c.w.header)
			}
		}); got > 2 {
			t.Errorf("%s: ServeHTTP allocates %v times, want at most 2", policy.name, got)
		}
	}
}
