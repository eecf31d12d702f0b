package caddyapikey

import (
	"bufio"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

// readRequest parses a request as net/http's server does.
func readRequest(t testing.TB, raw string) *http.Request {
	t.Helper()
	raw = strings.ReplaceAll(raw, "\n", "\r\n")
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw + "\r\nHost: api.example.com\r\n\r\n")))
	if err != nil {
		t.Fatalf("net/http refuses %q by itself: %v", raw, err)
	}
	return r
}

// requestFor makes a request as HTTP/2 would deliver it: the target may hold bytes that no HTTP/1
// request line can.
func requestFor(method, target string) (*http.Request, error) {
	raw := target
	if method == http.MethodConnect && !strings.HasPrefix(target, "/") {
		raw = "http://" + target
	}
	u, err := url.ParseRequestURI(raw)
	if err != nil {
		return nil, err
	}
	return &http.Request{Method: method, URL: u, RequestURI: target, Header: http.Header{}}, nil
}

func mustStrict(t testing.TB, relax ...string) *Strict {
	t.Helper()
	s, err := newStrict(relax)
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

func nameOf(v *violation) string {
	if v == nil {
		return ""
	}
	return v.name
}

func TestStrictTargets(t *testing.T) {
	for _, tc := range []struct{ name, target, want string }{
		// What clients send.
		{"root", "/", ""},
		{"plain", "/v1/contacts/42", ""},
		{"trailing slash", "/v1/contacts/", ""},
		{"dots in names", "/.well-known/a..b/...file/v1.2/..x/x..", ""},
		{"three dots", "/a/.../b", ""},
		{"encoded space", "/a%20b/c", ""},
		{"encoded percent", "/100%25/x", ""},
		{"encoded percent before one digit", "/100%252", ""},
		{"encoded hash is data", "/public/a%23/x", ""},
		{"encoded question mark is data", "/public/a%3F/x", ""},
		{"UTF-8", "/caf%C3%A9/%f0%9f%8d%95", ""},
		{"raw UTF-8", "/café", ""},
		{"sub-delimiters", "/a:b@c!$&'()*+,=~-_", ""},
		{"absolute form", "http://api.example.com/v1/contacts?a=b", ""},
		{"absolute form, upper-case scheme", "HTTPS://api.example.com/v1", ""},
		{"absolute form with @ in its path", "http://api.example.com/users/@me", ""},
		{"query is data", "/v1?next=/a/../b//c\\e%2f%00%252e", ""},
		{"query with a URL", "/v1?u=http://u@example.com/%2e%2e/", ""},

		// Dot segments that the upstream or a proxy resolves after the decision.
		{"parent", "/public/../admin/x", "dot_segments"},
		{"encoded parent", "/public/%2e%2e/admin/x", "dot_segments"},
		{"upper-case encoded parent", "/public/%2E%2E/admin/x", "dot_segments"},
		{"half encoded parent", "/public/.%2e/admin/x", "dot_segments"},
		{"other half encoded parent", "/public/%2e./admin/x", "dot_segments"},
		{"parent with encoded slash", "/public/..%2fadmin/x", "dot_segments"},
		{"current", "/public/./x", "dot_segments"},
		{"final parent", "/public/..", "dot_segments"},
		{"final current", "/public/.", "dot_segments"},
		{"parent with parameters", "/public/..;/admin/x", "dot_segments"},
		{"parent with encoded parameters", "/public/..%3bx/admin/x", "dot_segments"},
		{"parent behind parameters", "/public/;x/../admin", "dot_segments"},
		{"in absolute form", "http://api.example.com/public/../admin", "dot_segments"},

		// Empty segments.
		{"leading", "//admin/x", "empty_segments"},
		{"inner", "/public//admin/x", "empty_segments"},
		{"trailing", "/public//", "empty_segments"},
		{"in absolute form, empty", "http://api.example.com//admin/x", "empty_segments"},
		{"and a parent", "/public//../admin/x", "dot_segments"},

		// Separators that only some parsers know.
		{"encoded slash", "/public%2fadmin", "encoded_slash"},
		{"upper-case encoded slash", "/public%2Fadmin", "encoded_slash"},
		{"encoded backslash", "/public/%5c..%5cadmin/x", "backslash"},
		{"raw backslash", `/public\..\admin\x`, "backslash"},
		{"lone backslash", `/public/a\b`, "backslash"},
		{"parameters", "/admin;a=b/x", "path_parameters"},
		{"encoded parameters", "/admin%3Ba=b/x", "path_parameters"},

		// Bytes.
		{"NUL", "/public/%00x", "control_bytes"},
		{"NUL and parent", "/public/%00/../admin/x", "control_bytes"},
		{"newline", "/public/%0a", "control_bytes"},
		{"header injection", "/public/%0d%0aX:1", "control_bytes"},
		{"DEL", "/public/%7f", "control_bytes"},
		{"raw space", "/public/a b", "control_bytes"},
		{"raw space in the query", "/public?a b", "control_bytes"},
		{"fragment", "/public/a#/../admin/x", "fragment"},
		{"fragment in the query", "/public?a#/admin", "fragment"},
		{"lone fragment", "/public/#", "fragment"},

		// Decodings.
		{"double encoded dots", "/public/%252e%252e/admin/x", "double_encoding"},
		{"double encoded dots and slash", "/public/%252e%252e%252fadmin", "double_encoding"},
		{"the digits encoded too", "/public/%25%32%65/x", "double_encoding"},
		{"triple", "/public/%25252e/x", "double_encoding"},
		{"overlong dot", "/public/%c0%ae%c0%ae/admin", "invalid_utf8"},
		{"overlong slash", "/public%c0%afadmin", "invalid_utf8"},
		{"overlong slash in three bytes", "/public%e0%80%afadmin", "invalid_utf8"},
		{"Latin-1", "/caf%e9", "invalid_utf8"},
		{"truncated", "/caf%c3", "invalid_utf8"},
		{"surrogate", "/%ed%a0%80", "invalid_utf8"},
		{"lone continuation", "/%80/x", "invalid_utf8"},

		// Targets without a path for the matchers to see.
		{"opaque", "x:admin/x", "absolute_form"},
		{"opaque http", "http:admin/x", "absolute_form"},
		{"no host", "http:/admin/x", "absolute_form"},
		{"other scheme", "ftp://api.example.com/x", "absolute_form"},
		{"user information", "http://user:pw@api.example.com/x", "absolute_form"},
		{"absolute form without path", "http://api.example.com?a=b", "absolute_form"},
		{"asterisk", "*", "absolute_form"},

		// Queries of which net/url drops parts.
		{"semicolon", "/v1?a=b;c=d", "malformed_query"},
		{"semicolon at the end", "/v1?a=b;", "malformed_query"},
		{"bad escape in the query", "/v1?a=%zz", "malformed_query"},
		{"cut escape in the query", "/v1?a=%4", "malformed_query"},
		{"as many parameters as net/url reads", "/v1?a" + strings.Repeat("&", maxParams-1), ""},
		{"too many parameters", "/v1?a" + strings.Repeat("&", maxParams), "malformed_query"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := requestFor("GET", tc.target)
			if err != nil {
				t.Fatalf("net/url refuses it by itself: %v", err)
			}
			v := mustStrict(t).check(r, tc.target)
			if nameOf(v) != tc.want {
				t.Errorf("check(%q) = %q, want %q", tc.target, nameOf(v), tc.want)
			}
			if v != nil && (v.status != http.StatusBadRequest || v.detail == "") {
				t.Errorf("check(%q) = %+v, want status 400 and a detail", tc.target, *v)
			}
		})
	}
}

