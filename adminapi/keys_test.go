package adminapi

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

func TestCreateAndShow(t *testing.T) {
	s := newServer(t)
	s.do("PUT", "orgs/acme", `{}`).want(201)
	a := s.do("POST", "keys", `{"name":"CRM sync","org":"acme","owner":"ops@acme.example","purpose":"nightly","scopes":["deals:read","contacts:read"],"roles":["reader"],
		"allow":["203.0.113.0/24","2001:db8::1"],"deny":["203.0.113.7/32"],"origins":["https://app.example.com"],"client_certs":["AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB"],"signing":"optional","tier":"gold","tags":["b","a"],
		"metadata":{"contract":"17"},"not_before":"2026-01-31T13:00:00.1239+01:00","expires_at":"2090-01-01T00:00:00Z","credential":{"kind":"token","expires_at":"2089-01-01T00:00:00Z"}}`).want(201)
	id, token := a.text("key", "id"), a.text("token")
	if !keyring.ValidKeyID(id) || !keyring.IsToken(token, "ck") {
		t.Fatalf("id %q, token %q", id, token)
	}
	if got := a.header.Get("Location"); got != "/api_keys/keys/"+id {
		t.Errorf("Location %q", got)
	}
	got := s.do("GET", "keys/"+id, "").want(200)
	if got.header.Get("ETag") != `"1"` || a.header.Get("ETag") != `"1"` {
		t.Errorf("ETags %q and %q", a.header.Get("ETag"), got.header.Get("ETag"))
	}
	got.is(`"CRM sync"`, "name").is(`"acme"`, "org").is(`"active"`, "state").is(`["contacts:read","deals:read"]`, "scopes").is(`["reader"]`, "roles").
		is(`["203.0.113.0/24","2001:db8::1"]`, "allow").is(`["203.0.113.7"]`, "deny").is(`["https://app.example.com"]`, "origins").is(`["abababababababababababababababababababababababababababababababab"]`, "client_certs").is(`"optional"`, "signing").
		is(`["a","b"]`, "tags").is(`{"contract":"17"}`, "metadata").is(`"2026-01-31T12:00:00.123Z"`, "not_before").is(`"2090-01-01T00:00:00.000Z"`, "expires_at").
		is(`1`, "revision").is(`null`, "rotation").is(`1`, "credentials", 0, "n").is(`"token"`, "credentials", 0, "kind").
		is(`"2089-01-01T00:00:00.000Z"`, "credentials", 0, "expires_at").is(`null`, "credentials", 0, "ended_at")
	if hint := got.text("credentials", 0, "hint"); len(hint) != len("ck_")+4 || !strings.HasPrefix(token, hint) {
		t.Errorf("hint %q of a token %q", hint, token)
	}
	if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`).MatchString(got.text("created_at")) {
		t.Errorf("created_at %q", got.text("created_at"))
	}
	// The order of the fields is part of what people read.
	var names []string
	for _, m := range regexp.MustCompile(`"([a-z_]+)":`).FindAllStringSubmatch(got.body[:strings.Index(got.body, `"credentials"`)], -1) {
		names = append(names, m[1])
	}
	want := strings.Fields("id name org owner purpose state scopes roles allow deny origins client_certs signing tier limits tags metadata contract not_before expires_at created_at updated_at revision")
	if !slices.Equal(names, want) {
		t.Errorf("fields %v\nwant   %v", names, want)
	}

	// The least key has every field too.
	id, _ = s.create("")
	s.do("GET", "keys/"+id, "").want(200).is(`[]`, "scopes").is(`[]`, "allow").is(`[]`, "deny").is(`[]`, "roles").is(`[]`, "origins").is(`[]`, "tags").
		is(`{}`, "metadata").is(`""`, "org").is(`"off"`, "signing").is(`null`, "not_before").is(`null`, "expires_at")
	if head := s.do("HEAD", "keys/"+id, ""); head.status != 200 || head.body != "" {
		t.Errorf("HEAD: %d %q", head.status, head.body)
	}
}

func TestUnknownKey(t *testing.T) {
	s := newServer(t)
	missing := "keys/key_00000000000000000000"
	for _, id := range []string{missing, "keys/x", "keys/key_0", "keys/" + strings.Repeat("x", 10_000), "keys/%2e%2e", "keys/a%2fb", "keys/key_%00"} {
		s.do("GET", id, "").problem(404, "not-found", "")
	}
	for _, action := range []string{"suspend", "resume", "revoke", "rotate", "credentials"} {
		s.do("POST", missing+"/"+action, "").problem(404, "not-found", "")
	}
	s.do("PATCH", missing, `{}`).problem(404, "not-found", "")
	s.do("DELETE", missing, "").problem(404, "not-found", "")
	s.do("DELETE", missing+"/rotate", "").problem(404, "not-found", "")
	s.do("DELETE", missing+"/credentials/1", "").problem(404, "not-found", "")
	id, _ := s.create("")
	for _, n := range []string{"2", "0", "01", "-1", "1.0", "x", "99999999999999999999"} {
		s.do("DELETE", "keys/"+id+"/credentials/"+n, "").problem(404, "not-found", "")
	}
}

// The whole state machine: what each action does from each state.
func TestStates(t *testing.T) {
	s := newServer(t)
	actions := map[string]func(path string) reply{
		"suspend":    func(p string) reply { return s.do("POST", p+"/suspend", "") },
		"resume":     func(p string) reply { return s.do("POST", p+"/resume", `{}`) },
		"revoke":     func(p string) reply { return s.do("POST", p+"/revoke", "") },
		"delete":     func(p string) reply { return s.do("DELETE", p, "") },
		"edit":       func(p string) reply { return s.do("PATCH", p, `{"owner":"x"}`) },
		"rotate":     func(p string) reply { return s.do("POST", p+"/rotate", "") },
		"credential": func(p string) reply { return s.do("POST", p+"/credentials", "") },
		"cancel":     func(p string) reply { return s.do("DELETE", p+"/rotate", "") },
	}
	type outcome struct {
		status int
		state  string
	}
	for from, want := range map[string]map[string]outcome{
		"active": {"suspend": {200, "suspended"}, "resume": {200, "active"}, "revoke": {200, "revoked"}, "delete": {409, "active"},
			"edit": {200, "active"}, "rotate": {200, "active"}, "credential": {201, "active"}, "cancel": {409, "active"}},
		"suspended": {"suspend": {200, "suspended"}, "resume": {200, "active"}, "revoke": {200, "revoked"}, "delete": {409, "suspended"},
			"edit": {200, "suspended"}, "rotate": {200, "suspended"}, "credential": {201, "suspended"}, "cancel": {409, "suspended"}},
		"revoked": {"suspend": {409, "revoked"}, "resume": {409, "revoked"}, "revoke": {200, "revoked"}, "delete": {204, ""},
			"edit": {409, "revoked"}, "rotate": {409, "revoked"}, "credential": {409, "revoked"}, "cancel": {409, "revoked"}},
		"deleted": {"suspend": {404, ""}, "resume": {404, ""}, "revoke": {404, ""}, "delete": {404, ""},
			"edit": {404, ""}, "rotate": {404, ""}, "credential": {404, ""}, "cancel": {404, ""}},
	} {
		for action, do := range actions {
			t.Run(from+" "+action, func(t *testing.T) {
				s.t = t
				id, _ := s.create("")
				path := "keys/" + id
				switch from {
				case "suspended":
					s.do("POST", path+"/suspend", "").want(200)
				case "deleted":
					s.do("POST", path+"/revoke", "").want(200)
					s.do("DELETE", path, "").want(204)
				case "revoked":
					s.do("POST", path+"/revoke", "").want(200)
				}
				a := do(path)
				a.want(want[action].status)
				if a.status == 409 {
					a.problem(409, "wrong-state", "")
				}
				if want[action].state == "" {
					s.do("GET", path, "").want(404)
					return
				}
				s.do("GET", path, "").want(200).is(`"`+want[action].state+`"`, "state")
			})
		}
	}
}

func TestPatch(t *testing.T) {
	s := newServer(t)
	id, _ := s.create(`"owner":"me","scopes":["a:read"],"tags":["x"],"metadata":{"a":"1"},"expires_at":"2090-01-01T00:00:00Z","not_before":"2020-01-01T00:00:00Z"`)
	path := "keys/" + id
	same := s.do("PATCH", path, `{}`).want(200)
	if same.header.Get("ETag") != `"1"` {
		t.Errorf("a patch of nothing made revision %s", same.header.Get("ETag"))
	}
	s.do("PATCH", path, `{"scopes":["b:read","b:write"],"metadata":{"b":"2"},"expires_at":null}`).want(200).
		is(`["b:read","b:write"]`, "scopes").is(`{"b":"2"}`, "metadata").is(`null`, "expires_at").
		is(`"2020-01-01T00:00:00.000Z"`, "not_before").is(`"me"`, "owner").is(`["x"]`, "tags").is(`2`, "revision")
	s.do("PATCH", path, `{"scopes":[],"metadata":{},"tags":[],"owner":""}`).want(200).
		is(`[]`, "scopes").is(`{}`, "metadata").is(`[]`, "tags").is(`""`, "owner")
	s.do("PATCH", path, `{"name":""}`).problem(400, "invalid-field", "name")
	s.do("PATCH", path, `{"roles":["nobody"]}`).problem(400, "invalid-field", "roles[0]")
	s.do("PATCH", path, `{"org":"nowhere"}`).problem(400, "invalid-field", "org")
	for _, field := range []string{"name", "org", "scopes", "allow", "deny", "origins", "client_certs", "roles", "tags", "metadata", "signing", "allow_anyone"} {
		s.do("PATCH", path, `{"`+field+`":null}`).problem(400, "invalid-field", field)
	}
	s.do("GET", path, "").want(200).is(`3`, "revision")
}

// A list that says "only these" never becomes "anyone" unless that is said.
func TestListsNeverEmptiedByAccident(t *testing.T) {
	s := newServer(t)
	for _, list := range []struct{ name, value string }{{"allow", `["203.0.113.7"]`}, {"origins", `["https://a.example"]`}, {"client_certs", `["abababababababababababababababababababababababababababababababab"]`}} {
		for body, status := range map[string]int{
			`{"%":[]}`:                              400,
			`{"%":null}`:                            400,
			`{"%":[""]}`:                            400,
			`{"%":[null]}`:                          400,
			`{"%":""}`:                              400,
			`{"%":{}}`:                              400,
			`{"%":[],"allow_anyone":false}`:         400,
			`{"%":[],"allow_anyone":"true"}`:        400,
			`{"%":[],"allow_anyone":1}`:             400,
			`{"%":[],"Allow_Anyone":true}`:          400,
			`{"owner":"x"}`:                         200,
			`{}`:                                    200,
			`{"owner":"x","allow_anyone":true}`:     200,
			`{"%":[],"owner":"","allow_anyone":tru`: 400,
		} {
			id, _ := s.create(`"` + list.name + `":` + list.value)
			s.do("PATCH", "keys/"+id, strings.ReplaceAll(body, "%", list.name)).want(status)
			s.do("GET", "keys/"+id, "").want(200).is(list.value, list.name)
		}
		id, _ := s.create(`"` + list.name + `":` + list.value)
		s.do("PATCH", "keys/"+id, `{"`+list.name+`":[],"allow_anyone":true}`).want(200).is(`[]`, list.name)
	}
}

func TestPreconditions(t *testing.T) {
	s := newServer(t)
	id, _ := s.create("")
	path := "keys/" + id
	for _, tc := range []struct {
		value  string
		status int
	}{
		{`"1"`, 200}, {"*", 200}, {`"2"`, 412}, {`"0"`, 412}, {`"01"`, 412}, {`"-1"`, 412}, {`"x"`, 412}, {`""`, 412},
		{`"18446744073709551615"`, 412}, {`"18446744073709551617"`, 412},
		{"1", 400}, {`W/"1"`, 400}, {`"1", "2"`, 400}, {`"1`, 400}, {`"`, 400}, {`'1'`, 400}, {`"1""`, 400}, {"**", 400},
	} {
		a := s.do("PATCH", path, `{}`, "If-Match", tc.value)
		if a.want(tc.status); tc.status == 412 {
			a.problem(412, "precondition-failed", "")
		} else if tc.status == 400 {
			a.problem(400, "invalid-precondition", "")
		}
	}
	r, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+s.addr+"/api_keys/"+path+"/suspend", nil)
	r.Header["If-Match"] = []string{`"1"`, `"2"`}
	s.read(s.client.RoundTrip(r)).problem(400, "invalid-precondition", "")
	// Two people edit what they both saw: the second one learns of it.
	s.do("PATCH", path, `{"owner":"first"}`, "If-Match", `"1"`).want(200)
	s.do("PATCH", path, `{"owner":"second"}`, "If-Match", `"1"`).problem(412, "precondition-failed", "")
	s.do("GET", path, "").want(200).is(`"first"`, "owner")
	for _, stale := range []struct{ method, path string }{
		{"POST", path + "/suspend"}, {"POST", path + "/resume"}, {"POST", path + "/revoke"}, {"POST", path + "/rotate"},
		{"DELETE", path + "/rotate"}, {"POST", path + "/credentials"}, {"DELETE", path + "/credentials/1"}, {"DELETE", path},
	} {
		s.do(stale.method, stale.path, "", "If-Match", `"1"`).problem(412, "precondition-failed", "")
		s.do(stale.method, stale.path, "", "If-Match", `x`).problem(400, "invalid-precondition", "")
	}
	s.do("GET", path, "").want(200).is(`2`, "revision").is(`"active"`, "state")
}
