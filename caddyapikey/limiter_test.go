package caddyapikey_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// zone is a zone of caddy-ratelimit. Its name is used once in the process, where
// a zone outlives its configuration while another one has it.
func zone(key string, events int, match string) string {
	if match != "" {
		match = "match {\n" + match + "\n}\n"
	}
	return fmt.Sprintf("zone test%d {\n%skey %s\nevents %d\nwindow 1h\n}\n", zones.Add(1), match, key, events)
}

var zones atomic.Int64

// limits is a rate_limit directive.
func limits(zones ...string) string { return "rate_limit {\n" + strings.Join(zones, "") + "}\n" }

// passes counts how many of a number of requests in a row are not limited, and
// checks that the limit is the next thing that happens to one.
func passes(t *testing.T, r *rig.Rig, path string, most int, headers ...string) (n int) {
	t.Helper()
	for range most {
		switch answer := r.Get(path, headers...); answer.Status {
		case http.StatusOK:
			n++
		case http.StatusTooManyRequests:
			if answer.Header.Get("Retry-After") == "" || answer.Header.Get("RateLimit") != "" || answer.Header.Get("RateLimit-Policy") != "" {
				t.Errorf("headers %v", answer.Header)
			}
			return n
		default:
			t.Fatalf("status %d: %s", answer.Status, answer.Body)
		}
	}
	return n
}

const openToSome = `
@read path /v1/*
@news path /news/*
@open path /open
api_key {
	public   @open
	optional @news
	require  @read contacts:read
}
`

// A zone counts for whom the key was made, and strangers each by themselves. Who
// is refused is not counted at all.
func TestZonesByKey(t *testing.T) {
	for _, c := range []struct {
		key                                  string
		sibling, otherOrg, stranger, another int // of 5 that pass, after the key used 3 of 3
	}{
		{"{http.api_key.caller}", 3, 3, 3, 3},
		{"{http.api_key.org_or_caller}", 0, 3, 3, 3},
		{"{http.api_key.id}", 3, 3, 3, 0}, // strangers share one, as the start warns
	} {
		t.Run(strings.Trim(c.key, "{}"), func(t *testing.T) {
			// The zone stands in front of api_key as it is written, not as it runs.
			r := rig.New(t, proxied, limits(zone(c.key, 3, ""))+openToSome+"respond ok")
			for _, org := range []string{"acme", "beta"} {
				r.Manage("PUT", "/orgs/"+org, "{}")
			}
			key := func(org string) string {
				_, token := r.Create(fmt.Sprintf(`{"name":"x","org":%q,"scopes":["contacts:read"]}`, org))
				return "X-API-Key: " + token
			}
			one, sibling, other := key("acme"), key("acme"), key("beta")
			for range 10 {
				for _, refused := range [][]string{{one + "x"}, {"X-API-Key: junk"}, {}} {
					if answer := r.Get("/v1/x", refused...); answer.Status != 401 {
						t.Fatalf("status %d", answer.Status)
					}
				}
				if answer := r.Get("/elsewhere", one); answer.Status != 403 {
					t.Fatalf("status %d", answer.Status)
				}
			}
			for name, want := range map[string][2]int{
				"the key":         {3, passes(t, r, "/v1/x", 5, one)},
				"the key, opened": {0, passes(t, r, "/news/x", 5, one)},
				"its org":         {c.sibling, passes(t, r, "/v1/x", 5, sibling)},
				"another org":     {c.otherOrg, passes(t, r, "/v1/x", 5, other)},
			} {
				if want[0] != want[1] {
					t.Errorf("%s: %d pass, want %d", name, want[1], want[0])
				}
			}
			stranger := passes(t, r, "/open", 5, from("203.0.113.1"))
			again := passes(t, r, "/news/x", 5, from("203.0.113.1"))
			another := passes(t, r, "/open", 5, from("203.0.113.2"))
			if stranger != c.stranger || again != 0 || another != c.another {
				t.Errorf("strangers: %d, %d of the same, %d of another pass", stranger, again, another)
			}
		})
	}
}

