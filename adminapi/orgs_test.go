package adminapi

import (
	"strings"
	"testing"
)

func TestOrgs(t *testing.T) {
	s := newServer(t)
	s.do("GET", "orgs/acme", "").problem(404, "not-found", "")
	s.do("PATCH", "orgs/acme", `{}`).problem(404, "not-found", "")
	s.do("POST", "orgs/acme/suspend", "").problem(404, "not-found", "")
	a := s.do("PUT", "orgs/acme", `{"title":"Acme Inc.","tier":"gold","allow":["203.0.113.0/24"],"deny":["203.0.113.7"],"metadata":{"crm":"17"}}`).want(201)
	if a.header.Get("Location") != "/api_keys/orgs/acme" || a.header.Get("ETag") != `"1"` {
		t.Errorf("headers %v", a.header)
	}
	s.do("GET", "orgs/acme", "").want(200).is(`"acme"`, "name").is(`"Acme Inc."`, "title").is(`"active"`, "state").is(`"gold"`, "tier").
		is(`["203.0.113.0/24"]`, "allow").is(`["203.0.113.7"]`, "deny").is(`{"crm":"17"}`, "metadata").is(`1`, "revision")
	s.do("PATCH", "orgs/acme", `{"tier":"silver"}`, "If-Match", `"1"`).want(200).is(`"silver"`, "tier").is(`"Acme Inc."`, "title").is(`["203.0.113.0/24"]`, "allow")
	s.do("PATCH", "orgs/acme", `{"tier":"x"}`, "If-Match", `"1"`).problem(412, "precondition-failed", "")
	s.do("PUT", "orgs/acme", `{"tier":"","allow":["203.0.113.0/24"],"deny":[]}`, "If-Match", `"2"`).want(200).is(`""`, "title").is(`""`, "tier").is(`{}`, "metadata").is(`[]`, "deny").is(`3`, "revision")

	s.do("POST", "orgs/acme/suspend", "", "If-Match", `"3"`).want(200).is(`"suspended"`, "state")
	s.do("POST", "orgs/acme/suspend", "", "If-Match", `"3"`).problem(412, "precondition-failed", "")
	s.do("PUT", "orgs/acme", `{"allow":["203.0.113.0/24"]}`).want(200).is(`"suspended"`, "state")
	s.do("POST", "orgs/acme/resume", "").want(200).is(`"active"`, "state")

	s.do("PUT", "orgs/acme", `{}`, "If-None-Match", "*").problem(412, "precondition-failed", "")
	s.do("PUT", "orgs/new", `{}`, "If-Match", "*").problem(412, "precondition-failed", "")
	s.do("PUT", "orgs/new", `{}`, "If-Match", `"1"`).problem(412, "precondition-failed", "")
	s.do("PUT", "orgs/new", `{}`, "If-None-Match", "*").want(201)
	s.do("PUT", "orgs/new", `{}`, "If-Match", "*").want(200)
	for _, other := range []string{`"*"`, `"1"`, `W/"1"`, `*, "1"`, ``, ` `} {
		s.do("PUT", "orgs/new", `{"title":"other"}`, "If-None-Match", other).problem(400, "invalid-precondition", "")
	}
	s.do("GET", "orgs/new", "").want(200).is(`""`, "title")

	for body, field := range map[string]string{
		`{"name":"x"}`: "name", `{"state":"active"}`: "state", `{"revision":1}`: "revision", `{"title":null}`: "title", `{"allow":["x"]}`: "allow[0]",
		`{"Title":"x"}`: "Title", `{"tier":"a b"}`: "tier", `{"metadata":{"a":1}}`: "metadata.a", `{"scopes":[]}`: "scopes",
	} {
		s.do("PUT", "orgs/other", body).problem(400, "invalid-field", field)
	}
	for _, name := range []string{"a%20b", "%2e%2e", "ä", strings.Repeat("x", 65), strings.Repeat("x", 10_000), "a%00"} {
		s.do("GET", "orgs/"+name, "").problem(404, "not-found", "")
		s.do("PUT", "orgs/"+name, `{}`).problem(400, "invalid-field", "name")
	}
	s.do("PUT", "orgs/a%2fb", `{}`).problem(404, "not-found", "")
}

// What an org lets in never widens by leaving out what limits it.
func TestOrgListsNeverEmptiedByAccident(t *testing.T) {
	s := newServer(t)
	for _, tc := range []struct {
		method, body string
		status       int
	}{
		{"PUT", `{}`, 400},
		{"PUT", `{"title":"x","deny":["203.0.113.7"]}`, 400},
		{"PUT", `{"allow":[],"deny":["203.0.113.7"]}`, 400},
		{"PUT", `{"allow":null,"deny":["203.0.113.7"]}`, 400},
		{"PUT", `{"deny":["203.0.113.7"],"allow_anyone":true}`, 400},
		{"PUT", `{"allow":["203.0.113.0/24"]}`, 400},
		{"PUT", `{"allow":["203.0.113.0/24"],"deny":null}`, 400},
		{"PUT", `{"allow":["203.0.113.0/24"],"deny":["203.0.113.7"]}`, 400},
		{"PUT", `{"allow":["203.0.113.0/24"],"deny":["203.0.113.7"],"tier":null}`, 400},
		{"PATCH", `{"allow":[]}`, 400},
		{"PATCH", `{"allow":null}`, 400},
		{"PATCH", `{"allow":[""]}`, 400},
		{"PATCH", `{"allow":[],"allow_anyone":false}`, 400},
		{"PATCH", `{"allow_anyone":true}`, 200},
		{"PATCH", `{}`, 200},
	} {
		s.do("PUT", "orgs/acme", `{"allow":["203.0.113.0/24"],"deny":["203.0.113.7"],"tier":"gold"}`)
		s.do(tc.method, "orgs/acme", tc.body).want(tc.status)
		s.do("GET", "orgs/acme", "").want(200).is(`["203.0.113.0/24"]`, "allow").is(`["203.0.113.7"]`, "deny").is(`"gold"`, "tier")
	}
	s.do("PATCH", "orgs/acme", `{"allow":[],"deny":[],"allow_anyone":true,"tier":""}`).want(200).is(`[]`, "allow").is(`[]`, "deny")
	s.do("PUT", "orgs/acme", `{}`).want(200)
}
