package adminapi

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/usage"
)

// useKey records a request of a key's first credential.
func (s *server) useKey(id, addr string, change func(*usage.Use)) {
	s.t.Helper()
	ip := netip.MustParseAddr(addr)
	u := usage.Use{Key: [usage.KeyLen]byte([]byte(id)), Credential: 1, Place: usage.PlaceOf(ip),
		Route: s.use.Route(usage.Route{Site: "api", Rules: []string{"read"}, Method: "GET"})}
	change(&u)
	now := time.Now()
	s.use.Begin(&u, now).End(200, 100)
	s.use.Call(&usage.CallSeen{Key: u.Key, Credential: u.Credential, Route: u.Route, Reason: u.Reason, Observed: u.Observed, Began: now,
		Duration: 3 * time.Millisecond, Method: "GET", Path: "/contacts?page=2", UserAgent: "curl/8", Addr: ip, Status: 200, Bytes: 100})
}

func TestKeyUse(t *testing.T) {
	s := newServer(t)
	id, _ := s.create(`"owner":"sync","scopes":["contacts:read"]`)
	if got := s.do("GET", "keys/"+id, "").want(200); !strings.Contains(string(got.body), `"last_used_at":null`) {
		t.Errorf("a key that was never used: %s", got.body)
	}
	refused := func(u *usage.Use) { u.Reason = usage.NumberOf("insufficient_scope") }
	for range 3 {
		s.useKey(id, "203.0.113.7", func(*usage.Use) {})
	}
	s.useKey(id, "2001:db8::1", refused)
	s.useKey(id, "2001:db8::2", refused)
	for path, wants := range map[string][]string{
		"keys/" + id:                              {`"last_used_ip":"203.0.113.7"`, `"requests":5,"refused":2`},
		"keys":                                    {`"last_used_ip":"203.0.113.7"`},
		"keys/" + id + "/usage":                   {`"requests":5`, `"refused":2`, `"address":"2001:db8::/64"`, `"reason":"insufficient_scope"`, `"2xx":5`, `"rule":"read"`, `"bytes":500`},
		"keys/" + id + "/usage?since=1h":          {`"requests":5`},
		"keys/" + id + "/calls":                   {`"path":"/contacts"`, `"decision":"refused"`, `"duration_ms":3`, `"address":"2001:db8::2"`},
		"keys/" + id + "/usage?credential=1":      {`"requests":5`},
		"keys/" + id + "/usage?credential=2":      {`"requests":0`, `"credentials":[]`, `"addresses":[]`},
		"keys/" + id + "/calls?credential=1":      {`"address":"203.0.113.7"`},
		"keys/" + id + "/calls?credential=2":      {`"calls":[]`},
		"keys/" + id + "/calls?status=4xx":        {`"calls":[]`},
		"keys/" + id + "/calls?address=192.0.2.1": {`"calls":[]`},
		"report?key=" + id:                        {`"requests":5`, `"name":"test"`},
		"report?address=203.0.113.7":              {`"requests":3`, `"id":"` + id + `"`},
	} {
		got := s.do("GET", path, "").want(200)
		for _, want := range wants {
			if !strings.Contains(string(got.body), want) {
				t.Errorf("%s has no %s: %s", path, want, got.body)
			}
		}
		if strings.Contains(string(got.body), "page=2") {
			t.Errorf("%s shows a query: %s", path, got.body)
		}
	}
	for path, problem := range map[string]string{
		"keys/" + id + "/usage?since=yesterday":     "2026",
		"keys/" + id + "/usage?since=1h&until=2h":   "until is not after since",
		"keys/" + id + "/usage?credential=0":        "credential is its number",
		"keys/" + id + "/calls?credential=01":       "credential is its number",
		"keys/" + id + "/calls?credential=x":        "credential is its number",
		"keys/" + id + "/calls?status=9":            "403",
		"keys/" + id + "/calls?address=x":           "address is an IP address",
		"keys/" + id + "/calls?after=AAAA":          "next",
		"keys/" + id + "/calls?follow=yes":          "follow is true",
		"keys/" + id + "/calls?follow=true&limit=3": "leave out",
		"report":                              "about one of",
		"report?key=" + id + "&org=acme":      "about one of",
		"report?address=here":                 "address is an IP address",
		"register?format=xml":                 "json or csv",
		"keys/key_00000000000000000000/usage": "",
		"report?org=none":                     "none",
	} {
		if got := s.do("GET", path, ""); got.status != 400 && got.status != 404 || !strings.Contains(string(got.body), problem) {
			t.Errorf("%s: %d %s; want %q", path, got.status, got.body, problem)
		}
	}
}

