package hmacsig

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func plainRequest() *Request {
	return &Request{Method: "GET", Scheme: "https", Authority: "example.com", Target: "/p?q=1&q%20=a", Header: http.Header{
		"X-A":            {"1"},
		"X-Bytes":        {"\xff\n"},
		"Content-Digest": {`sha-256=:YQ==:;x,  md5=:Yg==:`},
		"Priority":       {"u=1, i, u=2"},
		"X-None":         {},
		"X-Dict":         {"a=1"},
	}}
}

func messageHeader(components string) http.Header {
	return http.Header{"Signature-Input": {"s=(" + components + ")"}, "Signature": {"s=:AAAA:"}}
}

// What a component may be, with its value, or the error of one that may not.
func TestMessageComponentValues(t *testing.T) {
	for _, c := range []struct {
		id, value string
		want      error
	}{
		{`"@query-param";name="q"`, "1", nil},
		{`"@query-param";name="q%20"`, "a", nil},
		{`"content-digest";sf`, "sha-256=:YQ==:;x, md5=:Yg==:", nil},
		{`"content-digest";key="md5"`, ":Yg==:", nil},
		{`"content-digest";key="sha-256"`, ":YQ==:;x", nil},
		{`"x-bytes";bs`, ":/wo=:", nil},
		{`"host"`, "example.com", nil},

		{`"@query-param"`, "", ErrSyntax},
		{`"@query-param";name`, "", ErrSyntax},
		{`"@query-param";name=q`, "", ErrSyntax},
		{`"@query-param";name="q";x`, "", ErrSyntax},
		{`"@query-param";name="q "`, "", ErrSignature}, // names are compared encoded
		{`"@query-param";name="Q"`, "", ErrSignature},
		{`"@query-param";name=""`, "", ErrSignature},
		{`"@path";sf`, "", ErrSyntax},
		{`"@path";bs`, "", ErrSyntax},
		{`"@path";key="x"`, "", ErrSyntax},
		{`"@path";name="x"`, "", ErrSyntax},
		{`"@method";req`, "", ErrSyntax},
		{`"@Method"`, "", ErrSyntax},
		{`"@"`, "", ErrSyntax},
		{`""`, "", ErrSyntax},
		{`"x a"`, "", ErrSyntax},
		{`"x-a:"`, "", ErrSyntax},
		{`"x-a";name="x"`, "", ErrSyntax},
		{`"x-dict";sf`, "", ErrSyntax}, // of no known type
		{`"x-dict";key="a"`, "", ErrSyntax},
		{`"x-a";bs=?0`, "", ErrSyntax},
		{`"x-a";bs=1`, "", ErrSyntax},
		{`"x-a";req`, "", ErrSyntax},
		{`"x-a";tr`, "", ErrSyntax},
		{`"content-digest";sf;bs`, "", ErrSyntax},
		{`"content-digest";sf;key="md5"`, "", ErrSyntax},
		{`"content-digest";key=md5`, "", ErrSyntax},
		{`"content-digest";key="sha"`, "", ErrSignature},
		{`"priority";sf`, "", ErrSyntax}, // a key twice
		{`"x-bytes"`, "", ErrSignature},
		{`"x-missing"`, "", ErrSignature},
		{`"x-none"`, "", ErrSignature},
		{`"content-length"`, "", ErrSignature},
		{`"x-a" "x-a"`, "", ErrSyntax},
		{`"content-digest";sf "content-digest";sf`, "", ErrSyntax},
		{`"@query-param";name="q" "@query-param";name="q"`, "", ErrSyntax},
	} {
		base, err := parseOne(t, messageHeader(c.id)).Base(plainRequest())
		if c.want != nil {
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %v", c.id, err)
			}
			continue
		}
		if want := c.id + ": " + c.value + "\n\"@signature-params\": (" + c.id + ")"; err != nil || string(base) != want {
			t.Errorf("%s: %q, %v", c.id, base, err)
		}
	}
	both := `"content-digest" "content-digest";sf "content-digest";key="md5" "content-digest";key="sha-256" "content-digest";bs`
	if _, err := parseOne(t, messageHeader(both)).Base(plainRequest()); err != nil {
		t.Errorf("different forms of a field: %v", err)
	}
}

