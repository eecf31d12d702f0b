package caddyapikey

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const (
	readKey  = "ck_0123456789abcdefghijABCDEFGHIJ0123456789abcdefghi"
	adminKey = "ck_ADMIN56789abcdefghijABCDEFGHIJ0123456789abcdefghi"
)

var (
	fromBearer = Source{Kind: SourceBearer}
	fromBasic  = Source{Kind: SourceBasic}
	fromHeader = Source{Kind: SourceHeader, Name: "X-Api-Key"}
	fromQuery  = Source{Kind: SourceQuery, Name: "api_key"}
	fromCookie = Source{Kind: SourceCookie, Name: "api_key"}
	everywhere = []Source{fromBearer, fromBasic, fromHeader, fromQuery, fromCookie}
)

func (r extractResult) String() string {
	return [...]string{"none", "one", "unusable", "several", "ambiguous"}[r]
}

func basic(userPassword string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(userPassword))
}

func TestExtractHeaders(t *testing.T) {
	type lines = http.Header
	auth := func(values ...string) lines { return lines{"Authorization": values} }
	key := func(values ...string) lines { return lines{"X-Api-Key": values} }
	cookies := func(values ...string) lines { return lines{"Cookie": values} }
	for _, tc := range []struct {
		name   string
		header lines
		want   extractResult
		token  string
	}{
		{"nothing", lines{}, extractNone, ""},

		{"bearer", auth("Bearer " + readKey), extractOne, readKey},
		{"bearer in lower case", auth("bearer " + readKey), extractOne, readKey},
		{"bearer in capitals", auth("BEARER " + readKey), extractOne, readKey},
		{"bearer with spaces", auth("Bearer   " + readKey), extractOne, readKey},
		{"longest bearer", auth("Bearer " + strings.Repeat("x", 512)), extractOne, strings.Repeat("x", 512)},
		{"too long a bearer", auth("Bearer " + strings.Repeat("x", 513)), extractUnusable, ""},
		{"bearer alone", auth("Bearer"), extractUnusable, ""},
		{"bearer and spaces", auth("Bearer   "), extractUnusable, ""},
		{"bearer and tabs", auth("Bearer\t\t" + readKey), extractUnusable, ""},
		{"bearer, space and tab", auth("Bearer \t" + readKey), extractUnusable, ""},
		{"bearer and no-break space", auth("Bearer\u00a0" + readKey), extractUnusable, ""},
		{"bearer and zero-width space", auth("Bearer\u200b " + readKey), extractUnusable, ""},
		{"full-width bearer", auth("\uff22\uff45\uff41\uff52\uff45\uff52 " + readKey), extractNone, ""},
		{"blank before bearer", auth(" Bearer " + readKey), extractUnusable, ""},
		{"blank behind the token", auth("Bearer " + readKey + " "), extractUnusable, ""},
		{"two bearers in a list", auth("Bearer " + readKey + ", Bearer " + adminKey), extractUnusable, ""},
		{"two tokens", auth("Bearer " + readKey + " " + adminKey), extractUnusable, ""},
		{"bearer with a control byte", auth("Bearer " + readKey + "\v"), extractUnusable, ""},
		{"bearer with a no-break space behind", auth("Bearer " + readKey + "\u00a0"), extractUnusable, ""},
		{"empty authorization", auth(""), extractNone, ""},
		{"longer scheme", auth("BearerX " + readKey), extractNone, ""},
		{"other scheme", auth(`Hawk id="x"`), extractNone, ""},
		{"two authorization lines", auth("Bearer "+readKey, "Bearer "+adminKey), extractSeveral, ""},
		{"two authorization lines of other schemes", auth("Digest x", "Hawk y"), extractSeveral, ""},
		{"bearer and basic lines", auth("Bearer "+readKey, basic("u:"+adminKey)), extractSeveral, ""},

		{"basic", auth(basic("user:" + readKey)), extractOne, readKey},
		{"basic in lower case", auth("b" + basic("user:" + readKey)[1:]), extractOne, readKey},
		{"basic without user", auth(basic(":" + readKey)), extractOne, readKey},
		{"basic with a colon in the password", auth(basic("user:a:b")), extractOne, "a:b"},
		{"basic without password", auth(basic(readKey + ":")), extractUnusable, ""},
		{"basic without colon", auth(basic(readKey)), extractUnusable, ""},
		{"basic without padding", auth(strings.TrimRight(basic("u:abcde"), "=")), extractUnusable, ""},
		{"basic with loose last bits", auth("Basic dTphYmNkZR=="), extractUnusable, ""},
		{"basic in the URL alphabet", auth("Basic dTo_Pz8_"), extractUnusable, ""},
		{"basic with two words", auth(basic("u:a") + " " + basic("u:b")), extractUnusable, ""},
		{"basic with a space in the password", auth(basic("u:a b")), extractUnusable, ""},
		{"basic alone", auth("Basic"), extractUnusable, ""},
		{"huge basic", auth(basic("u:" + strings.Repeat("x", 4096))), extractUnusable, ""},

		{"header", key(readKey), extractOne, readKey},
		{"empty header", key(""), extractUnusable, ""},
		{"header with inner space", key("ck_a b"), extractUnusable, ""},
		{"header with leading space", key(" " + readKey), extractUnusable, ""},
		{"header with vertical tab", key(readKey + "\v"), extractUnusable, ""},
		{"header with form feed", key(readKey + "\f"), extractUnusable, ""},
		{"header with high bytes", key(readKey + "\xff"), extractUnusable, ""},
		{"percent-encoded in a header is another token", key("ck%5f0"), extractOne, "ck%5f0"},
		{"header on two lines", key(readKey, adminKey), extractSeveral, ""},
		{"header on two lines, reversed", key(adminKey, readKey), extractSeveral, ""},
		{"header on two lines, one empty", key(readKey, ""), extractSeveral, ""},
		{"underscore alias", lines{"X_api_key": {readKey}}, extractNone, ""},
		{"dot alias", lines{"X.api.key": {readKey}}, extractNone, ""},

		{"cookie", cookies("a=1; api_key=" + readKey + "; b=2"), extractOne, readKey},
		{"cookie without space", cookies("a=1;api_key=" + readKey), extractOne, readKey},
		{"cookie with = in the value", cookies("api_key=a=="), extractOne, "a=="},
		{"cookie of another name", cookies("xapi_key=1; api_keyx=2; API_KEY=3"), extractNone, ""},
		{"empty cookie", cookies("api_key="), extractUnusable, ""},
		{"cookie without value", cookies("api_key"), extractUnusable, ""},
		{"quoted cookie", cookies(`api_key="` + readKey + `"`), extractUnusable, ""},
		{"cookie with inner space", cookies("api_key=a b"), extractUnusable, ""},
		{"cookie twice", cookies("api_key=" + readKey + "; api_key=" + adminKey), extractSeveral, ""},
		{"cookie on two lines", cookies("api_key="+readKey, "api_key="+adminKey), extractSeveral, ""},
		{"cookie and a blank beside the name", cookies("api_key =" + readKey), extractAmbiguous, ""},

		{"bearer and header", lines{"Authorization": {"Bearer " + readKey}, "X-Api-Key": {adminKey}}, extractSeveral, ""},
		{"bearer and empty header", lines{"Authorization": {"Bearer " + readKey}, "X-Api-Key": {""}}, extractSeveral, ""},
		{"junk bearer and header", lines{"Authorization": {"Bearer"}, "X-Api-Key": {readKey}}, extractSeveral, ""},
		{"header and cookie", lines{"X-Api-Key": {readKey}, "Cookie": {"api_key=junk"}}, extractSeveral, ""},
		{"header beside another scheme", lines{"Authorization": {"Digest x"}, "X-Api-Key": {readKey}}, extractOne, readKey},
		{"header beside another cookie", lines{"Cookie": {"session=1"}, "X-Api-Key": {readKey}}, extractOne, readKey},
	} {
		t.Run(tc.name, func(t *testing.T) {
			checkExtract(t, &http.Request{URL: new(url.URL), Header: tc.header}, everywhere, tc.want, tc.token)
		})
	}
}

