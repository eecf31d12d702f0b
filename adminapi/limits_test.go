package adminapi

import (
	"testing"

	"github.com/caddy-apikey/caddy-apikey/limit"
)

func TestLimits(t *testing.T) {
	s := newServer(t)
	s.do("PUT", "orgs/acme", `{"tier":"gold","limits":["7/month","3/60s"]}`).want(201).is(`["3/1m","7/month"]`, "limits")
	id, _ := s.create(`"org":"acme","limits":["9/day","100/90m"]`)
	key := "keys/" + id
	s.do("GET", key, "").want(200).is(`["100/90m","9/day"]`, "limits")

	s.do("PATCH", key, `{"owner":"x"}`).want(200).is(`["100/90m","9/day"]`, "limits")
	s.do("PATCH", key, `{"limits":["5/2h"]}`).want(200).is(`["5/2h"]`, "limits")
	s.do("PATCH", key, `{"limits":[]}`).want(200).is(`[]`, "limits")
	s.do("PATCH", key, `{"limits":null}`).problem(400, "invalid-field", "limits")
	s.do("PATCH", key, `{"limits":["1/1s","2/m"]}`).problem(400, "invalid-field", "limits[1]")
	s.do("PATCH", key, `{"limits":["1/1s","2/1h","3/60m"]}`).problem(400, "invalid-field", "limits[2]")
	s.do("PATCH", key, `{"tier":"mistyped"}`).problem(400, "invalid-field", "tier")
	s.do("POST", "keys", `{"name":"x","tier":"mistyped"}`).problem(400, "invalid-field", "tier")
	s.do("PUT", "orgs/other", `{"tier":"mistyped"}`).problem(400, "invalid-field", "tier")

	s.do("PUT", "orgs/acme", `{"title":"x","tier":"gold"}`).problem(400, "invalid-field", "limits")
	s.do("PATCH", "orgs/acme", `{"title":"x"}`).want(200).is(`["3/1m","7/month"]`, "limits")
	s.do("PUT", "orgs/acme", `{"limits":[],"tier":""}`).want(200).is(`[]`, "limits")
	s.do("PATCH", "orgs/acme", `{"tier":"gold","limits":["8/month"]}`).want(200)

	// What holds: the key's own, its org's tier for the key, and the org's.
	s.do("PATCH", key, `{"limits":["6/1s"]}`).want(200)
	r := limit.Request{Key: limit.Carrier{Name: []byte(id), Own: []limit.Limit{{Amount: 6, Span: 1}}}, Cost: 4}
	if _, err := testLimits.Take(t.Context(), &r, nil); err != nil {
		t.Fatal(err)
	}
	a := s.do("GET", key+"/limits", "").want(200).is(`"gold"`, "tier")
	for i, want := range []struct{ limit, from, shared, used string }{
		{`"6/1s"`, `"key"`, `false`, `4`}, {`"1000/month"`, `"tier"`, `false`, `0`}, {`"8/month"`, `"org"`, `true`, `0`}, {`"5/1s"`, `"tier"`, `true`, `0`},
	} {
		a.is(want.limit, "limits", i, "limit").is(want.from, "limits", i, "from").is(want.shared, "limits", i, "shared").is(want.used, "limits", i, "used")
	}
	a.is(`2`, "limits", 0, "remaining").is(`null`, "limits", 1, "more_at")
	s.do("GET", "orgs/acme/limits", "").want(200).is(`"8/month"`, "limits", 0, "limit")
	s.do("GET", "orgs/nobody/limits", "").problem(404, "not-found", "")
	s.do("GET", "keys/key_00000000000000000000/limits", "").problem(404, "not-found", "")
	s.do("GET", key+"/limits?x=1", "").problem(400, "invalid-query", "")
}
