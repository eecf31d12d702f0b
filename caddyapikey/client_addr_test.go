package caddyapikey

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// caddyServers provisions servers as a configuration would, so that the tests meet Caddy's own
// resolution of the address.
func caddyServers(t testing.TB) map[string]*caddyhttp.Server {
	t.Helper()
	const trust = `"trusted_proxies": {"source": "static", "ranges": ["10.0.0.0/8", "203.0.113.1/32", "fd00::/8"]}`
	config := `{"servers": {
		"plain":  {"listen": ["127.0.0.1:0"]},
		"left":   {"listen": ["127.0.0.2:0"], "trusted_proxies_unix": true, ` + trust + `},
		"strict": {"listen": ["127.0.0.3:0"], "trusted_proxies_unix": true, "trusted_proxies_strict": 1, ` + trust + `},
		"named":  {"listen": ["127.0.0.4:0"], "client_ip_headers": ["CF-Connecting-IP", "X-Forwarded-For"], ` + trust + `},
		"both":   {"listen": ["127.0.0.5:0"], "client_ip_headers": ["CF-Connecting-IP", "X-Forwarded-For"], "trusted_proxies_strict": 1, ` + trust + `}
	}}`
	off := false
	cfg := &caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: &off}},
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}}}},
		AppsRaw: caddy.ModuleMap{"http": json.RawMessage(config)},
	}
	ctx, err := caddy.ProvisionContext(cfg)
	if err != nil {
		t.Fatal(err)
	}
	app, err := ctx.App("http")
	if err != nil {
		t.Fatal(err)
	}
	return app.(*caddyhttp.App).Servers
}

func TestClientAddr(t *testing.T) {
	servers := caddyServers(t)
	for _, tc := range []struct {
		name   string
		server string
		peer   string
		header http.Header
		want   string // "" is unknown
	}{
		// A stranger is who the connection says, whatever its headers claim.
		{"direct", "plain", "198.51.100.7:1", nil, "198.51.100.7"},
		{"direct IPv6", "plain", "[2001:db8::7]:1", nil, "2001:db8::7"},
		{"direct mapped", "plain", "[::ffff:10.1.2.3]:1", nil, "10.1.2.3"},
		{"direct with zone", "plain", "[fe80::1%eth0]:1", nil, "fe80::1"},
		{"direct over a socket", "plain", "@", nil, ""},
		{"nonsense peer", "plain", "nonsense", nil, ""},
		{"no trust, claims", "plain", "198.51.100.7:1", http.Header{
			"X-Forwarded-For": {"10.1.2.3", "10.1.2.3, 10.1.2.4"}, "X-Real-Ip": {"10.1.2.3"},
			"Forwarded": {"for=10.1.2.3"}, "Cf-Connecting-Ip": {"10.1.2.3"},
		}, "198.51.100.7"},
		{"untrusted peer, claim", "left", "198.51.100.7:1", http.Header{"X-Forwarded-For": {"10.1.2.3"}}, "198.51.100.7"},
		{"untrusted peer, claim, strict", "strict", "198.51.100.7:1", http.Header{"X-Forwarded-For": {"10.1.2.3"}}, "198.51.100.7"},
		{"untrusted peer, garbage", "left", "198.51.100.7:1", http.Header{"X-Forwarded-For": {"garbage"}}, "198.51.100.7"},

		// A trusted proxy, entries read from the left.
		{"left", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"198.51.100.7"}}, "198.51.100.7"},
		{"IPv4 with a zone", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"10.1.2.3%x"}}, ""},
		{"IPv4 with a zone, strict", "strict", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"198.51.100.7%x"}}, ""},
		{"left of several", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"198.51.100.7, 10.0.0.2"}}, "198.51.100.7"},
		{"left of two lines", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"198.51.100.7", "10.0.0.2"}}, "198.51.100.7"},
		{"left with port", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"198.51.100.7:4711"}}, "198.51.100.7"},
		{"left IPv6 with port", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"[2001:db8::7]:4711, x"}}, "2001:db8::7"},
		{"left with zone", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"fe80::1%eth0"}}, "fe80::1"},
		{"left mapped", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"::ffff:10.1.2.3"}}, "10.1.2.3"},
		{"left, the proxy itself", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"10.0.0.1"}}, "10.0.0.1"},
		{"left, absent", "left", "10.0.0.1:1", nil, "10.0.0.1"},
		{"left, other headers", "left", "10.0.0.1:1", http.Header{"X-Real-Ip": {"garbage"}}, "10.0.0.1"},
		{"left, garbage", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"garbage"}}, ""},
		{"left, unknown", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"unknown"}}, ""},
		{"left, octal", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"010.1.2.3"}}, ""},
		{"left, empty", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {""}}, ""},
		{"left, list of nothing", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {" , "}}, ""},
		{"left, garbage first", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"garbage, 10.1.2.3"}}, ""},
		{"left, empty first", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {", 10.1.2.3"}}, ""},
		{"left, empty first line", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"", "10.1.2.3"}}, ""},
		{"left, garbage later", "left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"198.51.100.7, garbage"}}, "198.51.100.7"},
		{"left, first of two headers", "named", "10.0.0.1:1", http.Header{"Cf-Connecting-Ip": {"198.51.100.7"}, "X-Forwarded-For": {"10.1.2.3"}}, "198.51.100.7"},
		{"left, garbage in the first header", "named", "10.0.0.1:1", http.Header{"Cf-Connecting-Ip": {"x"}, "X-Forwarded-For": {"10.1.2.3"}}, ""},
		{"left, second of two headers", "named", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"198.51.100.7"}}, "198.51.100.7"},

		// A trusted proxy, entries read from the right.
		{"strict", "strict", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"198.51.100.7"}}, "198.51.100.7"},
		{"strict, forged on the left", "strict", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"10.1.2.3, 198.51.100.7, 10.0.0.2"}}, "198.51.100.7"},
		{"strict, garbage on the left", "strict", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"garbage,, 198.51.100.7, 10.0.0.2"}}, "198.51.100.7"},
		{"strict over lines", "strict", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"10.1.2.3, 198.51.100.7", "10.0.0.2"}}, "198.51.100.7"},
		{"strict, mapped", "strict", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"::ffff:198.51.100.7, 10.0.0.2"}}, "198.51.100.7"},
		{"strict, absent", "strict", "10.0.0.1:1", nil, "10.0.0.1"},
		{"strict, garbage", "strict", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"garbage"}}, ""},
		{"strict, empty", "strict", "10.0.0.1:1", http.Header{"X-Forwarded-For": {""}}, ""},
		{"strict, garbage on the right", "strict", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"198.51.100.7, garbage"}}, ""},
		{"strict, empty on the right", "strict", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"198.51.100.7", ""}}, ""},
		{"strict, only proxies", "strict", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"10.0.0.3, 10.0.0.2"}}, ""},
		{"strict, the proxy itself", "strict", "203.0.113.1:1", http.Header{"X-Forwarded-For": {"203.0.113.1"}}, ""},
		{"strict, first of two headers", "both", "10.0.0.1:1", http.Header{"Cf-Connecting-Ip": {"198.51.100.7"}, "X-Forwarded-For": {"x"}}, "198.51.100.7"},
		{"strict, second of two headers", "both", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"198.51.100.7"}}, "198.51.100.7"},
		{"strict, garbage in the first header", "both", "10.0.0.1:1", http.Header{"Cf-Connecting-Ip": {"x"}, "X-Forwarded-For": {"198.51.100.7"}}, ""},

		// A trusted Unix socket has no address of its own.
		{"socket", "left", "@", http.Header{"X-Forwarded-For": {"198.51.100.7"}}, "198.51.100.7"},
		{"socket, strict", "strict", "@", http.Header{"X-Forwarded-For": {"10.1.2.3, 198.51.100.7, 10.0.0.2"}}, "198.51.100.7"},
		{"socket, absent", "left", "@", nil, ""},
		{"socket, garbage", "left", "@", http.Header{"X-Forwarded-For": {"garbage"}}, ""},
		{"socket, garbage first", "left", "@", http.Header{"X-Forwarded-For": {"garbage, 10.1.2.3"}}, ""},
		{"socket, garbage, strict", "strict", "@", http.Header{"X-Forwarded-For": {"garbage"}}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := preparedRequest(servers[tc.server], tc.peer, tc.header)
			addr, known := clientAddr(r)
			got := ""
			if known {
				got = addr.String()
			} else if addr.IsValid() {
				t.Errorf("unknown, and yet %s", addr)
			}
			if got != tc.want {
				t.Errorf("got %q, want %q; Caddy says %v", got, tc.want, caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey))
			}
		})
	}
}