func checkExtract(t *testing.T, r *http.Request, sources []Source, want extractResult, token string) {
	t.Helper()
	f, got := extract(r, sources)
	if got != want || f.token != token {
		t.Errorf("extract = %q, %v; want %q, %v", f.token, got, token, want)
	}
	if (f.source != nil) != (got == extractOne || got == extractUnusable) {
		t.Errorf("%v with source %v", got, f.source)
	}
}

func TestExtractQuery(t *testing.T) {
	for query, want := range map[string]extractResult{
		"":                                    extractNone,
		"a=b&c":                               extractNone,
		"x=api_key":                           extractNone,
		"api_keys=1&my_api_key=2&api_ke=3":    extractNone,
		"api_key=" + readKey:                  extractOne,
		"a=1&api_key=" + readKey + "&b=%zz;":  extractOne,
		"&&api_key=" + readKey + "&":          extractOne,
		"api_key=ck%5f" + readKey[3:]:         extractOne,
		"api_key":                             extractUnusable,
		"api_key=":                            extractUnusable,
		"api_key=a+b%20c":                     extractUnusable,
		"api_key=%00":                         extractUnusable,
		"api_key=caf%c3%a9":                   extractUnusable,
		"api_key=" + strings.Repeat("x", 513): extractUnusable,
		"api_key=R&api_key=A":                 extractSeveral,
		"api_key=R&api_key=":                  extractSeveral,
		"api_key&api_key=R":                   extractSeveral,
		"api%5fkey=R":                         extractAmbiguous,
		"%61pi_key=R":                         extractAmbiguous,
		"api_key[]=R":                         extractAmbiguous,
		"api_key[0]=R":                        extractAmbiguous,
		"api_key%5B%5D=R":                     extractAmbiguous,
		"API_KEY=R":                           extractAmbiguous,
		"api.key=R":                           extractAmbiguous,
		"api+key=R":                           extractAmbiguous,
		"+api_key=R":                          extractAmbiguous,
		"%20api_key=R":                        extractAmbiguous,
		"api_key%00=R":                        extractAmbiguous,
		"api_key=R;x=1":                       extractAmbiguous,
		"x=1;api_key=R":                       extractAmbiguous,
		"api_key=R&x=1;api_key=A":             extractAmbiguous,
		"api_key=R&Api_Key=A":                 extractAmbiguous,
		"api_key=R&api%5fkey=A":               extractAmbiguous,
		"api_key=R&api_key[]=A":               extractAmbiguous,
		"api_key=%zz":                         extractAmbiguous,
		"api_key=%zz&api_key=A":               extractSeveral,
		"api_key=R%":                          extractAmbiguous,
		"api_key=R&api_key%5":                 extractOne, // a name of its own to every parser
		"api_key=R;":                          extractAmbiguous,
		"api_key;=R":                          extractAmbiguous,
		"api_key=a%3Bb":                       extractOne,
		"q=1&api_key=R#":                      extractOne,
	} {
		_, got := extract(&http.Request{URL: &url.URL{RawQuery: query}}, []Source{fromBearer, fromQuery})
		if got != want {
			t.Errorf("?%s: got %v, want %v", query, got, want)
		}
	}

	// A plus sign is part of the token, percent-encoding is not.
	r := &http.Request{URL: &url.URL{RawQuery: "api_key=a+b%2Bc%2f%3D"}}
	checkExtract(t, r, []Source{fromQuery}, extractOne, "a+b+c/=")
}