// Targets that net/url already refuses must not pass if something else has parsed them.
func TestStrictUnparsable(t *testing.T) {
	for target, want := range map[string]string{
		"":             "absolute_form",
		"admin/x":      "absolute_form",
		"?a=b":         "absolute_form",
		"/a%zz":        "bad_encoding",
		"/a%":          "bad_encoding",
		"/a%2":         "bad_encoding",
		"/a%u002e":     "bad_encoding",
		"/a\x00b":      "control_bytes",
		"/a?b\nX: 1":   "control_bytes",
		"/a\x7f":       "control_bytes",
		"/\xc0\xae/x":  "invalid_utf8",
		"../admin":     "absolute_form",
		"/a/%%32%65/b": "bad_encoding",
	} {
		r := &http.Request{Method: "GET", URL: &url.URL{Path: "/a"}}
		if v := mustStrict(t).check(r, target); nameOf(v) != want {
			t.Errorf("check(%q) = %q, want %q", target, nameOf(v), want)
		}
	}
}

// A rewrite before the check must neither hide nor produce what the check refuses.
func TestStrictRewritten(t *testing.T) {
	for _, tc := range []struct {
		name, original string
		current        url.URL
		want           string
	}{
		{"harmless", "/api/v1/x", url.URL{Path: "/v1/x"}, ""},
		{"decoded path", "/api/a%20b", url.URL{Path: "/a b"}, ""},
		{"prefix stripped", "/api//admin/x", url.URL{Path: "/admin/x"}, "empty_segments"},
		{"parent cleaned away", "/api/../admin", url.URL{Path: "/admin"}, "dot_segments"},
		{"produced empty segment", "/api/admin/x", url.URL{Path: "//admin/x"}, "empty_segments"},
		{"produced parent", "/api/x", url.URL{Path: "/x/../admin"}, "dot_segments"},
		{"produced leading parent", "/api/x", url.URL{Path: "../admin"}, "dot_segments"},
		{"produced encoded slash", "/api/x", url.URL{Path: "/a/b", RawPath: "/a%2fb"}, "encoded_slash"},
		{"produced literal percent", "/a%20b", url.URL{Path: "/a%20b"}, "double_encoding"},
		{"literal percent of a relaxed upstream", "/x", url.URL{Path: "/a%2e%2e/b"}, "double_encoding"},
		{"produced NUL", "/x", url.URL{Path: "/a\x00"}, "control_bytes"},
		{"produced semicolon", "/x", url.URL{Path: "/a;b"}, "path_parameters"},
		{"produced control byte in the query", "/x", url.URL{Path: "/x", RawQuery: "a=\n"}, "control_bytes"},
		{"produced invalid UTF-8", "/x", url.URL{Path: "/\xff"}, "invalid_utf8"},
		{"raw path left behind", "/x", url.URL{Path: "/x", RawPath: "/y/%2e%2e/x"}, "dot_segments"},
		{"opaque", "/x", url.URL{Path: "/x", Opaque: "admin/x"}, "absolute_form"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &http.Request{Method: "GET", URL: &tc.current}
			if v := mustStrict(t).check(r, tc.original); nameOf(v) != tc.want {
				t.Errorf("got %q, want %q", nameOf(v), tc.want)
			}
		})
	}
}

