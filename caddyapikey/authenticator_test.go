package caddyapikey_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// The provider has no directive of its own: it is used in the native JSON,
// which is also how a handler is configured there.
func TestAuthenticatorInNativeJSON(t *testing.T) {
	r := rig.New(t, "", "api_key {\nrequire *\n}\nrespond never")
	config, err := rig.Adapt("{\nadmin " + r.Admin + "\nauto_https disable_redirects\npersist_config off\nlog default {\noutput file " + r.LogPath() + "\n}\napi_keys {\nstore bolt " + r.StorePath() + "\n}\n}\nhttp://" + r.Site + " {\nbind 127.0.0.1\nrespond \"{http.auth.user.id} {http.auth.user.org}\"\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	handler := `{"handler":"authentication","providers":{"api_key":{"from":[{"in":"header","name":"x-key"}],"scopes":["contacts:read"]}}},`
	changed := strings.Replace(string(config), `"handle":[{"body"`, `"handle":[`+handler+`{"body"`, 1)
	if !strings.Contains(changed, `"authentication"`) || !json.Valid([]byte(changed)) {
		t.Fatalf("the configuration has another shape: %s", config)
	}
	if err := r.LoadConfig([]byte(changed)); err != nil {
		t.Fatal(err)
	}
	id, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	_, narrow := r.Create(`{"name":"x"}`)
	if got := r.Get("/", "X-Key: "+token); got.Status != 200 || strings.TrimSpace(string(got.Body)) != id {
		t.Errorf("status %d %s", got.Status, got.Body)
	}
	for name, header := range map[string]string{"no key": "X: y", "wrong key": "X-Key: x", "wrong place": "Authorization: Bearer " + token, "no scope": "X-Key: " + narrow} {
		if got := r.Get("/", header); got.Status != 401 {
			t.Errorf("%s: status %d", name, got.Status)
		}
	}
	// Limits hold here, too.
	_, limited := r.Create(`{"name":"x","scopes":["contacts:read"],"limits":["2/1h"]}`)
	for i, want := range []int{200, 200, 401} {
		got := r.Get("/", "X-Key: "+limited)
		if got.Status != want || got.Header.Get("RateLimit") == "" || (got.Header.Get("Retry-After") == "") != (want == 200) {
			t.Errorf("request %d with a limit: %d %v", i, got.Status, got.Header)
		}
	}
	// Whoever ends a key has to be told that it is in use, here as everywhere.
	if got := r.Manage("POST", "/keys/"+id+"/revoke?force=", ""); got.Status != 400 {
		t.Errorf("an empty force: status %d %s", got.Status, got.Body)
	}
	if got := r.Manage("GET", "/keys/"+id, ""); !strings.Contains(string(got.Body), `"last_used_ip":"127.0.0.1"`) {
		t.Errorf("a key in use: %s", got.Body)
	}
}
