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
		{"GET", "keys/reader", "", "GET /api_keys/keys?q=reader"},
		{"GET", "keys/a-name-that-could-be-a-secret", "", "GET /api_keys/keys?q=<text>"},
		{"DELETE", "lockouts", "", "DELETE /api_keys/lockouts/<address>"},
		{"DELETE", "lockouts/203.0.113.0/32", "", "/api_keys/lockouts/203.0.113.7"},
		{"DELETE", "lockouts/203.0.113.0%2F32", "", "/api_keys/lockouts/203.0.113.7"},
		{"POST", "keys", `{"name":"x","expires_at":""}`, "write null"},
		{"POST", "keys", `{"name":"x","limits":["100/min"]}`, "write 100/1m for a minute"},
		{"POST", "keys", `{"name":"x","credential":{"kind":"public_key","public_key":"x"}}`, "this is neither PEM nor a JWK; write a public key in PEM"},
		{"POST", "keys/" + id + "/rotate", `{"overlap":7}`, `such as "7d"`},
		{"POST", "keys/" + id + "/rotate", `{"overlap":null}`, "leave the field out"},
	} {
		a := s.do(c.method, c.path, c.body)
		detail, _ := a.tree()["detail"].(string)
		if a.status < http.StatusBadRequest || !strings.Contains(detail, c.want) {
			t.Errorf("%s %s %s: %d %q, want %q", c.method, c.path, c.body, a.status, detail, c.want)
		}
	}
	for body, field := range map[string]string{
		`{"name":"x","credential":{"kind":"x"}}`:                                         "credential.kind",
		`{"name":"x","credential":{"kind":""}}`:                                          "credential.kind",
		`{"name":"x","credential":{"kind":"public_key"}}`:                                "credential.public_key",
		`{"name":"x","credential":{"expires_at":"2001-01-01T00:00:00Z"}}`:                "credential.expires_at",
		`{"name":"x","credential":{"kind":"shared_secret","secret":"short"}}`:            "credential.secret",
		`{"name":"x","signing":"off","credential":{"kind":"shared_secret"}}`:             "signing",
		`{"name":"x","expires_at":"2001-01-01T00:00:00Z","credential":{"kind":"token"}}`: "expires_at",
	} {
		s.do("POST", "keys", body).problem(400, "invalid-field", field)
	}
	// What the title says is not said again.
	for _, c := range []struct{ method, path, detail string }{
		{"DELETE", "keys/" + id + "/credentials/7", "Key " + id + " has no credential 7."},
		{"DELETE", "keys/" + id, "The key is active; revoke it before it is deleted."},
		{"DELETE", "keys/" + id + "/rotate", "No rotation is pending."},
	} {
		if got := s.do(c.method, c.path, "").text("detail"); got != c.detail {
			t.Errorf("%s %s: %q, want %q", c.method, c.path, got, c.detail)
		}
	}
}
