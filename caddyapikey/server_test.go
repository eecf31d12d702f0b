package caddyapikey_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// guarded is the policy of most tests: reading and writing under /v1, a brand's
// own data, and a health check for everybody.
const guarded = `
@health path /health
@read   method GET HEAD
@write  method POST PUT PATCH DELETE
@brand  path /v1/brands/*
@news   path /news/*
api_key {
	public   @health
	optional @news
	require  @read  contacts:read
	require  @write contacts:write
	require  @brand brands/{http.request.uri.path.2}:use
	forward id  X-Key-Id
	forward org X-Key-Org
}
reverse_proxy {$UPSTREAM}`

func wantAnswer(t *testing.T, got rig.Answer, status int, reason string) {
	t.Helper()
	if got.Status != status || got.Reason() != reason {
		t.Fatalf("status %d %q, want %d %q\n%s", got.Status, got.Reason(), status, reason, got.Body)
	}
}

func TestMainJob(t *testing.T) {
	r := rig.New(t, "", guarded)
	id, token := r.Create(`{"name":"CRM sync","scopes":["contacts:read"]}`)
	bearer := "Authorization: Bearer " + token

	t.Run("refused without a key", func(t *testing.T) {
		answer := r.Get("/v1/contacts")
		wantAnswer(t, answer, 401, "missing_credential")
		if got := answer.Header.Values("WWW-Authenticate"); len(got) != 4 || got[0] != `Bearer realm="api"` {
			t.Errorf("challenges %q", got)
		}
		if answer.Header.Get("Cache-Control") != "no-store" || answer.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("headers %v", answer.Header)
		}
	})
	t.Run("let in with it", func(t *testing.T) {
		answer := r.Get("/v1/contacts?page=2", bearer, "X-Key-Id: key_forged", "X_key.org: forged")
		if answer.Status != 200 || string(answer.Body) != "upstream" {
			t.Fatalf("status %d %s", answer.Status, answer.Body)
		}
		got := r.Upstream.Last()
		if !strings.HasPrefix(got, "GET /v1/contacts?page=2 HTTP/1.1\r\n") || strings.Contains(got, token) || strings.Contains(got, "forged") {
			t.Errorf("the upstream got\n%s", got)
		}
		if !strings.Contains(got, "X-Key-Id: "+id+"\r\n") {
			t.Errorf("the upstream was not told the key\n%s", got)
		}
	})
	t.Run("in the header", func(t *testing.T) {
		answer := r.Get("/v1/contacts", "X-API-Key: "+token)
		if answer.Status != 200 || answer.Header.Get("Vary") != "Authorization, X-Api-Key" || strings.Contains(r.Upstream.Last(), token) {
			t.Errorf("status %d, Vary %q", answer.Status, answer.Header.Get("Vary"))
		}
	})
	t.Run("not beyond its scopes", func(t *testing.T) {
		answer := r.Request("POST", "/v1/contacts", bearer)
		wantAnswer(t, answer, 403, "insufficient_scope")
		if answer.JSON(t)["required_scope"] != "contacts:write" ||
			answer.Header.Get("WWW-Authenticate") != `Bearer realm="api", error="insufficient_scope", scope="contacts:write"` {
			t.Errorf("%s\n%v", answer.Body, answer.Header)
		}
	})
	hits := r.Upstream.Hits()
	for name, c := range map[string]struct {
		method, path string
		headers      []string
		status       int
		reason       string
	}{
		"wrong key":              {"GET", "/v1/contacts", []string{bearer + "x"}, 401, "invalid_key"},
		"unknown key":            {"GET", "/v1/contacts", []string{"Authorization: Bearer ck_" + strings.Repeat("0", 49)}, 401, "invalid_key"},
		"two places":             {"GET", "/v1/contacts", []string{bearer, "X-API-Key: " + token}, 400, "several_credentials"},
		"two lines":              {"GET", "/v1/contacts", []string{"X-API-Key: " + token, "X-API-Key: " + token}, 400, "several_credentials"},
		"no rule, no key":        {"OPTIONS", "/v1/contacts", nil, 401, "missing_credential"},
		"no rule":                {"OPTIONS", "/v1/contacts", []string{bearer}, 403, "no_rule"},
		"brand needs both":       {"GET", "/v1/brands/17", []string{bearer}, 403, "insufficient_scope"},
		"dot segments":           {"GET", "/health/../v1/contacts", []string{bearer}, 400, "bad_request"},
		"encoded slash":          {"GET", "/health%2f..%2fv1", nil, 400, "bad_request"},
		"lower-case method":      {"delete", "/v1/contacts", []string{bearer}, 405, "bad_method"},
		"unknown method":         {"PROPFIND", "/v1/contacts", []string{bearer}, 405, "bad_method"},
		"optional, invalid key":  {"OPTIONS", "/news/1", []string{bearer + "x"}, 401, "invalid_key"},
		"early data":             {"GET", "/v1/contacts", []string{bearer, "Early-Data: 1"}, 425, "early_data"},
		"public in other case":   {"GET", "/HEALTH", nil, 401, "missing_credential"},
		"optional in other case": {"OPTIONS", "/News/1", nil, 401, "missing_credential"},
	} {
		t.Run(name, func(t *testing.T) { wantAnswer(t, r.Request(c.method, c.path, c.headers...), c.status, c.reason) })
	}
	if r.Upstream.Hits() != hits {
		t.Error("a refused request reached the upstream")
	}
	t.Run("public", func(t *testing.T) {
		if answer := r.Get("/health", bearer); answer.Status != 200 || strings.Contains(r.Upstream.Last(), token) {
			t.Errorf("status %d; the key must not travel on\n%s", answer.Status, r.Upstream.Last())
		}
		if answer := r.Get("/health", "Authorization: Bearer of-the-upstream"); answer.Status != 200 || !strings.Contains(r.Upstream.Last(), "of-the-upstream") {
			t.Errorf("status %d; what is not ours belongs to the upstream\n%s", answer.Status, r.Upstream.Last())
		}
	})
	t.Run("optional", func(t *testing.T) {
		if answer := r.Request("OPTIONS", "/news/1"); answer.Status != 200 || strings.Contains(r.Upstream.Last(), "X-Key-Id") {
			t.Errorf("anonymous: status %d\n%s", answer.Status, r.Upstream.Last())
		}
		if answer := r.Request("OPTIONS", "/news/1", bearer); answer.Status != 200 || !strings.Contains(r.Upstream.Last(), id) {
			t.Errorf("with a key: status %d", answer.Status)
		}
	})
	if strings.Contains(r.Logs(), token) && !strings.Contains(r.Logs(), "X-Api-Key") {
		t.Error("the token is in the log")
	}
}

