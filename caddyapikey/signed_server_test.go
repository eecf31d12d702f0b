package caddyapikey_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// signedSite asks for signatures on exports, takes tokens elsewhere, and treats
// bodies differently by route.
const signedSite = `
@read    method GET HEAD
@write   method POST PUT
@export  path /v1/export*
@stream  path /v1/stream*
@loose   path /v1/loose*
api_key {
	signature hawk message {
		body_limit 1KiB
		hawk {
			ext org
			bewit 10m
		}
	}
	require @read  contacts:read
	require @write contacts:write
	require @export {
		signed
	}
	require @stream {
		signed
		signed_body stream
	}
	require @loose {
		signed
		signed_body off
	}
	forward id X-Key-Id
}
reverse_proxy {$UPSTREAM}`

// signer is a key of the server that signs.
type signer struct {
	r          *rig.Rig
	id, secret string
	hawk       *hmacsig.HawkSigner
	message    *hmacsig.MessageSigner
}

func newSigner(t testing.TB, r *rig.Rig, spec string) *signer {
	t.Helper()
	answer := r.Manage("POST", "/keys", spec)
	if answer.Status != http.StatusCreated {
		t.Fatalf("creating a key: status %d: %s", answer.Status, answer.Body)
	}
	var made struct {
		Key    struct{ ID string }
		Secret string
	}
	if err := json.Unmarshal(answer.Body, &made); err != nil {
		t.Fatal(err)
	}
	s := &signer{r: r, id: made.Key.ID, secret: made.Secret}
	if made.Secret == "" {
		return s
	}
	key, err := hmacsig.SecretKey([]byte(made.Secret))
	if err != nil {
		t.Fatal(err)
	}
	s.hawk = &hmacsig.HawkSigner{ID: s.id, Key: key}
	if s.message, err = hmacsig.NewSecretSigner(s.id, []byte(made.Secret)); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *signer) request(t testing.TB, method, path, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+s.r.Site+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		req.Body, req.GetBody = nil, nil
	} else {
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	return req
}

func sign(t testing.TB, by hmacsig.Signer, req *http.Request, at time.Time) *http.Request {
	t.Helper()
	if _, err := by.SignAt(req, at); err != nil {
		t.Fatal(err)
	}
	return req
}

const exporter = `{"name":"export","scopes":["contacts:*"],"credential":{"kind":"shared_secret"}}`

func TestSignedRequests(t *testing.T) {
	r := rig.New(t, "", signedSite)
	s := newSigner(t, r, exporter)
	for name, by := range map[string]hmacsig.Signer{"hawk": s.hawk, "message": s.message} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct{ method, path, body string }{
				{"GET", "/v1/export", ""},
				{"GET", "/v1/contacts/J%C3%BCrgen?a=1&b=%20x", ""},
				{"POST", "/v1/export?x", `{"n":1}`},
				{"POST", "/v1/stream", strings.Repeat("x", 100_000)},
				{"POST", "/v1/loose", strings.Repeat("x", 100_000)},
			} {
				answer := r.Do(sign(t, by, s.request(t, c.method, c.path, c.body), time.Now()))
				if answer.Status != http.StatusOK {
					t.Fatalf("%s %s: status %d %s", c.method, c.path, answer.Status, answer.Body)
				}
				got := r.Upstream.Last()
				if !strings.HasPrefix(got, c.method+" "+c.path+" ") || !strings.Contains(got, "X-Key-Id: "+s.id) || !strings.HasSuffix(got, c.body) && len(c.body) < 1000 {
					t.Errorf("the upstream got\n%.300s", got)
				}
				for _, gone := range []string{"Authorization:", "Signature:", "Signature-Input:"} {
					if strings.Contains(got, gone) {
						t.Errorf("%s went upstream", gone)
					}
				}
			}
		})
	}
}

