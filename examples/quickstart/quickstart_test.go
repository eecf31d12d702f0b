package quickstart_test

import (
	"os"
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// The example's site guards an upstream as its README says.
func TestQuickstart(t *testing.T) {
	caddyfile, err := os.ReadFile("Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	_, site, _ := strings.Cut(string(caddyfile), "http://localhost:8080 {\n")
	site = strings.TrimSuffix(strings.TrimSpace(site), "}")
	r := rig.New(t, "", strings.Replace(site, "localhost:9000", "{$UPSTREAM}", 1))
	_, token := r.Create(`{"name":"reader","scopes":["contacts:read"]}`)
	bearer := "Authorization: Bearer " + token
	for _, c := range []struct {
		method  string
		headers []string
		want    int
	}{{"GET", []string{bearer}, 200}, {"GET", nil, 401}, {"POST", []string{bearer}, 403}} {
		if got := r.Request(c.method, "/contacts", c.headers...); got.Status != c.want {
			t.Errorf("%s with %d headers: status %d, want %d", c.method, len(c.headers), got.Status, c.want)
		}
	}
	if r.Upstream.Hits() != 1 {
		t.Errorf("the upstream was asked %d times, want once", r.Upstream.Hits())
	}
}