// Every pair of places is refused, whichever of them holds junk.
func TestExtractTwoPlaces(t *testing.T) {
	put := []func(r *http.Request, token string){
		func(r *http.Request, token string) { r.Header.Add("Authorization", "Bearer "+token) },
		func(r *http.Request, token string) { r.Header.Add("Authorization", basic("u:"+token)) },
		func(r *http.Request, token string) { r.Header.Add("X-Api-Key", token) },
		func(r *http.Request, token string) { r.URL.RawQuery += "&api_key=" + token },
		func(r *http.Request, token string) { r.Header.Add("Cookie", "api_key="+token) },
	}
	for i := range put {
		for j := range put {
			for _, second := range []string{adminKey, readKey, "junk", ""} {
				r := &http.Request{URL: new(url.URL), Header: http.Header{}}
				put[i](r, readKey)
				put[j](r, second)
				if _, got := extract(r, everywhere); got != extractSeveral {
					t.Errorf("%s and %s with %q: %v", everywhere[i], everywhere[j], second, got)
				}
			}
		}
	}
}

func TestExtractOnlyConfigured(t *testing.T) {
	r := &http.Request{URL: &url.URL{RawQuery: "api_key=" + adminKey}, Header: http.Header{
		"Authorization": {basic("u:" + adminKey)}, "Cookie": {"api_key=" + adminKey}, "X-Api-Key": {readKey},
	}}
	checkExtract(t, r, []Source{fromBearer, fromHeader}, extractOne, readKey)
	checkExtract(t, r, []Source{fromBearer}, extractNone, "")

	raw := []Source{{Kind: SourceHeader, Name: "Authorization"}}
	checkExtract(t, &http.Request{URL: new(url.URL), Header: http.Header{"Authorization": {readKey}}}, raw, extractOne, readKey)
	checkExtract(t, &http.Request{URL: new(url.URL), Header: http.Header{"Authorization": {"Bearer " + readKey}}}, raw, extractUnusable, "")
}

