package caddyapikey_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
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
	refused("the secret itself", exposed, 401, "signature_required")
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

// The id of a key is not told apart from one that nobody has, whatever secret
// the request is signed with.
func TestUnknownIDIsNotTold(t *testing.T) {
	r := rig.New(t, "", signedSite)
	s := newSigner(t, r, exporter)
	key := make([]byte, 32)
	forged := func(id string) rig.Answer {
		req := s.request(t, "POST", "/v1/contacts", "x")
		params := fmt.Sprintf(`("@method" "@authority" "@path" "@query" "content-digest");created=%d;keyid="%s";nonce="%s"`, time.Now().Unix(), id, rand.Text())
		const digest = "sha-256=:AAAA:" // of no length that a digest has
		base := fmt.Sprintf("\"@method\": POST\n\"@authority\": %s\n\"@path\": /v1/contacts\n\"@query\": ?\n\"content-digest\": %s\n\"@signature-params\": %s", r.Site, digest, params)
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(base))
		req.Header.Set("Content-Digest", digest)
		req.Header.Set("Signature-Input", "sig1="+params)
		req.Header.Set("Signature", "sig1=:"+base64.StdEncoding.EncodeToString(mac.Sum(nil))+":")
		return r.Do(req)
	}
	known, unknown := forged(s.id), forged("key_00000000000000000000")
	if known.Status != unknown.Status || !bytes.Equal(known.Body, unknown.Body) {
		t.Errorf("known: %d %s, unknown: %d %s", known.Status, known.Body, unknown.Status, unknown.Body)
	}
}

// Of a hundred copies of one request, sent at the same time, one is let in; and
// a reload forgets nothing.
func TestReplay(t *testing.T) {
	r := rig.New(t, "", signedSite)
	s := newSigner(t, r, exporter)
	for name, by := range map[string]hmacsig.Signer{"hawk": s.hawk, "message": s.message} {
		t.Run(name, func(t *testing.T) {
			signed := sign(t, by, s.request(t, "POST", "/v1/export", `{"n":1}`), time.Now())
			before := r.Upstream.Hits()
			send := func() int {
				req := signed.Clone(t.Context())
				req.Body = io.NopCloser(bytes.NewReader([]byte(`{"n":1}`)))
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Error(err)
					return 0
				}
				resp.Body.Close()
				return resp.StatusCode
			}
			statuses := make(chan int, 100)
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() { statuses <- send() })
			}
			wg.Wait()
			close(statuses)
			counts := map[int]int{}
			for status := range statuses {
				counts[status]++
			}
			if counts[200] != 1 || counts[401] != 99 || r.Upstream.Hits()-before != 1 {
				t.Errorf("statuses %v, %d hits", counts, r.Upstream.Hits()-before)
			}
			r.Load("", signedSite+"\n# changed by "+name)
			if status := send(); status != 401 {
				t.Errorf("after a reload: status %d", status)
			}
		})
	}
}

func TestHawkExtIsTheOrg(t *testing.T) {
	r := rig.New(t, "", signedSite)
	r.Manage("PUT", "/orgs/acme", `{}`)
	s := newSigner(t, r, `{"name":"export","org":"acme","scopes":["*"],"credential":{"kind":"shared_secret"}}`)
	for ext, status := range map[string]int{"acme": 200, "": 403, "other": 403} {
		by := *s.hawk
		by.Ext = ext
		if answer := r.Do(sign(t, &by, s.request(t, "GET", "/v1/export", ""), time.Now())); answer.Status != status {
			t.Errorf("ext %q: status %d %s", ext, answer.Status, answer.Body)
		}
	}
}

func TestBewit(t *testing.T) {
	r := rig.New(t, "", signedSite)
	s := newSigner(t, r, exporter)
	u, err := url.Parse("http://" + r.Site + "/v1/export?a=1")
	if err != nil {
		t.Fatal(err)
	}
	bewit := func(life time.Duration) string {
		signed, err := s.hawk.Bewit(u, time.Now().Add(life))
		if err != nil {
			t.Fatal(err)
		}
		return signed.RequestURI()
	}
	target := bewit(time.Minute)
	for range 2 { // it may be used again
		if answer := r.Get(target); answer.Status != 200 || answer.Header.Get("Cache-Control") != "private" {
			t.Fatalf("status %d %s, %v", answer.Status, answer.Body, answer.Header)
		}
	}
	if got := r.Upstream.Last(); !strings.HasPrefix(got, "GET /v1/export?a=1 HTTP") {
		t.Errorf("the upstream got %q", got)
	}
	wantAnswer(t, r.Get(bewit(-time.Second)), 401, "stale_signature")
	wantAnswer(t, r.Get(bewit(time.Hour)), 401, "stale_signature")
	wantAnswer(t, r.Get(strings.Replace(target, "a=1", "a=2", 1)), 401, "invalid_signature")
	wantAnswer(t, r.Request("POST", target), 400, "malformed_signature")
}

