package caddyapikey_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

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