func TestStrictMethods(t *testing.T) {
	for _, tc := range []struct {
		method string
		relax  []string
		want   string
	}{
		{"GET", nil, ""}, {"HEAD", nil, ""}, {"POST", nil, ""}, {"PUT", nil, ""},
		{"PATCH", nil, ""}, {"DELETE", nil, ""}, {"OPTIONS", nil, ""},
		{"delete", nil, "method"}, {"Delete", nil, "method"}, {"PoSt", nil, "method"},
		{"FOO", nil, "method"}, {"PROPFIND", nil, "method"}, {"", nil, "method"},
		{"TRACE", nil, "trace"}, {"CONNECT", nil, "connect"}, {"trace", nil, "method"},
		{"PROPFIND", []string{"method"}, ""}, {"delete", []string{"method"}, ""},
		{"TRACE", []string{"method"}, "trace"}, {"Trace", []string{"method"}, "trace"},
		{"CONNECT", []string{"method"}, "connect"}, {"connect", []string{"method"}, "connect"},
		{"CONNECT", []string{"connect"}, ""}, {"TRACE", []string{"trace"}, ""},
		{"CONNECT", []string{"trace"}, "connect"},
	} {
		r := &http.Request{Method: tc.method, URL: &url.URL{Path: "/x"}}
		v := mustStrict(t, tc.relax...).check(r, "/x")
		if nameOf(v) != tc.want {
			t.Errorf("%q relaxing %q: got %q, want %q", tc.method, tc.relax, nameOf(v), tc.want)
		}
		if v != nil && v.status != http.StatusMethodNotAllowed {
			t.Errorf("%q: status %d", tc.method, v.status)
		}
	}
}

