package attack

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
)

// partner makes a key with a public key, and what signs for it.
func (s *scene) partner(private crypto.Signer) (signing, *hmacsig.MessageSigner) {
	s.t.Helper()
	k := s.newSigning(`{"name":"partner","scopes":["read"],"credential":{"kind":"public_key","public_key":` + quotedPEM(s, private.Public()) + `}}`)
	by, err := hmacsig.NewPrivateKeySigner(k.id, private)
	if err != nil {
		s.t.Fatal(err)
	}
	return k, by
}

// respelled returns a copy of a request with another text of its one signature.
func respelled(req *http.Request, text string) *http.Request {
	c := req.Clone(req.Context())
	c.Header.Set("Signature", "sig1=:"+text+":")
	return c
}

// signatureOf returns the bytes of the one signature of a request.
func (s *scene) signatureOf(req *http.Request) []byte {
	s.t.Helper()
	text := strings.TrimSuffix(strings.TrimPrefix(req.Header.Get("Signature"), "sig1=:"), ":")
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

// otherSpellings are the bytes as somebody might write them who wants them to
// look new.
func otherSpellings(raw []byte) []string {
	text := base64.StdEncoding.EncodeToString(raw)
	bare := strings.TrimRight(text, "=")
	stray := []byte(bare)
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	stray[len(stray)-1] = alphabet[strings.IndexByte(alphabet, stray[len(stray)-1])|1] // bits that mean nothing
	list := []string{bare, text + "=", string(stray) + text[len(bare):], text[:8] + " " + text[8:], text + "AAAA", hex.EncodeToString(raw), strings.ToLower(text), base64.StdEncoding.EncodeToString(append([]byte{0}, raw...))}
	if other := base64.URLEncoding.EncodeToString(raw); other != text {
		list = append(list, other)
	}
	return slices.DeleteFunc(list, func(other string) bool { return other == text })
}

// spellings are attacks of class M on how proofs are written, and on what is
// taken for a proof.
var spellings = []attack{
	{"M25_scope_that_breaks_out_of_the_challenge", func(s *scene) {
		s.load("@brand path /brands\napi_key {\nfrom bearer\nrequire @brand brands/{http.request.uri.query.b}:use\n}\nreverse_proxy {$UPSTREAM}")
		form := regexp.MustCompile(`^Bearer realm="api", error="insufficient_scope", scope="(brands/[0-9A-Za-z._~@+%-]+:use)"$`)
		for _, value := range []string{"17", `x", error="invalid_token`, `x"`, `\`, `\"`, "x\r\nSet-Cookie: a=b", "x\x00", "*", "a:b/c", "a b", "x,Basic realm=y", "é\u2028ﬀ", "{env.HOME}", "{http.request.header.Authorization}", "<script>", "%22", strings.Repeat("x", 200)} {
			answer := s.refused(fmt.Sprintf("%q", value), s.get("/brands?b="+url.QueryEscape(value), s.reader.bearer()), http.StatusForbidden)
			challenges := answer.Header.Values("WWW-Authenticate")
			if len(challenges) != 1 || !form.MatchString(challenges[0]) || answer.Header.Get("Set-Cookie") != "" {
				s.t.Errorf("%q: challenges %q", value, challenges)
				continue
			}
			if scope := form.FindStringSubmatch(challenges[0])[1]; answer.JSON(s.t)["required_scope"] != scope {
				s.t.Errorf("%q: the body names the scope %v, the challenge %s", value, answer.JSON(s.t)["required_scope"], scope)
			}
		}
		s.refused("too long", s.get("/brands?b="+strings.Repeat("x", 9000), s.reader.bearer()), http.StatusForbidden)
	}},
	{"M26_used_nonces_that_strangers_ask_for", func(s *scene) {
		k := s.signer(signedSite)
		k.schemes(func(name string, by hmacsig.Signer) {
			used, fresh := k.signed(by, "POST", "/x", "body", time.Now()), k.signed(by, "POST", "/x", "body", time.Now())
			s.accepted(name, s.copyOf(used, "body"))
			forge := func(req *http.Request, body string) func() rig.Answer { // with the nonce, and without the key
				c := req.Clone(s.t.Context())
				if line := c.Header.Get("Authorization"); line != "" {
					c.Header.Set("Authorization", line[:strings.Index(line, ` mac="`)]+` mac="`+strings.Repeat("A", 43)+`="`)
				} else {
					c = respelled(req, strings.Repeat("A", 43)+"=")
				}
				return s.copyOf(c, body)
			}
			for _, body := range []string{"body", "b0dy"} {
				s.same(map[string]rig.Answer{"used": s.refused(name+" used", forge(used, body), http.StatusUnauthorized), "not used": s.refused(name+" not used", forge(fresh, body), http.StatusUnauthorized)})
			}
			if reason := s.copyOf(used, "body")().Reason(); reason != "replayed_signature" {
				s.t.Errorf("%s: its owner is told %q", name, reason)
			}
			s.accepted(name+" not used", s.copyOf(fresh, "body"))
		})
	}},
	{"M27_one_signature_in_two_spellings", func(s *scene) {
		k := s.signer(signedSite)
		twice := func(name string, req *http.Request, others []*http.Request) {
			for i, other := range others { // nothing of what is refused uses the nonce up
				s.refused(fmt.Sprintf("%s, spelling %d", name, i), s.copyOf(other, ""), unproven...)
			}
			s.accepted(name, s.copyOf(req, ""))
			for i, other := range others {
				s.refused(fmt.Sprintf("%s, spelling %d, afterwards", name, i), s.copyOf(other, ""), unproven...)
			}
		}
		all := func(req *http.Request) (others []*http.Request) {
			for _, text := range otherSpellings(s.signatureOf(req)) {
				others = append(others, respelled(req, text))
			}
			return others
		}
		req := k.signed(k.message, "GET", "/x", "", time.Now())
		twice("HMAC", req, all(req))

		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			s.t.Fatal(err)
		}
		p, by := s.partner(private)
		req = p.signed(by, "GET", "/x", "", time.Now())
		raw := s.signatureOf(req)
		order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
		scalar := slices.Clone(raw[32:])
		slices.Reverse(scalar) // S + L means the same as S
		more := new(big.Int).Add(new(big.Int).SetBytes(scalar), order).FillBytes(make([]byte, 32))
		slices.Reverse(more)
		twice("Ed25519", req, append(all(req), respelled(req, base64.StdEncoding.EncodeToString(append(slices.Clone(raw[:32]), more...)))))

		curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			s.t.Fatal(err)
		}
		p, by = s.partner(curve)
		req = p.signed(by, "GET", "/x", "", time.Now())
		twice("ECDSA", req, all(req))
		// Of one ECDSA signature everybody can make a second one: r and n - s.
		for _, mirroredFirst := range []bool{false, true} {
			req := p.signed(by, "GET", "/x", "", time.Now())
			raw := s.signatureOf(req)
			s2 := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(raw[32:]))
			pair := []*http.Request{req, respelled(req, base64.StdEncoding.EncodeToString(append(slices.Clone(raw[:32]), s2.FillBytes(make([]byte, 32))...)))}
			if mirroredFirst {
				slices.Reverse(pair)
			}
			s.accepted("ECDSA", s.copyOf(pair[0], ""))
			if answer := s.refused("ECDSA mirrored", s.copyOf(pair[1], ""), http.StatusUnauthorized); answer.Reason() != "replayed_signature" {
				s.t.Errorf("mirrored: %q", answer.Reason())
			}
		}

		hawk := k.signed(k.hawk, "GET", "/x", "", time.Now())
		line := hawk.Header.Get("Authorization")
		begin := strings.Index(line, ` mac="`) + len(` mac="`)
		end := begin + strings.IndexByte(line[begin:], '"')
		mac, err := base64.StdEncoding.DecodeString(line[begin:end])
		if err != nil {
			s.t.Fatal(err)
		}
		var others []*http.Request
		for _, text := range otherSpellings(mac) {
			c := hawk.Clone(s.t.Context())
			c.Header.Set("Authorization", line[:begin]+text+line[end:])
			others = append(others, c)
		}
		twice("Hawk", hawk, others)
		// The scheme and the blanks may be written in many ways, all for one use.
		for _, text := range []string{"hAWK" + line[4:], strings.ReplaceAll(line, ", ", " ,  "), "Hawk  " + line[5:]} {
			c := hawk.Clone(s.t.Context())
			c.Header.Set("Authorization", text)
			s.refused("Hawk, respelled", s.copyOf(c, ""), unproven...)
		}
	}},
	{"M28_public_keys_that_anybody_can_sign_for", func(s *scene) {
		pemOf := func(kind string, der []byte) string {
			return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
		}
		derOf := func(key any) []byte {
			der, err := x509.MarshalPKIXPublicKey(key)
			if err != nil {
				s.t.Fatal(err)
			}
			return der
		}
		public := func(key any) string { return pemOf("PUBLIC KEY", derOf(key)) }
		good, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			s.t.Fatal(err)
		}
		point, err := good.PublicKey.Bytes()
		if err != nil {
			s.t.Fatal(err)
		}
		x, y := base64.RawURLEncoding.EncodeToString(point[1:33]), base64.RawURLEncoding.EncodeToString(point[33:])
		zero := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
		private, err := x509.MarshalPKCS8PrivateKey(good)
		if err != nil {
			s.t.Fatal(err)
		}
		scalar, err := good.Bytes()
		if err != nil {
			s.t.Fatal(err)
		}
		s.secrets = append(s.secrets, base64.RawURLEncoding.EncodeToString(scalar))
		big384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		if err != nil {
			s.t.Fatal(err)
		}
		agreement, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			s.t.Fatal(err)
		}
		integers, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			s.t.Fatal(err)
		}
		cases := map[string]string{
			"P-384": public(&big384.PublicKey), "RSA": public(&integers.PublicKey), "X25519": public(agreement.PublicKey()), "a private key": pemOf("PRIVATE KEY", private), "a private key by another name": pemOf("PUBLIC KEY", private),
			"two keys": public(&good.PublicKey) + public(&good.PublicKey), "a certificate": pemOf("CERTIFICATE", private), "bytes behind it": pemOf("PUBLIC KEY", append(derOf(&good.PublicKey), 0)),
			"not on the curve": `{"kty":"EC","crv":"P-256","x":"` + x + `","y":"` + x + `"}`, "no point": `{"kty":"EC","crv":"P-256","x":"` + zero + `","y":"` + zero + `"}`, "another curve": `{"kty":"EC","crv":"secp256k1","x":"` + x + `","y":"` + y + `"}`,
			"with its private part": `{"kty":"EC","crv":"P-256","x":"` + x + `","y":"` + y + `","d":"` + base64.RawURLEncoding.EncodeToString(scalar) + `"}`, "a shared secret": `{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString(scalar) + `"}`,
			"a coordinate too short": `{"kty":"EC","crv":"P-256","x":"` + x[:42] + `","y":"` + y + `"}`, "a coordinate twice": `{"kty":"EC","crv":"P-256","x":"` + x + `","x":"` + x + `","y":"` + y + `"}`, "for encryption": `{"kty":"EC","crv":"P-256","use":"enc","x":"` + x + `","y":"` + y + `"}`,
			"another algorithm": `{"kty":"EC","crv":"P-256","alg":"HS256","x":"` + x + `","y":"` + y + `"}`, "empty": "", "compressed": pemOf("PUBLIC KEY", append([]byte{0x30, 0x39, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x22, 0x00, 2 + point[64]&1}, point[1:33]...)),
		}
		// Points of small order: with such a key anybody's signature fits.
		for _, y := range []string{
			"0000000000000000000000000000000000000000000000000000000000000000", "0100000000000000000000000000000000000000000000000000000000000000", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
			"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		} {
			for _, sign := range []byte{0, 0x80} {
				raw, err := hex.DecodeString(y)
				if err != nil {
					s.t.Fatal(err)
				}
				raw[31] |= sign
				cases[fmt.Sprintf("small order %x", raw)] = public(ed25519.PublicKey(raw))
				cases[fmt.Sprintf("small order %x, as a JWK", raw)] = `{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(raw) + `"}`
			}
		}
		for what, text := range cases {
			quoted, err := json.Marshal(text)
			if err != nil {
				s.t.Fatal(err)
			}
			credential := `{"kind":"public_key","public_key":` + string(quoted) + `}`
			s.free("the answer to "+what, s.unmanaged(what, "POST", "/keys", `{"name":"x","scopes":["read"],"credential":`+credential+`}`, http.StatusBadRequest).Body)
			s.unmanaged(what, "POST", "/keys/"+s.reader.id+"/credentials", credential, http.StatusBadRequest)
			s.unmanaged(what, "POST", "/import", `{"keys":[{"name":"x","public_key":`+string(quoted)+`}]}`, http.StatusBadRequest)
		}
		s.partner(good) // the point itself is a good one
	}},
	{"M29_proofs_of_one_kind_for_another", func(s *scene) {
		k := s.signer("@any path /*\napi_key {\nsignature hawk message {\nhawk {\nbewit 1h\nserver_authorization bare\n}\n}\nrequire @any read\n}\nreverse_proxy {$UPSTREAM}")
		first := k.signed(k.hawk, "GET", "/x", "", time.Now())
		answer := s.copyOf(first, "")()
		reply := regexp.MustCompile(`mac="([^"]+)"`).FindStringSubmatch(answer.Header.Get("Server-Authorization"))
		stale := s.copyOf(k.signed(k.hawk, "GET", "/x", "", time.Now().Add(-time.Hour)), "")()
		clock := regexp.MustCompile(`ts="(\d+)", tsm="([^"]+)"`).FindStringSubmatch(stale.Header.Get("WWW-Authenticate"))
		if answer.Status != http.StatusOK || reply == nil || clock == nil {
			s.t.Fatalf("status %d, answer %q, challenge %q", answer.Status, answer.Header, stale.Header)
		}
		target, bewit := k.bewit("/x")
		text, err := base64.RawURLEncoding.DecodeString(bewit)
		if err != nil {
			s.t.Fatal(err)
		}
		parts := strings.Split(string(text), `\`) // id, end, mac, ext
		line := first.Header.Get("Authorization")
		attribute := regexp.MustCompile(`(\w+)="([^"]*)"`)
		hawk := func(change map[string]string) string {
			return attribute.ReplaceAllStringFunc(line, func(text string) string {
				name := attribute.FindStringSubmatch(text)[1]
				if value, ok := change[name]; ok {
					return name + `="` + value + `"`
				}
				return text
			})
		}
		mac := attribute.FindAllStringSubmatch(line, -1)
		own := mac[slices.IndexFunc(mac, func(m []string) bool { return m[1] == "mac" })][2]
		message := k.signed(k.message, "GET", "/x", "", time.Now())
		digest := base64.StdEncoding.EncodeToString(s.signatureOf(message))
		for what, authorization := range map[string]string{
			"the answer's": hawk(map[string]string{"mac": reply[1]}), "the answer's with a new nonce": hawk(map[string]string{"mac": reply[1], "nonce": "new"}), "the clock's": hawk(map[string]string{"mac": clock[2], "ts": clock[1]}),
			"a bewit's": hawk(map[string]string{"mac": parts[2], "ts": parts[1], "nonce": "new"}), "a message's": hawk(map[string]string{"mac": digest, "nonce": "new"}), "the answer as it is": answer.Header.Get("Server-Authorization"),
		} {
			s.refused(what+" as Hawk", s.get("/x", "Authorization: "+authorization), unproven...)
		}
		for what, mac := range map[string]string{"a request's": own, "the answer's": reply[1], "the clock's": clock[2], "a message's": digest} {
			forged := base64.RawURLEncoding.EncodeToString([]byte(strings.Join([]string{parts[0], parts[1], mac, parts[3]}, `\`)))
			s.refused(what+" as a bewit", s.get("/x?bewit="+forged), unproven...)
			if what == "a message's" {
				continue
			}
			s.refused(what+" as a message's", s.copyOf(respelled(message, mac), ""), unproven...)
		}
		s.refused("a bewit's as a message's", s.copyOf(respelled(message, parts[2]), ""), unproven...)
		s.accepted("the bewit", s.get(target))
	}},
	{"M30_sealed_secrets_that_were_changed", func(s *scene) {
		path := s.ownStore()
		k := s.newSigning(`{"name":"signer","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
		backup := s.Manage("GET", "/backup", "").Body
		s.elsewhere()
		for what, c := range map[string]struct {
			change func(c *keyring.Credential)
			want   string
		}{
			"its version":         {func(c *keyring.Credential) { c.Sealed[0]++ }, "of a newer version"},
			"its master key":      {func(c *keyring.Credential) { c.Sealed[4] ^= 1 }, "sealed with another master key"},
			"its nonce":           {func(c *keyring.Credential) { c.Sealed[10] ^= 1 }, "the record was changed"},
			"its text":            {func(c *keyring.Credential) { c.Sealed[1+8+12+3] ^= 1 }, "the record was changed"},
			"its tag":             {func(c *keyring.Credential) { c.Sealed[len(c.Sealed)-1] ^= 1 }, "the record was changed"},
			"its end":             {func(c *keyring.Credential) { c.Sealed = c.Sealed[:len(c.Sealed)-1] }, "the record was changed"},
			"all but its end":     {func(c *keyring.Credential) { c.Sealed = c.Sealed[:20] }, "damaged"},
			"more behind it":      {func(c *keyring.Credential) { c.Sealed = append(c.Sealed, 0) }, "the record was changed"},
			"its secret in clear": {func(c *keyring.Credential) { c.Sealed = bytes.Repeat([]byte("secret"), 8) }, "of a newer version"},
			"its number":          {func(c *keyring.Credential) { c.N++ }, "the record was changed"},
		} {
			s.write(path, backup)
			store, err := bolt.Open(path, bolt.Options{})
			if err != nil {
				s.t.Fatal(err)
			}
			key, err := store.Key(s.t.Context(), k.id)
			if err != nil {
				s.t.Fatal(err)
			}
			key.Credentials[0].Sealed = slices.Clone(key.Credentials[0].Sealed)
			c.change(&key.Credentials[0])
			key.Revision++
			if _, err := store.Apply(s.t.Context(), []keyring.Mutation{{Key: key, IfRevision: key.Revision - 1}}, []audit.Draft{{Payload: []byte("{}")}}); err != nil {
				s.t.Fatalf("%s: %v", what, err)
			}
			if err := store.Close(); err != nil {
				s.t.Fatal(err)
			}
			s.refusesStore(what, path, c.want)
		}
	}},
}
