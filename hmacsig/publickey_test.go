package hmacsig

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"strings"
	"testing"
)

func TestParsePublicKey(t *testing.T) {
	v := readMessageVectors(t)
	for name, alg := range map[string]string{"test-key-ed25519": algEd, "test-key-ecc-p256": algECDSA} {
		text := v.Keys[name]
		fromPEM, err := ParsePublicKey([]byte("\n" + text.Public + "\n\n"))
		if err != nil {
			t.Fatal(err)
		}
		jwk := maps.Clone(text.JWK)
		delete(jwk, "d")
		fromJWK, err := ParsePublicKey(mustJSON(t, jwk))
		if err != nil {
			t.Fatal(err)
		}
		der, err := fromPEM.PublicDER()
		if err != nil {
			t.Fatal(err)
		}
		fromDER, err := ParsePublicKeyDER(der)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []Key{fromPEM, fromJWK, fromDER} {
			if k.Algorithm() != alg || k.Fingerprint() != fromPEM.Fingerprint() || len(k.Fingerprint()) != 64 {
				t.Errorf("%s: %s, %s", name, k.Algorithm(), k.Fingerprint())
			}
		}
		if _, err := ParsePublicKeyDER(append(der, 0)); err == nil {
			t.Error("a byte behind the key")
		}
	}
	// The point as a bit string that leaves its last bit out, as if it were shifted.
	der, err := v.key(t, "test-key-ed25519").PublicDER()
	if err != nil {
		t.Fatal(err)
	}
	der[len(der)-33] = 1
	der[len(der)-1] &^= 1
	if _, err := x509.ParsePKIXPublicKey(der); err != nil {
		t.Fatalf("the case does not reach the check: %v", err)
	}
	if _, err := ParsePublicKeyDER(der); err == nil {
		t.Error("a shifted point is accepted")
	}
	k := secretKey(t, messageSecret)
	if _, err := k.PublicDER(); err == nil || k.Fingerprint() != "" || k.Algorithm() != algHMAC {
		t.Error("a secret has a public form")
	}
}

func TestParsePublicKeyRefuses(t *testing.T) {
	v := readMessageVectors(t)
	ed, ec := v.Keys["test-key-ed25519"], v.Keys["test-key-ecc-p256"]
	edX, ecX, ecY := ed.JWK["x"], ec.JWK["x"], ec.JWK["y"]
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	asPEM := func(public any) string {
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	for name, text := range map[string]string{
		"nothing":          "",
		"text":             "ssh-ed25519 AAAA",
		"RSA":              asPEM(&rsaKey.PublicKey),
		"P-384":            asPEM(&p384.PublicKey),
		"two PEM":          ed.Public + ec.Public,
		"text before":      "x\n" + ed.Public,
		"text behind":      ed.Public + "x",
		"headers":          strings.Replace(ed.Public, "KEY-----\n", "KEY-----\nA: b\n\n", 1),
		"wrong type":       strings.ReplaceAll(ed.Public, "PUBLIC", "PRIVATE"),
		"no DER":           "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		"too long":         ed.Public + strings.Repeat("\n", maxPublicKey) + "x",
		"private JWK":      string(mustJSON(t, ed.JWK)),
		"private EC JWK":   string(mustJSON(t, ec.JWK)),
		"private RSA JWK":  string(mustJSON(t, v.Keys["test-key-rsa"].JWK)),
		"secret JWK":       `{"kty":"oct","k":"AAAA"}`,
		"d is null":        `{"kty":"OKP","crv":"Ed25519","x":"` + edX + `","d":null}`,
		"empty JWK":        `{}`,
		"no x":             `{"kty":"OKP","crv":"Ed25519"}`,
		"x is no string":   `{"kty":"OKP","crv":"Ed25519","x":1}`,
		"X25519":           `{"kty":"OKP","crv":"X25519","x":"` + edX + `"}`,
		"kty in lower":     `{"kty":"okp","crv":"Ed25519","x":"` + edX + `"}`,
		"names in upper":   `{"KTY":"OKP","CRV":"Ed25519","X":"` + edX + `"}`,
		"padding":          `{"kty":"OKP","crv":"Ed25519","x":"` + edX + `="}`,
		"short":            `{"kty":"OKP","crv":"Ed25519","x":"` + edX[:42] + `"}`,
		"long":             `{"kty":"OKP","crv":"Ed25519","x":"` + edX + `A"}`,
		"line feed":        `{"kty":"OKP","crv":"Ed25519","x":"` + edX[:20] + `\n` + edX[20:] + `"}`,
		"stray bits":       `{"kty":"OKP","crv":"Ed25519","x":"` + edX[:42] + `t"}`,
		"plain base64":     `{"kty":"OKP","crv":"Ed25519","x":"` + strings.Repeat("+", 42) + `A"}`,
		"x twice":          `{"kty":"OKP","crv":"Ed25519","x":"` + edX + `","x":"` + edX + `"}`,
		"wrong alg":        `{"kty":"OKP","crv":"Ed25519","alg":"ES256","x":"` + edX + `"}`,
		"wrong alg of EC":  `{"kty":"EC","crv":"P-256","alg":"EdDSA","x":"` + ecX + `","y":"` + ecY + `"}`,
		"for encryption":   `{"kty":"OKP","crv":"Ed25519","use":"enc","x":"` + edX + `"}`,
		"two JWK":          `{"kty":"OKP","crv":"Ed25519","x":"` + edX + `"}{}`,
		"open JWK":         `{"kty":"OKP","crv":"Ed25519","x":"` + edX + `"`,
		"a set":            `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + edX + `"}]}`,
		"off the curve":    `{"kty":"EC","crv":"P-256","x":"` + ecX + `","y":"` + ecX + `"}`,
		"no y":             `{"kty":"EC","crv":"P-256","x":"` + ecX + `"}`,
		"P-521":            `{"kty":"EC","crv":"P-521","x":"` + ecX + `","y":"` + ecY + `"}`,
		"coordinate short": `{"kty":"EC","crv":"P-256","x":"` + ecX[:40] + `","y":"` + ecY + `"}`,
	} {
		_, err := ParsePublicKey([]byte(text))
		if err == nil {
			t.Errorf("%s is accepted", name)
		} else if strings.Contains(err.Error(), edX) || strings.Contains(err.Error(), ed.JWK["d"]) {
			t.Errorf("%s: the error repeats the key: %v", name, err)
		}
	}
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// With a public key of low order, the signature of no secret fits every eighth
// message or so. Each refused encoding is shown to be one, and is refused.
func TestLowOrderKeys(t *testing.T) {
	forged := make([]byte, ed25519.SignatureSize) // R the neutral element, S zero
	forged[0] = 1
	for text := range lowOrder {
		public, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		weak := false
		for i := 0; i < 1000 && !weak; i++ {
			weak = ed25519.Verify(public, fmt.Append(nil, i), forged)
		}
		if !weak {
			t.Errorf("%s has no low order", text)
		}
		if _, err := PublicKey(ed25519.PublicKey(public)); err == nil {
			t.Errorf("%s is accepted", text)
		}
		public[31] |= 0x80
		if _, err := PublicKey(ed25519.PublicKey(public)); err == nil {
			t.Errorf("%s is accepted with the sign bit", text)
		}
	}
}
