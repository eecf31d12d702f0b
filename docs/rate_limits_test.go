package docs_test

import (
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// The page of limits is about the version of caddy-ratelimit that is built in,
// and both of its configurations start without a warning about zones.
func TestRateLimitsPage(t *testing.T) {
	page := read(t, "rate-limits.md")
	if version := firsts(read(t, "../go.mod"), `(?m)^\tgithub.com/mholt/caddy-ratelimit (v\S+)$`); len(version) != 1 || !strings.Contains(page, "caddy-ratelimit "+version[0]) {
		t.Errorf("the page is not about caddy-ratelimit %v", version)
	}
	if unsafe.Sizeof(time.Time{}) != 24 || !strings.Contains(page, "a ring of 24 bytes × `events`") {
		t.Errorf("an event takes %d bytes", unsafe.Sizeof(time.Time{}))
	}
	configurations := 0
	for _, m := range fence.FindAllStringSubmatch(page, -1) {
		if m[1] != "caddyfile" {
			continue
		}
		configurations++
		site := strings.TrimSuffix(strings.TrimPrefix(m[2], "api.example.com {\n"), "}\n")
		site = strings.ReplaceAll(site, "localhost:9000", "{$UPSTREAM}")
		r := rig.New(t, "", site)
		for _, warning := range []string{"a rate limit zone", "share one limit"} {
			if strings.Contains(r.Logs(), warning) {
				t.Errorf("%s warns: %s", m[2], warning)
			}
		}
		_, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
		if answer := r.Get("/", "Authorization: Bearer "+token); answer.Status != 200 {
			t.Errorf("status %d", answer.Status)
		}
		// The usual mistake is warned of.
		r.Load("", strings.Replace("route {\n"+site+"}\n", "route {", "route {\nrate_limit {\nzone wrong {\nkey {http.api_key.id}\nevents 1\nwindow 1h\n}\n}", 1))
		if !strings.Contains(r.Logs(), "it is keyed by the API key before that is known") {
			t.Error("no warning of a zone in front of the key")
		}
	}
	if configurations != 2 {
		t.Errorf("%d configurations", configurations)
	}
}