// Every answer that shows a credential says the same of its use: what was
// refused is counted, and is not what it was used for last.
func TestOneMeaningOfUse(t *testing.T) {
	s := newServer(t)
	id, token := s.create("")
	s.do("POST", "keys/"+id+"/credentials", "").want(201)
	s.useKey(id, "203.0.113.7", func(*usage.Use) {})
	s.useKey(id, "203.0.113.8", func(u *usage.Use) { u.Reason = usage.NumberOf("insufficient_scope") })
	s.useKey(id, "203.0.113.8", func(u *usage.Use) {
		u.Credential, u.Reason = 2, usage.NumberOf("insufficient_scope")
	})
	shown := s.do("GET", "keys/"+id, "").want(200)
	listed := s.do("GET", "keys/"+id+"/credentials", "").want(200)
	identified := s.do("POST", "identify", `{"token":"`+token+`"}`).want(200)
	for i, want := range []struct{ requests, refused, ip string }{{"2", "1", `"203.0.113.7"`}, {"1", "1", "null"}} {
		record := s.do("GET", fmt.Sprintf("keys/%s/usage?credential=%d", id, i+1), "").want(200)
		last, err := json.Marshal(record.at("credentials", 0, "last_used_at"))
		if err != nil || (string(last) == "null") != (want.ip == "null") || record.text("last_refused_at") == "" {
			t.Errorf("credential %d: %s", i+1, record.body)
		}
		record.is(want.requests, "credentials", 0, "requests").is(want.refused, "credentials", 0, "refused")
		for _, at := range []struct {
			reply
			path []any
		}{{shown, nil}, {listed, nil}, {identified, []any{"key"}}} {
			is := func(want, field string) { at.is(want, append(slices.Clip(at.path), "credentials", i, field)...) }
			is(want.requests, "requests")
			is(want.refused, "refused")
			is(want.ip, "last_used_ip")
			is(string(last), "last_used_at")
		}
	}
}

// Whoever would lock somebody out is told, and may insist.
func TestEndingWhatIsUsedAsks(t *testing.T) {
	s := newServer(t)
	for _, c := range []struct {
		name, method, path, body string
	}{
		{"suspend", "POST", "/suspend", ""},
		{"revoke", "POST", "/revoke", ""},
		{"end", "DELETE", "/credentials/1", ""},
		{"rotate at once", "POST", "/rotate", `{"overlap":"0s"}`},
	} {
		id, _ := s.create("")
		s.do("POST", "keys/"+id+"/credentials", "").want(201)
		s.useKey(id, "203.0.113.7", func(*usage.Use) {})
		s.useKey(id, "198.51.100.2", func(*usage.Use) {})
		got := s.do(c.method, "keys/"+id+c.path, c.body).want(409)
		for _, want := range []string{"recently-used", "2 times", "203.0.113.7 (1)", "198.51.100.2 (1)", "?force=true", `"recent_use":{"within":"24h","requests":2`} {
			if !strings.Contains(string(got.body), want) {
				t.Errorf("%s: no %s in %s", c.name, want, got.body)
			}
		}
		if got := s.do("GET", "keys/"+id, ""); !strings.Contains(string(got.body), `"state":"active"`) || !strings.Contains(string(got.body), `"revision":2`) {
			t.Errorf("%s: changed though it was refused: %s", c.name, got.body)
		}
		s.do(c.method, "keys/"+id+c.path+"?force=1", c.body).want(400)
		s.do(c.method, "keys/"+id+c.path+"?force=true", c.body).want(200)
	}
	// What was not used, or only refused, is ended without a question; so is a
	// credential beside the one that is in use.
	id, _ := s.create("")
	s.useKey(id, "203.0.113.7", func(u *usage.Use) { u.Reason = usage.NumberOf("insufficient_scope") })
	s.do("POST", "keys/"+id+"/suspend", "").want(200)
	s.do("POST", "keys/"+id+"/revoke", "").want(200)
	s.do("DELETE", "keys/"+id, "").want(204)
	id, _ = s.create("")
	s.do("POST", "keys/"+id+"/credentials", "").want(201)
	s.useKey(id, "203.0.113.7", func(*usage.Use) {})
	s.do("DELETE", "keys/"+id+"/credentials/2", "").want(200)

	// Without a record nobody knows: then it takes force, too.
	testUse.Store(nil)
	got := s.do("POST", "keys/"+id+"/revoke", "").want(409)
	if !strings.Contains(string(got.body), "cannot be told") {
		t.Errorf("without a record: %s", got.body)
	}
	s.do("GET", "keys/"+id, "").want(200)
	s.do("GET", "keys/"+id+"/usage", "").want(503)
	s.do("POST", "keys/"+id+"/revoke?force=true", "").want(200)
}

