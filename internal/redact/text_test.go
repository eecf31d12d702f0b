package redact

import (
	"strings"
	"testing"

	"go.uber.org/zap/buffer"
)

const (
	token   = "ck_0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX2yZ3aB4cD5eF6"        // the checksum is wrong
	right   = "acme_live_00000000000000000000000000000000000000000002psIG6" // and here it is right
	shown   = "acme_live_0000" + Mark
	imprint = `Odd'\%41+z;,<>~K`
)

var rules = New(Names{
	Headers:  []string{"X-Api-Key", "X-Key"},
	Query:    []string{"api_key", "k"},
	Cookies:  []string{"sid"},
	Prefixes: []string{"prod_eu"},
})

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    "",
		"nothing_to see=here 100% a:b":        "nothing_to see=here 100% a:b",
		"a " + token + ".":                    "a [redacted].",
		"x" + token:                           "x[redacted]",
		token + "more":                        "[redacted]",
		token[:27]:                            "[redacted]",
		token[:26]:                            token[:26], // not enough of it to matter
		strings.ToUpper(token):                "[redacted]",
		"prod_eu_" + token[3:30]:              "[redacted]",
		"other_" + token[3:]:                  "other_" + token[3:], // neither prefix nor checksum
		"asset_" + strings.Repeat("0f", 32):   "asset_" + strings.Repeat("0f", 32),
		"say " + right + "!":                  "say " + shown + "!",
		"x" + right:                           "x" + shown,
		right + "x":                           shown,
		"ck%5f" + token[3:]:                   "[redacted]",
		"ck%255F" + token[3:]:                 "[redacted]",
		"/%63%6B_" + token[3:] + "/x":         "/[redacted]/x",
		"/a%20" + token:                       "/a%20[redacted]",
		"/%41%5fb/100%/%zz%5":                 "/%41%5fb/100%/%zz%5",
		"?a=1&api_key=x&b=2":                  "?a=1&api_key=[redacted]&b=2",
		"?api_key=" + imprint + "&b=2":        "?api_key=[redacted]&b=2",
		"?API-KEY=x":                          "?API-KEY=[redacted]",
		"?api%5fkey=x":                        "?api%5fkey=[redacted]",
		"?%61pi_ke%79=x":                      "?%61pi_ke%79=[redacted]",
		"?api_k%65y=x":                        "?api_k%65y=[redacted]",
		"?api_ke%2579=x":                      "?api_ke%2579=[redacted]",
		"?api_k%2565y=x":                      "?api_k%2565y=[redacted]",
		"%6B=x":                               "%6B=[redacted]",
		"k=x":                                 "k=[redacted]",
		"?API_KEy=x&apikEY=y&SID=z":           "?API_KEy=[redacted]&apikEY=y&SID=[redacted]",
		"?x-api-key=x":                        "?x-api-key=[redacted]",
		"?api_key=":                           "?api_key=",
		"?my_api_key=x&apikey=y&ak=z":         "?my_api_key=x&apikey=y&ak=z",
		"?next=%2Fx%3Fapi_key%3Dsecret&b=2":   "?next=%2Fx%3Fapi_key%3D[redacted]&b=2",
		"?n=%252Fx%253Fk%253Dsecret":          "?n=%252Fx%253Fk%253D[redacted]",
		"?n=%C3%A9k=secret":                   "?n=%C3%A9k=[redacted]",
		"?api_key=" + right:                   "?api_key=" + shown,
		"?bewit=bWFj":                         "?bewit=[redacted]",
		"a=b; sid=s&cret; c=d":                "a=b; sid=[redacted] c=d",
		`parse "http://x/?k=s": no`:           `parse "http://x/?k=[redacted] no`,
		"X-Api-Key: secret\nHost: x":          "X-Api-Key:[redacted]\nHost: x",
		"map[Authorization:[Basic dTpw]] end": "map[Authorization:[redacted]",
		"say X-Key:":                          "say X-Key:",
		"k=" + strings.Repeat("x", 9000):      "k=[redacted]",
	} {
		if got := rules.Text(in); got != want {
			t.Errorf("%.80q\n got %.80q\nwant %.80q", in, got, want)
		}
	}
}

