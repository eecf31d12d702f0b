package hmacsig

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// The key record decides about the algorithm.
func TestMessageAlgorithmConfusion(t *testing.T) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edKey, err := PublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	legacy, err := LegacyHawkKey(messageSecret)
	if err != nil {
		t.Fatal(err)
	}
	der, err := edKey.PublicDER()
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []string{"", `;alg="hmac-sha256"`, `;alg="ed25519"`} {
		for name, c := range map[string]struct {
			key    Key
			secret []byte
		}{
			"HMAC with the public key":        {edKey, public},
			"HMAC with the public key as DER": {edKey, der},
			"a key for Hawk with SHA-1":       {legacy, messageSecret},
			"the zero key":                    {Key{}, []byte{}},
		} {
			r, body := sendSigned(t, secretSigner(t, "a"), "POST", "http://example.com/", "text")
			forge(t, r, c.secret, fullInput+alg)
			if _, err := judge(r, body, MessagePolicy{}, map[string]Key{"a": c.key}); !errors.Is(err, ErrSignature) {
				t.Errorf("%s%s: %v", name, alg, err)
			}
		}
	}
	// A number of one zero byte more is the same number, and another spelling.
	b4 := readMessageVectors(t).AppendixB[3]
	ecKey := readMessageVectors(t).key(t, b4.Key)
	claim := parseOne(t, http.Header{"Signature": {b4.Signature}, "Signature-Input": {b4.Input}})
	if s := claim.signature; !ecKey.verifies([]byte(b4.Base), s) || ecKey.verifies([]byte(b4.Base), s[:32]+"\x00"+s[32:]) {
		t.Error("a signature of ECDSA has two lengths")
	}
	for _, k := range []Key{edKey, secretKey(t, messageSecret), readMessageVectors(t).key(t, "test-key-ecc-p256"), {}} {
		for _, n := range []int{0, 1, 31, 32, 33, 63, 64, 65, 4096} {
			if k.verifies([]byte("base"), strings.Repeat("\x00", n)) {
				t.Errorf("%s accepts %d zero bytes", k.Algorithm(), n)
			}
		}
	}
}

// One who has a key adds his signature to another's request, or takes another's
// name.
func TestMessageIdentities(t *testing.T) {
	secretR := []byte("the attacker's own secret, 32 B.")
	keys := map[string]Key{"a": secretKey(t, messageSecret), "r": secretKey(t, secretR)}
	send := func() (*Request, string) {
		return sendSigned(t, secretSigner(t, "a"), "POST", "http://example.com/p", "text")
	}
	addR := func(r *Request, label, input string) {
		signatureInput, signature := r.Header.Get("Signature-Input"), r.Header.Get("Signature")
		forge(t, r, secretR, input)
		r.Header.Set("Signature-Input", signatureInput+", "+label+r.Header.Get("Signature-Input")[1:])
		r.Header.Set("Signature", label+r.Header.Get("Signature")[1:]+", "+signature)
	}
	inputR := strings.Replace(fullInput, `"a"`, `"r"`, 1)

	r, body := send()
	addR(r, "r", inputR)
	if _, err := judge(r, body, MessagePolicy{}, keys); !errors.Is(err, ErrSyntax) {
		t.Errorf("two signatures that apply: %v", err)
	}
	if proof, err := judge(r, body, MessagePolicy{}, map[string]Key{"a": keys["a"]}); err != nil || proof.Params().KeyID != "a" {
		t.Errorf("beside one by an unknown key: %v, %v", proof, err)
	}

	r, body = send()
	addR(r, "r", inputR+`;tag="r"`)
	if proof, err := judge(r, body, MessagePolicy{Tag: "r"}, keys); err != nil || proof.Params().KeyID != "r" {
		t.Errorf("chosen by its tag: %v, %v", proof, err)
	}

	r, body = send()
	addR(r, "r", strings.Replace(inputR, `"r"`, `"a"`, 1))
	if _, err := judge(r, body, MessagePolicy{}, keys); !errors.Is(err, ErrSyntax) {
		t.Errorf("two signatures of one key id: %v", err)
	}

	r, body = send()
	forge(t, r, secretR, fullInput)
	if _, err := judge(r, body, MessagePolicy{}, keys); !errors.Is(err, ErrSignature) {
		t.Errorf("another's key id: %v", err)
	}

	r, body = send()
	forge(t, r, secretR, inputR)
	r.Header.Set("Signature-Input", strings.Replace(r.Header.Get("Signature-Input"), `"r"`, `"a"`, 1))
	if _, err := judge(r, body, MessagePolicy{}, keys); !errors.Is(err, ErrSignature) {
		t.Errorf("the key id changed: %v", err)
	}

	// A label has no meaning.
	r, body = send()
	for _, name := range []string{"Signature", "Signature-Input"} {
		r.Header.Set(name, strings.Replace(r.Header.Get(name), "sig1=", "r=", 1))
	}
	if proof, err := judge(r, body, MessagePolicy{}, keys); err != nil || proof.Params().KeyID != "a" {
		t.Errorf("another label: %v, %v", proof, err)
	}

	// Two signatures with their labels exchanged.
	r, body = send()
	addR(r, "r", inputR)
	r.Header.Set("Signature", strings.NewReplacer("sig1=", "r=", "r=", "sig1=").Replace(r.Header.Get("Signature")))
	for id := range keys {
		if _, err := judge(r, body, MessagePolicy{}, map[string]Key{id: keys[id]}); !errors.Is(err, ErrSignature) {
			t.Errorf("exchanged labels, %s: %v", id, err)
		}
	}

	for _, n := range []int{maxLabels + 1, 50} {
		r, body = send()
		inputs, signatures := r.Header.Get("Signature-Input"), r.Header.Get("Signature")
		for i := range n - 1 {
			inputs += fmt.Sprintf(`, x%d=();keyid="x"`, i)
			signatures += fmt.Sprintf(`, x%d=::`, i)
		}
		r.Header.Set("Signature-Input", inputs)
		r.Header.Set("Signature", signatures)
		if _, err := judge(r, body, MessagePolicy{}, keys); !errors.Is(err, ErrSyntax) {
			t.Errorf("%d labels: %v", n, err)
		}
	}
}