// Nobody is asked to confirm what is not possible, or ends nothing.
func TestTheStateIsTheFirstAnswer(t *testing.T) {
	s := newServer(t)
	id, _ := s.create("")
	path := "keys/" + id
	use := func(credential uint32) {
		s.useKey(id, "203.0.113.7", func(u *usage.Use) { u.Credential = credential })
	}
	state := func(a reply, want string) {
		t.Helper()
		if a.problem(409, "wrong-state", ""); !strings.Contains(a.text("detail"), want) {
			t.Errorf("%s; want %q", a.body, want)
		}
	}
	use(1)
	state(s.do("DELETE", path, ""), "revoke it")
	s.do("POST", path+"/rotate", "").want(200)
	use(2)
	state(s.do("POST", path+"/rotate", `{"overlap":"0s"}`), "A rotation is pending")
	state(s.do("DELETE", path+"/credentials/2", ""), "cancel the rotation")
	s.do("DELETE", path+"/credentials/1", "").problem(409, "recently-used", "")
	s.do("DELETE", path+"/credentials/1?force=true", "").want(200)
	s.do("DELETE", path+"/credentials/1", "").want(200) // ended already
	s.do("POST", path+"/revoke?force=true", "").want(200)
	state(s.do("POST", path+"/suspend", ""), "final")
	state(s.do("POST", path+"/rotate", `{"overlap":"0s"}`), "final")
	s.do("DELETE", path, "").want(204)
}

func TestSuggest(t *testing.T) {
	s := newServer(t)
	id, _ := s.create(`"scopes":["contacts:*","deals:read","brands/*:use"],"roles":["reader"]`)
	path := "keys/" + id + "/suggest"
	if got := s.do("GET", path, "").want(200); !strings.Contains(string(got.body), `"patch":null`) {
		t.Errorf("a suggestion from nothing: %s", got.body)
	}
	s.useKey(id, "203.0.113.7", func(*usage.Use) {})
	s.useKey(id, "203.0.113.7", func(u *usage.Use) {
		u.Route = s.use.Route(usage.Route{Site: "api", Rules: []string{"brand"}, Method: "GET"})
	})
	s.use.Scope([usage.KeyLen]byte([]byte(id)), "brands/17:use", time.Now())
	s.useKey(id, "198.51.100.1", func(u *usage.Use) { // refused: not needed
		u.Route, u.Reason = s.use.Route(usage.Route{Site: "api", Rules: []string{"write"}, Method: "POST"}), usage.NumberOf("address_not_allowed")
	})
	got := s.do("GET", path, "").want(200)
	for _, want := range []string{
		`"needed":["brands/*:use","contacts:*"]`, `"unneeded":["deals:read"]`, `"needed":["reader"]`, `"addresses":["203.0.113.7"]`, `"complete":true`,
		`"patch":{"scopes":["brands/17:use"],"roles":["reader"],"allow":["203.0.113.7"]}`,
	} {
		if !strings.Contains(string(got.body), want) {
			t.Errorf("no %s in %s", want, got.body)
		}
	}
	s.useKey(id, "203.0.113.7", func(u *usage.Use) {
		u.Route = s.use.Route(usage.Route{Site: "old", Rules: []string{"gone"}, Method: "GET"})
	})
	if got := s.do("GET", path, "").want(200); !strings.Contains(string(got.body), `"patch":null`) || !strings.Contains(string(got.body), "no rule gone on site old") {
		t.Errorf("a rule that is not known any more: %s", got.body)
	}
}