// What net/http does to header names before us: it refuses a space before the colon, and keeps
// underscores and dots, which are not our header.
func TestExtractParsedAliases(t *testing.T) {
	r := readRequest(t, "GET / HTTP/1.1\nX_API_Key: "+adminKey+"\nX.API.Key: "+adminKey+"\nx-api-key:  "+readKey+" ")
	checkExtract(t, r, everywhere, extractOne, readKey)
}

func TestSourceNormalize(t *testing.T) {
	for _, tc := range []struct {
		source Source
		want   string // canonical name, or "error"
	}{
		{fromBearer, ""},
		{fromBasic, ""},
		{Source{Kind: SourceHeader, Name: "x-api-key"}, "X-Api-Key"},
		{Source{Kind: SourceHeader, Name: "X-API-Key"}, "X-Api-Key"},
		{fromQuery, "api_key"},
		{Source{Kind: SourceCookie, Name: "__Host-key"}, "__Host-key"},
		{Source{}, "error"},
		{Source{Kind: "body"}, "error"},
		{Source{Kind: SourceBearer, Name: "x"}, "error"},
		{Source{Kind: SourceHeader}, "error"},
		{Source{Kind: SourceHeader, Name: "X_API_Key"}, "error"},
		{Source{Kind: SourceHeader, Name: "X.Key"}, "error"},
		{Source{Kind: SourceHeader, Name: "X Key"}, "error"},
		{Source{Kind: SourceHeader, Name: "cookie"}, "error"},
		{Source{Kind: SourceHeader, Name: "referer"}, "error"},
		{Source{Kind: SourceQuery}, "error"},
		{Source{Kind: SourceQuery, Name: "api key"}, "error"},
		{Source{Kind: SourceQuery, Name: "api%5fkey"}, "error"},
		{Source{Kind: SourceQuery, Name: "key[]"}, "error"},
		{Source{Kind: SourceCookie, Name: "a;b"}, "error"},
	} {
		s := tc.source
		err := s.normalize()
		if (err != nil) != (tc.want == "error") || err == nil && s.Name != tc.want {
			t.Errorf("%+v: %q, %v; want %q", tc.source, s.Name, err, tc.want)
		}
	}
	for i, want := range []struct{ text, header string }{
		{"bearer", "Authorization"}, {"basic", "Authorization"}, {"header X-Api-Key", "X-Api-Key"}, {"query api_key", ""}, {"cookie api_key", "Cookie"},
	} {
		if s := everywhere[i]; s.String() != want.text || s.headerName() != want.header {
			t.Errorf("%q, %q; want %v", s.String(), s.headerName(), want)
		}
	}
}

