package adminapi

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ids returns the ids of a page.
func (a reply) ids() (ids []string) {
	a.t.Helper()
	for i := range a.at("keys").([]any) {
		ids = append(ids, a.text("keys", i, "id"))
	}
	return ids
}

func TestPages(t *testing.T) {
	s := newServer(t)
	var all []string
	for range 7 {
		id, _ := s.create("")
		all = append(all, id)
	}
	slices.Sort(all)
	var got []string
	query := "keys?limit=3"
	for pages := 0; ; pages++ {
		a := s.do("GET", query, "").want(200)
		got = append(got, a.ids()...)
		next, more := a.at("next").(string)
		if !more {
			if pages != 2 {
				t.Errorf("%d pages before the last one, want 2", pages)
			}
			break
		}
		query = "keys?limit=3&after=" + next
	}
	if !slices.Equal(got, all) {
		t.Errorf("pages show %v, want %v", got, all)
	}
	s.do("GET", "keys?limit=7", "").want(200).is(`null`, "next")
	s.do("GET", "keys", "").want(200).is(`null`, "next")

	for i := range 3 {
		s.do("PUT", "orgs/org"+strconv.Itoa(i), `{}`).want(201)
	}
	a := s.do("GET", "orgs?limit=2", "").want(200).is(`"org0"`, "orgs", 0, "name").is(`"org1"`, "orgs", 1, "name")
	s.do("GET", "orgs?limit=2&after="+a.text("next"), "").want(200).is(`"org2"`, "orgs", 0, "name").is(`null`, "next")
}

func TestFilters(t *testing.T) {
	s := newServer(t)
	s.do("PUT", "orgs/acme", `{}`).want(201)
	one, _ := s.create(`"org":"acme","owner":"a@acme.example","scopes":["contacts:*"],"tags":["sync"],"tier":"gold","expires_at":"2080-01-01T00:00:00Z"`)
	two, _ := s.create(`"owner":"b","purpose":"Weekly REPORT","scopes":["deals:read"]`)
	three, _ := s.create("")
	gone, _ := s.create(`"owner":"b"`)
	s.do("POST", "keys/"+two+"/suspend", "").want(200)
	s.do("POST", "keys/"+gone+"/revoke", "").want(200)
	for query, want := range map[string][]string{
		"org=acme":                             {one},
		"org=other":                            nil,
		"state=active":                         {one, three},
		"state=suspended":                      {two},
		"state=revoked":                        {gone},
		"scope=contacts:read":                  {one},
		"scope=contacts":                       nil,
		"owner=b":                              {two, gone},
		"owner=b&state=suspended":              {two},
		"owner=" + "a%40acme.example":          {one},
		"tag=sync":                             {one},
		"tier=gold":                            {one},
		"q=weekly+report":                      {two},
		"q=ACME.EXAMPLE":                       {one},
		"q=" + strings.ToUpper(three):          {three},
		"expiring_before=2085-01-01T00:00:00Z": {one},
		"expiring_before=2079-12-31T23:59:59%2B02:00": nil,
	} {
		slices.Sort(want)
		if got := s.do("GET", "keys?"+query, "").want(200).ids(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	s.do("DELETE", "keys/"+gone, "").want(204)
	s.do("GET", "keys?state=revoked", "").want(200).is(`[]`, "keys")
}

func TestQueryRefusals(t *testing.T) {
	s := newServer(t)
	id, _ := s.create("")
	after := func(text string) string { return "keys?after=" + base64.RawURLEncoding.EncodeToString([]byte(text)) }
	for _, path := range []string{
		"keys?limit=0", "keys?limit=501", "keys?limit=-1", "keys?limit=%2B1", "keys?limit=01", "keys?limit=x", "keys?limit=1e1", "keys?limit=9999999999999999999999",
		"keys?limit=1&limit=2", "keys?org=", "keys?org=a&org=a", "keys?Org=a", "keys?unused=1", "keys?org[]=a", "keys?or%67=a&org=b", "keys?org=%zz", "keys?org=a;state=active",
		"keys?state=deleted", "keys?state=ACTIVE", "keys?scope=contacts:*", "keys?scope=%20", "keys?expiring_before=tomorrow", "keys?expiring_before=0001-01-01T00:00:00Z",
		"keys?after=x", "keys?after=%00", after("nonsense"), after("key_0"), after(strings.Repeat("k", 100)), after(id) + "%3D", "keys?after=" + id,
		"orgs?org=a", "orgs?after=%2F", "keys/" + id + "?x=1", "keys/" + id + "/credentials?limit=1", "backup?x=1", "openapi.json?x=1", "keys?" + strings.Repeat("x", 100) + "=1",
	} {
		s.do("GET", path, "").problem(400, "invalid-query", "")
	}
	s.do("POST", "keys?dry_run=1", `{"name":"x"}`).problem(400, "invalid-query", "")
	s.do("POST", "keys/"+id+"/revoke?force", "").problem(400, "invalid-query", "")
	if a := s.do("GET", "keys?nope=1", ""); !strings.Contains(a.text("detail"), "expiring_before, limit, org, owner, q, rotation, scope, state, tag, tier, unused_since, used") {
		t.Errorf("the known parameters are not named: %s", a.body)
	}
	if a := s.do("GET", "keys?"+url.QueryEscape("ck_"+strings.Repeat("x", 49))+"=1", ""); strings.Contains(a.body, "xxxx") {
		t.Errorf("a parameter's name is repeated: %s", a.body)
	}
}

func TestRoutes(t *testing.T) {
	s := newServer(t)
	id, _ := s.create("")
	for path, allow := range map[string]string{
		"keys":                        "GET, HEAD, POST",
		"keys/" + id:                  "DELETE, GET, HEAD, PATCH",
		"keys/" + id + "/suspend":     "POST",
		"keys/" + id + "/rotate":      "DELETE, POST",
		"keys/" + id + "/credentials": "GET, HEAD, POST",
		"import":                      "POST",
		"identify":                    "POST",
		"orgs":                        "GET, HEAD",
		"orgs/acme":                   "GET, HEAD, PATCH, PUT",
		"backup":                      "GET, HEAD",
		"openapi.json":                "GET, HEAD",
	} {
		for _, method := range []string{"TRACE", "OPTIONS", "get", "FOO"} {
			a := s.do(method, path, "").problem(405, "method-not-allowed", "")
			if got := a.header.Get("Allow"); got != allow {
				t.Errorf("%s %s: Allow %q, want %q", method, path, got, allow)
			}
		}
	}
	for _, path := range []string{"", "x", "keys/", "keys/" + id + "/", "keys/" + id + "/x", "keys/" + id + "/credentials/1/x", "Keys", "keysx", "orgs/", "openapi", "backup/", "keys%2F" + id, "usage"} {
		s.do("GET", path, "").problem(404, "not-found", "")
	}
	// A GET never changes anything.
	for _, action := range []string{"suspend", "resume", "revoke", "rotate"} {
		s.do("GET", "keys/"+id+"/"+action, "").want(405)
	}
	s.do("GET", "keys/"+id, "").want(200).is(`1`, "revision")
}
