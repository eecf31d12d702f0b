package caddyapikey_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// accessLine waits for the line of the access log about a path.
func accessLine(t *testing.T, r *rig.Rig, path string) map[string]any {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		// Caddy writes the line after the answer, without a signal.
		for line := range strings.Lines(r.Logs()) {
			if strings.Contains(line, `"http.log.access`) && strings.Contains(line, `"uri":"`+path+`"`) && strings.HasSuffix(line, "\n") {
				var fields map[string]any
				if err := json.Unmarshal([]byte(line), &fields); err != nil {
					t.Fatalf("%v: %s", err, line)
				}
				return fields
			}
		}
	}
	t.Fatalf("no line about %s", path)
	return nil
}

func TestAccessLogFields(t *testing.T) {
	site := "log\n" + guarded
	r := rig.New(t, "", site)
	r.Manage("PUT", "/orgs/acme", `{}`)
	id, token := r.Create(`{"name":"x","org":"acme","scopes":["contacts:read"]}`)
	bearer := "Authorization: Bearer " + token
	fields := func(path string) string {
		line := accessLine(t, r, path)
		return fmt.Sprintf("%v %v %v %v %v", line["user_id"], line["api_key_refused"], line["api_key_org"], line["api_key_rule"], line["api_key_reason"])
	}
	for i, c := range []struct {
		method, path string
		headers      []string
		want         string
	}{
		{"GET", "/v1/contacts", []string{bearer}, id + " <nil> acme [read] <nil>"},
		{"GET", "/v1/brands/1", []string{bearer}, " " + id + " acme [read brand] insufficient_scope"},
		{"OPTIONS", "/v1/x", []string{bearer}, " " + id + " acme <nil> no_rule"},
		{"GET", "/v1/none", nil, " <nil> <nil> [read] missing_credential"},
		{"GET", "/v1/claim", []string{"Authorization: Bearer " + id}, " <nil> <nil> [read] invalid_key"},
		{"GET", "/v1/wrong", []string{bearer + "x"}, " <nil> <nil> [read] invalid_key"},
		{"GET", "/v1//two", []string{bearer}, " <nil> <nil> <nil> bad_request"},
		{"OPTIONS", "/news/1", nil, " <nil> <nil> [news] <nil>"},
		{"GET", "/health", []string{bearer}, " <nil> <nil> [health read] <nil>"},
	} {
		r.Request(c.method, c.path, c.headers...)
		if got := fields(c.path); got != c.want {
			t.Errorf("%d %s %s: %q, want %q", i, c.method, c.path, got, c.want)
		}
	}

	// Observed refusals are told alike; nobody is taken for authenticated.
	r.Load("", strings.Replace(site, "api_key {", "api_key {\nmode observe", 1))
	r.Get("/v1/brands/2", bearer)
	if got, want := fields("/v1/brands/2"), " "+id+" acme [read brand] insufficient_scope"; got != want {
		t.Errorf("observed: %q, want %q", got, want)
	}
	// Errors that Caddy handles are told alike.
	r.Load("", strings.Replace(site, "api_key {", "api_key {\nerrors caddy", 1)+"\nhandle_errors {\nrespond \"no\"\n}")
	r.Get("/v1/brands/3", bearer)
	if got, want := fields("/v1/brands/3"), " "+id+" acme [read brand] insufficient_scope"; got != want {
		t.Errorf("handled: %q, want %q", got, want)
	}
	if strings.Contains(r.Logs(), token) {
		t.Error("the token is in the log")
	}
}

// Fields can be filtered like those of Caddy, and what an operator wrote breaks
// no line.
func TestAccessLogOfOddNames(t *testing.T) {
	rule := `a\"}` + "`" + `,\"user_id\":\"forged`
	r := rig.New(t, "", guarded)
	r.Load("", "log {\noutput file "+r.LogPath()+"\nformat filter {\napi_key_org delete\n}\n}\napi_key {\nrequire * {\nname \""+rule+"\"\n}\n}\nrespond ok")
	r.Manage("PUT", "/orgs/acme", `{}`)
	id, token := r.Create(`{"name":"x","org":"acme"}`)
	r.Get("/odd", "Authorization: Bearer "+token)
	line := accessLine(t, r, "/odd")
	if line["user_id"] != id || fmt.Sprint(line["api_key_rule"]) != `[a"}`+"`"+`,"user_id":"forged]` {
		t.Errorf("user_id %v, rules %v", line["user_id"], line["api_key_rule"])
	}
	if line["api_key_org"] != nil {
		t.Error("the filter did not see the field")
	}
}
