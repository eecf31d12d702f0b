package adminapi

import "net/http"

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
	case len(segments) == 2 && segments[0] == "orgs" && method == http.MethodDelete:
		return " Orgs cannot be deleted, only suspended."
	}
	return ""
}
