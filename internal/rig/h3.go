package rig

import (
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// HTTP3 puts a listener for HTTP/3 in front of the running site, and returns a
// client of it and its URL; requests need the site's Host. The client shows a
// certificate of clientCerts, if there is one. It is not Caddy's own listener: when Caddy 2.11.9
// starts it has a data race with TLS handshakes, which the race detector takes
// for ours.
func (r *Rig) HTTP3(t testing.TB, clientCerts ...tls.Certificate) (*http.Client, string) {
	t.Helper()
	site := r.Server(t)
	cert, key, _ := strings.Cut(Certificate(t), " ")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http3.Server{
		Handler:   site,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert},
	}
	go func() { _ = server.Serve(conn) }()
	transport := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: clientCerts}} // a certificate of this test run
	t.Cleanup(func() {
		transport.Close()
		server.Close()
		conn.Close()
	})
	return &http.Client{Transport: transport, Timeout: time.Minute}, "https://" + conn.LocalAddr().String()
}

// Server returns the running site itself, to be put behind another listener.
func (r *Rig) Server(t testing.TB) http.Handler {
	t.Helper()
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range app.(*caddyhttp.App).Servers {
		if slices.ContainsFunc(s.Listen, func(addr string) bool { return strings.HasSuffix(addr, r.Site) }) {
			return s
		}
	}
	t.Fatal("no server listens where the site is")
	return nil
}
