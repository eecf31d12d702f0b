package adminapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// route is one method on one path.
type route struct {
	method string
	path   string            // below root; {x} is any one segment
	query  []string          // the query parameters it knows
	static bool              // answers without the running app
	find   func(*call) error // of the running app, nil for that of the keys
	event  string            // what event handlers are told when it succeeded, "" for nothing
	serve  func(*call) error
}

var routes = []route{
	{method: http.MethodGet, path: "keys", serve: (*call).listKeys, query: keyParams},
	{method: http.MethodPost, path: "keys", serve: (*call).createKey, event: "api_key_created"},
	{method: http.MethodGet, path: "keys/{id}", serve: (*call).getKey},
	{method: http.MethodPatch, path: "keys/{id}", serve: (*call).patchKey, event: "api_key_changed"},
	{method: http.MethodDelete, path: "keys/{id}", query: forceParam, serve: (*call).deleteKey, event: "api_key_deleted"},
	{method: http.MethodPost, path: "keys/{id}/suspend", query: forceParam, serve: (*call).suspendKey, event: "api_key_suspended"},
	{method: http.MethodPost, path: "keys/{id}/resume", serve: (*call).resumeKey, event: "api_key_resumed"},
	{method: http.MethodPost, path: "keys/{id}/revoke", query: forceParam, serve: (*call).revokeKey, event: "api_key_revoked"},
	{method: http.MethodPost, path: "keys/{id}/rotate", query: forceParam, serve: (*call).rotate, event: "api_key_rotated"},
	{method: http.MethodDelete, path: "keys/{id}/rotate", serve: (*call).cancelRotation, event: "api_key_rotation_cancelled"},
	{method: http.MethodGet, path: "keys/{id}/credentials", serve: (*call).listCredentials},
	{method: http.MethodPost, path: "keys/{id}/credentials", serve: (*call).addCredential, event: "api_key_credential_added"},
	{method: http.MethodDelete, path: "keys/{id}/credentials/{n}", query: forceParam, serve: (*call).endCredential, event: "api_key_credential_ended"},
	{method: http.MethodGet, path: "keys/{id}/usage", serve: (*call).keyUse, query: useParams},
	{method: http.MethodGet, path: "keys/{id}/limits", serve: (*call).keyLimits},
	{method: http.MethodGet, path: "keys/{id}/suggest", serve: (*call).suggest, query: sinceParams},
	{method: http.MethodGet, path: "keys/{id}/calls", serve: (*call).keyCalls, query: callParams},

	{method: http.MethodPost, path: "import", serve: (*call).importKeys, event: "api_keys_imported"},
	{method: http.MethodPost, path: "identify", serve: (*call).identify, event: "api_key_revoked"},
	{method: http.MethodPost, path: "reseal", serve: (*call).reseal},

	{method: http.MethodGet, path: "orgs", serve: (*call).listOrgs, query: pageParams},
	{method: http.MethodGet, path: "orgs/{org}", serve: (*call).getOrg},
	{method: http.MethodGet, path: "orgs/{org}/limits", serve: (*call).orgLimits},
	{method: http.MethodPut, path: "orgs/{org}", serve: (*call).putOrg, event: "api_key_org_changed"},
	{method: http.MethodPatch, path: "orgs/{org}", serve: (*call).patchOrg, event: "api_key_org_changed"},
	{method: http.MethodPost, path: "orgs/{org}/suspend", serve: (*call).suspendOrg, event: "api_key_org_suspended"},
	{method: http.MethodPost, path: "orgs/{org}/resume", serve: (*call).resumeOrg, event: "api_key_org_resumed"},

	{method: http.MethodGet, path: "audit", serve: (*call).listAudit, query: auditParams},
	{method: http.MethodGet, path: "audit/verify", serve: (*call).verifyAudit},
	{method: http.MethodPost, path: "erase", serve: (*call).erase},
	{method: http.MethodGet, path: "register", serve: (*call).register, query: registerParams},
	{method: http.MethodGet, path: "report", serve: (*call).report, query: reportParams},
	{method: http.MethodGet, path: "observed", serve: (*call).listObserved, query: spanParams},

	{method: http.MethodGet, path: "lockouts", serve: (*call).listLockouts, query: lockoutParams, find: (*call).findLockouts},
	{method: http.MethodPost, path: "lockouts", serve: (*call).lock, find: (*call).findLockouts, event: "api_key_lockout"},
	{method: http.MethodDelete, path: "lockouts/{address}", serve: (*call).unlock, query: []string{"lockout"}, find: (*call).findLockouts, event: "api_key_lockout_released"},

	{method: http.MethodGet, path: "backup", serve: (*call).backup},
	{method: http.MethodGet, path: "health", serve: (*call).health, static: true},
	{method: http.MethodGet, path: "openapi.json", serve: (*call).openAPI, static: true},
}

// findRoute finds the route of a request and the values of its variable
// segments. The path is split before it is decoded, so that an encoded slash
// never makes a segment: what a path permission of Caddy's remote admin
// endpoint covers and what is served are always the same record.
func findRoute(r *http.Request) (*route, map[string]string, error) {
	segments := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), root), "/")
	for i, s := range segments {
		decoded, err := url.PathUnescape(s)
		if err != nil || decoded == "" || strings.Contains(decoded, "/") {
			return nil, nil, noRoute(r)
		}
		segments[i] = decoded
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var allowed []string
	for i := range routes {
		vars, ok := routes[i].match(segments)
		if !ok {
			continue
		}
		if routes[i].method == method {
			return &routes[i], vars, nil
		}
		if allowed = append(allowed, routes[i].method); routes[i].method == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	if allowed == nil {
		return nil, nil, noRoute(r)
	}
	slices.Sort(allowed)
	p := refusal(methodNotAllowed, "This resource answers %s.%s", strings.Join(allowed, ", "), methodHint(segments, method))
	p.header = http.Header{"Allow": {strings.Join(allowed, ", ")}}
	return nil, nil, p
}

func noRoute(r *http.Request) error {
	return refusal(notFound, "There is no such resource. GET /api_keys/openapi.json lists them all.%s", pathHint(strings.TrimPrefix(r.URL.Path, root)))
}

func (rt *route) match(segments []string) (map[string]string, bool) {
	pattern := strings.Split(rt.path, "/")
	if len(pattern) != len(segments) {
		return nil, false
	}
	var vars map[string]string
	for i, p := range pattern {
		name, variable := strings.CutPrefix(p, "{")
		switch {
		case variable:
			if vars == nil {
				vars = make(map[string]string)
			}
			vars[strings.TrimSuffix(name, "}")] = segments[i]
		case p != segments[i]:
			return nil, false
		}
	}
	return vars, true
}