func TestRegisterAndReportInCSV(t *testing.T) {
	s := newServer(t)
	s.do("PUT", "orgs/acme", `{}`).want(201)
	id, _ := s.create(`"org":"acme","owner":"=HYPERLINK(\"x\")","purpose":"-1+2","tier":"gold","scopes":["contacts:read"]`)
	other, _ := s.create(`"owner":"@other","scopes":["brands/17:use"]`)
	s.useKey(id, "203.0.113.7", func(*usage.Use) {})
	s.useKey(other, "203.0.113.9", func(*usage.Use) {})
	got := s.do("GET", "register", "").want(200)
	for _, want := range []string{`"data":["contact details"]`, `"data":["brands"]`, `"rule":"brand"`} {
		if !strings.Contains(string(got.body), want) {
			t.Errorf("no %s in %s", want, got.body)
		}
	}
	if strings.Contains(string(got.body), `"rule":"write"`) || strings.Contains(string(got.body), `"rule":"health"`) {
		t.Errorf("out of reach, or nobody's: %s", got.body)
	}
	lines := string(s.do("GET", "register?format=csv", "").want(200).body)
	for _, want := range []string{`"'=HYPERLINK(""x"")"`, "'@other", "'-1+2", "api/read", "contact details", other} {
		if !strings.Contains(lines, want) {
			t.Errorf("no %s in\n%s", want, lines)
		}
	}
	lines = string(s.do("GET", "report?format=csv&org=acme", "").want(200).body)
	if strings.Count(lines, "\n") != 2 || !strings.Contains(lines, id) || !strings.Contains(lines, "203.0.113.7") {
		t.Errorf("report of the org:\n%s", lines)
	}
	// What a key did is asked for when it is gone.
	s.do("POST", "keys/"+id+"/revoke?force=true", "").want(200)
	s.do("DELETE", "keys/"+id, "").want(204)
	for _, query := range []string{"key=" + id, "org=acme"} {
		if got := s.do("GET", "report?"+query, "").want(200); !strings.Contains(string(got.body), `"requests":1`) || !strings.Contains(string(got.body), `"state":"deleted"`) {
			t.Errorf("%s: %s", query, got.body)
		}
	}
}

func TestFollowCalls(t *testing.T) {
	s := newServer(t)
	id, _ := s.create("")
	for _, c := range []struct{ accept, contentType, prefix string }{{"", "application/x-ndjson", "{"}, {"text/event-stream", "text/event-stream", "data: {"}} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.addr+"/api_keys/keys/"+id+"/calls?follow=true&address=203.0.113.7", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", c.accept)
		resp, err := s.client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Content-Type"); got != c.contentType {
			t.Errorf("content type %s", got)
		}
		s.useKey(id, "203.0.113.8", func(*usage.Use) {}) // not asked for
		s.useKey(id, "203.0.113.7", func(*usage.Use) {})
		line, err := bufio.NewReader(resp.Body).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, c.prefix) || !strings.Contains(line, `"address":"203.0.113.7"`) {
			t.Errorf("%q, %v", line, err)
		}
		_ = resp.Body.Close()
	}
}

func TestKeysByUse(t *testing.T) {
	s := newServer(t)
	never, _ := s.create(`"owner":"never"`)
	used, _ := s.create(`"owner":"used"`)
	s.useKey(used, "203.0.113.7", func(*usage.Use) {})
	refused, _ := s.create(`"owner":"refused"`)
	s.useKey(refused, "203.0.113.7", func(u *usage.Use) { u.Reason = usage.NumberOf("insufficient_scope") })
	onOld, _ := s.create(`"owner":"on old"`)
	moved, _ := s.create(`"owner":"moved"`)
	for _, id := range []string{onOld, moved} {
		s.do("POST", "keys/"+id+"/rotate", "").want(200)
		s.useKey(id, "203.0.113.7", func(*usage.Use) {})
	}
	time.Sleep(2 * time.Millisecond) // times are kept in milliseconds
	s.useKey(moved, "203.0.113.7", func(u *usage.Use) { u.Credential = 2 })
	for query, want := range map[string][]string{
		"used=never":                 {never, refused},
		"unused_since=1h":            {never, refused},
		"unused_since=0s":            {never, used, refused, onOld, moved},
		"rotation=pending":           {onOld, moved},
		"rotation=on_old":            {onOld},
		"rotation=on_old&used=never": {},
		"used=never&owner=never":     {never},
		"unused_since=0s&limit=2":    {never, used},
	} {
		got := s.do("GET", "keys?"+query, "").want(200)
		for _, id := range []string{never, used, refused, onOld, moved} {
			if found := strings.Contains(string(got.body), `"id":"`+id+`"`); found != slices.Contains(want, id) {
				t.Errorf("%s: %s listed: %v", query, id, found)
			}
		}
	}
	page := s.do("GET", "keys?unused_since=0s&limit=2", "").want(200)
	rest := s.do("GET", "keys?unused_since=0s&after="+page.text("next"), "").want(200)
	if !strings.Contains(string(rest.body), refused) || strings.Contains(string(rest.body), used) || strings.Count(string(rest.body), `"revision"`) != 3 {
		t.Errorf("the next page: %s", rest.body)
	}
	for _, query := range []string{"used=yes", "unused_since=x", "rotation=old"} {
		s.do("GET", "keys?"+query, "").want(400)
	}
	testUse.Store(nil)
	s.do("GET", "keys?used=never", "").want(503)
}