// In a line backslashes escape: values go on behind an escaped quotation mark,
// end at the closing one, and no escape is cut in two.
func TestLine(t *testing.T) {
	pool := buffer.NewPool()
	for in, want := range map[string]string{
		`{"a":"b"}`:                          `{"a":"b"}`,
		`{"uri":"/?api_key=se\"cr\\et&b=1"}`: `{"uri":"/?api_key=[redacted]&b=1"}`,
		`{"uri":"/?api_key=secret"}`:         `{"uri":"/?api_key=[redacted]"}`,
		`{"uri":"/?api_key=sec\\"}`:          `{"uri":"/?api_key=[redacted]"}`,
		`{"msg":"a\napi_key=secret\nb"}`:     `{"msg":"a\napi_key=[redacted]\nb"}`,
		`{"msg":"\u0026k=secret"}`:           `{"msg":"\u0026k=[redacted]"}`,
		`{"msg":"\\nk=v"}`:                   `{"msg":"\\nk=v"}`, // a backslash and the name nk
		`{"msg":"k=s\u0001ret"}`:             `{"msg":"k=[redacted]"}`,
		`{"` + token + `":1}`:                `{"[redacted]":1}`,
		`{"msg":"\n` + token + `\n"}`:        `{"msg":"\n[redacted]\n"}`,
		`{"msg":"\n%63k_` + token[3:] + `"}`: `{"msg":"\n[redacted]"}`,
		`{"msg":"\u000` + token + `"}`:       `{"msg":"\u000c[redacted]"}`,
		`{"msg":"\u000ack` + token[2:27]:     `{"msg":"\u000a[redacted]`,
		"k=":                                 "k=",
		`k=\`:                                `k=[redacted]`,
		`k=\u0`:                              `k=[redacted]`,
		"=":                                  "=",
		"_":                                  "_",
	} {
		line := pool.Get()
		line.AppendString(in)
		if got := rules.Line(line).String(); got != want {
			t.Errorf("%q\n got %q\nwant %q", in, got, want)
		}
	}
}

func TestValue(t *testing.T) {
	for in, want := range map[[2]string]string{
		{"X-Key", "secret"}:                    "[redacted]",
		{"X-Key", right}:                       shown,
		{"X-Key", token}:                       "[redacted]",
		{"X-Key", ""}:                          "",
		{"Authorization", "REDACTED"}:          "REDACTED",
		{"Authorization", "Bearer " + right}:   "Bearer " + shown,
		{"Authorization", "basic dTpw"}:        "basic [redacted]",
		{"authorization", "Hawk mac=\"x\""}:    "Hawk [redacted]",
		{"Authorization", "secret word"}:       "[redacted]",
		{"Proxy-Authorization", "Digest a, b"}: "Digest [redacted]",
		{"Signature", "sig1=:aGVsbG8=:"}:       "[redacted]",
	} {
		if got := rules.Value(in[0], in[1]); got != want {
			t.Errorf("%s: %q: got %q, want %q", in[0], in[1], got, want)
		}
	}
}

func TestHeader(t *testing.T) {
	for _, name := range []string{"X-Api-Key", "x_api_key", "X-API_KEY", "Authorization", "SIGNATURE", "X-Key", "HTTP_X_API_KEY", "HTTP_AUTHORIZATION", "http_signature"} {
		if !rules.Header(name) {
			t.Errorf("%s is not taken for a header with keys", name)
		}
	}
	for _, name := range []string{"", "X-Api-Keys", "api_key", "Signature-Input", "X-Kez", strings.Repeat("a", 100)} {
		if rules.Header(name) {
			t.Errorf("%s is taken for a header with keys", name)
		}
	}
}
