package attack

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// signedSite asks for a signature on everything.
const signedSite = `
api_key {
	signature hawk message {
		body_limit 64KiB
	}
	require * read {
		signed
	}
}
reverse_proxy {$UPSTREAM}`

// signing is a key that signs.
type signing struct {
	s          *scene
	id, secret string
	hawk       *hmacsig.HawkSigner
	message    *hmacsig.MessageSigner
}

// signer loads a site and makes a key that signs with a shared secret.
func (s *scene) signer(site string) signing {
	s.t.Helper()
	s.load(site)
	return s.newSigning(`{"name":"signer","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
}

func (s *scene) newSigning(spec string) signing {
	s.t.Helper()
	var made struct {
		Key    struct{ ID string }
		Secret string
	}
	answer := s.Manage("POST", "/keys", spec)
	if err := json.Unmarshal(answer.Body, &made); err != nil || answer.Status != http.StatusCreated {
		s.t.Fatalf("creating a key that signs: status %d, %v", answer.Status, err)
	}
	k := signing{s: s, id: made.Key.ID, secret: made.Secret}
	if made.Secret != "" {
		s.secrets = append(s.secrets, made.Secret)
		key, err := hmacsig.SecretKey([]byte(made.Secret))
		if err != nil {
			s.t.Fatal(err)
		}
		k.hawk = &hmacsig.HawkSigner{ID: k.id, Key: key}
		if k.message, err = hmacsig.NewSecretSigner(k.id, []byte(made.Secret)); err != nil {
			s.t.Fatal(err)
		}
	}
	return k
}

// schemes calls f for each scheme.
func (k signing) schemes(f func(name string, by hmacsig.Signer)) {
	f("hawk", k.hawk)
	f("message", k.message)
}

// signed returns a request that is signed at a time.
func (k signing) signed(by hmacsig.Signer, method, path, body string, at time.Time) *http.Request {
	k.s.t.Helper()
	req, err := http.NewRequest(method, "http://"+k.s.Site+path, strings.NewReader(body))
	if err != nil {
		k.s.t.Fatal(err)
	}
	if body == "" {
		req.Body, req.GetBody = nil, nil
	}
	if _, err := by.SignAt(req, at); err != nil {
		k.s.t.Fatal(err)
	}
	return req
}

// copyOf sends a copy of a request with a body.
func (s *scene) copyOf(req *http.Request, body string) func() rig.Answer {
	return func() rig.Answer {
		s.t.Helper()
		c := req.Clone(s.t.Context())
		c.Body, c.GetBody = nil, nil
		if body != "" {
			c.Body = io.NopCloser(strings.NewReader(body))
		}
		return s.Do(c)
	}
}

// crafted signs a GET by hand, as no client library would: components in their
// form of Signature-Input, the parameters behind them, and lines of the base.
func (k signing) crafted(path, components, params string, base ...string) func() rig.Answer {
	input := "(" + components + ")" + params
	text := strings.Join(append(base, `"@signature-params": `+input), "\n")
	mac := hmac.New(sha256.New, []byte(k.secret))
	mac.Write([]byte(text))
	return k.s.get(path, "Signature-Input: sig1="+input, "Signature: sig1=:"+base64.StdEncoding.EncodeToString(mac.Sum(nil))+":")
}

// usual are the components that must be covered, the parameters, and the base of
// a GET of /x?a=1.
func (k signing) usual() (components []string, lines map[string]string) {
	return []string{`"@method"`, `"@authority"`, `"@path"`, `"@query"`}, map[string]string{
		`"@method"`: `"@method": GET`, `"@authority"`: `"@authority": ` + k.s.Site, `"@path"`: `"@path": /x`, `"@query"`: `"@query": ?a=1`,
	}
}

func (k signing) params(created int64) string {
	return fmt.Sprintf(`;created=%d;keyid="%s";nonce="%s"`, created, k.id, rand.Text())
}

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
	{"E06_coverage", func(s *scene) {
		k := s.signer(signedSite)
		all, lines := k.usual()
		base := func(components []string) (list []string) {
			for _, c := range components {
				list = append(list, lines[c])
			}
			return list
		}
		s.accepted("all", k.crafted("/x?a=1", strings.Join(all, " "), k.params(time.Now().Unix()), base(all)...))
		for i := range all {
			rest := append(append([]string(nil), all[:i]...), all[i+1:]...)
			s.refused("without "+all[i], k.crafted("/x?a=1", strings.Join(rest, " "), k.params(time.Now().Unix()), base(rest)...), http.StatusUnauthorized)
		}
		s.refused("nothing", k.crafted("/x?a=1", "", k.params(time.Now().Unix())), http.StatusUnauthorized)
		twice := append(append([]string(nil), all...), all[0])
		s.refused("a component twice", k.crafted("/x?a=1", strings.Join(twice, " "), k.params(time.Now().Unix()), base(twice)...), unproven...)
	}},
	{"E07_times", func(s *scene) {
		k := s.signer(signedSite)
		all, lines := k.usual()
		var base []string
		for _, c := range all {
			base = append(base, lines[c])
		}
		now := time.Now().Unix()
		for name, params := range map[string]string{
			"no created":     fmt.Sprintf(`;keyid="%s";nonce="n"`, k.id),
			"the future":     k.params(now + 3600),
			"negative":       k.params(-1),
			"2^63":           `;created=9223372036854775808;keyid="` + k.id + `";nonce="n"`,
			"a string":       `;created="` + strconv.FormatInt(now, 10) + `";keyid="` + k.id + `";nonce="n"`,
			"a decimal":      `;created=` + strconv.FormatInt(now, 10) + `.5;keyid="` + k.id + `";nonce="n"`,
			"expired":        k.params(now) + fmt.Sprintf(";expires=%d", now-1),
			"no nonce":       fmt.Sprintf(`;created=%d;keyid="%s"`, now, k.id),
			"an empty nonce": fmt.Sprintf(`;created=%d;keyid="%s";nonce=""`, now, k.id),
			"a huge nonce":   fmt.Sprintf(`;created=%d;keyid="%s";nonce="%s"`, now, k.id, strings.Repeat("n", 20_000)),
		} {
			s.refused(name, k.crafted("/x?a=1", strings.Join(all, " "), params, base...), unproven...)
		}
	}},
	{"E08_algorithms", func(s *scene) {
		k := s.signer(signedSite)
		all, lines := k.usual()
		var base []string
		for _, c := range all {
			base = append(base, lines[c])
		}
		for _, alg := range []string{"ed25519", "none", "", "hmac-sha512", "HMAC-SHA256", "ecdsa-p256-sha256"} {
			s.refused("alg "+alg, k.crafted("/x?a=1", strings.Join(all, " "), k.params(time.Now().Unix())+`;alg="`+alg+`"`, base...), unproven...)
		}
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			s.t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			s.t.Fatal(err)
		}
		text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		quoted, err := json.Marshal(text)
		if err != nil {
			s.t.Fatal(err)
		}
		partner := s.newSigning(`{"name":"partner","scopes":["read"],"credential":{"kind":"public_key","public_key":` + string(quoted) + `}}`)
		for name, secret := range map[string]string{"the public key": string(public), "its DER": string(der), "its PEM": text} {
			forger := partner
			forger.secret = secret
			for _, alg := range []string{"", `;alg="hmac-sha256"`, `;alg="ed25519"`} {
				s.refused("an HMAC by "+name+alg, forger.crafted("/x?a=1", strings.Join(all, " "), forger.params(time.Now().Unix())+alg, base...), http.StatusUnauthorized)
			}
			if key, err := hmacsig.SecretKey([]byte(secret)); err == nil {
				hawk := &hmacsig.HawkSigner{ID: partner.id, Key: key}
				s.refused("Hawk by "+name, s.copyOf(partner.signed(hawk, "GET", "/x", "", time.Now()), ""), http.StatusUnauthorized)
			}
		}
	}},
	{"E09_signatures_of_others", func(s *scene) {
		k := s.signer(signedSite)
		attacker := s.newSigning(`{"name":"attacker","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
		victim, own := k.signed(k.message, "GET", "/x", "", time.Now()), k.signed(attacker.message, "GET", "/x", "", time.Now())
		second := func(header string) string { return strings.Replace(own.Header.Get(header), "sig1=", "sig2=", 1) }
		both := victim.Clone(s.t.Context())
		for _, header := range []string{"Signature-Input", "Signature"} {
			both.Header.Set(header, both.Header.Get(header)+", "+second(header))
		}
		s.refused("two signatures", s.copyOf(both, ""), unproven...)
		for _, header := range []string{"Signature-Input", "Signature"} {
			both.Header[header] = []string{victim.Header.Get(header), second(header)}
		}
		s.refused("two lines", s.copyOf(both, ""), unproven...)
		for _, header := range []string{"Signature-Input", "Signature"} {
			member := victim.Header.Get(header)
			list := []string{member}
			for i := range 50 {
				list = append(list, strings.Replace(member, "sig1=", fmt.Sprintf("sig%d=", i+2), 1))
			}
			both.Header.Set(header, strings.Join(list, ", "))
		}
		s.refused("50 labels", s.copyOf(both, ""), unproven...)
		mixed := own.Clone(s.t.Context())
		mixed.Header.Set("Signature-Input", strings.Replace(own.Header.Get("Signature-Input"), attacker.id, k.id, 1))
		s.refused("another's key id", s.copyOf(mixed, ""), http.StatusUnauthorized)
		hawk := k.signed(attacker.hawk, "GET", "/x", "", time.Now())
		hawk.Header.Set("Authorization", strings.Replace(hawk.Header.Get("Authorization"), attacker.id, k.id, 1))
		s.refused("another's id", s.copyOf(hawk, ""), http.StatusUnauthorized)
		s.accepted("the victim's own", s.copyOf(victim, ""))
	}},
	{"E10_one_change", func(s *scene) {
		k := s.signer(signedSite)
		k.schemes(func(name string, by hmacsig.Signer) {
			for what, change := range map[string]func(*http.Request){
				"method":         func(r *http.Request) { r.Method = "HEAD" },
				"path":           func(r *http.Request) { r.URL.Path = "/y" },
				"letter case":    func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/é", "/%C3%a9" },
				"query order":    func(r *http.Request) { r.URL.RawQuery = "b=2&a=1" },
				"query repeated": func(r *http.Request) { r.URL.RawQuery = "a=1&b=2&b=2" },
				"query dropped":  func(r *http.Request) { r.URL.RawQuery = "" },
				"port":           func(r *http.Request) { r.Host = strings.Split(s.Site, ":")[0] + ":1" },
				"forwarded host": func(r *http.Request) {
					r.Host = s.Site
					r.URL.RawQuery = "c=3"
					r.Header.Set("X-Forwarded-Host", s.Site)
				},
				"forwarded proto": func(r *http.Request) { r.URL.Path = "/z"; r.Header.Set("X-Forwarded-Proto", "https") },
			} {
				req := k.signed(by, "GET", "/%C3%A9?a=1&b=2", "", time.Now())
				change(req)
				before := s.Upstream.Hits()
				answer := s.copyOf(req, "")()
				// Another host or port may be no site of ours at all.
				if answer.Status != http.StatusUnauthorized && what != "port" || s.Upstream.Hits() != before {
					s.t.Errorf("%s, another %s: status %d, %d hits", name, what, answer.Status, s.Upstream.Hits()-before)
				}
			}
		})
		// Signed for another server, sent to us with its name.
		s.everywhere(signedSite)
		k = s.newSigning(`{"name":"signer","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
		k.schemes(func(name string, by hmacsig.Signer) {
			req := k.signed(by, "GET", "/x", "", time.Now())
			req.Host = "evil.example"
			s.refused(name+" for another host", s.copyOf(req, ""), http.StatusUnauthorized)
		})
		s.everywhere(strings.Replace(signedSite, "body_limit 64KiB", "authority api.example.com", 1))
		k = s.newSigning(`{"name":"signer","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
		k.schemes(func(name string, by hmacsig.Signer) {
			req, err := http.NewRequest("GET", "http://"+s.Site+"/x", nil)
			if err != nil {
				s.t.Fatal(err)
			}
			req.Host = "evil.example"
			if _, err := by.SignAt(req, time.Now()); err != nil {
				s.t.Fatal(err)
			}
			s.refused(name+" signed and sent for a host that is not ours", s.copyOf(req, ""), unproven...)
		})
	}},
	{"E11_hawk_header", func(s *scene) {
		k := s.signer(signedSite)
		good := func() string {
			return k.signed(k.hawk, "GET", "/x", "", time.Now()).Header.Get("Authorization")
		}
		for what, header := range map[string]string{
			"duplicate attribute": good() + `, nonce="x"`,
			"duplicate id":        strings.Replace(good(), "Hawk ", `Hawk id="`+k.id+`", `, 1),
			"unquoted":            strings.ReplaceAll(good(), `"`, ""),
			"trailing comma":      good() + ",",
			"trailing junk":       good() + " junk",
			"unknown attribute":   good() + `, realm="x"`,
			"escape":              strings.Replace(good(), `nonce="`, `nonce="\"`, 1),
			"no attributes":       "Hawk",
			"dlg without app":     good() + `, dlg="x"`,
			"5,000 bytes":         good() + `, ext="` + strings.Repeat("x", 5000) + `"`,
		} {
			s.refused(what, s.get("/x", "Authorization: "+header), http.StatusBadRequest)
		}
		for what, header := range map[string]string{
			"ts of NaN":       strings.NewReplacer(`ts="`, `ts="NaN`).Replace(good()),
			"an unpadded mac": strings.TrimSuffix(good(), `="`) + `"`,
		} {
			s.refused(what, s.get("/x", "Authorization: "+header), unproven...)
		}
		long := strings.Repeat(":", 100_000)
		began := time.Now()
		s.refused("a long header", s.get("/x", "Authorization: Hawk "+long), http.StatusBadRequest, http.StatusRequestHeaderFieldsTooLarge)
		if took := time.Since(began); took > time.Second {
			s.t.Errorf("a long header took %v", took)
		}
		u := k.signed(k.hawk, "GET", "/x?a=1", "", time.Now()).URL
		bewit, err := k.hawk.Bewit(u, time.Now().Add(time.Minute))
		if err != nil {
			s.t.Fatal(err)
		}
		s.refused("a bewit, which is off", s.get(bewit.RequestURI()), http.StatusUnauthorized)
		s.refused("the secret as a token", s.get("/x", "Authorization: Bearer "+k.secret), http.StatusUnauthorized)
		s.refused("the secret as a header", s.get("/x", "X-API-Key: "+k.secret), http.StatusUnauthorized)
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