func TestStrictConnect(t *testing.T) {
	s := mustStrict(t, "connect")
	for target, want := range map[string]string{
		"api.example.com:443":   "",
		"/v1/socket":            "",
		"/v1/../admin":          "dot_segments",
		"u@api.example.com:443": "absolute_form",
	} {
		r, err := requestFor("CONNECT", target)
		if err != nil {
			t.Fatal(err)
		}
		if v := s.check(r, target); nameOf(v) != want {
			t.Errorf("CONNECT %s: got %q, want %q", target, nameOf(v), want)
		}
	}
}

func TestStrictMethodOverride(t *testing.T) {
	for query, want := range map[string]bool{
		"":                    false,
		"a=b":                 false,
		"method=DELETE":       false,
		"x=_method":           false,
		"_methods=1":          false,
		"_metho=1":            false,
		"_method=DELETE":      true,
		"_method":             true,
		"a=1&_METHOD=delete":  true,
		"%5fmethod=DELETE":    true,
		"_%6Dethod=DELETE":    true,
		"_method[]=DELETE":    true,
		"_method%5B%5D=D":     true,
		"a=1;_method=DELETE":  true,
		"+_method=DELETE":     true,
		".method=DELETE":      true,
		"_method%00x=DELETE":  true,
		"%zz&_method=DELETE&": true,
	} {
		r := &http.Request{Method: "GET", URL: &url.URL{Path: "/x", RawQuery: query}}
		if v := mustStrict(t, "malformed_query").check(r, "/x?"+query); (nameOf(v) == "method_override") != want {
			t.Errorf("?%s: got %q, want override %t", query, nameOf(v), want)
		}
		if v := mustStrict(t, "method_override", "malformed_query").check(r, "/x?"+query); v != nil {
			t.Errorf("?%s: %q although relaxed", query, v.name)
		}
	}
}

// What the strict check lets through, net/url parses without an error.
func FuzzMalformedQuery(f *testing.F) {
	for _, query := range []string{"", "a=b&c=%41", "a;b", "%", "%zz", "a=%4", "&&=&%%"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		if _, err := url.ParseQuery(query); err != nil && scanRaw(query)&checkMalformedQuery == 0 {
			t.Errorf("%q: %v", query, err)
		}
	})
}

func TestPlainHost(t *testing.T) {
	for host, want := range map[string]bool{
		"": true, "a": true, "api.example.com": true, "API.example.com:8080": true, "a_b": true, "xn--bcher-kva.example": true, "127.0.0.1:1": true, "[::1]": true, "[2001:db8::1]:443": true,
		".": false, "a.": false, "a.:80": false, ".a": false, "a..b": false, "a:": false, "a:x": false, "a:1:2": false, "a:123456": false, ":80": false, "u@a": false, "%61": false, "a,b": false, "a b": false, "bücher": false,
		"[": false, "[]": false, "[a]": false, "[::1": false, "[::1]x": false, "[::1]:": false, "[::1%25lo]": false, "[::1%lo]": false, "[127.0.0.1]": false, "::1": false, "a/b": false, "*": false,
	} {
		if plainHost(host) != want {
			t.Errorf("%q: %t, want %t", host, !want, want)
		}
	}
}

// A Connection header that names a header makes the proxy remove it, even one that it has set itself.
func TestStrictConnectionHeader(t *testing.T) {
	for _, tc := range []struct {
		lines []string
		ok    bool
	}{
		{nil, true},
		{[]string{"close"}, true},
		{[]string{"Keep-Alive"}, true},
		{[]string{"keep-alive, Upgrade"}, true},
		{[]string{"Upgrade, HTTP2-Settings", "TE"}, true},
		{[]string{" close ,, \tte"}, true},
		{[]string{"Transfer-Encoding, Trailer"}, true},
		{[]string{"close, X-Consumer-Id"}, false},
		{[]string{"close, x-consumer-id"}, false},
		{[]string{"close", "X-Consumer-Id"}, false},
		{[]string{"x-forwarded-for"}, false},
		{[]string{"Authorization"}, false},
		{[]string{"close;X-Consumer-Id"}, false},
		{[]string{"keep-alive\u00a0"}, false},
		{[]string{"\u212aeep-alive"}, false}, // Kelvin sign
	} {
		r := &http.Request{Method: "GET", URL: &url.URL{Path: "/x"}, Header: http.Header{"Connection": tc.lines}}
		if v := mustStrict(t).check(r, "/x"); (v == nil) != tc.ok {
			t.Errorf("Connection: %q: got %q", tc.lines, nameOf(v))
		}
	}
}

