package caddyapikey

import (
	"maps"
	"net/http"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/limit"
)

// What the trail refuses costs nothing, though limits come before it.
func TestRefusedByAuditCostsNothing(t *testing.T) {
	c := limitCall(t, limit.Limit{Amount: 5, Span: 3600}, limit.Limit{Amount: 5, Span: limit.Day})
	c.h.Rules[0].Audit = true
	c.h.provisionAudit()
	use := c.h.app.use.Swap(nil) // there is no trail without a record of use
	w := &statusWriter{nopWriter: *c.w}
	serve := func(want int) {
		t.Helper()
		clear(w.header)
		*w = statusWriter{nopWriter: w.nopWriter, status: http.StatusOK}
		maps.Copy(c.r.Header, c.headers)
		*c.repl = c.pristine
		if err := c.h.ServeHTTP(w, c.r, nopHandler{}); err != nil || w.status != want {
			t.Fatalf("status %d, %v; want %d", w.status, err, want)
		}
	}
	for range 20 {
		serve(http.StatusServiceUnavailable)
		if w.header["Ratelimit"] != nil {
			t.Error("the answer tells of limits")
		}
	}
	c.h.app.use.Store(use)
	for range 5 {
		serve(http.StatusOK)
	}
	serve(http.StatusTooManyRequests)
}

// statusWriter notes the status.
type statusWriter struct {
	nopWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) { w.status = status }
