package adminapi

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// Bodies, addresses and parameters are read strictly, and nothing is locked or
// released by one that is refused.
func TestLockoutsAreReadStrictly(t *testing.T) {
	s := newServer(t)
	if got := s.do("GET", "lockouts", ""); got.status != 404 || !strings.Contains(got.body, "#no-lockout") {
		t.Fatalf("without a lockout: %d %s", got.status, got.body)
	}
	s.load("", `"lockouts":{}`) // there without keys, too
	for _, c := range []struct {
		body   string
		status int
		field  string
	}{
		{`{"for":"15m"}`, 400, "address"},
		{`{"address":"203.0.113.0/24","for":"15m"}`, 400, "address"},
		{`{"address":"fe80::1%eth0","for":"15m"}`, 400, "address"},
		{`{"address":"010.1.2.3","for":"15m"}`, 400, "address"},
		{`{"address":"203.0.113.7"}`, 400, "for"},
		{`{"address":"203.0.113.7","for":"0s"}`, 400, "for"},
		{`{"address":"203.0.113.7","for":"-1h"}`, 400, "for"},
		{`{"address":"203.0.113.7","for":"366d"}`, 400, "for"},
		{`{"address":"203.0.113.7","for":"forever"}`, 400, "for"},
		{`{"address":"203.0.113.7","for":15}`, 400, "for"},
		{`{"address":"203.0.113.7","for":"15m","reason":"a\nb"}`, 400, "reason"},
		{`{"address":"203.0.113.7","for":"15m","reason":"` + strings.Repeat("x", 201) + `"}`, 400, "reason"},
		{`{"address":"203.0.113.7","for":"15m","Reason":"x"}`, 400, "Reason"},
		{`{"address":"203.0.113.7","for":"15m","until":"x"}`, 400, "until"},
		{`{"address":"203.0.113.7","for":"15m","lockout":"none"}`, 404, ""},
		{`{"address":"127.0.0.1","for":"15m"}`, 409, ""},
	} {
		got := s.do("POST", "lockouts", c.body)
		if got.status != c.status || c.field != "" && got.text("field") != c.field {
			t.Errorf("%s: %d %s", c.body, got.status, got.body)
		}
	}
	for _, path := range []string{"lockouts?lockout=none", "lockouts?limit=0", "lockouts?after=zzz", "lockouts?address=1.2.3.4"} {
		if got := s.do("GET", path, ""); got.status != 400 && got.status != 404 {
			t.Errorf("GET %s: %d", path, got.status)
		}
	}
	for _, address := range []string{"203.0.113.7", "203.0.113.0%2F24", "nonsense", "fe80::1%25eth0", "%00"} {
		if got := s.do("DELETE", "lockouts/"+address, ""); got.status != 404 {
			t.Errorf("DELETE %s: %d", address, got.status)
		}
	}
	if got := s.do("GET", "lockouts", ""); got.status != 200 || len(got.at("lockouts").([]any)) != 0 {
		t.Errorf("%s", got.body)
	}
}

// Pages go on where the one before ended, over all lockouts.
func TestPagesOfLockouts(t *testing.T) {
	s := newServer(t)
	s.load("", `"lockouts":{}`)
	for i := range 5 {
		s.do("POST", "lockouts", fmt.Sprintf(`{"address":"203.0.113.%d","for":"1h","lockout":"other"}`, i+1)).want(200)
	}
	s.do("POST", "lockouts", `{"address":"2001:db8::5","for":"1h","reason":"why"}`).want(200)
	var all []string
	after := ""
	for pages := 0; pages < 20; pages++ {
		got := s.do("GET", "lockouts?limit=2"+after, "")
		got.want(200)
		for i := range got.at("lockouts").([]any) {
			all = append(all, got.text("lockouts", i, "lockout")+" "+got.text("lockouts", i, "prefix"))
		}
		next, more := got.at("next").(string)
		if !more {
			break
		}
		after = "&after=" + url.QueryEscape(next)
	}
	// The stand-in has one table for both names.
	if len(all) != 12 || !strings.HasPrefix(all[5], "default 2001:db8::/64") || !strings.HasPrefix(all[6], "other 203.0.113.1/32") {
		t.Errorf("%q", all)
	}
	for _, spelling := range []string{"2001:db8::5", "2001:DB8:0::FFFF", "::ffff:203.0.113.1"} {
		if got := s.do("DELETE", "lockouts/"+spelling, ""); spelling != "2001:DB8:0::FFFF" && got.status != 204 || spelling == "2001:DB8:0::FFFF" && got.status != 404 {
			t.Errorf("DELETE %s: %d %s", spelling, got.status, got.body)
		}
	}
}
