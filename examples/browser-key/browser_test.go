package browser_test

import (
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

func TestPage(t *testing.T) {
	page := rig.ReadFile(t, "README.md")
	rig.NewExample(t, "Caddyfile").FollowPage(page)
}

// Only the page itself may read: any origin that is not exactly its own is
// refused, and a refusal to another page cannot be read by it.
func TestOrigins(t *testing.T) {
	e := rig.NewExample(t, "Caddyfile", "reverse_proxy localhost:9000", "reverse_proxy {$UPSTREAM}")
	_, token := e.Create(`{"name":"page","scopes":["search:read"],"origins":["https://shop.example"]}`)
	e.Upstream.Respond("HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 2\r\n\r\nok")
	for _, c := range []struct {
		method, origin string
		status         int
		readable       bool
	}{
		{"GET", "https://shop.example", 200, true},
		{"GET", "https://shop.example:8443", 403, false},
		{"GET", "http://shop.example", 403, false},
		{"GET", "https://shop.example.evil.example", 403, false},
		{"GET", "https://evil.shop.example", 403, false},
		{"GET", "null", 403, false},
		{"GET", "*", 403, false},
		{"POST", "https://shop.example", 403, true},
		{"DELETE", "https://shop.example", 403, true},
	} {
		hits := e.Upstream.Hits()
		got := e.Request(c.method, "/v1/search", "Origin: "+c.origin, "X-API-Key: "+token)
		allowed := got.Header.Get("Access-Control-Allow-Origin")
		if got.Status != c.status || (allowed == c.origin) != c.readable || allowed != "" && !c.readable {
			t.Errorf("%s from %s: status %d, Access-Control-Allow-Origin %q", c.method, c.origin, got.Status, allowed)
		}
		if served := e.Upstream.Hits() > hits; served != (c.status == 200) {
			t.Errorf("%s from %s: served %v", c.method, c.origin, served)
		}
	}
}