func TestStrictRelax(t *testing.T) {
	for _, tc := range []struct{ target, relax, want string }{
		{"/a%2fb", "encoded_slash", ""},
		{"/a%2f..%2fb", "encoded_slash", "dot_segments"},
		{"/a%2f%2fb", "encoded_slash", "empty_segments"},
		{`/a\b`, "backslash", ""},
		{`/a\..\b`, "backslash", "dot_segments"},
		{`/a%5c..%5cb`, "backslash", "dot_segments"},
		{"/a;x=1/b", "path_parameters", ""},
		{"/a/..;x=1/b", "path_parameters", "dot_segments"},
		{"/a/;x=1/b", "path_parameters", "empty_segments"},
		{"/a/../b", "dot_segments", ""},
		{"/a//b", "empty_segments", ""},
		{"/a%00", "control_bytes", ""},
		{"/a%252e", "double_encoding", ""},
		{"/a#b", "fragment", ""},
		{"/a%ff", "invalid_utf8", ""},
		{"x:a", "absolute_form", ""},
	} {
		r, err := requestFor("GET", tc.target)
		if err != nil {
			t.Fatal(err)
		}
		if v := mustStrict(t, tc.relax).check(r, tc.target); nameOf(v) != tc.want {
			t.Errorf("%s relaxing %s: got %q, want %q", tc.target, tc.relax, nameOf(v), tc.want)
		}
	}
}

func TestStrictNames(t *testing.T) {
	if len(violations) != len(checkNames()) || 1<<len(violations)-1 != checkAll {
		t.Fatalf("%d violations for checks %b", len(violations), checkAll)
	}
	s := mustStrict(t, checkNames()...)
	if s.active != 0 {
		t.Errorf("everything relaxed leaves %b", s.active)
	}
	for _, name := range []string{"dots", "", "Method"} {
		_, err := newStrict([]string{"method", name})
		if err == nil || !strings.Contains(err.Error(), "dot_segments, empty_segments") {
			t.Errorf("newStrict(%q) = %v, want an error that lists the names", name, err)
		}
	}
}

func checkNames() (names []string) {
	for _, v := range violations {
		names = append(names, v.name)
	}
	return names
}

func TestStrictScrub(t *testing.T) {
	raw := "GET /x HTTP/1.1\nX-Http-Method-Override: DELETE\nX-HTTP-Method: DELETE\nX-Method-Override: DELETE\n" +
		"X-Original-URL: /admin\nX-Original-URI: /admin\nX-Original-Method: DELETE\nX-Rewrite-URL: /admin\n" +
		"X-Forwarded-Uri: /admin\nX-Forwarded-Path: /admin\nX-Forwarded-Prefix: /admin\nX-Forwarded-Method: DELETE\n" +
		"X_HTTP_Method_Override: DELETE\nX.Original.URL: /admin\nX-Rewrite_URL: /admin\n" +
		"X-Forwarded-For: 192.0.2.1\nX-Forwarded-Host: a\nX-Forwarded-Proto: https\nX-Original-Urn: kept"
	r := readRequest(t, raw)
	before := len(r.Header)
	mustStrict(t, "override_headers").scrub(r.Header)
	if len(r.Header) != before {
		t.Errorf("relaxed: %v", r.Header)
	}
	mustStrict(t).scrub(r.Header)
	for name := range r.Header {
		switch name {
		case "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Original-Urn":
		default:
			t.Errorf("%s was left", name)
		}
	}
	if len(r.Header) != 4 {
		t.Errorf("left %v", r.Header)
	}
	mustStrict(t).scrub(nil)
}

