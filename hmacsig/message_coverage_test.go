package hmacsig

import (
	"errors"
	"strings"
	"testing"
)

const fullInput = `("@method" "@authority" "@path" "@query" "content-digest");created=1800000000;keyid="a";nonce="n"`

// Signatures that are good, over too little.
func TestMessageCoverage(t *testing.T) {
	full := strings.NewReplacer
	for _, c := range []struct {
		missing string // "" is a signature that covers enough
		input   *strings.Replacer
		policy  MessagePolicy
		body    string
	}{
		{"", full(), MessagePolicy{}, "text"},
		{"", full(`"@path" "@query"`, `"@target-uri"`), MessagePolicy{}, "text"},
		{"", full(` "content-digest"`, ``), MessagePolicy{}, ""},
		{"", full(` "content-digest"`, ``), MessagePolicy{DigestOptional: true}, "text"},
		{"", full(`;nonce="n"`, ``), MessagePolicy{NonceOptional: true}, "text"},
		{"", full(`"@path"`, `"@path" "x-a"`), MessagePolicy{Components: []string{"x-a", "@method"}}, "text"},
		{"", full(`;nonce`, `;tag="t";nonce`), MessagePolicy{Tag: "t"}, "text"},

		{"@method, @authority, @path, @query, content-digest", full(`"@method" "@authority" "@path" "@query" "content-digest"`, ""), MessagePolicy{}, "text"},
		{"@method", full(`"@method" `, ""), MessagePolicy{}, "text"},
		{"@authority", full(`"@authority" `, ""), MessagePolicy{}, "text"},
		{"@authority", full(`"@authority" "@path" "@query"`, `"@target-uri"`), MessagePolicy{}, "text"},
		{"@path", full(`"@path" `, ""), MessagePolicy{}, "text"},
		{"@query", full(`"@query" `, ""), MessagePolicy{}, "text"},
		{"@query", full(`"@query" `, `"@query-param";name="q" `), MessagePolicy{}, "text"},
		{"content-digest", full(` "content-digest"`, ""), MessagePolicy{}, "text"},
		{"content-digest", full(`"content-digest"`, `"content-digest";key="sha-256"`), MessagePolicy{}, "text"},
		{"content-digest", full(`"content-digest"`, `"content-digest";sf`), MessagePolicy{}, "text"},
		{"content-digest", full(` "content-digest"`, ""), MessagePolicy{Components: []string{"content-digest"}}, ""},
		{"created", full(`created=1800000000;`, ""), MessagePolicy{}, "text"},
		{"nonce", full(`;nonce="n"`, ""), MessagePolicy{}, "text"},
		{"x-a", full(), MessagePolicy{Components: []string{"x-a"}}, "text"},
		{"x-a", full(`"@path"`, `"@path" "x-a";bs`), MessagePolicy{Components: []string{"x-a"}}, "text"},
	} {
		input := c.input.Replace(fullInput)
		r, body := sendSigned(t, secretSigner(t, "a"), "POST", "http://example.com/p?q=1", c.body)
		r.Header.Set("X-A", "1")
		if c.body == "" && strings.Contains(input, "content-digest") {
			t.Fatal("the case signs no body's digest")
		}
		forge(t, r, messageSecret, input)
		_, err := judge(r, body, c.policy, map[string]Key{"a": secretKey(t, messageSecret)})
		if c.missing == "" {
			if err != nil {
				t.Errorf("%s: %v", input, err)
			}
		} else if want := c.missing + " missing"; !errors.Is(err, ErrCoverage) || !strings.HasSuffix(err.Error(), ": "+want) || strings.Join(Missing(err), ", ") != c.missing {
			t.Errorf("%s: error %v, want %s", input, err, want)
		}
	}
	// Without a key id, or with another tag, there is no signature to choose; who
	// chose it nevertheless is told.
	r, _ := sendSigned(t, secretSigner(t, "a"), "GET", "http://example.com/", "")
	forge(t, r, messageSecret, `("@method" "@authority" "@target-uri");created=1800000000;nonce="n"`)
	if _, err := parseOne(t, r.Header).Verify(secretKey(t, messageSecret), r, MessagePolicy{Tag: "t"}); err == nil || !strings.HasSuffix(err.Error(), ": keyid, tag missing") {
		t.Error(err)
	}
}

