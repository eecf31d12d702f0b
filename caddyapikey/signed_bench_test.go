package caddyapikey

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// BenchmarkHandlerSigned is a GET that is signed, from the header to the nonce,
// with everything that follows. "token" is the same request with a token, to
// compare with.
func BenchmarkHandlerSigned(b *testing.B) {
	b.Run("token", func(b *testing.B) { benchServe(b, benchPolicies[0].rules, new(Handler)) })
	for _, scheme := range []string{schemeHawk, schemeMessage} {
		b.Run(scheme, func(b *testing.B) {
			c := newCall(b, benchPolicies[0].rules, new(Handler))
			sealer, err := keyring.NewSealer(keyring.NewMasterKey())
			if err != nil {
				b.Fatal(err)
			}
			c.h.app.sealer.Store(sealer)
			c.h.nonces.open.Store(&pooledRing{NonceRing: hmacsig.NewNonceRing(hmacsig.NonceLimits{Window: 5 * time.Minute, MaxPerCredential: 2_000_000}, time.Time{})})
			c.h.Signature.Skew *= 5
			key, secret, err := c.h.app.Keyring().Create(context.Background(), keyring.Key{Name: "export", Scopes: []string{"contacts:read"}},
				keyring.Issue{Kind: keyring.KindSharedSecret, Sealer: sealer})
			if err != nil {
				b.Fatal(err)
			}
			signed := signRequests(b, scheme, key.ID, secret.Reveal(), c.r, b.N)
			delete(c.r.Header, "Authorization")
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				c.headers = signed[i]
				if err := c.serve(); err != nil {
					b.Fatal(err)
				}
				if c.w.header["Www-Authenticate"] != nil {
					b.Fatal("the request was refused")
				}
			}
		})
	}
}

// signRequests returns the headers of n copies of a request, each with a
// signature of its own.
func signRequests(b *testing.B, scheme, id, secret string, r *http.Request, n int) []http.Header {
	b.Helper()
	key, err := hmacsig.SecretKey([]byte(secret))
	if err != nil {
		b.Fatal(err)
	}
	var by hmacsig.Signer = &hmacsig.HawkSigner{ID: id, Key: key}
	if scheme == schemeMessage {
		if by, err = hmacsig.NewSecretSigner(id, []byte(secret)); err != nil {
			b.Fatal(err)
		}
	}
	list := make([]http.Header, n)
	for i := range list {
		req, err := http.NewRequest(r.Method, "http://"+r.Host+r.RequestURI, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := by.SignAt(req, time.Now()); err != nil {
			b.Fatal(err)
		}
		list[i] = req.Header
	}
	return list
}
