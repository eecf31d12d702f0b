package cdn_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// With mtls.Caddyfile the CDN's certificate opens the connection, and nothing
// else does; the key is asked for besides.
func TestClientCertificates(t *testing.T) {
	cdn, stranger := authority(t), authority(t)
	file := filepath.Join(t.TempDir(), "cdn.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cdn.Certificate[0]})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(rig.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	e := rig.NewExample(t, "mtls.Caddyfile", "file cdn.pem", "file "+file,
		"https://localhost:8443", "https://localhost:"+port, "tls internal", "tls "+rig.Certificate(t), "reverse_proxy localhost:9000", "reverse_proxy {$UPSTREAM}")
	_, token := e.Create(`{"name":"office","scopes":["contacts:read"],"allow":["198.51.100.0/24"]}`)

	site := "localhost:" + port
	config := func(certs ...tls.Certificate) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", Certificates: certs} // the server's own is not the matter here
	}
	request := func(config *tls.Config, key string) (int, error) {
		client := http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+site+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-API-Key", key)
		req.Header.Set("X-Forwarded-For", "198.51.100.7")
		answer, err := rig.Read(client.Do(req))
		return answer.Status, err
	}
	if status, err := request(config(leaf(t, cdn)), token); status != 200 {
		t.Errorf("the CDN: status %d, %v", status, err)
	}
	if status, err := request(config(leaf(t, cdn)), "ck_none"); status != 401 {
		t.Errorf("the CDN without a key: status %d, %v", status, err)
	}
	hits := e.Upstream.Hits()
	for who, config := range map[string]*tls.Config{"nobody": config(), "a stranger": config(leaf(t, stranger))} {
		if status, err := request(config, token); err == nil {
			t.Errorf("%s got through, status %d", who, status)
		}
	}
	if e.Upstream.Hits() != hits {
		t.Error("a stranger reached the API")
	}
}

// authority returns a certificate that signs others.
func authority(t *testing.T) tls.Certificate {
	return certificate(t, &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
}

// leaf returns a client's certificate.
func leaf(t *testing.T, signer tls.Certificate) tls.Certificate {
	return certificate(t, &x509.Certificate{SerialNumber: big.NewInt(2), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, &signer)
}

func certificate(t *testing.T, template *x509.Certificate, signer *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signingKey := template, any(key)
	if signer != nil {
		signingKey = signer.PrivateKey
		if parent, err = x509.ParseCertificate(signer.Certificate[0]); err != nil {
			t.Fatal(err)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signingKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
