package caddyapikey_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// A handler that would find no key behind another one is refused when it is
// loaded, with the rules of both, and only such a handler.
func TestHandlersThatFindNoKeyAreRefused(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	const (
		a      = "api_key {\nrequire * outer {\nname first\n}\n}\n"
		b      = "api_key {\nrequire * inner {\nname second\n}\n}\n"
		keeps  = "api_key {\nkeep_credential\nrequire * outer\n}\n"
		closed = "handle {\nrespond 404\n}\n"
	)
	for name, c := range map[string]struct {
		around string // the site's block is %s
		site   string
		refuse bool
	}{
		"alone":              {site: a},
		"two":                {site: a + b, refuse: true},
		"two in a route":     {site: "route {\n" + a + "respond /x ok\n" + b + "}", refuse: true},
		"site and handle":    {site: a + "handle /x/* {\n" + b + "}\n" + closed, refuse: true},
		"site and deeper":    {site: a + "handle {\nroute {\nhandle_path /x/* {\n" + b + "}\n}\n}", refuse: true},
		"a snippet, twice":   {around: "(guard) {\n" + a + "}\n:8080 {\n%s\n}", site: "import guard\nimport guard", refuse: true},
		"behind a public":    {site: "api_key {\npublic /x\nrequire * a\n}\nhandle /x {\n" + b + "}", refuse: true},
		"three":              {site: "route {\n" + keeps + a + b + "}", refuse: true},
		"observed behind it": {site: a + "handle {\napi_key {\nmode observe\nrequire *\n}\n}", refuse: true},
		"host":               {around: "http://a.example {\n%s\n}", site: a + "handle {\n" + b + "}", refuse: true},
		"in an error route":  {site: "respond ok\nhandle_errors {\n" + a + b + "}", refuse: true},

		"kept":                     {site: keeps + b},
		"kept, deeper":             {site: keeps + "handle /x/* {\n" + b + "}\n" + closed},
		"one in each handle":       {site: "handle /a/* {\n" + a + "}\nhandle /b/* {\n" + b + "}\n" + closed},
		"a snippet in each handle": {around: "(guard) {\n" + a + "}\n:8080 {\n%s\n}", site: "handle /a/* {\nimport guard\n}\nhandle {\nimport guard\n}"},
		"route by path":            {site: "route {\nroute /a/* {\n" + a + "respond a\n}\nroute /b/* {\n" + b + "respond b\n}\n}"},
		"observed first":           {site: "route {\napi_key {\nmode observe\nrequire *\n}\n" + b + "}"},
		"public behind it":         {site: a + "handle /x {\napi_key {\npublic *\n}\n}"},
		"optional behind it":       {site: a + "handle /x {\napi_key {\noptional *\n}\n}"},
		"other places":             {site: "route {\napi_key {\nfrom header X-First\nsignature off\nrequire * a\n}\n" + b + "}"},
		"other schemes":            {site: "route {\napi_key {\nsignature hawk\nrequire * a\n}\n" + b + "}"},
		"links behind a public":    {site: "api_key {\npublic /x\nrequire * a\n}\nhandle /x {\napi_key {\nsignature hawk message {\nhawk {\nbewit 1h\n}\n}\nrequire * b\n}\n}"},
		"links in both":            {site: "api_key {\npublic /x\nsignature hawk message {\nhawk {\nbewit 1h\n}\n}\nrequire * a\n}\nhandle /x {\napi_key {\nsignature hawk message {\nhawk {\nbewit 1h\n}\n}\nrequire * b\n}\n}", refuse: true},
		"site and its errors":      {site: a + "handle_errors {\n" + b + "}"},
		"host and its errors":      {around: "http://a.example {\n%s\n}", site: a + "handle_errors {\n" + b + "}"},
		"handle and errors":        {site: "handle {\n" + a + "}\nhandle_errors 401 {\n" + b + "}"},
		"two sites, one server":    {around: "http://a.example {\n%s\n}\nhttp://b.example {\n" + b + "}", site: a},
		"a catch-all beside":       {around: "http://a.example {\n%s\n}\nhttp:// {\n" + b + "}", site: a},
		"two servers":              {around: ":8080 {\n%s\n}\n:8081 {\n" + b + "}", site: a},
		"a named route, twice":     {around: "&(guard) {\n" + a + "}\n:8080 {\n%s\n}", site: "handle /a/* {\ninvoke guard\n}\nhandle {\ninvoke guard\n}"},
		"a named route and a site": {around: "&(guard) {\n" + a + "}\n:8080 {\n%s\n}\n:8081 {\ninvoke guard\n}", site: b},
	} {
		t.Run(name, func(t *testing.T) {
			around := ":8080 {\n%s\n}"
			if c.around != "" {
				around = c.around
			}
			caddyfile := fmt.Sprintf(around, c.site)
			err := load(caddyfile)
			if !c.refuse {
				if err != nil {
					t.Errorf("%v\n%s", err, caddyfile)
				}
				return
			}
			if err == nil {
				t.Fatalf("loaded\n%s", caddyfile)
			}
			for _, want := range []string{"two api_key stand one behind the other", "write all rules into one api_key", "`keep_credential`"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nwant %s", err, want)
				}
			}
			if strings.Contains(c.site, "second") && !strings.Contains(err.Error(), "second (rule second)") {
				t.Errorf("%v\nwant the rules of both", err)
			}
			if name == "host" && !strings.Contains(err.Error(), "site a.example: ") {
				t.Errorf("%v\nwant the site", err)
			}
		})
	}
}

// Two layers of keys, each in a place of its own, both decide.
func TestTwoLayersOfKeys(t *testing.T) {
	r := rig.New(t, "", "route {\napi_key {\nfrom header X-First\nsignature off\nrequire * outer\n}\napi_key {\nfrom header X-Second\nsignature off\nrequire * inner\n}\nreverse_proxy {$UPSTREAM}\n}")
	_, outer := r.Create(`{"name":"outer","scopes":["outer"]}`)
	_, inner := r.Create(`{"name":"inner","scopes":["inner"]}`)
	wantAnswer(t, r.Get("/", "X-First: "+outer, "X-Second: "+inner), http.StatusOK, "")
	wantAnswer(t, r.Get("/", "X-First: "+outer), http.StatusUnauthorized, "missing_credential")
	wantAnswer(t, r.Get("/", "X-Second: "+inner), http.StatusUnauthorized, "missing_credential")
}

// A site leaves a part public whose own handler lets links in: bewits, which the
// first handler neither accepts nor takes.
func TestLinksBehindAPublicRoute(t *testing.T) {
	r := rig.New(t, "", "api_key {\npublic /files/*\nrequire *\n}\nhandle /files/* {\napi_key {\nsignature hawk message {\nhawk {\nbewit 10m\n}\n}\nrequire *\n}\nreverse_proxy {$UPSTREAM}\n}")
	s := newSigner(t, r, exporter)
	u, err := url.Parse("http://" + r.Site + "/files/a")
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.hawk.Bewit(u, time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, r.Get(signed.RequestURI()), http.StatusOK, "")
	wantAnswer(t, r.Get("/files/a"), http.StatusUnauthorized, "missing_credential")
}
