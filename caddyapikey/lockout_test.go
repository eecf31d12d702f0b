package caddyapikey_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/mholt/caddy-ratelimit"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// proxied makes every test client a proxy, so that requests can come from any
// address.
const proxied = "servers {\ntrusted_proxies static 127.0.0.0/8\ntrusted_proxies_strict\n}\n"

// behindLockout is a site with a lockout in front of keys.
func behindLockout(name string, options ...string) string {
	return fmt.Sprintf("lockout {\nname %s\n%s\n}\n%s", name, strings.Join(options, "\n"), guarded)
}

// from is the header line that a proxy sends for a client.
func from(addr string) string { return "X-Forwarded-For: " + addr }

// lockName returns a name that no other test has: state survives configurations.
func lockName(t *testing.T) string {
	return strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())) + strconv.FormatInt(time.Now().UnixNano(), 36)
}

func wantLocked(t *testing.T, got rig.Answer, longest time.Duration) {
	t.Helper()
	wantAnswer(t, got, http.StatusTooManyRequests, "abnormal-usage-detected")
	seconds, err := strconv.Atoi(got.Header.Get("Retry-After"))
	if want := longest.Seconds(); err != nil || float64(seconds) > want || float64(seconds) < want-30 {
		t.Errorf("Retry-After %q, want about %v", got.Header.Get("Retry-After"), want)
	}
	if got.Header.Get("Cache-Control") != "no-store" || got.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("headers %v", got.Header)
	}
}

// The counts of all routes and of all kinds of credentials are one count of the
// address; a good key neither resets it nor lets a locked address in; others are
// not concerned.
func TestLockoutOfRefusedCredentials(t *testing.T) {
	r := rig.New(t, proxied, behindLockout(lockName(t), "on refused 8 in 1h"))
	_, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	good := "Authorization: Bearer " + token
	attacker := from("203.0.113.7")
	for i, c := range []struct {
		path    string
		headers []string
	}{
		{"/v1/contacts", []string{good + "x"}},
		{"/v1/other", []string{"X-API-Key: nonsense"}},
		{"/v1/contacts", []string{`Authorization: Hawk id="key_nobody0000000000", ts="1", nonce="n", mac="AAAA"`}},
		{"/health", []string{good + "x"}}, // public: nothing is refused
		{"/v1/contacts", nil},             // no credential: nothing is refused
		{"/v1/contacts", []string{good}},
		{"/v1/contacts", []string{"X-API-Key: ck_" + strings.Repeat("a", 49)}},
		{"/nowhere", []string{good + "x"}},
		{"/v1/contacts", []string{good + "y", "User-Agent: another"}},
		{"/v1/contacts", []string{good + "z"}},
	} {
		if got := r.Get(c.path, append(c.headers, attacker)...); got.Reason() == "abnormal-usage-detected" {
			t.Fatalf("locked after %d requests", i)
		}
	}
	if got := r.Get("/v1/contacts", good, attacker); got.Status != 200 {
		t.Fatalf("status %d before the limit", got.Status)
	}
	wantAnswer(t, r.Get("/v1/contacts", good+"x", attacker), 401, "invalid_key")
	hits := r.Upstream.Hits()
	wantLocked(t, r.Get("/v1/contacts", good, attacker), 15*time.Minute)
	wantLocked(t, r.Get("/health", attacker), 15*time.Minute)
	wantLocked(t, r.Get("/health", from("::ffff:203.0.113.7")), 15*time.Minute)
	wantLocked(t, r.Get("/health", from("192.0.2.1, 203.0.113.7")), 15*time.Minute)
	if r.Upstream.Hits() != hits {
		t.Error("a request of the locked address reached the upstream")
	}
	wantAnswer(t, r.Get("/v1/contacts", good, from("203.0.113.8")), 200, "")
	wantAnswer(t, r.Get("/v1/contacts", good, from("203.0.113.7, 203.0.113.8")), 200, "")
	wantAnswer(t, r.Get("/v1/contacts", good), 200, "") // the proxy itself
}

// The public rule: a thousand 429s of rate_limit within a minute lock the
// address for fifteen minutes, and the default says so.
func TestLockoutCountsRateLimit(t *testing.T) {
	name := lockName(t)
	r := rig.New(t, proxied+"order rate_limit before basic_auth\n",
		"lockout {\nname "+name+"\n}\nrate_limit {\nzone "+name+" {\nkey {client_ip}\nevents 5\nwindow 10m\n}\n}\nreverse_proxy {$UPSTREAM}")
	for i := range 1005 {
		want := http.StatusTooManyRequests
		if i < 5 {
			want = http.StatusOK
		}
		if got := r.Get("/", from("2001:db8:0:1::"+strconv.FormatInt(int64(i+1), 16))); got.Status != want && i < 5 {
			t.Fatalf("request %d: status %d", i, got.Status)
		}
	}
	// All of these are one client by its /64 to us, and many to rate_limit.
	wantAnswer(t, r.Get("/", from("2001:db8:0:1::ffff")), 200, "")
	attacker := from("203.0.113.7")
	for i := range 1005 {
		got := r.Get("/", attacker)
		if got.Reason() == "abnormal-usage-detected" {
			t.Fatalf("locked at request %d", i+1)
		}
		if i >= 5 && got.Status != http.StatusTooManyRequests {
			t.Fatalf("request %d: status %d", i+1, got.Status)
		}
	}
	wantLocked(t, r.Get("/", attacker), 15*time.Minute)
	wantAnswer(t, r.Get("/", from("203.0.113.8")), 200, "")
}

