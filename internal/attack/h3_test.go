package attack

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// overH3 puts a listener for HTTP/3 in front of the server of the scene, and
// returns a client of it and its URL. It is not Caddy's own listener, because
// the start of Caddy 2.11.9 with TLS has a data race, which fails tests.
func (s *scene) overH3() (*http.Client, string) {
	s.t.Helper()
	addr, dial := s.resumableH3(func(*http.Request) {})
	return dial(), "https://" + addr
}

// resumableH3 is overH3 for clients that resume each other's TLS sessions, each
// on a connection of its own. saw is told of every request on its way in.
func (s *scene) resumableH3(saw func(*http.Request)) (addr string, dial func() *http.Client) {
	s.t.Helper()
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		s.t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	inner := app.(*caddyhttp.App).Servers["srv0"]
	server := &http3.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			saw(r)
			inner.ServeHTTP(w, r)
		}),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}},
	}
	go func() { _ = server.Serve(conn) }()
	s.t.Cleanup(func() {
		server.Close()
		conn.Close()
	})
	sessions := tls.NewLRUClientSessionCache(1)
	return conn.LocalAddr().String(), func() *http.Client {
		transport := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ClientSessionCache: sessions}} // a certificate of this test run
		s.t.Cleanup(func() { transport.Close() })
		return &http.Client{Transport: transport, Timeout: time.Minute}
	}
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
