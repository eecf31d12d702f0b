package hmacsig

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

var messageSecret = []byte("0123456789abcdef0123456789abcdef")

var messageNow = time.Unix(1_800_000_000, 0)

func secretSigner(t testing.TB, keyID string) *MessageSigner {
	t.Helper()
	s, err := NewSecretSigner(keyID, messageSecret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func secretKey(t testing.TB, secret []byte) Key {
	t.Helper()
	k, err := SecretKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// received returns what a server reads when a client sends the request.
func received(t testing.TB, r *http.Request) (*Request, string) {
	t.Helper()
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	return receivedRequest(t, wire.String(), r.URL.Scheme)
}

// sendSigned sends a request that the signer has signed.
func sendSigned(t testing.TB, s *MessageSigner, method, url, body string) (*Request, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err == nil {
		err = s.sign(r, messageNow)
	}
	if err != nil {
		t.Fatal(err)
	}
	return received(t, r)
}

// forge signs a received request anew, with whatever Signature-Input: what one
// who has the key but not our signer can do.
func forge(t testing.TB, r *Request, secret []byte, input string) {
	t.Helper()
	r.Header.Set("Signature-Input", "f="+input)
	r.Header.Set("Signature", "f=::")
	base, err := parseOne(t, r.Header).Base(r)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(base)
	r.Header.Set("Signature", string(appendBytes([]byte("f="), string(mac.Sum(nil)))))
}

// judge goes the way of a server, with a key for every id.
func judge(r *Request, body string, p MessagePolicy, keys map[string]Key) (*MessageProof, error) {
	claims, err := ParseMessage(r.Header)
	if err != nil {
		return nil, err
	}
	claim, err := p.Choose(claims, func(id string) bool { _, ok := keys[id]; return ok })
	if err != nil {
		return nil, err
	}
	proof, err := claim.Verify(keys[claim.Params().KeyID], r, p)
	if err != nil {
		return nil, err
	}
	if err := proof.Fresh(messageNow, time.Minute, time.Second); err != nil {
		return nil, err
	}
	if d := proof.Body(); d != nil {
		io.WriteString(d, body)
		if err := d.Verify(); err != nil {
			return nil, err
		}
	}
	return proof, nil
}

func TestMessageRoundTrip(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signers := map[string]*MessageSigner{algHMAC: secretSigner(t, "a")}
	keys := map[string]Key{algHMAC: secretKey(t, messageSecret)}
	for alg, private := range map[string]crypto.Signer{algEd: ed, algECDSA: ec} {
		s, err := NewPrivateKeySigner("a", private)
		if err != nil {
			t.Fatal(err)
		}
		signers[alg] = s
		if keys[alg], err = PublicKey(private.Public()); err != nil {
			t.Fatal(err)
		}
	}
	bodies := map[string]func(*http.Request){
		"none":  func(*http.Request) {},
		"empty": func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("")) },
		"stream": func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("text")), -1
		},
		"again": func(r *http.Request) {
			r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("text")), nil }
			r.Body, _ = r.GetBody()
			r.ContentLength = 4
		},
	}
	for alg, s := range signers {
		for name, setBody := range bodies {
			t.Run(alg+"/"+name, func(t *testing.T) {
				r, err := http.NewRequest("POST", "https://API.example.com:443/a%2Fb/%e2?x=1&x=%20#part", nil)
				if err != nil {
					t.Fatal(err)
				}
				setBody(r)
				s.Lifetime = 10 * time.Second
				s.Policy = MessagePolicy{Components: []string{"x-extra", "@scheme"}, Tag: `t"g`}
				r.Header["X-Extra"] = []string{" a ", "b"}
				if err := s.sign(r, messageNow); err != nil {
					t.Fatal(err)
				}
				in, body := received(t, r)
				proof, err := judge(in, body, s.Policy, map[string]Key{"a": keys[alg]})
				if err != nil {
					t.Fatal(err)
				}
				p := proof.Params()
				if p.KeyID != "a" || p.Tag != `t"g` || len(p.Nonce) < 26 || p.Alg != "" ||
					!p.Created.Equal(messageNow) || !p.Expires.Equal(messageNow.Add(10*time.Second)) {
					t.Errorf("%+v", p)
				}
				if (proof.Body() == nil) != (name == "none") {
					t.Errorf("digest of the body: %v", proof.Body())
				}
				for other, k := range keys {
					if _, err := judge(in, body, s.Policy, map[string]Key{"a": k}); other != alg && !errors.Is(err, ErrSignature) {
						t.Errorf("with a key of %s: %v", other, err)
					}
				}
			})
		}
	}
}

func TestMessageNoncesDiffer(t *testing.T) {
	s, seen := secretSigner(t, "a"), map[string]bool{}
	for range 100 {
		r, _ := sendSigned(t, s, "GET", "http://a/", "")
		seen[parseOne(t, r.Header).Params().Nonce] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d nonces of 100 signatures", len(seen))
	}
}

