package attack

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// captures is the part of class E in which somebody has captured a signed
// request, or holds its connection, and uses what the signature leaves open.
var captures = []attack{
	{"E23_one_signature_at_two_handlers", func(s *scene) {
		// A header that no signature covers leads to a handler with another
		// window, and so to other used nonces.
		s.Load("api_keys {\nstore bolt "+s.StorePath()+".two\n}", `
@slow header X-Slow 1
handle @slow {
	api_key {
		signature hawk message {
			skew 2m
		}
		require * read
	}
	reverse_proxy {$UPSTREAM}
}
handle {
	api_key {
		require * read
	}
	reverse_proxy {$UPSTREAM}
}`)
		k := s.newSigning(`{"name":"signer","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
		k.schemes(func(name string, by hmacsig.Signer) {
			for _, first := range []string{"1", "0"} {
				req := k.signed(by, "GET", "/x", "", time.Now())
				req.Header.Set("X-Slow", first)
				s.accepted(name, s.copyOf(req, ""))
				req.Header.Set("X-Slow", string('0'+'1'-first[0]))
				s.refused(name+" at the other handler", s.copyOf(req, ""), http.StatusUnauthorized)
			}
			req := k.signed(by, "GET", "/x", "", time.Now())
			if ok := s.copies(req, 50, func(i int, c *http.Request) { c.Header.Set("X-Slow", fmt.Sprint(i%2)) }); ok != 1 {
				s.t.Errorf("%s: %d of 50 copies were let in by two handlers", name, ok)
			}
		})
	}},
	{"E24_one_public_key_twice", func(s *scene) {
		s.load(signedSite)
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			s.t.Fatal(err)
		}
		k := s.newSigning(`{"name":"partner","scopes":["read"],"credential":{"kind":"public_key","public_key":` + quotedPEM(s, public) + `}}`)
		by, err := hmacsig.NewPrivateKeySigner(k.id, private)
		if err != nil {
			s.t.Fatal(err)
		}
		req := k.signed(by, "GET", "/x", "", time.Now())
		s.accepted("signed", s.copyOf(req, ""))
		s.Manage("POST", "/keys/"+k.id+"/credentials", `{"kind":"public_key","public_key":`+quotedPEM(s, public)+`}`)
		if answer := s.Manage("DELETE", "/keys/"+k.id+"/credentials/1", ""); answer.Status/100 != 2 {
			s.t.Fatalf("ending: status %d", answer.Status)
		}
		s.refused("again, by the other credential", s.copyOf(req, ""), http.StatusUnauthorized)
	}},
	{"E25_a_part_of_the_digest", func(s *scene) {
		k := s.signer(signedSite)
		sum := sha256.Sum256([]byte("evil"))
		evil := `sha-256=:` + base64.StdEncoding.EncodeToString(sum[:]) + ":"
		all, lines := k.usual()
		var base []string
		for _, c := range all {
			base = append(base, lines[c])
		}
		base[0] = `"@method": POST`
		// The signer has signed one member; the sender adds another one.
		for part, digest := range map[string]string{`"content-digest";key="unixsum"`: evil + `, unixsum=:AA==:`, `"content-digest";key="id-sha-256"`: `id-sha-256=:AA==:, ` + evil} {
			for _, length := range []int64{-1, 4} {
				input := "(" + strings.Join(append(all, part), " ") + ")" + k.params(time.Now().Unix())
				req := s.to("POST", "/x?a=1", "Content-Digest: "+digest, "Signature-Input: sig1="+input, "Signature: sig1="+k.mac(append(base, part+": :AA==:"), input))
				req.ContentLength = length
				s.refused(fmt.Sprintf("%s, length %d", part, length), s.copyOf(req, "evil"), http.StatusUnauthorized)
			}
		}
	}},
	{"E26_revoked_while_the_body_stalls", func(s *scene) {
		for what, change := range map[string]func(k signing){
			"revoked":   func(k signing) { s.managed("POST", "/keys/"+k.id+"/revoke?force=true", "") },
			"suspended": func(k signing) { s.managed("POST", "/keys/"+k.id+"/suspend?force=true", "") },
			"ended":     func(k signing) { s.Manage("DELETE", "/keys/"+k.id+"/credentials/1", "") },
			"deleted":   func(k signing) { s.Manage("POST", "/keys/"+k.id+"/revoke", ""); s.Manage("DELETE", "/keys/"+k.id, "") },
			"scope":     func(k signing) { s.managed("PATCH", "/keys/"+k.id, `{"scopes":["other"]}`) },
			"address":   func(k signing) { s.managed("PATCH", "/keys/"+k.id, `{"allow":["10.0.0.0/8"]}`) },
			"denied":    func(k signing) { s.managed("PATCH", "/keys/"+k.id, `{"deny":["127.0.0.1/32"]}`) },
		} {
			k := s.signer(signedSite)
			k.schemes(func(name string, _ hmacsig.Signer) {
				k := s.newSigning(`{"name":"leaver","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
				var by hmacsig.Signer = k.message
				if name == "hawk" {
					by = k.hawk
				}
				req := k.signed(by, "POST", "/x", "body", time.Now())
				before := s.Upstream.Hits()
				answer := s.stalled(req, "body", func() { change(k) })
				if answer.Status != http.StatusUnauthorized && answer.Status != http.StatusForbidden || s.Upstream.Hits() != before {
					s.t.Errorf("%s, %s: status %d, %d hits", what, name, answer.Status, s.Upstream.Hits()-before)
				}
			})
		}
	}},
	{"E27_signed_answers", func(s *scene) {
		k := s.signer("encode gzip\n" + strings.Replace(signedSite, "body_limit 64KiB", "hawk {\nserver_authorization hash\n}", 1))
		body := strings.Repeat("compress me ", 1000)
		s.Upstream.Respond(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer-Authorization: Hawk mac=\"x\"\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		s.accepted("of the upstream's own", func() rig.Answer { return s.Do(k.signed(k.hawk, "GET", "/x", "", time.Now())) })
		signer := &hmacsig.HawkSigner{ID: k.id, Key: k.hawk.Key, RequireAnswer: true}
		// As programs do: Go asks for gzip and takes it off again by itself.
		client := &http.Client{Transport: &hmacsig.Transport{Signer: signer, Origins: []string{"http://" + s.Site}}}
		answer, err := rig.Read(client.Get("http://" + s.Site + "/x"))
		if err != nil || string(answer.Body) != body {
			s.t.Errorf("an answer that is compressed on its way: %v, %d bytes", err, len(answer.Body))
		}
		for what, spoil := range map[string]func(*http.Response){
			"the body":         func(r *http.Response) { r.Body = io.NopCloser(strings.NewReader("changed")) },
			"the content type": func(r *http.Response) { r.Header.Set("Content-Type", "text/html") },
			"no signature":     func(r *http.Response) { r.Header.Del("Server-Authorization") },
			"two signatures":   func(r *http.Response) { r.Header.Add("Server-Authorization", `Hawk mac="x"`) },
			"no hash": func(r *http.Response) {
				line := r.Header.Get("Server-Authorization")
				r.Header.Set("Server-Authorization", line[:strings.Index(line, `, hash=`)])
			},
		} {
			client := &http.Client{Transport: &hmacsig.Transport{Signer: signer, Origins: []string{"http://" + s.Site}, Base: spoiler{spoil}}}
			if _, err := rig.Read(client.Get("http://" + s.Site + "/x")); err == nil {
				s.t.Errorf("another answer was taken: %s", what)
			}
		}
	}},
	{"E28_after_reloads_and_restarts", func(s *scene) {
		global := "api_keys {\nstore bolt " + s.StorePath() + ".again\n}"
		s.Load(global, signedSite)
		k := s.newSigning(`{"name":"signer","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
		k.schemes(func(name string, by hmacsig.Signer) {
			req := k.signed(by, "GET", "/x", "", time.Now())
			s.accepted(name, s.copyOf(req, ""))
			s.Load(global, signedSite+"\n")
			s.refused(name+" after a reload", s.copyOf(req, ""), http.StatusUnauthorized)
			s.Load(global, strings.Replace(signedSite, "body_limit 64KiB", "authority "+s.Site, 1))
			s.refused(name+" after a change", s.copyOf(req, ""), http.StatusUnauthorized)
			if err := caddy.Stop(); err != nil {
				s.t.Fatal(err)
			}
			s.Load(global, signedSite)
			s.refused(name+" after a restart", s.copyOf(req, ""), http.StatusUnauthorized)
			s.accepted(name+" anew", s.copyOf(k.signed(by, "GET", "/x", "", time.Now()), ""))
		})
	}},
	{"E29_bewits", func(s *scene) {
		k := s.signer("@public path /public\napi_key {\nsignature hawk message {\nhawk {\nbewit 1h\n}\n}\npublic @public\nrequire * read\n}\nreverse_proxy {$UPSTREAM}")
		bewit := func(path string, life time.Duration) string {
			req, err := http.NewRequest("GET", "http://"+s.Site+path, nil)
			if err != nil {
				s.t.Fatal(err)
			}
			u, err := k.hawk.Bewit(req.URL, time.Now().Add(life))
			if err != nil {
				s.t.Fatal(err)
			}
			return u.RequestURI()
		}
		good := bewit("/x?a=1", time.Minute)
		_, text, _ := strings.Cut(good, "bewit=")
		s.secrets = append(s.secrets, text)
		s.without("good", s.reached("good", s.get(good, "Referer: http://"+s.Site+good), "GET /x?a=1 HTTP/1.1"), "bewit", "referer")
		s.without("HEAD", s.reached("HEAD", s.request("HEAD", good), "HEAD /x?a=1 HTTP/1.1"), "bewit")
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			s.t.Fatal(err)
		}
		parts := strings.Split(string(raw), `\`)
		forged := func(i int, value string) string {
			p := append([]string(nil), parts...)
			p[i] = value
			return "/x?a=1&bewit=" + base64.RawURLEncoding.EncodeToString([]byte(strings.Join(p, `\`)))
		}
		for what, path := range map[string]string{
			"another path": "/y?a=1&bewit=" + text, "another query": "/x?a=2&bewit=" + text, "more query": good + "&b=1", "another place": "/x?bewit=" + text + "&a=1&a=1",
			"expired": bewit("/x", -time.Second), "too long a life": bewit("/x", 2*time.Hour), "another end": forged(1, fmt.Sprint(time.Now().Add(30*time.Minute).Unix())),
			"no end": forged(1, "never"), "an end in letters": forged(1, parts[1]+"x"), "another key": forged(0, s.reader.id), "ext": forged(3, "x"), "no mac": forged(2, ""),
			"twice": good + "&bewit=" + text, "padded": good + "=", "other alphabet": good + "+", "a bit more": changed(good, len(good)-1), "encoded name": strings.Replace(good, "bewit", "%62ewit", 1), "capitals": strings.Replace(good, "bewit", "Bewit", 1),
			"an ampersand behind it": good + "&", "in the path": strings.Replace(bewit("/x", time.Minute), "?", "&", 1), "cut": good[:len(good)-4], "empty": "/x?a=1&bewit=", "huge": "/x?a=1&bewit=" + strings.Repeat("A", 5000),
		} {
			s.refused(what, s.get(path), unproven...)
		}
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			s.refused(method, s.request(method, good), unproven...)
		}
		for _, header := range []string{s.reader.bearer(), s.reader.header(), "Authorization: Basic YTpi", "Signature: x=:AA==:"} {
			s.refused("beside "+s.mask(header), s.get(good, header), http.StatusBadRequest)
		}
		body := s.to("GET", good)
		body.ContentLength = 1
		s.refused("with a body", s.copyOf(body, "x"), http.StatusUnauthorized)
		s.managed("POST", "/keys/"+k.id+"/revoke?force=true", "")
		s.refused("of a revoked key", s.get(good), http.StatusUnauthorized)
	}},
	{"E30_streamed_bodies", func(s *scene) {
		k := s.signer(strings.Replace(signedSite, "signed\n", "signed\nsigned_body stream\n", 1))
		var whole, bytesRead atomic.Int64 // of an upstream that acts when a request is complete
		upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			if bytesRead.Add(n); err == nil {
				whole.Add(1)
			}
		}))
		defer upstream.Close()
		s.load(strings.NewReplacer("signed\n", "signed\nsigned_body stream\n", "{$UPSTREAM}", upstream.Listener.Addr().String()).Replace(signedSite))
		k.schemes(func(name string, by hmacsig.Signer) {
			for _, size := range []int{1, 16 << 10, 16<<10 + 1, 200 << 10} {
				body := strings.Repeat("x", size)
				for what, sent := range map[string]string{"the same": body, "the last byte": body[:size-1] + "y", "the first byte": "y" + body[1:], "one more": body + "x", "one less": body[:size-1]} {
					for _, known := range []bool{true, false} {
						req := k.signed(by, "POST", "/x", body, time.Now())
						if req.ContentLength = int64(len(sent)); !known {
							req.ContentLength = -1
						}
						before := whole.Load()
						c := req.Clone(s.t.Context())
						c.GetBody, c.Body = nil, io.NopCloser(strings.NewReader(sent))
						resp, err := http.DefaultClient.Do(c)
						if err == nil {
							resp.Body.Close()
						}
						want := int64(0)
						if sent == body {
							want = 1
						}
						if got := whole.Load() - before; got != want {
							s.t.Errorf("%s, %d bytes, %s, length known %t: the upstream got %d whole requests, want %d", name, size, what, known, got, want)
						}
					}
				}
			}
		})
	}},
}

// spoiler changes answers on their way to a client.
type spoiler struct{ spoil func(*http.Response) }

func (p spoiler) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		p.spoil(resp)
	}
	return resp, err
}

// quotedPEM is a public key as it stands in JSON.
func quotedPEM(s *scene, public any) string {
	s.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		s.t.Fatal(err)
	}
	quoted, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(quoted)
}

// copies sends copies of a request at once and returns how many were let in.
func (s *scene) copies(req *http.Request, n int, change func(i int, c *http.Request)) int {
	s.t.Helper()
	before := s.Upstream.Hits()
	var ok atomic.Int64
	var wg sync.WaitGroup
	for i := range n {
		c := req.Clone(s.t.Context())
		change(i, c)
		wg.Go(func() {
			if resp, err := http.DefaultClient.Do(c); err == nil {
				if resp.Body.Close(); resp.StatusCode == http.StatusOK {
					ok.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if hits := s.Upstream.Hits() - before; hits != int(ok.Load()) {
		s.t.Errorf("%d were let in, %d reached the upstream", ok.Load(), hits)
	}
	return int(ok.Load())
}

// stalled sends a request all but the last byte of its body, waits until the
// server asks for it, and sends that after something was changed.
func (s *scene) stalled(req *http.Request, body string, change func()) rig.Answer {
	s.t.Helper()
	conn, err := net.DialTimeout("tcp", s.Site, time.Minute)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n", req.Method, req.URL.RequestURI(), s.Site, len(body))
	for name, values := range req.Header {
		for _, value := range values {
			head += name + ": " + value + "\r\n"
		}
	}
	_, _ = io.WriteString(conn, head+"\r\n")
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil || !strings.Contains(line, " 100 ") {
		s.t.Fatalf("the body is not asked for: %q, %v", line, err)
	}
	_, _ = in.ReadString('\n')
	_, _ = io.WriteString(conn, body[:len(body)-1])
	change()
	_, _ = io.WriteString(conn, body[len(body)-1:])
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := rig.Read(resp, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer
}