// preparedRequest goes through the resolution of a Caddy server.
func preparedRequest(server *caddyhttp.Server, peer string, header http.Header) *http.Request {
	if header == nil {
		header = http.Header{}
	}
	r := &http.Request{Method: "GET", URL: &url.URL{Path: "/"}, Header: header, RemoteAddr: peer}
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, server)
}

// A handler before us may have replaced the header that Caddy read.
func TestClientAddrChangedHeader(t *testing.T) {
	servers := caddyServers(t)
	for _, server := range []string{"left", "strict"} {
		r := preparedRequest(servers[server], "10.0.0.1:1", http.Header{"X-Forwarded-For": {"198.51.100.7"}})
		r.Header.Set("X-Forwarded-For", "192.0.2.1")
		if addr, known := clientAddr(r); known {
			t.Errorf("%s: %s", server, addr)
		}
		r.Header.Del("X-Forwarded-For")
		if addr, known := clientAddr(r); !known || addr.String() != "198.51.100.7" {
			t.Errorf("%s without the header: %s, %t", server, addr, known)
		}
	}
}

func TestClientAddrOutsideCaddy(t *testing.T) {
	r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{}}
	if addr, known := clientAddr(r); known {
		t.Errorf("without a context: %s", addr)
	}
	vars := map[string]any{caddyhttp.ClientIPVarKey: "10.0.0.1", caddyhttp.TrustedProxyVarKey: true}
	if addr, known := clientAddr(r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, vars))); known {
		t.Errorf("trusted without a server: %s", addr)
	}
}

func TestClientAddrAllocs(t *testing.T) {
	servers := caddyServers(t)
	for name, r := range map[string]*http.Request{
		"direct":           preparedRequest(servers["plain"], "198.51.100.7:1", nil),
		"untrusted":        preparedRequest(servers["strict"], "198.51.100.7:1", http.Header{"X-Forwarded-For": {"10.1.2.3"}}),
		"forwarded":        preparedRequest(servers["left"], "10.0.0.1:1", http.Header{"X-Forwarded-For": {"198.51.100.7, 10.0.0.2"}}),
		"forwarded strict": preparedRequest(servers["strict"], "10.0.0.1:1", http.Header{"X-Forwarded-For": {"198.51.100.7, 10.0.0.2"}}),
	} {
		if n := testing.AllocsPerRun(100, func() { clientAddr(r) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkClientAddr(b *testing.B) {
	r := preparedRequest(caddyServers(b)["plain"], "198.51.100.7:1", nil)
	b.ReportAllocs()
	for b.Loop() {
		clientAddr(r)
	}
}
