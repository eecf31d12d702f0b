package docs_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// hardened runs an example of the page on https://localhost and returns its URL
// and the token of a key. replace is for what a test cannot wait for.
func hardened(t *testing.T, r *rig.Rig, title string, replace ...string) (site, token string) {
	t.Helper()
	example := strings.NewReplacer(replace...).Replace(firstFenceOf(section(read(t, "hardening.md"), title), "caddyfile"))
	parts := regexp.MustCompile(`(?s)^(?:\{\n(.*?)\n\}\n\n)?api\.example\.com \{\n(.*)\n\}\n$`).FindStringSubmatch(example)
	if parts == nil {
		t.Fatalf("%s: another form\n%s", title, example)
	}
	_, port, err := net.SplitHostPort(rig.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	own := "tls " + rig.Certificate(t)
	inside := strings.ReplaceAll(parts[2], "localhost:9000", "{$UPSTREAM}")
	if strings.Contains(inside, "tls {") {
		inside = strings.ReplaceAll(inside, "tls {", own+" {")
	} else {
		inside = own + "\n" + inside
	}
	r.Load(parts[1], "respond never\n}\nhttps://localhost:"+port+" {\nbind 127.0.0.1\n"+inside)
	_, token = r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	return "https://localhost:" + port, token
}

func TestHardening(t *testing.T) {
	r := rig.New(t, "", "respond never")
	client := func(config *tls.Config) *http.Client {
		config.InsecureSkipVerify = true // a certificate of this test run
		return &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: config}}
	}
	ask := func(t *testing.T, c *http.Client, method, url, token string, body io.Reader, headers ...string) (rig.Answer, error) {
		t.Helper()
		req, err := http.NewRequest(method, url, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		for _, line := range headers {
			name, value, _ := strings.Cut(line, ": ")
			req.Header.Set(name, value)
		}
		return rig.Read(c.Do(req))
	}
	want := func(t *testing.T, what string, status int) func(rig.Answer, error) {
		return func(got rig.Answer, err error) {
			t.Helper()
			if err != nil || got.Status != status {
				t.Errorf("%s: %v, status %d, want %d: %s", what, err, got.Status, status, got.Body)
			}
		}
	}

	t.Run("TLS", func(t *testing.T) {
		site, token := hardened(t, r.With(t), "## A floor for TLS")
		want(t, "TLS 1.3", 200)(ask(t, client(&tls.Config{}), "GET", site, token, nil))
		if _, err := ask(t, client(&tls.Config{MaxVersion: tls.VersionTLS12}), "GET", site, token, nil); err == nil {
			t.Error("TLS 1.2 got through")
		}
	})
	t.Run("client certificates", func(t *testing.T) {
		r := r.With(t)
		site, unbound := hardened(t, r, "## Client certificates for partners")
		cert := rig.ClientCertificate(t, time.Now().Add(time.Hour))
		sum := sha256.Sum256(cert.Certificate[0])
		_, bound := r.Create(fmt.Sprintf(`{"name":"partner","scopes":["contacts:read"],"client_certs":[%q]}`, hex.EncodeToString(sum[:])))
		partner, other := client(&tls.Config{Certificates: []tls.Certificate{cert}}), client(&tls.Config{})
		want(t, "the partner", 200)(ask(t, partner, "GET", site+"/partner/x", bound, nil))
		want(t, "who found the key", 403)(ask(t, other, "GET", site+"/partner/x", bound, nil))
		want(t, "a key that is not bound", 403)(ask(t, partner, "GET", site+"/partner/x", unbound, nil))
		want(t, "a key that is not bound, elsewhere", 200)(ask(t, other, "GET", site+"/x", unbound, nil))
	})
	t.Run("limits", func(t *testing.T) {
		site, token := hardened(t, r.With(t), "## Limits of requests")
		c := client(&tls.Config{})
		want(t, "a short body", 200)(ask(t, c, "POST", site, token, strings.NewReader(strings.Repeat("x", 900_000))))
		want(t, "a long body", 413)(ask(t, c, "POST", site, token, strings.NewReader(strings.Repeat("x", 1_100_000))))
		want(t, "a header", 200)(ask(t, c, "GET", site, token, nil, "X-A: "+strings.Repeat("x", 10_000)))
		want(t, "a large header", 431)(ask(t, c, "GET", site, token, nil, "X-A: "+strings.Repeat("x", 60_000)))
	})
	t.Run("timeouts", func(t *testing.T) {
		site, token := hardened(t, r.With(t), "## Timeouts", "read_header 5s", "read_header 200ms", "read_body 30s", "read_body 200ms")
		want(t, "a request", 200)(ask(t, client(&tls.Config{}), "GET", site, token, nil))
		for what, begin := range map[string]string{
			"a slow header": "GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ",
			"a slow body":   "POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token + "\r\nContent-Length: 100\r\n\r\nx",
		} {
			conn, err := tls.Dial("tcp", strings.TrimPrefix(site, "https://"), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(time.Minute)) // far less than Caddy's defaults
			if _, err := io.WriteString(conn, begin); err != nil {
				t.Fatal(err)
			}
			var answer [len("HTTP/1.1 ")]byte // 4xx or 5xx, by which end gives up first
			_, err = io.ReadFull(conn, answer[:])
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() || err == nil && string(answer[:]) != "HTTP/1.1 " {
				t.Errorf("%s was not cut off: %q", what, answer)
			}
		}
	})
	t.Run("proxy", func(t *testing.T) {
		site, token := hardened(t, r.With(t), "## Behind a proxy", "10.0.0.0/8", "127.0.0.1/32")
		c := client(&tls.Config{})
		for forwarded, status := range map[string]int{"198.51.100.7": 200, "203.0.113.7": 403, "198.51.100.7, 203.0.113.7": 403, "203.0.113.7, 198.51.100.7": 200, "garbage": 403} {
			want(t, forwarded, status)(ask(t, c, "GET", site, token, nil, "X-Forwarded-For: "+forwarded))
		}
	})
}