func TestScopePlaceholderIsData(t *testing.T) {
	r := rig.New(t, "", guarded)
	_, token := r.Create(`{"name":"brand 17","scopes":["contacts:read","brands/17:use"]}`)
	_, all := r.Create(`{"name":"all brands","scopes":["contacts:read","brands/*:use"]}`)
	for path, want := range map[string]int{
		"/v1/brands/17": 200, "/v1/brands/17/logo": 200, "/v1/brands/18": 403, "/v1/brands/*": 403,
		"/v1/brands/17:use": 403, "/v1/brands/": 403, "/v1/brands/1%37": 200,
	} {
		if got := r.Get(path, "Authorization: Bearer "+token); got.Status != want {
			t.Errorf("%s: status %d, want %d", path, got.Status, want)
		}
	}
	if got := r.Get("/v1/brands/*", "Authorization: Bearer "+all); got.Status != 200 {
		t.Errorf("any brand: status %d", got.Status)
	}
	if got := r.Get("/v1/brands/", "Authorization: Bearer "+all); got.Status != 403 || got.Reason() != "unresolved_scope" {
		t.Errorf("empty placeholder: status %d %s", got.Status, got.Reason())
	}
}

func TestLifeOfAKey(t *testing.T) {
	r := rig.New(t, "", guarded)
	id, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	bearer := "Authorization: Bearer " + token
	manage := func(method, path, body string, want int) rig.Answer {
		t.Helper()
		answer := r.Manage(method, "/keys/"+id+path, body)
		if answer.Status != want {
			t.Fatalf("%s %s: status %d %s", method, path, answer.Status, answer.Body)
		}
		return answer
	}
	wantAnswer(t, r.Get("/", bearer), 200, "")
	manage("POST", "/suspend", "", 200)
	wantAnswer(t, r.Get("/", bearer), 401, "suspended_key")
	manage("POST", "/resume", "", 200)
	wantAnswer(t, r.Get("/", bearer), 200, "")
	manage("PATCH", "", `{"scopes":["deals:read"]}`, 200)
	wantAnswer(t, r.Get("/", bearer), 403, "insufficient_scope")
	manage("PATCH", "", `{"scopes":["contacts:*"],"allow":["10.0.0.0/8"]}`, 200)
	wantAnswer(t, r.Get("/", bearer), 403, "address_not_allowed")
	manage("PATCH", "", `{"allow":["::ffff:127.0.0.0/104"]}`, 200)
	wantAnswer(t, r.Get("/", bearer), 200, "")
	manage("PATCH", "", `{"deny":["127.0.0.1"]}`, 200)
	wantAnswer(t, r.Get("/", bearer), 403, "address_not_allowed")
	manage("PATCH", "", `{"deny":[]}`, 200)
	rotated := manage("POST", "/rotate", `{"overlap":"1h"}`, 200).JSON(t)["token"].(string)
	wantAnswer(t, r.Get("/", bearer), 200, "")
	wantAnswer(t, r.Get("/", "Authorization: Bearer "+rotated), 200, "")
	manage("DELETE", "/credentials/1", "", 200)
	wantAnswer(t, r.Get("/", bearer), 401, "ended_credential")
	wantAnswer(t, r.Get("/", "Authorization: Bearer "+rotated), 200, "")
	manage("POST", "/revoke", "", 200)
	wantAnswer(t, r.Get("/", "Authorization: Bearer "+rotated), 401, "revoked_key")
	manage("POST", "/resume", "", 409)
}