func TestMessageFresh(t *testing.T) {
	at := func(offset time.Duration) time.Time { return messageNow.Add(offset) }
	const age, skew = time.Minute, 5 * time.Second
	for _, c := range []struct {
		name             string
		created, expires time.Time
		now              time.Time
		ok               bool
	}{
		{"just made", at(0), time.Time{}, at(0), true},
		{"clock ahead within the skew", at(skew), time.Time{}, at(0), true},
		{"clock ahead", at(skew), time.Time{}, at(-time.Nanosecond), false},
		{"at the end", at(0), time.Time{}, at(age), false},
		{"before the end", at(0), time.Time{}, at(age - time.Nanosecond), true},
		{"before it expires", at(0), at(10 * time.Second), at(10*time.Second - time.Nanosecond), true},
		{"when it expires", at(0), at(10 * time.Second), at(10 * time.Second), false},
		{"expires after the end", at(0), at(time.Hour), at(age), false},
		{"never made", time.Time{}, at(time.Hour), at(0), false},
		{"the beginning of time", time.Unix(0, 0), time.Time{}, at(0), false},
		{"the end of time", time.Unix(999_999_999_999_999, 0), time.Time{}, at(0), false},
		{"expires at the end of time", at(0), time.Unix(999_999_999_999_999, 0), at(0), true},
	} {
		p := MessageProof{params: MessageParams{Created: c.created, Expires: c.expires}}
		if err := p.Fresh(c.now, age, skew); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrStale) {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.ok && !c.now.Before(p.Until(age)) {
			t.Errorf("%s: fresh after its end %v", c.name, p.Until(age))
		}
	}
}

func TestMessageSignerRefuses(t *testing.T) {
	if _, err := NewSecretSigner("", messageSecret); err == nil {
		t.Error("no key id")
	}
	if _, err := NewSecretSigner("a\n", messageSecret); err == nil {
		t.Error("a key id with a line feed")
	}
	if _, err := NewSecretSigner("a", messageSecret[:MinSecret-1]); err == nil {
		t.Error("a short secret")
	}
	if _, err := NewPrivateKeySigner("a", nil); err == nil {
		t.Error("no private key")
	}
	if k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader); err != nil {
		t.Error(err)
	} else if _, err := NewPrivateKeySigner("a", k); err == nil {
		t.Error("a key of another curve")
	}
	for name, change := range map[string]func(*MessageSigner, *http.Request){
		"a missing field":   func(s *MessageSigner, r *http.Request) { s.Policy.Components = []string{"x-missing"} },
		"no field's name":   func(s *MessageSigner, r *http.Request) { s.Policy.Components = []string{"X-Missing"} },
		"a tag of no ASCII": func(s *MessageSigner, r *http.Request) { s.Policy.Tag = "é" },
		"a host of no ASCII": func(s *MessageSigner, r *http.Request) {
			r.Host = "é.example"
		},
		"a body too long to hold": func(s *MessageSigner, r *http.Request) {
			s.MaxBody, r.Body, r.GetBody = 3, io.NopCloser(strings.NewReader("text")), nil
		},
		"a line feed in a field": func(s *MessageSigner, r *http.Request) {
			s.Policy.Components = []string{"x-a"}
			r.Header.Set("X-A", "1\n\"@method\": GET")
		},
	} {
		s := secretSigner(t, "a")
		r, err := http.NewRequest("POST", "http://a/", strings.NewReader("text"))
		if err != nil {
			t.Fatal(err)
		}
		change(s, r)
		if err := s.sign(r, messageNow); err == nil || r.Header.Get("Signature") != "" {
			t.Errorf("%s: error %v, header %v", name, err, r.Header)
		}
	}
}

// A signature of ECDSA may have short numbers, which have to be filled up.
func TestFixedECDSA(t *testing.T) {
	got, err := fixedECDSA([]byte{0x30, 6, 2, 1, 1, 2, 1, 2})
	if err != nil || len(got) != 64 || got[31] != 1 || got[63] != 2 {
		t.Errorf("%x, %v", got, err)
	}
	for _, der := range []string{"", "\x30\x00", "\x30\x06\x02\x01\xff\x02\x01\x02", "\x30\x06\x02\x01\x01\x02\x01\x02\x00"} {
		if _, err := fixedECDSA([]byte(der)); err == nil {
			t.Errorf("%x is accepted", der)
		}
	}
}

// A body is put back as it was.
func TestMessageSignerKeepsBody(t *testing.T) {
	r, err := http.NewRequest("POST", "http://a/", bufio.NewReader(strings.NewReader("text")))
	if err == nil {
		err = secretSigner(t, "a").sign(r, messageNow)
	}
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(r.Body); err != nil || string(body) != "text" || r.ContentLength != 4 {
		t.Errorf("body %q of %d bytes, error %v", body, r.ContentLength, err)
	}
}
