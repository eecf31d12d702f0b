package hmacsig

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/http"
	"testing"
	"time"
)

func hawkBenchRequest(tb testing.TB) (string, Key, *Request) {
	tb.Helper()
	key, err := SecretKey([]byte("werxhqb98rpaxn39848xrunpaw3489ruxnpa98w4rxn"))
	if err != nil {
		tb.Fatal(err)
	}
	req, err := http.NewRequest("GET", "https://api.example.com/v2/agents?status=online&page=2", nil)
	if err != nil {
		tb.Fatal(err)
	}
	signer := &HawkSigner{ID: "key_0123456789abcdefghij", Key: key, Ext: "5b7f0a1c2d3e4f5061728395"}
	if _, err := signer.SignAt(req, time.Unix(1353832234, 0)); err != nil {
		tb.Fatal(err)
	}
	return req.Header.Get("Authorization"), key, &Request{
		Method: "GET", Scheme: "https", Authority: "api.example.com", Target: req.URL.RequestURI(), Header: http.Header{},
	}
}

func hawkBenchVerify(authorization string, key Key, r *Request) error {
	claim, err := ParseHawk(authorization)
	if err != nil {
		return err
	}
	proof, err := claim.Verify(key, r)
	if err != nil {
		return err
	}
	return proof.Fresh(time.Unix(1353832234, 0), HawkSkew)
}

// rawHMAC is what no verification can do without.
func rawHMAC(key, text []byte, room []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(text)
	return h.Sum(room)
}

// The two parts are to be compared with each other, in one run.
func BenchmarkHawkVerify(b *testing.B) {
	authorization, key, r := hawkBenchRequest(b)
	claim, err := ParseHawk(authorization)
	if err != nil {
		b.Fatal(err)
	}
	normalized, err := claim.NormalizedString(r)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("raw HMAC", func(b *testing.B) {
		b.ReportAllocs()
		text, room := []byte(normalized), make([]byte, 0, 32)
		for b.Loop() {
			rawHMAC(key.secret, text, room)
		}
	})
	b.Run("parse, verify, fresh", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := hawkBenchVerify(authorization, key, r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unknown id", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := claim.VerifyUnknown(r); err != ErrSignature {
				b.Fatal(err)
			}
		}
	})
}

func TestHawkVerifyAllocations(t *testing.T) {
	authorization, key, r := hawkBenchRequest(t)
	room := make([]byte, 0, 32)
	raw := testing.AllocsPerRun(100, func() { rawHMAC(key.secret, []byte("text"), room) })
	ours := testing.AllocsPerRun(100, func() {
		if err := hawkBenchVerify(authorization, key, r); err != nil {
			t.Fatal(err)
		}
	})
	if ours > raw+10 {
		t.Errorf("%v allocations, and the HMAC alone has %v", ours, raw)
	}
}
