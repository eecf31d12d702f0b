package hmacsig

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"
	"time"
)

// BenchmarkVerifyMessage is a request's whole way from header to fresh proof.
// For ed25519 the bare verification of the same base runs in turn with it, and
// the ratio of the two is reported.
func BenchmarkVerifyMessage(b *testing.B) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	edKey, err := PublicKey(public)
	if err != nil {
		b.Fatal(err)
	}
	edSigner, err := NewPrivateKeySigner("a", private)
	if err != nil {
		b.Fatal(err)
	}
	const url = "https://api.example.com/v1/contacts?limit=100&after=abc"
	verify := func(b *testing.B, r *Request, keys map[string]Key) {
		if _, err := judge(r, "text", MessagePolicy{}, keys); err != nil {
			b.Fatal(err)
		}
	}
	b.Run(algHMAC, func(b *testing.B) {
		r, _ := sendSigned(b, secretSigner(b, "a"), "POST", url, "text")
		keys := map[string]Key{"a": secretKey(b, messageSecret)}
		b.ReportAllocs()
		for b.Loop() {
			verify(b, r, keys)
		}
	})
	b.Run(algEd, func(b *testing.B) {
		r, _ := sendSigned(b, edSigner, "POST", url, "text")
		claim := parseOne(b, r.Header)
		base, err := claim.Base(r)
		if err != nil {
			b.Fatal(err)
		}
		keys := map[string]Key{"a": edKey}
		var bare time.Duration
		for b.Loop() {
			verify(b, r, keys)
			start := time.Now()
			if !ed25519.Verify(public, base, []byte(claim.signature)) {
				b.Fatal("the signature does not fit")
			}
			bare += time.Since(start)
		}
		b.ReportMetric(float64(b.Elapsed()-bare)/float64(bare), "x-bare")
	})
}
