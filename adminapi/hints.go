package adminapi

import (
	"net/http"
	"strings"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// nameHint says what to write instead of a field that other products have, ""
// if nobody knows. What stood in the field is not known here.
func nameHint(name string) string {
	switch name {
	case "scope", "permission", "permissions":
		return "write \"scopes\": [\"contacts:read\"]"
	case "role":
		return "write \"roles\": [\"reader\"]"
	case "tag":
		return "write \"tags\": [\"beta\"]"
	case "expires", "expiry", "expiration", "expires_in", "ttl":
		return "write \"expires_at\": \"2030-01-31T12:00:00Z\""
	case "ip", "ips", "allow_ips", "allowed_ips", "whitelist":
		return "write \"allow\": [\"203.0.113.0/24\"]"
	case "origin":
		return "write \"origins\": [\"https://app.example.com\"]"
	case "meta":
		return "write \"metadata\": {\"region\": \"eu\"}"
	case "token", "key", "secret", "api_key", "hash", "sha256":
		return "new keys are made by the server; take over existing ones with POST /api_keys/import"
	case "force":
		return "write it into the query: ?force=true"
	}
	return ""
}

// methodHint says what to send instead of a method that would do it elsewhere,
// with a space in front, "" if nobody knows.
func methodHint(segments []string, method string) string {
	switch {
	case len(segments) == 2 && segments[0] == "keys" && (method == http.MethodPut || method == http.MethodPost):
		return " Change a key with PATCH, with the fields that change."
	case len(segments) <= 2 && segments[0] == "orgs" && method == http.MethodPost:
		return " Create an org with PUT /api_keys/orgs/<name>."
	case len(segments) == 1 && segments[0] == "lockouts" && method == http.MethodDelete:
		return " Release an address with DELETE /api_keys/lockouts/<address>."
	case len(segments) == 2 && segments[0] == "orgs" && method == http.MethodDelete:
		return " Orgs cannot be deleted, only suspended."
	}
	return ""
}

// pathHint says what to ask for instead of a path that is nowhere, with a space
// in front, "" if nobody knows.
func pathHint(path string) string {
	if strings.HasPrefix(path, "lockouts/") {
		return " A lock is named by one address, without a prefix length: /api_keys/lockouts/203.0.113.7; its whole prefix is meant."
	}
	return ""
}

// checkID refuses what is not the id of a key, with the way to one's id.
func checkID(id string) error {
	if keyring.ValidKeyID(id) {
		return nil
	}
	name := shownName(id)
	if name == "" {
		name = "<text>"
	}
	return refusal(notFound, "A key is named by its id, which begins with key_. GET /api_keys/keys?q=%s finds keys by a part of their name, owner or purpose.", name)
}