func TestSources(t *testing.T) {
	r := rig.New(t, "", `
api_key {
	from basic
	from query api_key
	from cookie session
	require *
}
reverse_proxy {$UPSTREAM}`)
	_, token := r.Create(`{"name":"x"}`)

	req, _ := http.NewRequest("GET", "http://"+r.Site+"/", nil)
	req.SetBasicAuth("anyone", token)
	if got := r.Do(req); got.Status != 200 || strings.Contains(r.Upstream.Last(), "Authorization") {
		t.Errorf("basic: status %d\n%s", got.Status, r.Upstream.Last())
	}
	got := r.Get("/a?x=%20b&api_key="+token+"&y=1+2&&z", "Referer: https://a.example/?api_key="+token)
	if up := r.Upstream.Last(); got.Status != 200 || !strings.HasPrefix(up, "GET /a?x=%20b&y=1+2&&z HTTP/1.1\r\n") || strings.Contains(up, token) {
		t.Errorf("query: status %d\n%s", got.Status, up)
	}
	if got.Header.Get("Cache-Control") != "private" {
		t.Errorf("query: Cache-Control %q", got.Header.Get("Cache-Control"))
	}
	got = r.Get("/", "Cookie: a=b; session="+token+"; c=d")
	if up := r.Upstream.Last(); got.Status != 200 || !strings.Contains(up, "Cookie: a=b; c=d\r\n") || strings.Contains(up, token) {
		t.Errorf("cookie: status %d\n%s", got.Status, up)
	}
	bare := r.Get("/", "Authorization: "+token) // where no Bearer is looked for
	if wantAnswer(t, bare, 401, "missing_credential"); strings.Contains(string(bare.Body), "Bearer") {
		t.Errorf("without a scheme: %s", bare.Body)
	}
	wantAnswer(t, r.Get("/", "Authorization: Bearer "+token), 401, "missing_credential")
	wantAnswer(t, r.Get("/?api_key="+token+"&api_key="+token), 400, "several_credentials")
	wantAnswer(t, r.Get("/?api%5fkey="+token), 400, "bad_request")
	if !strings.Contains(r.Logs(), "keys in the query end up in logs") {
		t.Error("no warning about keys in the query")
	}
}

// A key without its scheme is told so, in the same words for every text that
// looks like one: nothing is said about the key.
func TestKeyWithoutScheme(t *testing.T) {
	r := rig.New(t, "", guarded)
	_, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	last := "0"
	if strings.HasSuffix(token, last) {
		last = "1"
	}
	body := ""
	for _, value := range []string{token, "ck_" + strings.Repeat("a", 49), token[:len(token)-1] + last} {
		got := r.Get("/v1/contacts", "Authorization: "+value)
		if wantAnswer(t, got, 401, "missing_credential"); body == "" {
			body = string(got.Body)
		}
		if !strings.Contains(body, "Write `Bearer ` in front of it") || string(got.Body) != body {
			t.Errorf("%s\nwant %s", got.Body, body)
		}
	}
	for _, value := range []string{"ck_short", "Digest " + token, token + "," + token} {
		if got := r.Get("/v1/contacts", "Authorization: "+value); got.Status != 401 || string(got.Body) == body || strings.Contains(string(got.Body), token) {
			t.Errorf("%s", got.Body)
		}
	}
	if strings.Contains(r.Logs(), token) {
		t.Error("the key is in the log")
	}
	// What asks for no key goes on without.
	r.Load("", "api_key {\noptional /news/*\nrequire /v1/* contacts:read\n}\nreverse_proxy {$UPSTREAM}")
	if got := r.Get("/news/1", "Authorization: "+token); got.Status != 200 {
		t.Errorf("optional: status %d", got.Status)
	}
}