// A stranger is counted by the prefix that one customer has, in any spelling;
// those whose address is not known are counted together.
func TestStrangersByPrefix(t *testing.T) {
	r := rig.New(t, proxied, limits(zone("{http.api_key.caller}", 3, ""))+openToSome+`respond "{http.api_key.caller} {http.api_key.org_or_caller}"`)
	for _, c := range []struct {
		addrs []string
		want  string
	}{
		{[]string{"2001:db8:0:1::1", "2001:DB8:0:1:ffff::2", "2001:db8:0:1:1:2:3:4"}, "anonymous:2001:db8:0:1::/64"},
		{[]string{"2001:db8:0:2::1", "2001:db8:0:2::1", "2001:db8:0:2::1"}, "anonymous:2001:db8:0:2::/64"},
		{[]string{"198.51.100.7", "::ffff:198.51.100.7", "198.51.100.7:1234"}, "anonymous:198.51.100.7"},
		{[]string{"garbage", "unknown", "198.51.100.300"}, "anonymous:unknown"},
	} {
		for _, addr := range c.addrs {
			if answer := r.Get("/open", from(addr)); answer.Status != 200 || string(answer.Body) != c.want+" "+c.want {
				t.Errorf("%s: status %d %s", addr, answer.Status, answer.Body)
			}
		}
		if answer := r.Get("/open", from(c.addrs[0])); answer.Status != 429 {
			t.Errorf("%s: status %d", c.want, answer.Status)
		}
	}
}

// An address limit in front of the key and an org limit behind it, on one site.
func TestLimitsOnBothSides(t *testing.T) {
	byAddress, byOrg := limits(zone("{client_ip}", 10, "")), limits(zone("{http.api_key.org_or_caller}", 4, ""))
	r := rig.New(t, proxied, "route {\n"+byAddress+openToSome+byOrg+"respond ok\n}")
	r.Manage("PUT", "/orgs/acme", "{}")
	_, token := r.Create(`{"name":"x","org":"acme","scopes":["contacts:read"]}`)
	key := "X-API-Key: " + token
	if n := passes(t, r, "/v1/x", 20, key, from("203.0.113.1")); n != 4 {
		t.Errorf("%d of the org pass", n)
	}
	if n := passes(t, r, "/v1/x", 20, key, from("203.0.113.2")); n != 0 {
		t.Errorf("%d of the org pass from elsewhere", n)
	}
	// The address limit counts refused requests, too, and then no key is looked at.
	refused := 0
	for range 20 {
		if answer := r.Get("/v1/x", "X-API-Key: junk", from("203.0.113.3")); answer.Status == 401 {
			refused++
		}
	}
	if refused != 10 {
		t.Errorf("%d were looked at", refused)
	}
	if logs := r.Logs(); len(zoneWarnings(t, logs)) > 0 {
		t.Errorf("the start warns: %v", zoneWarnings(t, logs))
	}
}

// Tiers have zones of their own, by the matcher in `match`.
func TestZonesByTier(t *testing.T) {
	r := rig.New(t, "", limits(
		zone("{http.api_key.caller}", 2, "not {\napi_key tier gold silver\n}"),
		zone("{http.api_key.caller}", 5, "api_key tier gold"),
	)+openToSome+"respond ok")
	r.Manage("PUT", "/orgs/rich", `{"tier":"gold"}`)
	for spec, want := range map[string]int{
		`{"name":"x","scopes":["contacts:read"]}`:                              2,
		`{"name":"x","scopes":["contacts:read"],"tier":"gold"}`:                5,
		`{"name":"x","scopes":["contacts:read"],"org":"rich"}`:                 5,
		`{"name":"x","scopes":["contacts:read"],"tier":"silver"}`:              20, // no zone
		`{"name":"x","scopes":["contacts:read"],"org":"rich","tier":"bronze"}`: 2,
	} {
		_, token := r.Create(spec)
		if n := passes(t, r, "/v1/x", 20, "X-API-Key: "+token); n != want {
			t.Errorf("%s: %d pass, want %d", spec, n, want)
		}
	}
}

// What the limiter refuses, a lockout in front counts.
func TestLimiterLocks(t *testing.T) {
	r := rig.New(t, proxied, fmt.Sprintf("lockout {\nname %s\non 429 3 in 1h\n}\n", lockName(t))+limits(zone("{http.api_key.org_or_caller}", 2, ""))+openToSome+"respond ok")
	_, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	for i, want := range []int{200, 200, 429, 429, 429} {
		if answer := r.Get("/v1/x", "X-API-Key: "+token, from("203.0.113.1")); answer.Status != want || answer.Reason() != "" {
			t.Fatalf("request %d: status %d %s", i+1, answer.Status, answer.Reason())
		}
	}
	wantLocked(t, r.Get("/open", from("203.0.113.1")), 15*time.Minute)
	wantAnswer(t, r.Get("/open", from("203.0.113.2")), 200, "")
}
