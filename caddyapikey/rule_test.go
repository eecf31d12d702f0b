package caddyapikey

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestParseScopeTemplate(t *testing.T) {
	for scope, want := range map[string]string{
		"contacts:read":                   "",
		"brands/{http.vars.b}:use":        "",
		"{http.vars.a}/{http.vars.b}:use": "",
		"x{http.vars.a}y:use":             "",
		"":                                "empty",
		"a:*":                             "wildcards",
		"a/{":                             "placeholder",
		"a/{}":                            "placeholder",
		"a/{{x}}":                         "placeholder",
		"a/}x":                            "cannot stand",
		"a b":                             "cannot stand",
	} {
		_, err := parseScopeTemplate(scope)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", scope, err, want)
		}
	}
}

func TestScopeTemplateExpands(t *testing.T) {
	repl := caddy.NewReplacer()
	repl.Set("http.vars.plain", "17")
	repl.Set("http.vars.hostile", "17:own/*")
	repl.Set("http.vars.empty", "")
	repl.Set("http.vars.long", strings.Repeat("x", 1000))
	repl.Set("http.vars.nested", "{http.vars.plain}")
	request := httptest.NewRequest("GET", "/", nil)
	request = request.WithContext(context.WithValue(request.Context(), caddy.ReplacerCtxKey, repl))
	for scope, want := range map[string]string{
		"brands/{http.vars.plain}:use":   "brands/17:use",
		"brands/{http.vars.hostile}:use": "brands/17%3Aown%2F%2A:use",
		"brands/{http.vars.nested}:use":  "brands/%7Bhttp.vars.plain%7D:use",
		"brands/{http.vars.empty}:use":   "",
		"brands/{http.vars.missing}:use": "",
		"brands/{http.vars.long}:use":    "",
		"brands:use":                     "brands:use",
	} {
		template, err := parseScopeTemplate(scope)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := template.expand(request); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %v; want %q", scope, got, ok, want)
		}
	}
}

// What the path matcher matches without regard to case, matchExact tells apart;
// in exact case both agree.
func TestMatchExact(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"/public/*", "/public/x", true},
		{"/public/*", "/Public/x", false},
		{"/Public/*", "/Public/x", true},
		{"/Public/*", "/public/x", false},
		{"/public", "/public", true},
		{"/public", "/PUBLIC", false},
		{"*.JSON", "/a.JSON", true},
		{"*.JSON", "/a.json", false},
		{"*/Admin/*", "/x/Admin/y", true},
		{"*/Admin/*", "/x/admin/y", false},
		{"/v1/*/Keys", "/v1/a/Keys", true},
		{"/v1/*/Keys", "/v1/a/b/Keys", false},
		{"/public/*", "//public/x", true},
		{"*", "/ANY", true},
		{"/a%2Fb", "/a/B", false},
	} {
		if got := matchExact(c.pattern, c.path); got != c.want {
			t.Errorf("%s and %s: %v", c.pattern, c.path, got)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path = c.path
		r = r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
		if got, _ := (caddyhttp.MatchPath{strings.ToLower(c.pattern)}).MatchWithError(r); c.want && !got {
			t.Errorf("%s and %s: matched exactly, but not by the path matcher", c.pattern, c.path)
		}
	}
}

func TestExactPathsOfSets(t *testing.T) {
	sets := caddyhttp.RawMatcherSets{
		{"path": json.RawMessage(`["/Public/*","/b"]`)},
		{"method": json.RawMessage(`["GET"]`)},
		{"path": json.RawMessage(`["/a%2Fb"]`)},
	}
	exact := newExactPaths(sets)
	for path, want := range map[string][2]bool{
		"/Public/x": {true, true}, "/public/x": {false, true}, "/b": {true, true}, "/B": {false, true},
	} {
		r := httptest.NewRequest("GET", path, nil)
		if !exact[2].match(httptest.NewRequest("GET", "/a%2fb", nil)) {
			t.Error("the case of an escape's digits is no case of the path")
		}
		if got := [2]bool{exact[0].match(r), exact[1].match(r)}; got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

func TestRuleSet(t *testing.T) {
	var s ruleSet
	for _, i := range []int{0, 63, 64, maxRules - 1} {
		if s.has(i) {
			t.Errorf("%d is in the empty set", i)
		}
		if s.add(i); !s.has(i) {
			t.Errorf("%d is not in the set", i)
		}
	}
	if s.has(1) || s.has(65) {
		t.Error("neighbours are in the set")
	}
}
