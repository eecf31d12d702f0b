package caddyapikey_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// certSite asks for keys that are bound to a certificate under /partner.
const certSite = `
api_key {
	require * contacts:read
	require /partner/* {
		client_cert
	}
}
reverse_proxy {$UPSTREAM}`

func fingerprint(cert tls.Certificate) string {
	sum := sha256.Sum256(cert.Certificate[0])
	return hex.EncodeToString(sum[:])
}

// withCert is a client on connections of its own, which it opens with a
// certificate, if there is one. maxVersion is that of TLS.
func withCert(version uint16, h2 bool, certs ...tls.Certificate) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		ForceAttemptHTTP2: h2,
		TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, // a certificate of this test run
			MaxVersion:         version,
			Certificates:       certs,
			ClientSessionCache: tls.NewLRUClientSessionCache(1),
		},
	}}
}

// A key that is bound to certificates works with one of them only, over each
// version of HTTP and TLS, on connections that are used again and on sessions
// that are resumed; a rule with client_cert asks for such a key.
func TestClientCertificates(t *testing.T) {
	_, port, err := net.SplitHostPort(rig.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	first, second, other := rig.ClientCertificate(t, time.Now().Add(time.Hour)), rig.ClientCertificate(t, time.Now().Add(time.Hour)), rig.ClientCertificate(t, time.Now().Add(time.Hour))
	expired := rig.ClientCertificate(t, time.Now().Add(-time.Minute))
	r := rig.New(t, "", certSite+"\n}\nhttps://localhost:"+port+" {\nbind 127.0.0.1\ntls "+rig.Certificate(t)+" {\nclient_auth {\nmode request\n}\n}\n"+certSite)
	id, bound := r.Create(fmt.Sprintf(`{"name":"x","scopes":["contacts:read"],"client_certs":[%q,%q,%q]}`, fingerprint(first), strings.ToUpper(fingerprint(second)), fingerprint(expired)))
	_, unbound := r.Create(`{"name":"y","scopes":["contacts:read"]}`)

	ask := func(client *http.Client, base, path, token string) rig.Answer {
		t.Helper()
		req, err := http.NewRequest("GET", base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("X-Forwarded-Client-Cert", "Hash="+fingerprint(first)) // nobody may claim one
		req.Header.Set("Client-Cert", fingerprint(first))
		if strings.HasPrefix(base, "https://127.") {
			req.Host = r.Site
		}
		answer, err := rig.Read(client.Do(req))
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	site := "https://localhost:" + port
	for name, connect := range map[string]func(certs ...tls.Certificate) (*http.Client, string){
		"HTTP/1, TLS 1.2": func(certs ...tls.Certificate) (*http.Client, string) {
			return withCert(tls.VersionTLS12, false, certs...), site
		},
		"HTTP/1, TLS 1.3": func(certs ...tls.Certificate) (*http.Client, string) {
			return withCert(tls.VersionTLS13, false, certs...), site
		},
		"HTTP/2": func(certs ...tls.Certificate) (*http.Client, string) {
			return withCert(tls.VersionTLS13, true, certs...), site
		},
		"HTTP/3": func(certs ...tls.Certificate) (*http.Client, string) { return r.HTTP3(t, certs...) },
	} {
		t.Run(name, func(t *testing.T) {
			for who, c := range map[string]struct {
				certs []tls.Certificate
				good  bool
			}{"first": {[]tls.Certificate{first}, true}, "second": {[]tls.Certificate{second}, true}, "other": {[]tls.Certificate{other}, false}, "expired": {[]tls.Certificate{expired}, false}, "none": {nil, false}} {
				client, base := connect(c.certs...)
				status, reason := 200, ""
				if !c.good {
					status, reason = 403, "wrong_certificate"
				}
				for round := range 3 {
					for _, path := range []string{"/v1", "/partner/v1"} {
						if got := ask(client, base, path, bound); got.Status != status || got.Reason() != reason {
							t.Errorf("%s, round %d, %s: %d %q", who, round, path, got.Status, got.Reason())
						}
					}
					if got := ask(client, base, "/v1", unbound); got.Status != 200 {
						t.Errorf("%s: a key that is not bound: %d", who, got.Status)
					}
					if got := ask(client, base, "/partner/v1", unbound); got.Status != 403 || got.Reason() != "unbound_key" {
						t.Errorf("%s: a key that is not bound: %d %q", who, got.Status, got.Reason())
					}
					client.CloseIdleConnections() // the next round resumes the session
				}
			}
		})
	}
	t.Run("a resumed session", func(t *testing.T) {
		resume := func(client *http.Client, base string) (resumed bool) {
			t.Helper()
			for range 5 {
				req, _ := http.NewRequest("GET", base+"/partner/v1", nil)
				if base != site {
					req.Host = r.Site
				}
				req.Header.Set("Authorization", "Bearer "+bound)
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 200 {
					t.Errorf("resumed %t: status %d", resp.TLS.DidResume, resp.StatusCode)
				}
				resumed = resumed || resp.TLS.DidResume
				client.CloseIdleConnections()
			}
			return resumed
		}
		// Caddy resumes no session on a site that asks for certificates.
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			if resume(withCert(version, false, first), site) {
				t.Errorf("TLS %x: Caddy resumes sessions; the page says otherwise", version)
			}
		}
		// Where sessions are resumed, they keep their certificate.
		elsewhere := httptest.NewUnstartedServer(r.Server(t))
		elsewhere.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
		elsewhere.StartTLS()
		defer elsewhere.Close()
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			if !resume(withCert(version, false, first), elsewhere.URL) {
				t.Errorf("TLS %x: no session was resumed", version)
			}
		}
	})
	t.Run("without TLS", func(t *testing.T) {
		wantAnswer(t, r.Get("/v1", "Authorization: Bearer "+bound), 403, "wrong_certificate")
		wantAnswer(t, r.Get("/v1", "Authorization: Bearer "+unbound), 200, "")
	})
	t.Run("taken away", func(t *testing.T) {
		client, base := withCert(tls.VersionTLS13, true, first), site
		if got := ask(client, base, "/v1", bound); got.Status != 200 {
			t.Fatalf("status %d", got.Status)
		}
		if got := r.Manage("PATCH", "/keys/"+id, fmt.Sprintf(`{"client_certs":[%q]}`, fingerprint(second))); got.Status != 200 {
			t.Fatalf("%s", got.Body)
		}
		if got := ask(client, base, "/v1", bound); got.Reason() != "wrong_certificate" {
			t.Errorf("on the open connection: %d %q", got.Status, got.Reason())
		}
		if got := r.Manage("PATCH", "/keys/"+id, `{"client_certs":[]}`); got.Status != 400 {
			t.Errorf("the list was emptied: %d", got.Status)
		}
		if got := r.Manage("PATCH", "/keys/"+id, `{"client_certs":[],"allow_anyone":true}`); got.Status != 200 {
			t.Errorf("not emptied on purpose: %s", got.Body)
		}
		if got := ask(client, base, "/v1", bound); got.Status != 200 {
			t.Errorf("no longer bound: %d", got.Status)
		}
	})
}
