package attack

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
)

// signatures is class E: signed requests that are used again, changed or forged.
var signatures = []attack{
	{"E01_replay", func(s *scene) {
		k := s.signer(signedSite)
		k.schemes(func(name string, by hmacsig.Signer) {
			req := k.signed(by, "POST", "/x", "body", time.Now())
			s.accepted(name, s.copyOf(req, "body"))
			s.refused(name+" again", s.copyOf(req, "body"), http.StatusUnauthorized)

			req = k.signed(by, "GET", "/x", "", time.Now())
			before, let := s.Upstream.Hits(), make(chan int, 100)
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					if resp, err := http.DefaultClient.Do(req.Clone(s.t.Context())); err == nil {
						resp.Body.Close()
						let <- resp.StatusCode
					}
				})
			}
			wg.Wait()
			close(let)
			ok := 0
			for status := range let {
				if status == http.StatusOK {
					ok++
				}
			}
			if hits := s.Upstream.Hits() - before; ok != 1 || hits != 1 {
				s.t.Errorf("%s: %d of 100 copies were let in, %d reached the upstream", name, ok, hits)
			}
		})
	}},
	{"E02_window", func(s *scene) {
		// With a store of its own: after a change of the skew all is refused for
		// a while.
		s.Load("api_keys {\nstore bolt "+s.StorePath()+".window\n}", strings.Replace(signedSite, "body_limit 64KiB", "skew 1s", 1))
		k := s.newSigning(`{"name":"signer","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
		k.schemes(func(name string, by hmacsig.Signer) {
			// Signed for the latest time that is accepted, it stays fresh for
			// twice the skew. It must not be accepted again in all that time.
			req := k.signed(by, "GET", "/x", "", time.Now().Add(time.Second))
			for s.copyOf(req, "")().Status == http.StatusServiceUnavailable { // while what was used before the skew was changed matters
				req = k.signed(by, "GET", "/x", "", time.Now().Add(time.Second))
			}
			for end := time.Now().Add(2100 * time.Millisecond); time.Now().Before(end); time.Sleep(20 * time.Millisecond) { // what passes is the attack
				s.refused(name+" later", s.copyOf(req, ""), http.StatusUnauthorized)
			}
		})
	}},
	{"E03_nonces_of_strangers", func(s *scene) {
		k := s.signer(signedSite)
		k.schemes(func(name string, by hmacsig.Signer) {
			victim := k.signed(by, "GET", "/x", "", time.Now())
			forged := victim.Clone(s.t.Context())
			if h := forged.Header.Get("Authorization"); h != "" {
				forged.Header.Set("Authorization", strings.Replace(h, `mac="`, `mac="AAAA`, 1))
			} else {
				forged.Header.Set("Signature", "sig1=:"+base64.StdEncoding.EncodeToString(make([]byte, 32))+":")
			}
			for range 200 {
				s.refused(name+" forged", s.copyOf(forged, ""), http.StatusUnauthorized)
			}
			s.accepted(name+" of the victim", s.copyOf(victim, ""))
		})
	}},
	{"E04_changed_body", func(s *scene) {
		k := s.signer(signedSite)
		k.schemes(func(name string, by hmacsig.Signer) {
			for _, body := range []string{"b0dy", "", "body and more"} {
				req := k.signed(by, "POST", "/x", "body", time.Now())
				req.ContentLength = int64(len(body))
				s.refused(name+" body "+body, s.copyOf(req, body), http.StatusUnauthorized)
				if body != "" {
					req.ContentLength = -1
					s.refused(name+" chunked body "+body, s.copyOf(req, body), http.StatusUnauthorized)
				}
			}
			get := k.signed(by, "GET", "/x", "", time.Now())
			get.ContentLength = -1
			s.refused(name+" body added to a GET", s.copyOf(get, "x"), http.StatusUnauthorized)
		})
		req := k.signed(k.hawk, "POST", "/x", "body", time.Now())
		req.Header.Set("Authorization", strings.Replace(req.Header.Get("Authorization"), `hash="`, `hash="x`, 1))
		s.refused("another hash", s.copyOf(req, "body"), http.StatusUnauthorized)
		message := k.signed(k.message, "POST", "/x", "body", time.Now())
		message.Header.Del("Content-Digest")
		s.refused("no digest", s.copyOf(message, "body"), unproven...)
	}},
	{"E05_large_bodies", func(s *scene) {
		k := s.signer(signedSite)
		k.schemes(func(name string, by hmacsig.Signer) {
			body := strings.Repeat("x", 65<<10)
			var wg sync.WaitGroup
			before := s.Upstream.Hits()
			for range 50 {
				req := k.signed(by, "POST", "/x", body, time.Now())
				wg.Go(func() {
					resp, err := http.DefaultClient.Do(req)
					if err != nil {
						return // the server has closed on the body
					}
					resp.Body.Close()
					if resp.StatusCode != http.StatusRequestEntityTooLarge {
						s.t.Errorf("%s: status %d", name, resp.StatusCode)
					}
				})
			}
			wg.Wait()
			if s.Upstream.Hits() != before {
				s.t.Errorf("%s: a part of a body reached the upstream", name)
			}
		})
	}},
	{"E21_optional_and_public_routes", func(s *scene) {
		k := s.signer("@free path /free\n@open path /open\napi_key {\npublic @open\noptional @free\nrequire *\nforward id X-Key-Id\n}\nreverse_proxy {$UPSTREAM}")
		k.schemes(func(name string, by hmacsig.Signer) {
			req := k.signed(by, "GET", "/free", "", time.Now())
			if got := s.accepted(name, s.copyOf(req, "")); !strings.Contains(got, k.id) {
				s.t.Errorf("%s: the upstream was not told the key", name)
			}
			s.refused(name+", bad, is not anonymous", s.copyOf(k.signed(by, "GET", "/free", "", time.Now().Add(-time.Hour)), ""), http.StatusUnauthorized)
		})
	}},
	{"E22_secrets_at_rest", func(s *scene) {
		k := s.signer(signedSite)
		for _, path := range []string{"/keys", "/keys/" + k.id, "/keys/" + k.id + "/credentials", "/backup"} {
			if body := s.Manage("GET", path, "").Body; bytes.Contains(body, []byte(k.secret)) || bytes.Contains(body, []byte(k.secret[7:])) {
				s.t.Errorf("%s has the secret", path)
			}
		}
	}},
}