// A request that cannot be is refused, whatever of it is signed.
func TestMessageImpossibleRequests(t *testing.T) {
	claim := parseOne(t, messageHeader(""))
	if _, err := claim.Base(plainRequest()); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"", "*", "p", "//x\n", "/a b", "/a#b", "/\x7f", "/é", "?q", "http://example.com/", "https://example.org/", "x://example.com/"} {
		r := plainRequest()
		r.Target = target
		if _, err := claim.Base(r); !errors.Is(err, ErrSignature) {
			t.Errorf("target %q: %v", target, err)
		}
	}
	for _, method := range []string{"", "G T", "GET\n", "GÉT"} {
		r := plainRequest()
		r.Method = method
		if _, err := claim.Base(r); !errors.Is(err, ErrSignature) {
			t.Errorf("method %q: %v", method, err)
		}
	}
	for _, scheme := range []string{"", "ws", "httpss", "https\n"} {
		r := plainRequest()
		r.Scheme = scheme
		if _, err := claim.Base(r); !errors.Is(err, ErrSignature) {
			t.Errorf("scheme %q: %v", scheme, err)
		}
	}
}

func TestQueryParamEncoding(t *testing.T) {
	for _, c := range []struct {
		query, name, value string
		ok                 bool
	}{
		{"a=%zz%", "a", "%25zz%25", true},
		{"a=%4", "a", "%254", true},
		{"a=%c3%BC+%2b", "a", "%C3%BC%20%2B", true},
		{"a", "a", "", true},
		{"&&a=1&", "a", "1", true},
		{"a=b=c", "a", "b%3Dc", true},
		{"=x", "", "x", true},
		{"%61=1", "a", "1", true},
		{"a=1&%61=2", "a", "", false},
		{"a=%ff", "a", "", false},
		{"%ff=1", "%FF", "", false},
		{"", "a", "", false},
	} {
		r := plainRequest()
		r.Target = "/?" + c.query
		s, err := takeApart(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.appendQueryParam(nil, c.name)
		if (err == nil) != c.ok || c.ok && string(got) != c.value {
			t.Errorf("%s: %q, %v", c.query, got, err)
		}
	}
}

func TestNormalAuthority(t *testing.T) {
	for _, c := range []struct{ in, scheme, want string }{
		{"EXAMPLE.com", "http", "example.com"},
		{"example.com:80", "http", "example.com"},
		{"example.com:80", "https", "example.com:80"},
		{"example.com:443", "https", "example.com"},
		{"[2001:DB8::1]", "http", "[2001:db8::1]"},
		{"[::1]:443", "https", "[::1]"},
		{"[::1]:8443", "https", "[::1]:8443"},
		{"127.0.0.1:8080", "http", "127.0.0.1:8080"},
		{"", "http", ""},
		{":80", "http", ""},
		{"a:", "http", ""},
		{"a:080", "http", ""},
		{"a:123456", "http", ""},
		{"a:8 0", "http", ""},
		{"a:-1", "http", ""},
		{"::1", "http", ""},
		{"[::1", "http", ""},
		{"[]", "http", ""},
		{"[::1]x", "http", ""},
		{"[fe80::1%25eth0]", "http", ""},
		{"a b", "http", ""},
		{"a/b", "http", ""},
		{"u@a", "http", ""},
		{"a%2e", "http", ""},
		{"ü", "http", ""},
		{strings.Repeat("a", 10_000), "http", ""},
		{strings.Repeat(":", 100_000), "http", ""},
	} {
		if got, ok := normalAuthority(c.in, c.scheme); got != c.want || ok != (c.want != "") {
			t.Errorf("%.40q: %q, %v", c.in, got, ok)
		}
	}
}

// What a request can make a verifier read and write is bounded, however many
// components name however long fields.
func TestMessageBounds(t *testing.T) {
	var ids []string
	r := plainRequest()
	r.Target = "/?" + strings.Repeat("x&", 2_000)
	for i := range sfMaxItems {
		ids = append(ids, fmt.Sprintf(`"@query-param";name="q%d"`, i))
		r.Target += fmt.Sprintf("&q%d", i)
	}
	if _, err := parseOne(t, messageHeader(strings.Join(ids[:8], " "))).Base(r); err != nil {
		t.Error(err)
	}
	if _, err := parseOne(t, messageHeader(strings.Join(ids, " "))).Base(r); !errors.Is(err, ErrSignature) || !strings.Contains(err.Error(), "too long") {
		t.Error(err)
	}
	r.Header.Set("X-A", strings.Repeat("x", maxBase))
	if _, err := parseOne(t, messageHeader(`"x-a"`)).Base(r); !errors.Is(err, ErrSignature) || !strings.Contains(err.Error(), "too long") {
		t.Error(err)
	}
	r.Target = "/" + strings.Repeat("x", maxBase)
	if _, err := parseOne(t, messageHeader(`"x-a"`)).Base(r); !errors.Is(err, ErrSignature) || !strings.Contains(err.Error(), "too long") {
		t.Error(err)
	}

	// Longer values cost bytes, but hardly more pieces of memory.
	key := secretKey(t, messageSecret)
	allocations := func(n int) float64 {
		r, _ := sendSigned(t, secretSigner(t, "a"), "GET", "http://a/p?x="+strings.Repeat("%41", n), "")
		r.Header.Set("X-A", strings.Repeat("x", n))
		forge(t, r, messageSecret, `("@method" "@authority" "@path" "@query" "x-a" "@query-param";name="x");created=1800000000;keyid="a";nonce="n"`)
		return testing.AllocsPerRun(10, func() {
			if _, err := judge(r, "", MessagePolicy{}, map[string]Key{"a": key}); err != nil {
				t.Fatal(err)
			}
		})
	}
	if short, long := allocations(10), allocations(5_000); long > short+25 {
		t.Errorf("%v allocations, %v with long values", short, long)
	}
}

// Errors tell what is wrong and repeat nothing of it.
func TestMessageErrorsAreDiscreet(t *testing.T) {
	const mark = "leaked"
	keys := map[string]Key{"a": secretKey(t, messageSecret)}
	for _, input := range []string{
		`leaked=("@method"`, `s=(leaked)`, `s=("leaked")`, `s=("@leaked")`, `s=("x-a";leaked)`, `s=();leaked`, `s=();keyid=leaked`,
		`s=("@query-param";name="leaked");keyid="a"`, `s=();keyid="leaked"`, `s=();keyid="a";alg="leaked"`, `s=("leaked");keyid="a"`,
		fullInput, `s=` + fullInput,
	} {
		r := plainRequest()
		r.Target, r.Authority, r.Method = "/leaked?leaked=1", "leaked", "leaked"
		r.Header.Set("Content-Digest", "leaked")
		r.Header.Set("Signature-Input", input)
		r.Header.Set("Signature", "s=:"+base64.StdEncoding.EncodeToString([]byte(mark))+":")
		if _, err := judge(r, "", MessagePolicy{}, keys); err == nil || strings.Contains(err.Error(), mark) {
			t.Errorf("%s: %v", input, err)
		}
	}
}

func TestMessagePolicyTexts(t *testing.T) {
	for _, c := range []struct {
		policy MessagePolicy
		body   bool
		want   string
	}{
		{MessagePolicy{}, false, `sig1=("@method" "@authority" "@path" "@query");created`},
		{MessagePolicy{}, true, `sig1=("@method" "@authority" "@path" "@query" "content-digest");created`},
		{MessagePolicy{DigestOptional: true}, true, `sig1=("@method" "@authority" "@path" "@query");created`},
		{MessagePolicy{Components: []string{"@path", "x-a", "x-a"}, Tag: `a"b`}, false,
			`sig1=("@method" "@authority" "@path" "@query" "x-a");created;tag="a\"b"`},
	} {
		if err := c.policy.Validate(); err != nil {
			t.Error(err)
		}
		got := c.policy.AcceptSignature(c.body)
		if members, err := parseDictionary([]string{got}); got != c.want || err != nil || len(members) != 1 {
			t.Errorf("%s, want %s, %v", got, c.want, err)
		}
	}
	for _, p := range []MessagePolicy{
		{Components: []string{""}}, {Components: []string{"X-A"}}, {Components: []string{"@status"}}, {Components: []string{"@query-param"}},
		{Components: []string{"a b"}}, {Tag: "\n"}, {Tag: "é"},
	} {
		if err := p.Validate(); err == nil {
			t.Errorf("%+v is valid", p)
		}
	}
}