func TestExtractAllocs(t *testing.T) {
	for name, r := range map[string]*http.Request{
		"bearer": {URL: &url.URL{RawQuery: "limit=50"}, Header: http.Header{"Authorization": {"Bearer " + readKey}}},
		"header": {URL: new(url.URL), Header: http.Header{"X-Api-Key": {readKey}}},
		"query":  {URL: &url.URL{RawQuery: "a=b&api_key=" + readKey}},
		"cookie": {URL: new(url.URL), Header: http.Header{"Cookie": {"a=b; api_key=" + readKey}}},
		"none":   {URL: new(url.URL), Header: http.Header{}},
	} {
		if n := testing.AllocsPerRun(100, func() {
			if f, _ := extract(r, everywhere); f.token != "" && f.token != readKey {
				t.Fatal(f.token)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkExtract(b *testing.B) {
	r := typicalRequest(b)
	sources := []Source{fromBearer, fromHeader}
	b.ReportAllocs()
	for b.Loop() {
		if _, result := extract(r, sources); result != extractOne {
			b.Fatal(result)
		}
	}
}

// FuzzExtract: there is never more than one credential in a request that is accepted, it has the
// characters of a token, and stripping it leaves a request without any.
func FuzzExtract(f *testing.F) {
	f.Add("Bearer "+readKey, "", "", "")
	f.Add("bearer  a", "k", "api_key=x", "api_key=y")
	f.Add(basic("u:p"), "", "a=1&api_key=R&b", "")
	f.Add("Basic", "", "api%5fkey=R;api_key[]", "a; api_key=\"q\"")
	f.Add("", "", "", "a=1; api_key=z;; b=2 ")
	f.Add("", "x", "api_key", "")
	f.Add("", "", "0api_key=&api_key=x&a=api_key=", "")
	f.Fuzz(func(t *testing.T, auth, key, query, cookies string) {
		r := &http.Request{URL: &url.URL{Path: "/", RawQuery: query}, Header: http.Header{}, RequestURI: "/?" + query}
		for name, value := range map[string]string{"Authorization": auth, "X-Api-Key": key, "Cookie": cookies} {
			if value != "" {
				r.Header[name] = []string{value}
			}
		}
		found, result := extract(r, everywhere)
		if result != extractOne {
			if found.token != "" {
				t.Fatalf("%v with the token %q", result, found.token)
			}
			return
		}
		if !isToken(found.token) {
			t.Fatalf("%q is no token", found.token)
		}
		if n := places(auth, key, query, cookies); n != 1 {
			t.Fatalf("accepted a request with %d credentials", n)
		}
		strip(r, found, everywhere)
		if _, after := extract(r, everywhere); after != extractNone {
			t.Fatalf("%v after stripping", after)
		}
		if _, left, _ := strings.Cut(r.RequestURI, "?"); places("", "", left, "") != 0 {
			t.Fatalf("the request URI is still %q", r.RequestURI)
		}
	})
}

// places counts the credentials in the plainest way.
func places(auth, key, query, cookies string) (n int) {
	scheme, _, _ := strings.Cut(auth, " ")
	if equalFoldASCII(scheme, "bearer") || equalFoldASCII(scheme, "basic") {
		n++
	}
	if key != "" {
		n++
	}
	for pair := range strings.SplitSeq(query, "&") {
		if name, _, _ := strings.Cut(pair, "="); name == "api_key" {
			n++
		}
	}
	for pair := range strings.SplitSeq(cookies, ";") {
		if name, _, _ := strings.Cut(strings.TrimSpace(pair), "="); name == "api_key" {
			n++
		}
	}
	return n
}
