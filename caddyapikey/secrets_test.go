package caddyapikey_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// panicker is a handler with a bug, which tells the URL to everyone.
type panicker struct{}

func init() {
	caddy.RegisterModule(panicker{})
	httpcaddyfile.RegisterHandlerDirective("test_panic", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return panicker{}, nil
	})
}

func (panicker) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_panic", New: func() caddy.Module { return new(panicker) }}
}

func (panicker) ServeHTTP(_ http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	panic(fmt.Sprintf("cannot serve %s for %v", r.URL, r.Header))
}

// Keys as callers have them elsewhere, of every kind of character.
var oddKeys = []string{
	"Jd7Qm2xWk9RtVb4Ns8Yc3Hf6",
	"8f14e45f-ceea-467f-9b5d-3c0c5a1be2d7",
	`q"u'o\te%41+z;,<>~Kd7Qm2`,
	"b64/+like==Zk93hQ0sLmN4vX1",
	"sk_test_4eC39HqLyjWDarjtT1zdp7dc",
}

// secretServer is a server that logs everything, credentials included, and the
// requests to it that can make it tell a secret.
type secretServer struct {
	*rig.Rig
	t        *testing.T
	secrets  rig.Secrets
	requests int
	told     []string // descriptions of secrets in answers
}

func startSecretServer(t *testing.T, format, accessFormat string) *secretServer {
	t.Helper()
	s := &secretServer{Rig: rig.New(t, "", "respond 204"), t: t} // for its directories and addresses
	autosave := caddy.ConfigAutosavePath
	caddy.ConfigAutosavePath = filepath.Join(s.Dir, "autosave.json")
	t.Cleanup(func() { caddy.ConfigAutosavePath = autosave })
	err := s.LoadWhole(fmt.Sprintf(`{
	admin %s
	auto_https disable_redirects
	metrics
	log default {
		output file %s
		level DEBUG
		%s
	}
	servers {
		log_credentials
		trace
	}
	api_keys {
		store bolt %s
		token_prefix acme
	}
}
http://%s {
	bind 127.0.0.1
	log {
		output file %s
		level DEBUG
		%s
	}
	route {
		test_panic /panic
		api_key {
			from bearer
			from basic
			from header X-API-Key
			from query api_key
			from cookie session_key
			require * contacts:read
		}
		reverse_proxy /dead 127.0.0.1:1
		header Location "https://example.com/?{http.request.orig_uri.query}"
		reverse_proxy %s
	}
}
`, s.Admin, s.file("caddy.log"), format, s.StorePath(), s.Site, s.file("access.log"), accessFormat, s.Upstream.Addr))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *secretServer) file(name string) string { return filepath.Join(s.Dir, "proof", name) }

func (s *secretServer) read(path string) []byte {
	s.t.Helper()
	return []byte(rig.ReadFile(s.t, path))
}

// send requests with a secret in a place. An answer of any status must not tell
// it, except in the Location that the site asks for.
func (s *secretServer) send(what, method, uri string, headers ...string) {
	s.t.Helper()
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", method, uri, s.Site)
	for _, line := range headers {
		text += line + "\r\n"
	}
	answer := s.Raw(text + "\r\n")
	s.requests++
	body := answer[max(0, strings.Index(answer, "\r\n\r\n")):]
	for _, found := range s.secrets.Find([]byte(body)) {
		s.told = append(s.told, what+": "+found)
	}
}

// manage does the same with the admin API.
func (s *secretServer) manage(what, path, body string) {
	s.t.Helper()
	for _, found := range s.secrets.Find(s.Manage("POST", path, body).Body) {
		s.told = append(s.told, what+": "+found)
	}
}

// everyWay sends a key in every place, to routes that pass, refuse and fail.
func (s *secretServer) everyWay(name, key string, own bool) {
	encoded := ""
	for _, c := range []byte(key) {
		if c < '0' || c > 'z' || c > '9' && c < 'A' || c > 'Z' && c < 'a' {
			encoded += fmt.Sprintf("%%%02x", c)
		} else {
			encoded += string(c)
		}
	}
	basic := base64.StdEncoding.EncodeToString([]byte("user:" + key))
	for _, path := range []string{"/v1", "/dead", "/panic", "/v1/../v2"} {
		at := name + " at " + path
		s.send(at, "GET", path, "Authorization: Bearer "+key)
		s.send(at, "GET", path, "authorization: bEARER  "+key)
		s.send(at, "GET", path, "Authorization: "+key)
		s.send(at, "GET", path, "Authorization: Basic "+basic)
		s.send(at, "GET", path, "Authorization: Bearer "+key, "X-API-Key: "+key)
		s.send(at, "GET", path, "x-aPI-key: "+key)
		s.send(at, "GET", path, "X_Api_Key: "+key)
		s.send(at, "GET", path, "X-Api-Key: "+key, "X-Api-Key: "+key)
		s.send(at, "GET", path+"?a=1&api_key="+encoded+"&b=2")
		s.send(at, "GET", path+"?api_key="+strings.NewReplacer("%", "%25").Replace(key))
		s.send(at, "GET", path+"?api_key="+encoded+"&api_key="+encoded)
		s.send(at, "GET", path+"?API_KEY="+encoded)
		s.send(at, "GET", path+"?api%5fkey="+encoded)
		s.send(at, "GET", path+"?x-api-key="+encoded)
		s.send(at, "GET", path+"?next=%2Fx%3Fapi_key%3D"+strings.ReplaceAll(encoded, "%", "%25"))
		s.send(at, "GET", path, "Referer: https://example.com/a?api_key="+encoded)
		s.send(at, "DELETE", path, "Cookie: a=b; session_key="+key+"; c=d")
		if own {
			s.send(at, "GET", path+"/"+key)
			s.send(at, "GET", path+"/"+strings.Replace(key, "_", "%5F", 1))
			s.send(at, "GET", path+"/"+strings.Replace(key, "_", "%255f", 1))
			s.send(at, "GET", path+"?other="+key, "X-Other: "+key, "User-Agent: "+key+"/1.0")
			s.send(at, "GET", path, "X-"+key+": in a name")
		}
	}
	quoted, err := json.Marshal(key)
	if err != nil {
		s.t.Fatal(err)
	}
	at := name + " to the admin API"
	s.manage(at, "/identify", fmt.Sprintf(`{"token":%s}`, quoted))
	s.manage(at, "/identify", fmt.Sprintf(`{"token":%s,"token":1}`, quoted))
	s.manage(at, "/import", fmt.Sprintf(`{"keys":[{"name":"x","token":%s}]}`, quoted))
	s.manage(at, "/import", fmt.Sprintf(`{"keys":[{"name":"x","token":%s,}]}`, quoted))
	s.manage(at, "/import", fmt.Sprintf(`{"keys":[{"name":"x","tokn":%s}]}`, quoted))
	s.manage(at, "/keys", fmt.Sprintf(`{"name":"x","token":%s`, quoted))
	if own {
		s.manage(at, "/keys/"+key+"/revoke", "")
		s.manage(at, "/nothing/"+key+"?api_key="+key, "")
	}
}

