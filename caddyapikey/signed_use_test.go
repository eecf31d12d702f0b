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
