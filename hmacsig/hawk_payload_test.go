package hmacsig

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestHawkPayload(t *testing.T) {
	signer := &HawkSigner{ID: "k", Key: hawkTestKey(t)}
	for _, c := range []struct {
		name, signed, arrived string
		change                func(http.Header)
		hasHash               bool
		want                  error
	}{
		{"as signed", "body", "body", nil, true, nil},
		{"changed", "body", "bodY", nil, true, ErrDigest},
		{"cut", "body", "", nil, true, ErrDigest},
		{"longer", "body", "body\n", nil, true, ErrDigest},
		{"parameter of the type", "body", "body", func(h http.Header) { h.Set("Content-Type", "Text/Plain;a=b") }, true, nil},
		{"other type", "body", "body", func(h http.Header) { h.Set("Content-Type", "text/html") }, true, ErrDigest},
		{"no type", "body", "body", func(h http.Header) { h.Del("Content-Type") }, true, ErrDigest},
		{"no body", "", "", nil, false, nil},
		{"a body that was not signed", "", "body", nil, false, ErrCoverage},
	} {
		t.Run(c.name, func(t *testing.T) {
			claim, r := hawkSigned(t, signer, "POST", "http://a.example/", c.signed)
			if c.change != nil {
				c.change(r.Header)
			}
			proof, err := claim.Verify(signer.Key, r)
			if err != nil {
				t.Fatal(err)
			}
			if proof.HasHash() != c.hasHash {
				t.Errorf("HasHash %v", proof.HasHash())
			}
			body := proof.Payload()
			for _, part := range strings.SplitAfter(c.arrived, "o") {
				_, _ = io.WriteString(body, part)
			}
			for range 2 { // asking twice changes nothing
				if err := body.Verify(); !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
			}
		})
	}
	claim, r := hawkSigned(t, signer, "POST", "http://a.example/", "body")
	r.Header.Add("Content-Type", "text/html")
	if _, err := claim.Verify(signer.Key, r); !errors.Is(err, ErrSyntax) {
		t.Errorf("two content types: %v", err)
	}
}