// Announced trailers are merged into the headers behind us; they must not
// bring an identity or another method along.
func TestForgedTrailer(t *testing.T) {
	r := rig.New(t, "", guarded)
	_, token := r.Create(`{"name":"x","scopes":["contacts:write"]}`)
	for _, name := range []string{"X-Key-Id", "x_key_org", "X-HTTP-Method-Override"} {
		answer := r.Raw("POST / HTTP/1.1\r\nHost: " + r.Site + "\r\nAuthorization: Bearer " + token +
			"\r\nTransfer-Encoding: chunked\r\nTrailer: " + name + "\r\n\r\n0\r\n" + name + ": forged\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 400 ") {
			t.Errorf("%s: %.100s", name, answer)
		}
	}
	if r.Upstream.Hits() != 0 {
		t.Error("the upstream was asked")
	}
}

// Error routes begin with the URL that the client sent; the key is not in it.
func TestQueryKeyStaysOutOfErrorRoutes(t *testing.T) {
	r := rig.New(t, "", `
route {
	api_key {
		from query api_key
		require *
	}
	rewrite /elsewhere
	error 500
}
handle_errors {
	reverse_proxy {$UPSTREAM}
}`)
	_, token := r.Create(`{"name":"x"}`)
	r.Get("/a?x=1&api_key=" + token)
	if up := r.Upstream.Last(); up == "" || strings.Contains(up, token) {
		t.Errorf("the upstream of the error route got\n%s", up)
	}
}

func TestObserve(t *testing.T) {
	r := rig.New(t, "", "api_key {\nmode observe\nrequire * a:b\n}\nreverse_proxy {$UPSTREAM}")
	_, token := r.Create(`{"name":"x"}`)
	for _, headers := range [][]string{nil, {"Authorization: Bearer wrong"}, {"Authorization: Bearer " + token}} {
		if got := r.Get("/", headers...); got.Status != 200 {
			t.Errorf("%v: status %d", len(headers), got.Status)
		}
	}
	if !strings.Contains(r.Upstream.Last(), token) {
		t.Error("while observing the upstream must get the request as it came")
	}
	for _, reason := range []string{"missing_credential", "invalid_key", "insufficient_scope"} {
		if !strings.Contains(r.Logs(), `"would be refused","reason":"`+reason+`"`) {
			t.Errorf("%s was not logged", reason)
		}
	}
}

func TestErrorsCaddy(t *testing.T) {
	r := rig.New(t, "", `
api_key {
	errors caddy
	require * a:b
}
reverse_proxy {$UPSTREAM}
handle_errors {
	respond "{err.status_code} {http.api_key.reason} {http.api_key.required_scope}"
}`)
	_, token := r.Create(`{"name":"x"}`)
	if got := r.Get("/"); string(got.Body) != "401 missing_credential " || got.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("%s %v", got.Body, got.Header)
	}
	if got := r.Get("/", "Authorization: Bearer "+token); string(got.Body) != "403 insufficient_scope a:b" {
		t.Errorf("%s", got.Body)
	}
}

// An error route may proxy: a key that was refused does not go there either.
func TestRefusedKeyStaysOutOfErrorRoutes(t *testing.T) {
	r := rig.New(t, "", `
api_key {
	from bearer
	from query api_key
	errors caddy
	require * a:b
}
handle_errors {
	reverse_proxy {$UPSTREAM}
}`)
	_, token := r.Create(`{"name":"x"}`)
	for _, answer := range []rig.Answer{r.Get("/", "Authorization: Bearer "+token), r.Get("/?x=1&api_key=" + token)} {
		if up := r.Upstream.Last(); up == "" || strings.Contains(up, token) {
			t.Errorf("status %d; the upstream of the error route got\n%s", answer.Status, up)
		}
	}
}