// What the upstream answers, or a handler writes itself, is never counted; what
// handlers return as errors is.
func TestLockoutCountsOwnRefusalsOnly(t *testing.T) {
	r := rig.New(t, proxied, "lockout {\nname "+lockName(t)+`
		on 401 3 in 1h
		on 403 3 in 1h
		on 429 3 in 1h
		on 404 3 in 1h
		on 502 3 in 1h
	}
	respond /written 403
	error /error 403
	basic_auth /basic {
		bob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG
	}
	handle /files/* {
		file_server {
			root `+t.TempDir()+`
		}
	}
	reverse_proxy /gone 127.0.0.1:1
	reverse_proxy /turned {$UPSTREAM} {
		@limited status 429
		handle_response @limited {
			error 429
		}
	}
	reverse_proxy {$UPSTREAM}
	handle_errors {
		respond "{err.status_code} by an error route"
	}`)
	for i, c := range []struct {
		path    string
		respond int // what the upstream answers
		counted bool
	}{
		{"/", 401, false},
		{"/", 403, false},
		{"/", 429, false},
		{"/written", 0, false},
		{"/error", 0, true},
		{"/basic", 0, true},
		{"/files/none", 0, true},
		{"/gone", 0, true},
		{"/turned", 429, true},
	} {
		if c.respond != 0 {
			r.Upstream.Respond(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n", c.respond))
		}
		client := from(fmt.Sprintf("203.0.113.%d", i+1))
		for range 3 {
			if got := r.Get(c.path, client); got.Reason() != "" || c.respond != 0 && got.Status != c.respond {
				t.Fatalf("%s: status %d, %s", c.path, got.Status, got.Body)
			}
		}
		locked := r.Get(c.path, client).Reason() == "abnormal-usage-detected"
		if locked != c.counted {
			t.Errorf("%s with %d from the upstream: locked %t", c.path, c.respond, locked)
		}
	}
}

// Refusals of api_key count by their status, however they are written, and only
// once; what is only observed does not.
func TestLockoutCountsByStatus(t *testing.T) {
	for _, c := range []struct {
		name, rule, site string
		requests         int // that lock
	}{
		{"status", "on 403 4 in 1h", guarded, 4},
		{"problem", "on refused 4 in 1h", guarded, 4},
		{"caddy", "on refused 4 in 1h", strings.Replace(guarded, "api_key {", "api_key {\nerrors caddy", 1), 4},
		{"caddy_status", "on 401 4 in 1h", strings.Replace(guarded, "api_key {", "api_key {\nerrors caddy", 1), 4},
		{"observe", "on refused 4 in 1h", strings.Replace(guarded, "api_key {", "api_key {\nmode observe", 1), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rig.New(t, proxied, "lockout {\nname "+lockName(t)+"\n"+c.rule+"\n}\n"+c.site)
			_, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
			method, credential := "GET", "Authorization: Bearer "+token+"x"
			if c.name == "status" {
				method, credential = "POST", "Authorization: Bearer "+token
			}
			locked := 0
			for n := 1; n <= 10 && locked == 0; n++ {
				r.Request(method, "/v1/contacts", credential, from("203.0.113.7"))
				if r.Get("/health", from("203.0.113.7")).Reason() == "abnormal-usage-detected" {
					locked = n
				}
			}
			if locked != c.requests {
				t.Errorf("locked after %d requests, want %d", locked, c.requests)
			}
		})
	}
}

// An address that is not known is not locked, and neither is the proxy that did
// not name it, nor an exempt one.
func TestLockoutSparesTheUnknown(t *testing.T) {
	name := lockName(t)
	r := rig.New(t, proxied, behindLockout(name, "on refused 3 in 1h", "exempt 198.51.100.0/24"))
	for _, client := range []string{from("garbage"), from("198.51.100.9"), from("unknown"), from("010.1.2.3")} {
		for range 6 {
			wantAnswer(t, r.Get("/v1/contacts", "X-API-Key: wrong", client), 401, "invalid_key")
		}
	}
	wantAnswer(t, r.Get("/v1/contacts", "X-API-Key: wrong"), 401, "invalid_key")
	if got := metricOf(t, r, "caddy_api_keys_lockout_unknown_total", "lockout", name); got != 18 {
		t.Errorf("%v outcomes of unknown addresses, want 18", got)
	}
	if strings.Contains(r.Logs(), "set trusted_proxies") {
		t.Error("a trusted proxy is taken for one that is not")
	}
}

// A private address that names other clients is told to be a proxy.
func TestLockoutWarnsOfProxy(t *testing.T) {
	r := rig.New(t, "", behindLockout(lockName(t), "on refused 3 in 1h"))
	for range 3 {
		wantAnswer(t, r.Get("/v1/contacts", "X-API-Key: wrong", from("203.0.113.7")), 401, "invalid_key")
	}
	wantLocked(t, r.Get("/health", from("203.0.113.8")), 15*time.Minute)
	if n := strings.Count(r.Logs(), "set trusted_proxies"); n != 1 {
		t.Errorf("%d warnings", n)
	}
}
