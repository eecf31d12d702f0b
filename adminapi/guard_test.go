package adminapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckListener(t *testing.T) {
	loopback := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2019}
	for name, tc := range map[string]struct {
		local  net.Addr
		listen string
		tls    *tls.ConnectionState
		ok     bool
	}{
		"loopback":                  {loopback, "127.0.0.1:2019", nil, true},
		"localhost":                 {loopback, "localhost:2019", nil, true},
		"IPv6 loopback":             {&net.TCPAddr{IP: net.IPv6loopback}, "[::1]:2019", nil, true},
		"127/8":                     {&net.TCPAddr{IP: net.IPv4(127, 9, 9, 9)}, "127.9.9.9:2019", nil, true},
		"unix":                      {&net.UnixAddr{Name: "/run/caddy.sock", Net: "unix"}, "unix//run/caddy.sock", nil, true},
		"mutual TLS":                {&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, ":2021", &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}}, true},
		"TLS alone":                 {&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, ":2021", &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}, false},
		"wildcard":                  {loopback, ":2019", nil, false},
		"0.0.0.0":                   {loopback, "0.0.0.0:2019", nil, false},
		"::":                        {loopback, "[::]:2019", nil, false},
		"mapped wildcard":           {loopback, "[::ffff:0.0.0.0]:2019", nil, false},
		"public":                    {&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, "192.0.2.1:2019", nil, false},
		"name":                      {loopback, "admin.example:2019", nil, false},
		"localhost, public address": {&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, "localhost:2019", nil, false},
		"inherited descriptor":      {loopback, "fd/3", nil, false},
		"no address":                {nil, "localhost:2019", nil, false},
		"no listen address":         {loopback, "", nil, false},
		"nonsense":                  {loopback, "localhost:x", nil, false},
	} {
		ctx := context.WithValue(t.Context(), http.ServerContextKey, &http.Server{Addr: tc.listen})
		if tc.local != nil {
			ctx = context.WithValue(ctx, http.LocalAddrContextKey, tc.local)
		}
		r := (&http.Request{TLS: tc.tls}).WithContext(ctx)
		if err := checkListener(r); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := checkListener(new(http.Request)); err == nil {
		t.Error("a request from nowhere is let in")
	}
}

func TestUnsafeListeners(t *testing.T) {
	s := newServer(t)
	for _, host := range []string{"", "0.0.0.0"} {
		port := s.move()
		s.load(`"listen":"`+host+":"+port+`"`, `"api_keys":{}`)
		for _, path := range []string{"keys", "backup", "openapi.json", "nothing"} {
			s.do("GET", path, "").problem(403, "unsafe-listener", "")
		}
		s.do("POST", "keys", `{"name":"x"}`).problem(403, "unsafe-listener", "")
		s.do("POST", "keys", `{"name":"x"}`, "Host", "evil.example").problem(403, "unsafe-listener", "")
	}

	socket := filepath.Join(t.TempDir(), "admin.sock")
	s.load(`"listen":"unix/`+socket+`|0600"`, `"api_keys":{}`)
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	s.read(client.Get("http://caddy/api_keys/keys")).want(200)
	client.CloseIdleConnections()

	// Names that the operator allows go on working; others do not.
	port := s.move()
	s.load(`"listen":"127.0.0.1:`+port+`","origins":["caddy.internal:`+port+`"]`, `"api_keys":{}`)
	s.do("GET", "keys", "", "Host", "caddy.internal:"+port).want(200)
	if a := s.do("GET", "keys", "", "Host", "evil.example:"+port); a.status != 403 {
		t.Errorf("another host: %d", a.status)
	}
}

// What a page of another site can send without asking changes nothing.
func TestCrossSite(t *testing.T) {
	s := newServer(t)
	id, _ := s.create("")
	for _, contentType := range []string{"application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", "text/json", "application/json; charset=latin1", "application/merge-patch+json", "application/json, text/plain", "*/*", ""} {
		for _, tc := range []struct{ method, path string }{{"POST", "keys"}, {"POST", "import"}, {"POST", "keys/" + id + "/rotate"}, {"PATCH", "keys/" + id}, {"PUT", "orgs/x"}, {"POST", "keys/" + id + "/revoke"}} {
			s.send(tc.method, tc.path, strings.NewReader(`{"name":"x"}`), "Content-Type", contentType).problem(415, "not-json", "")
		}
	}
	s.send("POST", "keys/"+id+"/revoke", nil, "Content-Type", "text/plain").problem(415, "not-json", "")
	origin := "http://" + s.addr
	s.send("POST", "keys/"+id+"/revoke", nil, "Origin", origin, "Sec-Fetch-Mode", "cors", "Sec-Fetch-Site", "same-site").problem(415, "not-json", "")
	for _, headers := range [][]string{{"Origin", "http://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Mode", "no-cors"}, {"Sec-Fetch-Mode", "navigate"}} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			if a := s.send(method, "keys/"+id+"/revoke", nil, headers...); a.status != 403 && a.status != 400 || strings.Contains(a.body, id) {
				t.Errorf("%s with %v: %d %s", method, headers, a.status, a.body)
			}
		}
	}
	s.do("GET", "keys/"+id, "").want(200).is(`1`, "revision").is(`"active"`, "state")
	s.send("POST", "keys/"+id+"/suspend", nil).want(200)
	s.send("POST", "keys/"+id+"/resume", strings.NewReader(`{}`), "Content-Type", "Application/JSON; charset=UTF-8").want(200)
}