func TestPlaceholdersAndMatcher(t *testing.T) {
	r := rig.New(t, "", `
@gold api_key tier gold
@acme api_key org acme
@beta api_key tag beta
@reader api_key scope contacts:read
route {
	api_key {
		optional *
	}
	header @gold X-Is gold
	header @acme +X-Is acme
	header @beta +X-Is beta
	header @reader +X-Is reader
}
respond "{http.auth.user.id} {http.api_key.name} {http.api_key.org} {http.api_key.tier} {http.api_key.owner} {http.api_key.credential} {http.api_key.meta.region}"`)
	if got := r.Manage("PUT", "/orgs/acme", `{"tier":"gold"}`); got.Status != 201 {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	id, token := r.Create(`{"name":"{env.HOME} {http.request.header.X}","org":"acme","owner":"ops","tags":["beta"],"scopes":["contacts:*"],"metadata":{"region":"eu"}}`)
	got := r.Get("/", "Authorization: Bearer "+token, "X: y")
	if want := id + " {env.HOME} {http.request.header.X} acme gold ops 1 eu"; string(got.Body) != want {
		t.Errorf("got %s\nwant %s", got.Body, want)
	}
	if is := fmt.Sprint(got.Header.Values("X-Is")); is != "[gold acme beta reader]" {
		t.Errorf("matchers: %s", is)
	}
	if got := r.Get("/"); strings.TrimSpace(string(got.Body)) != "" || got.Header.Get("X-Is") != "" {
		t.Errorf("anonymous: %s %v", got.Body, got.Header)
	}
}

func TestBrowserKeys(t *testing.T) {
	r := rig.New(t, "", "api_key {\ncors\nrequire *\n}\nreverse_proxy {$UPSTREAM}")
	_, token := r.Create(`{"name":"page","origins":["https://app.example.com"]}`)
	r.Upstream.Respond("HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 2\r\n\r\nok")
	origin, bearer := "Origin: https://app.example.com", "Authorization: Bearer "+token

	preflight := r.Request("OPTIONS", "/", origin, "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization, x y, x-a")
	if preflight.Status != 204 || preflight.Header.Get("Access-Control-Allow-Origin") != "https://app.example.com" ||
		preflight.Header.Get("Access-Control-Allow-Headers") != "authorization, x-a" || r.Upstream.Hits() != 0 {
		t.Errorf("preflight: %d %v", preflight.Status, preflight.Header)
	}
	wantAnswer(t, r.Request("OPTIONS", "/", "Origin: https://evil.example", "Access-Control-Request-Method: GET"), 401, "missing_credential")
	wantAnswer(t, r.Request("OPTIONS", "/", origin), 401, "missing_credential")
	wantAnswer(t, r.Request("OPTIONS", "/", origin, "Access-Control-Request-Method: GET", "X-HTTP-Method-Override: DELETE"), 401, "missing_credential")

	got := r.Get("/", origin, bearer)
	if allowed := got.Header.Values("Access-Control-Allow-Origin"); got.Status != 200 || len(allowed) != 1 || allowed[0] != "https://app.example.com" {
		t.Errorf("status %d, Access-Control-Allow-Origin %q", got.Status, allowed)
	}
	wantAnswer(t, r.Get("/", bearer), 403, "origin_not_allowed")
	wantAnswer(t, r.Get("/", "Origin: https://evil.example", bearer), 403, "origin_not_allowed")
	refused := r.Get("/", origin)
	wantAnswer(t, refused, 401, "missing_credential")
	if refused.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Error("the page cannot read why it was refused")
	}
}

