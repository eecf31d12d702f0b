package adminapi

import (
	"net/http"
	"strings"
	"testing"
)

// What newcomers send when they guess is answered with what to send instead.
func TestHints(t *testing.T) {
	s := newServer(t)
	id, _ := s.create("")
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "keys", `{"name":"x","scope":"notes:read"}`, `write "scopes"`},
		{"POST", "keys", `{"name":"x","ttl":"30d"}`, `write "expires_at"`},
		{"POST", "keys", `{"name":"x","token":"abc"}`, "POST /api_keys/import"},
		{"POST", "keys/" + id + "/suspend", `{"force":true}`, "?force=true"},
		{"POST", "keys", `{'name':'x'}`, "JSON has double quotes"},
		{"PUT", "keys/" + id, `{"name":"x"}`, "Change a key with PATCH"},
		{"POST", "orgs", `{"name":"acme"}`, "PUT /api_keys/orgs/<name>"},
		{"DELETE", "orgs/acme", "", "only suspended"},
	} {
		a := s.do(c.method, c.path, c.body)
		detail, _ := a.tree()["detail"].(string)
		if a.status < http.StatusBadRequest || !strings.Contains(detail, c.want) {
			t.Errorf("%s %s %s: %d %q, want %q", c.method, c.path, c.body, a.status, detail, c.want)
		}
	}
}
