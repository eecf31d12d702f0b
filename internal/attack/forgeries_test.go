package attack

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
)

// forgeries is the part of class E that is made by hand: signatures that cover
// too little, claim another algorithm, or are another's.
var forgeries = []attack{
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
		if took := time.Since(began); took > 20*time.Second { // that its reading takes no longer than its length deserves: hmacsig
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
}
