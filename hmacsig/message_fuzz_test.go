package hmacsig

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// FuzzParseMessage looks for two readings: what is accepted has one canonical
// form, whose signature base says the same, line by line, and nothing more.
func FuzzParseMessage(f *testing.F) {
	f.Add(`s=`+fullInput, `s=:YQ==:`, "/p?q=1", "example.com", "v")
	f.Add(`s=("x-a";bs "@query-param";name="q" "@target-uri" "content-digest";sf), t=();keyid="\""`, `t=::, s=:YQ==:`, "/?q=%41+", "[::1]:80", "a=1")
	f.Add(`s=("x-a" "x-a")`, `s=::`, "http://a/", "A", "\n\"@method\": X")
	for _, c := range readMessageVectors(f).Edges {
		if r, _ := receivedRequest(f, c.Request, c.Scheme); true {
			f.Add(r.Header.Get("Signature-Input"), r.Header.Get("Signature"), r.Target, r.Authority, r.Header.Get("Content-Digest"))
		}
	}
	keys := []Key{secretKey(f, messageSecret), readMessageVectors(f).key(f, "test-key-ecc-p256"), readMessageVectors(f).key(f, "test-key-ed25519"), {}}
	f.Fuzz(func(t *testing.T, input, signature, target, authority, field string) {
		h := http.Header{"Signature-Input": {input}, "Signature": {signature}}
		claims, err := ParseMessage(h)
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Fatal(err)
			}
			return
		}
		r := &Request{Method: "GET", Scheme: "http", Authority: authority, Target: target, Header: http.Header{
			"Content-Digest": {field}, "X-A": {field, field}, "Content-Type": {field},
		}}
		for _, c := range claims {
			form := string(appendMember(nil, &c.input))
			again := parseOne(t, http.Header{
				"Signature-Input": {"x=" + form}, "Signature": {string(appendBytes([]byte("x="), c.signature))},
			})
			if again.params != c.params || again.signature != c.signature || string(appendMember(nil, &again.input)) != form {
				t.Fatalf("%q is not read as its form %q", input, form)
			}
			for _, k := range keys {
				if proof, err := c.Verify(k, r, MessagePolicy{}); err == nil {
					t.Fatalf("%+v: nobody signed it", proof)
				}
			}
			base, err := c.Base(r)
			if err != nil {
				if !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrSignature) {
					t.Fatal(err)
				}
				continue
			}
			lines := strings.Split(string(base), "\n")
			if len(lines) != len(c.input.items)+1 || lines[len(lines)-1] != `"@signature-params": `+form {
				t.Fatalf("%q has the base %q", input, base)
			}
			for i := range c.input.items {
				id := string(appendParams(appendValue(nil, c.input.items[i].value), c.input.items[i].params))
				if !strings.HasPrefix(lines[i], id+": ") {
					t.Fatalf("%q has the base %q", input, base)
				}
			}
		}
	})
}