// A bewit is good until it ends for whoever reads it in a log.
func TestBewitStaysOutOfLogs(t *testing.T) {
	r := rig.New(t, "", "respond 204") // for its directories and addresses
	path := filepath.Join(r.Dir, "redacted.log")
	r.Load("", "log own {\noutput file "+path+"\nformat redact_api_keys\n}\n"+signedSite)
	s := newSigner(t, r, exporter)
	u, err := url.Parse("http://" + r.Site + "/v1/export?a=1")
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.hawk.Bewit(u, time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if answer := r.Get(signed.RequestURI(), "Referer: "+signed.String()); answer.Status != 200 {
		t.Fatalf("status %d %s", answer.Status, answer.Body)
	}
	stop(t) // which ends the log
	logs := rig.ReadFile(t, path)
	if !strings.Contains(logs, "/v1/export?a=1") || strings.Contains(logs, signed.Query().Get("bewit")) {
		t.Errorf("the log has %s", logs)
	}
}

func TestServerAuthorization(t *testing.T) {
	for _, mode := range []string{"bare", "hash"} {
		t.Run(mode, func(t *testing.T) {
			r := rig.New(t, "", fmt.Sprintf(`
api_key {
	signature hawk {
		hawk {
			server_authorization %s
		}
	}
	require *
}
reverse_proxy {$UPSTREAM}`, mode))
			s := newSigner(t, r, exporter)
			s.hawk.RequireAnswer = true
			client := &http.Client{Transport: &hmacsig.Transport{Signer: s.hawk, Origins: []string{"http://" + r.Site}}}
			for _, method := range []string{"GET", "HEAD", "POST"} {
				resp, err := client.Do(s.request(t, method, "/v1/export", ""))
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || method != "HEAD" && string(body) != "upstream" {
					t.Errorf("%s: %q, %v", method, body, err)
				}
				if hashed := strings.Contains(resp.Header.Get("Server-Authorization"), "hash="); hashed != (mode == "hash" && method != "HEAD") {
					t.Errorf("%s: %q", method, resp.Header.Get("Server-Authorization"))
				}
			}
		})
	}
}

// Answers that have no body are signed, and upgrades are.
func TestServerAuthorizationWithoutBody(t *testing.T) {
	for _, mode := range []string{"bare", "hash"} {
		t.Run(mode, func(t *testing.T) {
			r := rig.New(t, "", "api_key {\nsignature hawk {\nhawk {\nserver_authorization "+mode+"\n}\n}\nrequire *\n}\nhandle /nothing {\n}\nhandle {\nreverse_proxy {$UPSTREAM}\n}")
			s := newSigner(t, r, exporter)
			get := func(path string, want int) {
				t.Helper()
				answer := r.Do(sign(t, s.hawk, s.request(t, "GET", path, ""), time.Now()))
				if answer.Status != want || answer.Header.Get("Server-Authorization") == "" {
					t.Errorf("%s: status %d, %v", path, answer.Status, answer.Header)
				}
			}
			get("/nothing", 200)
			r.Upstream.Respond("HTTP/1.1 204 No Content\r\n\r\n")
			get("/x", 204)

			r.Upstream.Respond("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nframes")
			upgrade := sign(t, s.hawk, s.request(t, "GET", "/x", ""), time.Now())
			got := r.Raw("GET /x HTTP/1.1\r\nHost: " + r.Site + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nAuthorization: " + upgrade.Header.Get("Authorization") + "\r\n\r\n")
			if !strings.HasPrefix(got, "HTTP/1.1 101 ") || !strings.HasSuffix(got, "frames") || !strings.Contains(got, "Server-Authorization: Hawk ") {
				t.Errorf("an upgrade: %.300q", got)
			}
		})
	}
}

func TestPublicKeySigns(t *testing.T) {
	r := rig.New(t, "", signedSite)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	if err != nil {
		t.Fatal(err)
	}
	s := newSigner(t, r, `{"name":"export","scopes":["contacts:read"],"credential":{"kind":"public_key","public_key":`+string(text)+`}}`)
	by, err := hmacsig.NewPrivateKeySigner(s.id, private)
	if err != nil {
		t.Fatal(err)
	}
	if answer := r.Do(sign(t, by, s.request(t, "GET", "/v1/export", ""), time.Now())); answer.Status != 200 {
		t.Errorf("status %d %s", answer.Status, answer.Body)
	}
}
