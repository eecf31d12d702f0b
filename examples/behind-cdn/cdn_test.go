package cdn_test

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

func TestPage(t *testing.T) {
	onLinux(t)
	page := rig.ReadFile(t, "README.md")
	rig.NewExample(t, "Caddyfile").FollowPage(page)
}

// What a stranger claims in X-Forwarded-For changes nothing, even where the
// site does not keep people from going round the CDN.
func TestClaimsOfStrangers(t *testing.T) {
	onLinux(t)
	e := rig.NewExample(t, "Caddyfile", "handle @cdn", "handle", "handle {\n\t\trespond", "handle /never {\n\t\trespond",
		"reverse_proxy localhost:9000", "reverse_proxy {$UPSTREAM}")
	_, office := e.Create(`{"name":"office","scopes":["contacts:read"],"allow":["198.51.100.0/24"]}`)
	_, stranger := e.Create(`{"name":"stranger","scopes":["contacts:read"],"allow":["127.0.0.2"]}`)
	for _, c := range []struct {
		from, token string
		headers     []string
		status      int
	}{
		{"127.0.0.1", office, []string{"X-Forwarded-For: 198.51.100.7"}, 200},
		{"127.0.0.1", office, []string{"X-Forwarded-For: 198.51.100.7, 127.0.0.1"}, 200},
		{"127.0.0.1", office, []string{"X-Forwarded-For: 198.51.100.7, 203.0.113.9"}, 403},
		{"127.0.0.1", office, []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 198.51.100.7"}, 200},
		{"127.0.0.1", office, []string{"X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 203.0.113.9"}, 403},
		{"127.0.0.1", office, []string{"X-Real-IP: 198.51.100.7"}, 403},
		{"127.0.0.2", office, nil, 403},
		{"127.0.0.2", office, []string{"X-Forwarded-For: 198.51.100.7"}, 403},
		{"127.0.0.2", office, []string{"X-Forwarded-For: 198.51.100.7, 127.0.0.1"}, 403},
		{"127.0.0.2", office, []string{"X-Real-IP: 198.51.100.7", "Forwarded: for=198.51.100.7", "CF-Connecting-IP: 198.51.100.7"}, 403},
		{"127.0.0.2", stranger, []string{"X-Forwarded-For: 198.51.100.7"}, 200},
	} {
		if got := requestFrom(t, e, c.from, c.token, c.headers); got.Status != c.status || got.Status == 403 && got.Reason() != "address_not_allowed" {
			t.Errorf("from %s with %v: status %d %s", c.from, c.headers, got.Status, got.Body)
		}
	}
}

// requestFrom sends a request from one of this machine's loopback addresses.
func requestFrom(t *testing.T, e *rig.Example, from, token string, headers []string) rig.Answer {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, addr)
		},
		DisableKeepAlives: true,
	}}
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+e.Site+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", token)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	answer, err := rig.Read(client.Do(req))
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// onLinux skips where the loopback network has one address only.
func onLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("127.0.0.2 plays the stranger, which only Linux has by itself")
	}
}