// A captured request with one thing changed.
func TestMessageTampering(t *testing.T) {
	keys := map[string]Key{"a": secretKey(t, messageSecret)}
	header := func(name, old, new string) func(*Request) {
		return func(r *Request) { r.Header.Set(name, strings.Replace(r.Header.Get(name), old, new, 1)) }
	}
	for _, coverage := range []string{fullInput, strings.Replace(fullInput, `"@path" "@query"`, `"@scheme" "@target-uri"`, 1)} {
		for _, c := range []struct {
			name   string
			want   error
			change func(*Request)
		}{
			{"nothing", nil, func(r *Request) {}},
			{"the host's case", nil, func(r *Request) { r.Authority = "Example.COM:8443" }},
			{"a field that is not signed", nil, func(r *Request) { r.Header.Set("X-A", "2") }},
			{"absolute form", nil, func(r *Request) { r.Target = "https://example.com:8443" + r.Target }},
			{"spaces that mean nothing", nil, header("Signature-Input", `("@method" `, `(  "@method"    `)},

			{"method", ErrSignature, func(r *Request) { r.Method = "PUT" }},
			{"the method's case", ErrSignature, func(r *Request) { r.Method = "post" }},
			{"no method", ErrSignature, func(r *Request) { r.Method = "" }},
			{"host", ErrSignature, func(r *Request) { r.Authority = "evil.example:8443" }},
			{"port", ErrSignature, func(r *Request) { r.Authority = "example.com:8444" }},
			{"no port", ErrSignature, func(r *Request) { r.Authority = "example.com" }},
			{"an empty port", ErrSignature, func(r *Request) { r.Authority = "example.com:" }},
			{"a dot behind the host", ErrSignature, func(r *Request) { r.Authority = "example.com.:8443" }},
			{"a user", ErrSignature, func(r *Request) { r.Authority = "u@example.com:8443" }},
			{"no host", ErrSignature, func(r *Request) { r.Authority = "" }},
			{"a line feed in the host", ErrSignature, func(r *Request) { r.Authority = "example.com:8443\n" }},
			{"absolute form, other host", ErrSignature, func(r *Request) { r.Target = "https://evil.example:8443" + r.Target }},
			{"absolute form, other scheme", ErrSignature, func(r *Request) { r.Target = "http://example.com:8443" + r.Target }},
			{"path case of hex", ErrSignature, func(r *Request) { r.Target = strings.Replace(r.Target, "%2F", "%2f", 1) }},
			{"path decoded", ErrSignature, func(r *Request) { r.Target = strings.Replace(r.Target, "%2F", "/", 1) }},
			{"path dot segment", ErrSignature, func(r *Request) { r.Target = "/." + r.Target }},
			{"path slashes", ErrSignature, func(r *Request) { r.Target = "/" + r.Target }},
			{"query order", ErrSignature, func(r *Request) { r.Target = "/a%2Fb?y=2&x=1" }},
			{"query twice", ErrSignature, func(r *Request) { r.Target += "&x=1" }},
			{"an empty query part", ErrSignature, func(r *Request) { r.Target += "&" }},
			{"no query", ErrSignature, func(r *Request) { r.Target = "/a%2Fb" }},
			{"asterisk", ErrSignature, func(r *Request) { r.Target = "*" }},
			{"authority form", ErrSignature, func(r *Request) { r.Target = "example.com:8443" }},
			{"a fragment", ErrSignature, func(r *Request) { r.Target += "#x" }},
			{"a space in the target", ErrSignature, func(r *Request) { r.Target += " " }},
			{"digest", ErrSignature, func(r *Request) {
				r.Header.Set("Content-Digest", "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:")
			}},
			{"a second digest", ErrSignature, func(r *Request) {
				r.Header.Add("Content-Digest", "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:")
			}},
			{"created", ErrSignature, header("Signature-Input", "1800000000", "1800000001")},
			{"nonce", ErrSignature, header("Signature-Input", `nonce="n"`, `nonce="m"`)},
			{"order of components", ErrSignature, header("Signature-Input", `"@method" "@authority"`, `"@authority" "@method"`)},
			{"order of parameters", ErrSignature, header("Signature-Input", `;keyid="a";nonce="n"`, `;nonce="n";keyid="a"`)},
			{"an added expiry", ErrSignature, header("Signature-Input", `;keyid`, `;expires=1900000000;keyid`)},
			{"an added component", ErrSignature, header("Signature-Input", `"@method"`, `"@method" "x-a"`)},
			{"no signature", ErrSyntax, func(r *Request) { r.Header.Del("Signature") }},
			{"no input", ErrSyntax, func(r *Request) { r.Header.Del("Signature-Input") }},
			{"signature of a list", ErrSyntax, header("Signature", "f=", "f=()")},
			{"a signature's parameter", ErrSyntax, func(r *Request) { r.Header.Set("Signature", r.Header.Get("Signature")+";x") }},
			{"labels differ", ErrSyntax, header("Signature", "f=", "g=")},
			{"one label more", ErrSyntax, func(r *Request) { r.Header.Add("Signature", "g=::") }},
			{"a label twice", ErrSyntax, func(r *Request) { r.Header.Add("Signature", r.Header.Get("Signature")) }},
			{"one input more", ErrSyntax, func(r *Request) { r.Header.Add("Signature-Input", "g=()") }},
		} {
			r, body := sendSigned(t, secretSigner(t, "a"), "POST", "https://example.com:8443/a%2Fb?x=1&y=2", "text")
			r.Header.Set("X-A", "1")
			forge(t, r, messageSecret, coverage)
			c.change(r)
			if _, err := judge(r, body, MessagePolicy{}, keys); !errors.Is(err, c.want) || err != nil && c.want == nil {
				t.Errorf("%s: error %v, want %v", c.name, err, c.want)
			}
		}
	}
	r, _ := sendSigned(t, secretSigner(t, "a"), "POST", "https://example.com/", "text")
	for _, body := range []string{"", "tex", "text\n", "Text"} {
		if _, err := judge(r, body, MessagePolicy{}, keys); !errors.Is(err, ErrDigest) {
			t.Errorf("body %q: %v", body, err)
		}
	}
	// The scheme alone, where it is signed.
	r, _ = sendSigned(t, secretSigner(t, "a"), "GET", "https://example.com:8443/", "")
	forge(t, r, messageSecret, strings.Replace(fullInput, `"content-digest"`, `"@scheme"`, 1))
	r.Scheme = "http"
	if _, err := judge(r, "", MessagePolicy{}, keys); !errors.Is(err, ErrSignature) {
		t.Errorf("another scheme: %v", err)
	}
}