// typicalRequest is what an API client sends.
func typicalRequest(t testing.TB) *http.Request {
	return readRequest(t, "GET /v1/contacts/42/deals?limit=50&page=2 HTTP/1.1\nUser-Agent: client/1.0\nAccept: application/json\n"+
		"Authorization: Bearer ck_0123456789abcdefghijABCDEFGHIJ0123456789abcdefghi\nAccept-Encoding: gzip\n"+
		"Content-Type: application/json\nX-Request-Id: 6f1c\nX-Forwarded-Proto: https")
}

func TestStrictAllocs(t *testing.T) {
	s := mustStrict(t)
	encoded := readRequest(t, "GET /v1/caf%c3%a9/a%20b%252 HTTP/1.1\nConnection: keep-alive")
	for _, r := range []*http.Request{typicalRequest(t), encoded} {
		if n := testing.AllocsPerRun(100, func() {
			if v := s.check(r, r.RequestURI); v != nil {
				t.Fatal(v.name)
			}
			s.scrub(r.Header)
		}); n != 0 {
			t.Errorf("%s: %v allocations", r.RequestURI, n)
		}
	}
	bad := readRequest(t, "GET /v1/../x HTTP/1.1\nConnection: keep-alive")
	if n := testing.AllocsPerRun(100, func() { s.check(bad, bad.RequestURI) }); n != 0 {
		t.Errorf("refusing: %v allocations", n)
	}
}

func BenchmarkStrict(b *testing.B) {
	s, r := mustStrict(b), typicalRequest(b)
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if s.check(r, r.RequestURI) != nil {
				b.Fatal()
			}
		}
	})
	b.Run("scrub", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.scrub(r.Header)
		}
	})
}

// FuzzStrictPath: whatever passes means the same to everyone. Decoding and cleaning change nothing,
// decoding twice changes nothing, and the path that goes upstream decodes to the path that was judged.
func FuzzStrictPath(f *testing.F) {
	for _, seed := range []string{
		"/", "/a/b", "/a/", "//a", "/a/../b", "/%2e%2e/x", "/a%2fb", `/a\b`, "/a;b", "/%252e", "/%25%32%65",
		"/%c0%ae", "/a#b", "/a b", "/caf%C3%A9", "*", "x:y", "http://h/a/./b", "http://u@h/", "/a?b#c", "/.../x", "/a%25zz", "/..;/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		r, err := requestFor("GET", target)
		if err != nil || mustStrict(t).check(r, target) != nil {
			return
		}
		raw, _, _ := strings.Cut(target, "?")
		if _, rest, ok := strings.Cut(raw, "://"); ok && raw[0] != '/' {
			raw = ""
			if i := strings.IndexByte(rest, '/'); i >= 0 {
				raw = rest[i:]
			}
		}
		decoded, err := url.PathUnescape(raw)
		if err != nil {
			t.Fatalf("%q: accepted a malformed path", target)
		}
		if decoded != r.URL.Path {
			t.Errorf("%q: %q was judged, the matchers see %q", target, decoded, r.URL.Path)
		}
		if decoded == "" || decoded == "*" {
			return
		}
		want := decoded
		if len(want) > 1 {
			want = strings.TrimSuffix(want, "/")
		}
		if got := path.Clean(decoded); got != want {
			t.Errorf("%q: cleaning %q gives %q", target, decoded, got)
		}
		if twice, err := url.PathUnescape(decoded); err == nil && twice != decoded {
			t.Errorf("%q: decoding twice gives %q, then %q", target, decoded, twice)
		}
		if strings.Count(decoded, "/") != strings.Count(raw, "/") || strings.ContainsAny(decoded, "\\;\x00\r\n\x7f") || !utf8.ValidString(decoded) {
			t.Errorf("%q: accepted %q", target, decoded)
		}
		if upstream, err := url.PathUnescape(r.URL.EscapedPath()); err != nil || upstream != decoded {
			t.Errorf("%q: the upstream reads %q (%v)", target, upstream, err)
		}
	})
}