// run uses keys in every way and returns where the server told of them.
func (s *secretServer) run() {
	_, token := s.Create(`{"name":"CRM sync","scopes":["contacts:read"]}`)
	_, other := s.Create(`{"name":"no scopes"}`)
	own := map[string]string{
		"a token":             token,
		"a refused token":     other,
		"a mistyped token":    other[:20] + "7777" + other[24:],
		"a cut token":         other[:40],
		"a token and more":    other + "0",
		"an unknown token":    "acme_Zt7Rk2Wq9Xv4Nb6Lm1Pc8Jd3Hf5Gs0Ay2Ue7Io4Tr9Ew6Qz1V"[:54],
		"a cut default token": "ck_0aB1cD2eF3gH4iJ5kL6mN7oP8q",
	}
	for name, key := range own {
		s.secrets.Add(name, key)
	}
	for _, key := range oddKeys {
		s.secrets.Add("imported key "+key[:2]+"…", key)
		quoted, err := json.Marshal(key)
		if err != nil {
			s.t.Fatal(err)
		}
		if answer := s.Manage("POST", "/import", fmt.Sprintf(`{"keys":[{"name":"odd","scopes":["contacts:read"],"token":%s}]}`, quoted)); answer.Status/100 != 2 {
			s.t.Fatalf("import: %d %s", answer.Status, answer.Body)
		}
	}
	for name, key := range own {
		s.everyWay(name, key, true)
	}
	for _, key := range oddKeys {
		s.everyWay("imported key "+key[:2]+"…", key, false)
	}
}

// accessLog waits until all requests are in the access log: each is written
// after its answer.
func (s *secretServer) accessLog() []byte {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		text := s.read(s.file("access.log"))
		lines := strings.Count(string(text), "handled request")
		if lines >= s.requests {
			return text
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d requests, %d lines in the access log", s.requests, lines)
		}
		time.Sleep(10 * time.Millisecond) // a file has no signal to wait for
	}
}

func TestSecretsStayInside(t *testing.T) {
	for name, formats := range map[string][2]string{
		"json":    {"format redact_api_keys", "format redact_api_keys"},
		"console": {"format redact_api_keys {\nwrap console\n}", "format redact_api_keys {\nwrap console\n}"},
		"nested": {
			"format filter {\nwrap redact_api_keys\nrequest>headers>Accept delete\n}",
			"format redact_api_keys {\nwrap append {\nwrap json\nfields {\nserver one\n}\n}\n}",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := startSecretServer(t, formats[0], formats[1])
			s.run()
			metrics := s.metrics()
			for what, text := range map[string][]byte{
				"the access log":     s.accessLog(),
				"the default log":    s.read(s.file("caddy.log")),
				"the metrics":        metrics,
				"the autosaved file": s.read(caddy.ConfigAutosavePath),
			} {
				if len(text) == 0 {
					t.Errorf("%s is empty", what)
				}
				for _, found := range append(s.secrets.Find(text), s.secrets.FindDigests(text)...) {
					t.Errorf("in %s: %s", what, found)
				}
			}
			for _, found := range s.secrets.Find(s.read(s.StorePath())) {
				t.Errorf("in the store: %s", found)
			}
			for _, found := range s.told {
				t.Errorf("in an answer: %s", found)
			}
			log := string(s.read(s.file("caddy.log")))
			for _, want := range []string{"connection refused", "http: panic serving", "cannot serve", "[redacted]"} {
				if !strings.Contains(log, want) {
					t.Errorf("the log says nothing of %q", want)
				}
			}
		})
	}
}

// Without redaction the same search finds the same secrets: it is not blind.
func TestSecretsShowWithoutRedaction(t *testing.T) {
	s := startSecretServer(t, "format json", "format json")
	s.run()
	for what, text := range map[string][]byte{"the access log": s.accessLog(), "the default log": s.read(s.file("caddy.log"))} {
		if found := s.secrets.Find(text); len(found) < 10 {
			t.Errorf("in %s: only %v", what, found)
		}
	}
}

func (s *secretServer) metrics() []byte {
	s.t.Helper()
	req, err := http.NewRequest("GET", "http://"+s.Admin+"/metrics", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	answer := s.Do(req)
	if answer.Status != 200 {
		s.t.Fatalf("metrics: status %d", answer.Status)
	}
	return answer.Body
}
