package adminapi

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/audit"
)

// clientCert makes a certificate of a client, which signs itself.
func clientCert(t *testing.T, subject pkix.Name) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, cert
}

// TestActorOfCertificates: with mutual TLS the actor is the client's certificate,
// whatever its subject holds.
func TestActorOfCertificates(t *testing.T) {
	s := newServer(t)
	api := new(API)
	if err := api.Provision(caddy.Context{Context: t.Context()}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		subject pkix.Name
		want    string
	}{
		"plain":   {pkix.Name{CommonName: "alice", Organization: []string{"Acme"}}, "CN=alice,O=Acme"},
		"none":    {pkix.Name{}, ""},
		"control": {pkix.Name{CommonName: "a\r\nactor: server\x1b[2J"}, "CN=a\uFFFD\uFFFDactor: server\uFFFD[2J"},
		"long":    {pkix.Name{CommonName: strings.Repeat("é", 300)}, "CN=" + strings.Repeat("é", 148) + "…"},
		"server":  {pkix.Name{CommonName: "server"}, "CN=server"},
	} {
		cert, parsed := clientCert(t, c.subject)
		pool := x509.NewCertPool()
		pool.AddCert(parsed)
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = api.serve(w, r) }))
		server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
		server.StartTLS()
		transport := server.Client().Transport.(*http.Transport)
		transport.TLSClientConfig.Certificates = []tls.Certificate{cert}
		resp, err := server.Client().Post(server.URL+"/api_keys/keys", "application/json", strings.NewReader(`{"name":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		server.Close()
		if resp.StatusCode != 201 {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
		all := s.trail("")
		sum := sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
		want := strings.TrimLeft(c.want+" sha256:"+hex.EncodeToString(sum[:8]), " ")
		if got := all[len(all)-1]["actor"]; got != want {
			t.Errorf("%s: actor %q, want %q", name, got, want)
		}
		if got := all[len(all)-1]["address"]; got != "127.0.0.1" {
			t.Errorf("%s: address %v", name, got)
		}
	}
}

// TestActorOfSocket: whoever may use the socket is that.
func TestActorOfSocket(t *testing.T) {
	s := newServer(t)
	path := filepath.Join(t.TempDir(), "admin.sock")
	s.load(`"listen":"unix/`+path+`"`, `"api_keys":{}`)
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	resp, err := client.Post("http://localhost/api_keys/keys", "application/json", bytes.NewReader([]byte(`{"name":"x"}`)))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 201 {
		t.Fatal(resp.Status)
	}
	s.load("", `"api_keys":{}`)
	all := s.trail("")
	if e := all[len(all)-1]; e["actor"] != audit.Socket || e["address"] != "unix" {
		t.Errorf("%v", e)
	}
}