// A digest that is signed in any form is verified, even if none is needed; but
// not by one member of the field, beside which anybody could put another.
func TestMessageDigestForms(t *testing.T) {
	for form, verified := range map[string]bool{`"content-digest"`: true, `"content-digest";sf`: true, `"content-digest";bs`: true, `"content-digest";key="sha-256"`: false, ``: false} {
		r, _ := sendSigned(t, secretSigner(t, "a"), "POST", "http://example.com/", "text")
		forge(t, r, messageSecret, strings.Replace(fullInput, `"content-digest"`, form, 1))
		_, err := judge(r, "other", MessagePolicy{DigestOptional: true}, map[string]Key{"a": secretKey(t, messageSecret)})
		if errors.Is(err, ErrDigest) != verified || err != nil && !verified {
			t.Errorf("%s: %v", form, err)
		}
	}
}

// Parameters that an attacker, or a key holder with a broken clock, may send.
func TestMessageParams(t *testing.T) {
	const rest = `;keyid="a";nonce="n"`
	for _, c := range []struct {
		params string
		want   error
	}{
		{`;created=1800000000` + rest, nil},
		{`;created=001800000000` + rest, nil},
		{`;created=1800000000;alg="hmac-sha256"` + rest, nil},
		{rest, ErrCoverage},
		{`;created=1800003600` + rest, ErrStale},
		{`;created=1799990000` + rest, ErrStale},
		{`;created=0` + rest, ErrStale},
		{`;created=999999999999999` + rest, ErrStale},
		{`;created=1800000000;expires=1800000000` + rest, ErrSyntax},
		{`;created=1800000000;expires=1799999999` + rest, ErrSyntax},
		{`;created=1799999990;expires=1799999999` + rest, ErrStale},
		{`;created=-1` + rest, ErrSyntax},
		{`;created=-62135596800` + rest, ErrSyntax}, // Go's zero time
		{`;created=1800000000;expires=-62135596800` + rest, ErrSyntax},
		{`;created=9223372036854775808` + rest, ErrSyntax},
		{`;created="1800000000"` + rest, ErrSyntax},
		{`;created` + rest, ErrSyntax},
		{`;created=?0` + rest, ErrSyntax},
		{`;created=1800000000.5` + rest, ErrSyntax},
		{`;created=1800000000;expires=x` + rest, ErrSyntax},
		{`;created=1800000000;created=1800000000` + rest, ErrSyntax},
		{`;created=1800000000;keyid="a"`, ErrCoverage},
		{`;created=1800000000;keyid="a";nonce=""`, ErrSyntax},
		{`;created=1800000000;keyid="a";nonce=7`, ErrSyntax},
		{`;created=1800000000;keyid="a";nonce="` + strings.Repeat("n", 1<<20) + `"`, ErrSyntax},
		{`;created=1800000000;keyid=a;nonce="n"`, ErrSyntax},
		{`;created=1800000000;keyid="";nonce="n"`, ErrSyntax},
		{`;created=1800000000;alg=""` + rest, ErrSyntax},
		{`;created=1800000000;alg="ed25519"` + rest, ErrSignature},
		{`;created=1800000000;alg="hmac-sha1"` + rest, ErrSignature},
		{`;created=1800000000;alg="HMAC-SHA256"` + rest, ErrSignature},
		{`;created=1800000000;alg=hmac-sha256` + rest, ErrSyntax},
		{`;created=1800000000;unknown=1` + rest, ErrSyntax},
	} {
		r, _ := sendSigned(t, secretSigner(t, "a"), "GET", "http://example.com/", "")
		input := `("@method" "@authority" "@path" "@query")` + c.params
		if errors.Is(c.want, ErrSyntax) {
			r.Header.Set("Signature-Input", "sig1="+input)
		} else {
			forge(t, r, messageSecret, input)
		}
		if _, err := judge(r, "", MessagePolicy{}, map[string]Key{"a": secretKey(t, messageSecret)}); !errors.Is(err, c.want) || err != nil && c.want == nil {
			t.Errorf("%.60s: error %v, want %v", c.params, err, c.want)
		}
	}
}
