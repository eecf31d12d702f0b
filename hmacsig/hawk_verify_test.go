package hmacsig

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

const hawkTestSecret = "werxhqb98rpaxn39848xrunpaw3489ruxnpa98w4rxn"

var hawkTestNow = time.Unix(1353832234, 0)

func hawkTestKey(t testing.TB) Key {
	t.Helper()
	key, err := SecretKey([]byte(hawkTestSecret))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// hawkSigned signs a request and returns it as its server sees it.
func hawkSigned(t testing.TB, s *HawkSigner, method, url, body string) (HawkClaim, *Request) {
	t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, url, content)
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "text/plain")
	}
	if _, err := s.SignAt(req, hawkTestNow); err != nil {
		t.Fatal(err)
	}
	claim, err := ParseHawk(req.Header.Get("Authorization"))
	if err != nil {
		t.Fatal(err)
	}
	return claim, &Request{Method: method, Scheme: req.URL.Scheme, Authority: req.Host, Target: req.URL.RequestURI(), Header: req.Header}
}

func TestHawkSignatureIsBoundToTheRequest(t *testing.T) {
	signer := &HawkSigner{ID: "k", Key: hawkTestKey(t)}
	claim, r := hawkSigned(t, signer, "GET", "https://a.example/x/%2f?a=1&b=2", "")
	if _, err := claim.Verify(signer.Key, r); err != nil {
		t.Fatal(err)
	}
	other, err := SecretKey([]byte("sixteen bytes or more"))
	if err != nil {
		t.Fatal(err)
	}
	legacy, err := LegacyHawkKey([]byte(hawkTestSecret))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Request)
		key    Key
		want   error
	}{
		"method":                 {func(r *Request) { r.Method = "HEAD" }, signer.Key, ErrSignature},
		"method is two lines":    {func(r *Request) { r.Method = "GET\n/" }, signer.Key, ErrSyntax},
		"no method":              {func(r *Request) { r.Method = "" }, signer.Key, ErrSyntax},
		"case of an escape":      {func(r *Request) { r.Target = "/x/%2F?a=1&b=2" }, signer.Key, ErrSignature},
		"escape decoded":         {func(r *Request) { r.Target = "/x//?a=1&b=2" }, signer.Key, ErrSignature},
		"order of the query":     {func(r *Request) { r.Target = "/x/%2f?b=2&a=1" }, signer.Key, ErrSignature},
		"longer query":           {func(r *Request) { r.Target += "&b=2" }, signer.Key, ErrSignature},
		"empty query":            {func(r *Request) { r.Target = "/x/%2f?" }, signer.Key, ErrSignature},
		"no target":              {func(r *Request) { r.Target = "" }, signer.Key, ErrSyntax},
		"line break in target":   {func(r *Request) { r.Target += "\n" }, signer.Key, ErrSyntax},
		"target not ASCII":       {func(r *Request) { r.Target = "/é" }, signer.Key, ErrSyntax},
		"authority form":         {func(r *Request) { r.Target = "a.example:443" }, signer.Key, ErrSyntax},
		"absolute, other host":   {func(r *Request) { r.Target = "https://b.example/x/%2f?a=1&b=2" }, signer.Key, ErrSyntax},
		"absolute, other scheme": {func(r *Request) { r.Target = "ftp://a.example/x/%2f?a=1&b=2" }, signer.Key, ErrSyntax},
		"absolute":               {func(r *Request) { r.Target = "https://a.example/x/%2f?a=1&b=2" }, signer.Key, nil},
		"host":                   {func(r *Request) { r.Authority = "b.example" }, signer.Key, ErrSignature},
		"host in capitals":       {func(r *Request) { r.Authority = "A.example" }, signer.Key, nil},
		"dot behind the host":    {func(r *Request) { r.Authority = "a.example." }, signer.Key, ErrSignature},
		"no host":                {func(r *Request) { r.Authority = "" }, signer.Key, ErrSyntax},
		"long host":              {func(r *Request) { r.Authority = strings.Repeat("a.", 200) + "example" }, signer.Key, ErrSyntax},
		"brackets, no address":   {func(r *Request) { r.Authority = "[a.example]" }, signer.Key, ErrSyntax},
		"IPv4 in brackets":       {func(r *Request) { r.Authority = "[127.0.0.1]" }, signer.Key, ErrSyntax},
		"IPv6 with zone":         {func(r *Request) { r.Authority = "[fe80::1%25eth0]" }, signer.Key, ErrSyntax},
		"IPv6, then junk":        {func(r *Request) { r.Authority = "[::1]a" }, signer.Key, ErrSyntax},
		"port written":           {func(r *Request) { r.Authority = "a.example:443" }, signer.Key, nil},
		"other port":             {func(r *Request) { r.Authority = "a.example:80" }, signer.Key, ErrSignature},
		"scheme":                 {func(r *Request) { r.Scheme = "http" }, signer.Key, ErrSignature},
		"no scheme":              {func(r *Request) { r.Scheme = "" }, signer.Key, ErrSyntax},
		"other secret":           {func(*Request) {}, other, ErrSignature},
		"other algorithm":        {func(*Request) {}, legacy, ErrSignature},
		"no key":                 {func(*Request) {}, Key{}, ErrSignature},
		"no key, no scheme":      {func(r *Request) { r.Scheme = "" }, Key{}, ErrSyntax},
	} {
		t.Run(name, func(t *testing.T) {
			changed := *r
			c.change(&changed)
			if _, err := claim.Verify(c.key, &changed); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// A sha1 key signs and verifies with sha1 alone.
func TestHawkLegacyKey(t *testing.T) {
	legacy, err := LegacyHawkKey([]byte(hawkTestSecret))
	if err != nil {
		t.Fatal(err)
	}
	claim, r := hawkSigned(t, &HawkSigner{ID: "k", Key: legacy}, "GET", "http://a.example/", "")
	if _, err := claim.Verify(legacy, r); err != nil {
		t.Error(err)
	}
	if _, err := claim.Verify(hawkTestKey(t), r); !errors.Is(err, ErrSignature) {
		t.Errorf("a sha256 key verified sha1: %v", err)
	}
}

func TestHawkAuthorities(t *testing.T) {
	signer := &HawkSigner{ID: "k", Key: hawkTestKey(t)}
	for _, c := range []struct {
		name, signedFor, arrivedAs string
		authorities                []string
		want                       error
	}{
		{"behind a proxy", "api.example", "10.0.0.1:8080", []string{"api.example"}, nil},
		{"one of two names", "b.example", "10.0.0.1:8080", []string{"a.example", "b.example"}, nil},
		{"none of them", "evil.example", "evil.example", []string{"a.example", "b.example"}, ErrSignature},
		{"arrived as one, signed for the other", "b.example", "a.example", []string{"a.example", "b.example"}, ErrSignature},
		{"arrived as one with its port", "b.example", "a.example:443", []string{"a.example", "b.example"}, ErrSignature},
		{"arrived as it was signed", "b.example", "b.example", []string{"a.example", "b.example"}, nil},
		{"arrived as no host", "b.example", "%", []string{"a.example", "b.example"}, nil},
		{"an authority that is none", "b.example", "b.example", []string{"b.example", "https://b.example"}, ErrSyntax},
		{"IPv6", "[2001:DB8::1]:8443", "10.0.0.1", []string{"a.example", "[2001:db8::1]:8443"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			claim, r := hawkSigned(t, signer, "GET", "https://"+c.signedFor+"/", "")
			r.Authority = c.arrivedAs
			if _, err := claim.Verify(signer.Key, r, c.authorities...); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if err := claim.VerifyUnknown(r, c.authorities...); err == nil {
				t.Error("an unknown key verified")
			}
		})
	}
}

// A client that signs the brackets of an IPv6 address is right as well.
func TestHawkIPv6InBrackets(t *testing.T) {
	key := hawkTestKey(t)
	a := hawkArtifacts{kind: "header", ts: "1353832234", nonce: "n", method: "GET", resource: "/", host: "[::1]", port: "80"}
	claim, err := ParseHawk(`Hawk id="k", ts="1353832234", nonce="n", mac="` + a.mac(key) + `"`)
	if err != nil {
		t.Fatal(err)
	}
	r := &Request{Method: "GET", Scheme: "http", Authority: "[::1]", Target: "/"}
	if _, err := claim.Verify(key, r); err != nil {
		t.Error(err)
	}
	r.Authority = "[::2]"
	if _, err := claim.Verify(key, r); !errors.Is(err, ErrSignature) {
		t.Errorf("another address: %v", err)
	}
}

// A secret that is known to all verifies nothing, though it is the decoy's.
func TestHawkDecoyVerifiesNothing(t *testing.T) {
	claim, r := hawkSigned(t, &HawkSigner{ID: "k", Key: hawkDecoy}, "GET", "http://a.example/", "")
	if err := claim.VerifyUnknown(r); !errors.Is(err, ErrSignature) {
		t.Errorf("%v", err)
	}
	if _, err := claim.Verify(Key{}, r); !errors.Is(err, ErrSignature) {
		t.Errorf("%v", err)
	}
}

func TestHawkFresh(t *testing.T) {
	signer := &HawkSigner{ID: "k", Key: hawkTestKey(t)}
	claim, r := hawkSigned(t, signer, "GET", "http://a.example/", "")
	proof, err := claim.Verify(signer.Key, r)
	if err != nil {
		t.Fatal(err)
	}
	for offset, want := range map[time.Duration]error{
		0: nil, time.Minute: nil, -time.Minute: nil,
		time.Minute + time.Millisecond: ErrStale, -time.Minute - time.Millisecond: ErrStale,
		290 * 365 * 24 * time.Hour: ErrStale,
	} {
		if err := proof.Fresh(hawkTestNow.Add(offset), HawkSkew); !errors.Is(err, want) {
			t.Errorf("%v off: %v, want %v", offset, err, want)
		}
	}
	if err := new(HawkProof).Fresh(hawkTestNow, HawkSkew); !errors.Is(err, ErrStale) {
		t.Errorf("the zero proof: %v", err)
	}
	far, err := ParseHawk(`Hawk id="k", ts="999999999999", nonce="n", mac="m"`)
	if err != nil {
		t.Fatal(err)
	}
	if err := (&HawkProof{second: far.second}).Fresh(hawkTestNow, HawkSkew); !errors.Is(err, ErrStale) {
		t.Errorf("the year 33658: %v", err)
	}
}

func TestHawkChallenge(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "Hawk"},
		{ErrNotHawk, "Hawk"},
		{fmt.Errorf("no: %w", ErrSignature), `Hawk error="Bad mac"`},
		{ErrReplay, `Hawk error="Invalid nonce"`},
		{ErrStale, `Hawk error="Stale timestamp"`},
		{io.EOF, `Hawk error="Unauthorized"`},
	} {
		if got := HawkChallenge(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}

// Neither a proof nor what signs gives its secret to a log.
func TestHawkHidesTheSecret(t *testing.T) {
	signer := &HawkSigner{ID: "k", Key: hawkTestKey(t)}
	claim, r := hawkSigned(t, signer, "GET", "http://a.example/", "")
	proof, err := claim.Verify(signer.Key, r)
	if err != nil {
		t.Fatal(err)
	}
	normalized, err := claim.NormalizedString(r)
	if err != nil {
		t.Fatal(err)
	}
	exchange, err := signer.SignAt(&http.Request{URL: &url.URL{Scheme: "http", Host: "a.example"}}, hawkTestNow)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{signer.Key, signer, *signer, proof, exchange, normalized} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			text := fmt.Sprintf(verb, v)
			for _, secret := range []string{hawkTestSecret, fmt.Sprintf("%x", hawkTestSecret), "119 101 114 120", "0x77, 0x65"} {
				if strings.Contains(text, secret) {
					t.Errorf("%s of %T has the secret", verb, v)
				}
			}
		}
	}
}