func TestSignedRefusals(t *testing.T) {
	r := rig.New(t, "", signedSite)
	s := newSigner(t, r, exporter)
	narrow := newSigner(t, r, `{"name":"narrow","scopes":["deals:read"],"credential":{"kind":"shared_secret"}}`)
	bound := newSigner(t, r, `{"name":"bound","scopes":["*"],"allow":["10.0.0.0/8"],"credential":{"kind":"shared_secret"}}`)
	_, token := r.Create(`{"name":"bearer","scopes":["*"]}`)
	nobody := *s.hawk
	nobody.ID = "key_00000000000000000000"
	now := time.Now()

	refused := func(name string, req *http.Request, status int, reason string) rig.Answer {
		t.Helper()
		before := r.Upstream.Hits()
		answer := r.Do(req)
		if answer.Status != status || answer.Reason() != reason {
			t.Errorf("%s: status %d %q, want %d %q", name, answer.Status, answer.Reason(), status, reason)
		}
		if r.Upstream.Hits() != before {
			t.Errorf("%s: reached the upstream", name)
		}
		return answer
	}
	get := func() *http.Request { return s.request(t, "GET", "/v1/export", "") }
	post := func(path, body string) *http.Request { return s.request(t, "POST", path, body) }

	bare := get()
	bare.Header.Set("Authorization", "Bearer "+token)
	refused("a bare token", bare, 401, "signature_required")
	exposed := get()
	exposed.Header.Set("Authorization", "Bearer "+s.secret)
	refused("the secret itself", exposed, 401, "exposed_credential")
	if !strings.Contains(r.Logs(), `"reason":"exposed_credential"`) {
		t.Error("the exposure is not in the log")
	}
	two := sign(t, s.hawk, get(), now)
	two.Header.Set("X-API-Key", token)
	refused("a signature and a token", two, 400, "several_credentials")
	refused("both schemes", sign(t, s.message, sign(t, s.hawk, get(), now), now), 400, "several_credentials")

	for name, by := range map[string][3]hmacsig.Signer{
		"hawk":    {s.hawk, narrow.hawk, bound.hawk},
		"message": {s.message, narrow.message, bound.message},
	} {
		t.Run(name, func(t *testing.T) {
			good, narrow, bound := by[0], by[1], by[2]
			refused("scope", sign(t, narrow, get(), now), 403, "insufficient_scope")
			refused("address", sign(t, bound, get(), now), 403, "address_not_allowed")
			answer := refused("old", sign(t, good, get(), now.Add(-2*time.Minute)), 401, "stale_signature")
			if challenges := answer.Header.Values("WWW-Authenticate"); name == "hawk" && (len(challenges) != 1 || !strings.Contains(challenges[0], "tsm=")) {
				t.Errorf("challenges %q", challenges)
			}
			refused("from the future", sign(t, good, get(), now.Add(2*time.Minute)), 401, "stale_signature")

			moved := sign(t, good, get(), now)
			moved.URL.Path = "/v1/contacts"
			refused("another path", moved, 401, "invalid_signature")
			other := sign(t, good, get(), now)
			other.Method = "HEAD"
			if answer := r.Do(other); answer.Status != 401 {
				t.Errorf("another method: status %d", answer.Status)
			}
			host := sign(t, good, get(), now)
			host.Host = "evil.example"
			if answer := r.Do(host); answer.Status == 200 && string(answer.Body) == "upstream" {
				t.Error("another host was let in")
			}
			changed := func(path string) *http.Request {
				req := sign(t, good, post(path, `{"n":1}`), now)
				req.Body = io.NopCloser(strings.NewReader(`{"n":2}`))
				return req
			}
			refused("another body", changed("/v1/export"), 401, "body_digest")
			if answer := r.Do(changed("/v1/loose")); answer.Status != 200 {
				t.Errorf("another body, unchecked: status %d", answer.Status)
			}
			long := strings.Repeat("x", 2<<10)
			refused("a long body", sign(t, good, post("/v1/export", long), now), 413, "body_too_large")
			unknown := sign(t, good, post("/v1/export", long), now)
			unknown.ContentLength = -1
			refused("a long body of unknown length", unknown, 413, "body_too_large")

			before := r.Upstream.Hits()
			streamed := sign(t, good, post("/v1/stream", strings.Repeat("x", 100_000)), now)
			streamed.Body = io.NopCloser(strings.NewReader(strings.Repeat("y", 100_000)))
			if answer := r.Do(streamed); answer.Status < 400 || r.Upstream.Hits() != before {
				t.Errorf("another streamed body: status %d, %d hits", answer.Status, r.Upstream.Hits()-before)
			}
		})
	}
	wrong := refused("an unknown id", sign(t, &nobody, get(), now), 401, "invalid_signature")
	if challenges := wrong.Header.Values("WWW-Authenticate"); len(challenges) != 1 || challenges[0] != `Hawk error="Bad mac"` {
		t.Errorf("challenges %q", challenges)
	}
	unsigned := sign(t, s.hawk, get(), now)
	unsigned.Method, unsigned.Body, unsigned.ContentLength = "GET", io.NopCloser(strings.NewReader("x")), 1
	refused("a body added to a signed GET", unsigned, 401, "unsigned_body")
	s.message.Policy = hmacsig.MessagePolicy{DigestOptional: true}
	if thin := refused("a body left out", sign(t, s.message, post("/v1/export", "x"), now), 401, "signature_coverage"); !strings.Contains(string(thin.Body), "It lacks content-digest.") {
		t.Errorf("a body left out: %s", thin.Body)
	}
	malformed := get()
	malformed.Header.Set("Authorization", `Hawk id="x"`)
	refused("malformed", malformed, 400, "malformed_signature")
	half := get()
	half.Header.Set("Signature", "sig1=:AAAA:")
	refused("half a signature", half, 400, "malformed_signature")
	if answer := r.Do(get()); len(answer.Header.Values("WWW-Authenticate")) != 4 || answer.Header.Get("Accept-Signature") == "" {
		t.Errorf("challenges %q", answer.Header.Values("WWW-Authenticate"))
	}
	if logs := r.Logs(); strings.Contains(logs, s.secret) || strings.Contains(logs, token) {
		t.Error("a secret is in the logs")
	}
}
