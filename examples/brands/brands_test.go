package brands_test

import (
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

func TestPage(t *testing.T) {
	page := rig.ReadFile(t, "README.md")
	rig.NewExample(t, "Caddyfile").FollowPage(page)
}

// The key of one brand reaches no other, however the path is written.
func TestOneBrandOnly(t *testing.T) {
	e := rig.NewExample(t, "Caddyfile", "reverse_proxy localhost:9000", "reverse_proxy {$UPSTREAM}")
	_, token := e.Create(`{"name":"team 7","scopes":["brands/7:use"]}`)
	request := func(target string) string {
		return e.Raw("GET " + target + " HTTP/1.1\r\nHost: " + e.Site + "\r\nConnection: close\r\nAuthorization: Bearer " + token + "\r\n\r\n")
	}
	for _, target := range []string{"/v1/brands/7", "/v1/brands/7/", "/v1/brands/7/prices?brand=8", "/v1/brands/%37/prices"} {
		if got := request(target); got[:12] != "HTTP/1.1 200" {
			t.Errorf("%s: %.40q", target, got)
		}
	}
	hits := e.Upstream.Hits()
	for _, target := range []string{
		"/v1/brands/8", "/v1/brands", "/v1/brands/", "/v1/brands/*", "/v1/brands/%2a", "/v1/brands/7:use", "/v1/brands/7*",
		"/v1/brands//7", "/v1/brands//8", "/v1//brands/7/8", "//v1/brands/7",
		"/v1/brands/7%2f8", "/v1/brands/7%2F..%2F8", "/v1/brands/7%252f8", "/v1/brands/8%2f7", "/v1/brands%2f8",
		"/v1/brands/7/../8", "/v1/brands/7/%2e%2e/8", "/v1/brands/./8", "/v1/brands/7\\..\\8", "/v1/brands/7%5c..%5c8",
		"/v1/brands/7;/../8", "/v1/brands/7;8", "/v1/brands/8%00", "/v1/brands/07", "/v1/brands/7%20",
		"/V1/brands/7", "/v1/Brands/8", "/v1/brands/8?x=/v1/brands/7", "/v1/brands/８",
	} {
		if got := request(target); got[:12] != "HTTP/1.1 403" && got[:12] != "HTTP/1.1 400" {
			t.Errorf("%s: %.40q", target, got)
		}
	}
	if e.Upstream.Hits() != hits {
		t.Errorf("a refused request reached the API\n%s", e.Upstream.Last())
	}
}
