package caddyapikey_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// Observing lets a request pass as it came, also one whose signed body is
// wrong: what was read to find out goes to the upstream.
func TestObservedBodyStaysWhole(t *testing.T) {
	for _, mode := range []string{"buffer", "stream"} {
		t.Run(mode, func(t *testing.T) {
			r := rig.New(t, "", `
api_key {
	mode observe
	signature hawk message {
		body_limit 1KiB
	}
	require * {
		signed_body `+mode+`
	}
}
reverse_proxy {$UPSTREAM}`)
			s := newSigner(t, r, exporter)
			for name, by := range map[string]hmacsig.Signer{"hawk": s.hawk, "message": s.message} {
				for what, body := range map[string]string{"another": `{"n":2}`, "a long": strings.Repeat("x", 5<<10)} {
					for _, length := range []int64{int64(len(body)), -1} {
						req := sign(t, by, s.request(t, "POST", "/x", `{"n":1}`), time.Now())
						req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), length
						before := r.Upstream.Hits()
						answer := r.Do(req)
						if answer.Status != http.StatusOK || r.Upstream.Hits() != before+1 || upstreamBody(t, r) != body {
							t.Errorf("%s, %s body of length %d: status %d, %d hits", name, what, length, answer.Status, r.Upstream.Hits()-before)
						}
					}
				}
			}
		})
	}
}

// A captured request has no room for its body: were it let to wait, whoever
// replays it often, and slowly, could use up the room of all others.
func TestReplayHoldsNoBody(t *testing.T) {
	r := rig.New(t, "", signedSite)
	s := newSigner(t, r, exporter)
	for name, by := range map[string]hmacsig.Signer{"hawk": s.hawk, "message": s.message} {
		t.Run(name, func(t *testing.T) {
			req := sign(t, by, s.request(t, "POST", "/v1/export", `{"n":1}`), time.Now())
			head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 7\r\n", req.URL.RequestURI(), r.Site)
			for field, lines := range req.Header {
				head += field + ": " + lines[0] + "\r\n"
			}
			if answer := r.Do(req); answer.Status != http.StatusOK {
				t.Fatalf("status %d", answer.Status)
			}
			conn, err := net.Dial("tcp", r.Site)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, head+"\r\n"); err != nil { // and never the body
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("the replay is not refused while its body is missing: %v", err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("status %d", resp.StatusCode)
			}
		})
	}
}

// A body whose length nobody announced takes as much room as it has, not as much
// as it could have had, for as long as its answer lasts.
func TestShortBodyTakesLittleRoom(t *testing.T) {
	r := rig.New(t, "", strings.Replace(signedSite, "body_limit 1KiB", "body_limit 300MiB", 1))
	s := newSigner(t, r, exporter)
	r.Upstream.Respond("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: first\n\n") // and no end
	for i := range 2 {
		req := sign(t, s.hawk, s.request(t, "POST", "/v1/export", `{"n":1}`), time.Now())
		req.ContentLength = -1
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("request %d: status %d", i+1, resp.StatusCode)
		}
	}
}

// A limit beyond the room for all bodies could not be kept.
func TestBodyLimitFitsTheRoom(t *testing.T) {
	r := rig.New(t, "", signedSite)
	if err := r.TryLoad("", strings.Replace(signedSite, "body_limit 1KiB", "body_limit 513MiB", 1)); err == nil {
		t.Error("a body_limit of 513MiB was taken")
	}
}

// A request need not say beforehand that it has no body; over HTTP/3 none does.
func TestEmptyBodyOfUnknownLength(t *testing.T) {
	r := rig.New(t, "", signedSite)
	s := newSigner(t, r, exporter)
	// Not Caddy's own listeners: its start with TLS has a data race, which fails
	// tests.
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewUnstartedServer(app.(*caddyhttp.App).Servers["srv0"])
	front.EnableHTTP2 = true
	front.StartTLS()
	defer front.Close()
	conn, err := net.ListenPacket("udp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	front3 := &http3.Server{Handler: front.Config.Handler, TLSConfig: &tls.Config{Certificates: front.TLS.Certificates}}
	go func() { _ = front3.Serve(conn) }()
	defer front3.Close()
	h2 := front.Client().Transport
	h3 := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // a certificate of this test run
	defer h3.Close()
	target, err := url.Parse(front.URL + "/v1/contacts?a=1")
	if err != nil {
		t.Fatal(err)
	}
	for version, transport := range map[string]http.RoundTripper{"HTTP/2": h2, "HTTP/3": h3} {
		client := &http.Client{Transport: transport, Timeout: time.Minute}
		send := func(name string, req *http.Request, want int) {
			t.Helper()
			answer, err := rig.Read(client.Do(req))
			if err != nil {
				t.Fatalf("%s, %s: %v", version, name, err)
			}
			if answer.Status != want {
				t.Errorf("%s, %s: status %d %q, want %d", version, name, answer.Status, answer.Reason(), want)
			}
		}
		request := func(method string) *http.Request {
			req, err := http.NewRequest(method, target.String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return req
		}
		for name, by := range map[string]hmacsig.Signer{"hawk": s.hawk, "message": s.message} {
			for _, method := range []string{"GET", "HEAD", "POST"} {
				send(name+" "+method, sign(t, by, request(method), time.Now()), 200)
				added := sign(t, by, request(method), time.Now())
				added.Body, added.ContentLength = io.NopCloser(strings.NewReader("x")), -1
				send(name+" "+method+" with a body that is not signed", added, 401)
			}
		}
		bewit, err := s.hawk.Bewit(target, time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		req := request("GET")
		req.URL = bewit
		send("bewit", req, 200)
		added := req.Clone(t.Context())
		added.Body, added.ContentLength = io.NopCloser(strings.NewReader("x")), -1
		send("bewit with a body", added, 401)
	}
	empty := sign(t, s.hawk, s.request(t, "POST", "/v1/export", ""), time.Now())
	empty.Body, empty.ContentLength = io.NopCloser(strings.NewReader("")), -1
	empty.TransferEncoding = []string{"chunked"}
	if answer := r.Do(empty); answer.Status != 200 {
		t.Errorf("chunked and empty: status %d %q", answer.Status, answer.Reason())
	}
}

// upstreamBody is the body of the last request to the upstream.
func upstreamBody(t *testing.T, r *rig.Rig) string {
	t.Helper()
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(r.Upstream.Last())))
	if err != nil {
		t.Error(err)
		return ""
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}