func TestOrgsBind(t *testing.T) {
	r := rig.New(t, "", guarded)
	if got := r.Manage("PUT", "/orgs/acme", `{"allow":["10.0.0.0/8"]}`); got.Status != 201 {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	_, token := r.Create(`{"name":"x","org":"acme","scopes":["*"]}`)
	bearer := "Authorization: Bearer " + token
	wantAnswer(t, r.Get("/", bearer), 403, "address_not_allowed")
	r.Manage("PATCH", "/orgs/acme", `{"allow":["127.0.0.1"]}`)
	wantAnswer(t, r.Get("/", bearer), 200, "")
	r.Manage("POST", "/orgs/acme/suspend", "")
	wantAnswer(t, r.Get("/", bearer), 403, "suspended_org")
	r.Manage("POST", "/orgs/acme/resume", "")
	wantAnswer(t, r.Get("/", bearer), 200, "")
}

// A refusal does not wait for a body that nobody wants.
func TestRefusalClosesStalledUpload(t *testing.T) {
	r := rig.New(t, "", guarded)
	for name, extra := range map[string]string{"stalled": "", "expecting": "Expect: 100-continue\r\n"} {
		answer, closed := r.RawToEnd("POST / HTTP/1.1\r\nHost: " + r.Site + "\r\n" + extra + "Content-Length: 1000000000\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 401 ") || !strings.Contains(answer, "Connection: close") || strings.Contains(answer, "100 Continue") {
			t.Errorf("%s: %.200s", name, answer)
		}
		if !closed {
			t.Errorf("%s: the connection stays open", name)
		}
	}
	if r.Upstream.Hits() != 0 {
		t.Error("the upstream was asked")
	}
}

// A client that is busy sending a body that nobody wants gets the refusal, not
// a connection reset.
func TestRefusalReachesSendingClient(t *testing.T) {
	r := rig.New(t, "", guarded)
	for range 20 {
		req, err := http.NewRequest("POST", "http://"+r.Site+"/v1/contacts", bytes.NewReader(make([]byte, 8<<20)))
		if err != nil {
			t.Fatal(err)
		}
		wantAnswer(t, r.Do(req), 401, "missing_credential")
	}
}

// Each request on a connection stands alone.
func TestKeepAlive(t *testing.T) {
	r := rig.New(t, "", guarded)
	_, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	with := "GET / HTTP/1.1\r\nHost: " + r.Site + "\r\nAuthorization: Bearer " + token + "\r\n\r\n"
	without := "GET / HTTP/1.1\r\nHost: " + r.Site + "\r\n\r\n"
	answer := r.Raw(with + without + with)
	var statuses []string
	for line := range strings.SplitSeq(answer, "\r\n") {
		if _, status, ok := strings.Cut(line, "HTTP/1.1 "); ok {
			statuses = append(statuses, status[:3])
		}
	}
	if fmt.Sprint(statuses) != "[200 401 200]" {
		t.Fatalf("%v\n%s", statuses, answer)
	}
}

func TestWebSocketAndStreaming(t *testing.T) {
	r := rig.New(t, "", guarded)
	_, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	upgrade := "GET / HTTP/1.1\r\nHost: " + r.Site + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	r.Upstream.Respond("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nframes")
	if got := r.Raw(upgrade + "\r\n"); !strings.HasPrefix(got, "HTTP/1.1 401 ") {
		t.Errorf("without a key: %.100s", got)
	}
	if got := r.Raw(upgrade + "Authorization: Bearer " + token + "\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 101 ") || !strings.HasSuffix(got, "frames") {
		t.Errorf("with a key: %.200q", got)
	}

	events := rig.New(t, "", "api_key {\nrequire *\n}\nreverse_proxy {$UPSTREAM}")
	_, token = events.Create(`{"name":"x"}`)
	events.Upstream.Respond("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: first\n\n") // and no end
	conn, err := net.Dial("tcp", events.Site)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", events.Site, token)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len("data: first"))
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "data: first" {
		t.Fatalf("%q, %v", first, err)
	}
}

func TestHTTP2AndHTTP3(t *testing.T) {
	_, port, _ := net.SplitHostPort(rig.FreeAddr(t))
	// A second site, with TLS, beside the one of the rig.
	r := rig.New(t, "", guarded+"\n}\nhttps://localhost:"+port+" {\nbind 127.0.0.1\ntls "+rig.Certificate(t)+"\n"+guarded)
	_, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true} // a certificate of this test run
	defer transport.CloseIdleConnections()
	h3, h3URL := r.HTTP3(t)
	for name, c := range map[string]struct {
		client *http.Client
		url    string
		host   string
		major  int
	}{
		"HTTP/2": {&http.Client{Transport: transport, Timeout: time.Minute}, "https://localhost:" + port, "", 2},
		"HTTP/3": {h3, h3URL, r.Site, 3},
	} {
		t.Run(name, func(t *testing.T) {
			for _, step := range []struct {
				method, token string
				want          int
			}{{"GET", token, 200}, {"GET", "", 401}, {"GET", token + "x", 401}, {"POST", token, 403}, {"GET", token, 200}} {
				req, err := http.NewRequest(step.method, c.url+"/v1/contacts", nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Host = c.host
				if step.token != "" {
					req.Header.Set("Authorization", "Bearer "+step.token)
				}
				resp, err := c.client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != step.want || resp.ProtoMajor != c.major {
					t.Errorf("%s: status %d over %s, want %d", step.method, resp.StatusCode, resp.Proto, step.want)
				}
			}
		})
	}
}
