package attack

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// overH3 serves a site over HTTP/3 too, and returns a client of it and its URL.
func (s *scene) overH3(site string) (*http.Client, string) {
	s.t.Helper()
	addr := rig.FreeAddr(s.t)
	_, port, _ := strings.Cut(addr, ":")
	s.Load("skip_install_trust", site+"\n}\nhttps://localhost:"+port+" {\nbind 127.0.0.1\ntls internal\n"+site)
	config := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"} // a certificate of this test run
	rig.AwaitTLS(s.t, addr, config)
	transport := &http3.Transport{TLSClientConfig: config}
	s.t.Cleanup(func() { transport.Close() })
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}, "https://localhost:" + port
}

// send sends a request by a client and reads the answer; a request that the
// server cuts off is answered by reset.
func (s *scene) send(client *http.Client, req *http.Request) func() rig.Answer {
	return func() rig.Answer {
		resp, err := client.Do(req)
		if err != nil {
			return rig.Answer{Status: reset}
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return rig.Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}
	}
}

// lateTrailer is a body that sets trailers at its end, which were not announced.
type lateTrailer struct {
	io.Reader
	trailer http.Header
	names   []string
}

func (b *lateTrailer) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		for _, name := range b.names {
			b.trailer[name] = []string{"forged"}
		}
	}
	return n, err
}

func (b *lateTrailer) Close() error { return nil }
