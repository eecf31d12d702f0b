package caddyapikey_test

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/dunglas/httpsfv"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// tiered is an app with tiers, on the rig's store.
const tiered = `
api_keys {
	store bolt %s
	tier gold {
		limit 100/1h 5000/month
		org_limit 120/1h
	}
	tier silver {
		limit 10/1h
	}
}`

// limited is a policy with costs.
const limited = `
@cheap  path /cheap/*
@export path /export
@write  method POST
api_key {
	require * read
	require @cheap {
		cost 0
	}
	require @export {
		cost 10
	}
	require @write write {
		cost 3
	}
}
reverse_proxy {$UPSTREAM}`

// newLimited starts a server with tiers and costs.
func newLimited(t *testing.T, more string) *rig.Rig {
	rig.AwaitRoom(t, 24*time.Hour)
	r := rig.New(t, "", limited)
	r.Load(fmt.Sprintf(tiered, r.StorePath())+more, limited)
	return r
}

// limitsOf returns what remains of each limit of a key or org.
func limitsOf(t *testing.T, r *rig.Rig, path string) map[string]int {
	t.Helper()
	answer := r.Manage("GET", path+"/limits", "")
	if answer.Status != 200 {
		t.Fatalf("%s: %d %s", path, answer.Status, answer.Body)
	}
	remaining := make(map[string]int)
	for _, item := range answer.JSON(t)["limits"].([]any) {
		item := item.(map[string]any)
		name := item["limit"].(string) + " " + item["from"].(string)
		if item["shared"].(bool) {
			name += " shared"
		}
		remaining[name] = int(item["remaining"].(float64))
		if item["used"].(float64) > 0 && item["more_at"] == nil {
			t.Errorf("%s: nothing says when more remains", name)
		}
	}
	return remaining
}

func wantLimits(t *testing.T, r *rig.Rig, path string, want map[string]int) {
	t.Helper()
	if got := limitsOf(t, r, path); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", path, got, want)
	}
}

// policies reads a field of draft-ietf-httpapi-ratelimit-headers.
func policies(t *testing.T, answer rig.Answer, field string) map[string]map[string]int64 {
	t.Helper()
	lines := answer.Header.Values(field)
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		t.Fatalf("%s %q: %v", field, lines, err)
	}
	items := make(map[string]map[string]int64)
	for _, member := range list {
		item := member.(httpsfv.Item)
		params := make(map[string]int64)
		for _, name := range item.Params.Names() {
			value, _ := item.Params.Get(name)
			params[name] = value.(int64)
		}
		items[item.Value.(string)] = params
	}
	return items
}

func TestLimits(t *testing.T) {
	r := newLimited(t, "")
	r.Manage("PUT", "/orgs/acme", `{"tier":"gold","limits":["9000/day"]}`)
	id, token := r.Create(`{"name":"CRM","org":"acme","scopes":["read","write"],"limits":["20/1h","3/1s"]}`)
	bearer := "Authorization: Bearer " + token
	key, org := "/keys/"+id, "/orgs/acme"

	t.Run("told on an accepted answer", func(t *testing.T) {
		answer := r.Get("/x", bearer)
		if answer.Status != 200 || answer.Header.Get("RateLimit-Policy") != `"1s";q=3;w=1, "1h";q=20;w=3600, "month";q=5000, "org-day";q=9000;w=86400, "org-1h";q=120;w=3600` {
			t.Fatalf("%d %q", answer.Status, answer.Header.Get("RateLimit-Policy"))
		}
		standing := policies(t, answer, "RateLimit")
		for name, want := range map[string]int64{"1s": 2, "1h": 19, "month": 4999, "org-day": 8999, "org-1h": 119} {
			if standing[name]["r"] != want || standing[name]["t"] < 1 {
				t.Errorf("%s: %v", name, standing[name])
			}
		}
		if standing["1h"]["t"] > 3600+3600/31+1 || standing["org-day"]["t"] > 86400 {
			t.Errorf("%v", standing)
		}
	})
	got := limitsOf(t, r, key)
	if second := got["3/1s key"]; second < 2 || second > 3 { // 3 when a second is over
		t.Errorf("%d are left in a second", second)
	}
	delete(got, "3/1s key")
	if want := (map[string]int{"20/1h key": 19, "5000/month tier": 4999, "120/1h tier shared": 119, "9000/day org shared": 8999}); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
	wantLimits(t, r, org, map[string]int{"120/1h tier shared": 119, "9000/day org shared": 8999})

	t.Run("cost", func(t *testing.T) {
		r.Manage("PATCH", key, `{"limits":["20/1h"]}`)
		for _, c := range []struct {
			method, path string
			cost         int
		}{{"GET", "/x", 1}, {"HEAD", "/x", 1}, {"GET", "/export", 10}, {"GET", "/cheap/x", 0}, {"POST", "/cheap/x", 3}, {"GET", "/Cheap/x", 1}, {"GET", "/EXPORT", 0}} {
			before := limitsOf(t, r, key)["20/1h key"]
			answer := r.Request(c.method, c.path, bearer)
			if left := limitsOf(t, r, key)["20/1h key"]; before-left != c.cost {
				t.Errorf("%s %s: status %d, %d units, want %d", c.method, c.path, answer.Status, before-left, c.cost)
			}
		}
	})
	t.Run("what is refused for another reason costs nothing", func(t *testing.T) {
		before := limitsOf(t, r, key)
		r.Request("DELETE", "/x", bearer, "X-API-Key: x")
		r.Get("/x/../y", bearer)
		r.Get("/x", bearer+"x")
		wantLimits(t, r, key, before)
	})
	t.Run("refused", func(t *testing.T) {
		r.Manage("PATCH", key, `{"limits":["20/1h","8000/month"]}`)
		before, hits := limitsOf(t, r, key), r.Upstream.Hits()
		answer := r.Get("/export", bearer)
		wantAnswer(t, answer, 429, "quota-exceeded")
		tree := answer.JSON(t)
		if fmt.Sprint(tree["violated-policies"]) != "[1h]" || tree["status"] != 429.0 {
			t.Errorf("%s", answer.Body)
		}
		wait, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
		standing := policies(t, answer, "RateLimit")
		if wait < 3500 || wait > 3720 || len(standing) != 1 || standing["1h"]["r"] != int64(before["20/1h key"]) || standing["1h"]["t"] > int64(wait) {
			t.Errorf("Retry-After %d, RateLimit %v", wait, standing)
		}
		if len(policies(t, answer, "RateLimit-Policy")) != 4 || answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%v", answer.Header)
		}
		if r.Upstream.Hits() != hits {
			t.Error("the upstream was asked")
		}
		wantLimits(t, r, key, before)
	})
	t.Run("changed limits hold with the next request", func(t *testing.T) {
		r.Manage("PATCH", key, `{"limits":["2/1h"]}`)
		wantAnswer(t, r.Get("/x", bearer), 429, "quota-exceeded")
		r.Manage("PATCH", key, `{"limits":["17/1h"]}`)
		used := 17 - limitsOf(t, r, key)["17/1h key"]
		if used < 14 {
			t.Errorf("%d used: the window began anew", used)
		}
		r.Manage("PATCH", key, `{"limits":[]}`)
		if got := limitsOf(t, r, key); got["100/1h tier"] != 100-used {
			t.Errorf("by its tier: %v", got)
		}
		r.Manage("PATCH", key, `{"tier":"silver"}`)
		wantAnswer(t, r.Get("/x", bearer), 429, "quota-exceeded")
	})
	t.Run("the trail tells of changes", func(t *testing.T) {
		r.Manage("PATCH", org, `{"limits":["8000/day"]}`)
		trail := string(r.Manage("GET", "/audit", "").Body)
		for _, change := range []string{`"limits":{"before":["9000/day"],"after":["8000/day"]}`, `"limits":{"before":["2/1h"],"after":["17/1h"]}`, `"limits":{"before":["17/1h"],"after":null}`} {
			if !strings.Contains(strings.ReplaceAll(trail, " ", ""), change) {
				t.Errorf("no %s", change)
			}
		}
	})
	t.Run("rotation renews nothing", func(t *testing.T) {
		rotated := r.Manage("POST", key+"/rotate", "").JSON(t)["token"].(string)
		wantAnswer(t, r.Get("/x", "Authorization: Bearer "+rotated), 429, "quota-exceeded")
	})
	t.Run("a reload renews nothing", func(t *testing.T) {
		r.Load(strings.Replace(fmt.Sprintf(tiered, r.StorePath()), "limit 10/1h", "limit 11/1h", 1), limited)
		wantAnswer(t, r.Get("/x", bearer), 429, "quota-exceeded")
	})
	t.Run("without limits nothing is told", func(t *testing.T) {
		_, token := r.Create(`{"name":"free","scopes":["read"]}`)
		answer := r.Get("/x", "Authorization: Bearer "+token)
		if answer.Status != 200 || answer.Header.Get("RateLimit") != "" || answer.Header.Get("RateLimit-Policy") != "" {
			t.Errorf("%d %v", answer.Status, answer.Header)
		}
	})
}

// A stop and a start keep what was spent, of orgs and of keys.
func TestLimitsSurviveRestart(t *testing.T) {
	r := newLimited(t, "")
	r.Manage("PUT", "/orgs/acme", `{"limits":["100000/month"]}`)
	id, token := r.Create(`{"name":"CRM","org":"acme","scopes":["read"],"limits":["1000/1h","1000000/day","50/1s"]}`)
	for range 3 {
		r.Get("/export", "Authorization: Bearer "+token)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(r.StorePath() + ".quotas")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	r.Load(fmt.Sprintf(tiered, r.StorePath()), limited)
	got := limitsOf(t, r, "/keys/"+id)
	delete(got, "50/1s key")
	if fmt.Sprint(got) != fmt.Sprint(map[string]int{"1000/1h key": 970, "1000000/day key": 999970, "100000/month org shared": 99970}) {
		t.Errorf("%v", got)
	}
}

// Where quotas cannot be written, requests that one holds for are refused, and
// no others; health says so.
func TestQuotasUnwritten(t *testing.T) {
	r := rig.New(t, "", limited)
	quotas := r.StorePath() + ".quotas"
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(quotas, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Load("", limited)
	id, quota := r.Create(`{"name":"quota","scopes":["read"],"limits":["10/day","10/1h"]}`)
	_, window := r.Create(`{"name":"window","scopes":["read"],"limits":["10/1h"]}`)
	answer := r.Get("/x", "Authorization: Bearer "+quota)
	wantAnswer(t, answer, 503, "quotas_unavailable")
	if answer.Header.Get("Retry-After") == "" {
		t.Errorf("%v", answer.Header)
	}
	if answer := r.Get("/x", "Authorization: Bearer "+window); answer.Status != 200 {
		t.Errorf("a window: %d %s", answer.Status, answer.Body)
	}
	if health := r.Manage("GET", "/health", ""); health.Status != 503 || !strings.Contains(string(health.Body), "quotas_unwritten") || !strings.Contains(string(health.Body), quotas) {
		t.Errorf("health: %d %s", health.Status, health.Body)
	}
	if answer := r.Manage("GET", "/keys/"+id+"/limits", ""); answer.Status != 503 {
		t.Errorf("limits: %d %s", answer.Status, answer.Body)
	}
	if !strings.Contains(r.Logs(), "requests of keys and orgs with a quota are refused") {
		t.Error("the log says nothing")
	}
	if text := rig.ReadFile(t, quotas); text != "damaged" {
		t.Errorf("the file is now %q", text)
	}
	if err := os.Remove(quotas); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for r.Get("/x", "Authorization: Bearer "+quota).Status != 200 {
		if time.Now().After(deadline) {
			t.Fatal("still refused")
		}
		time.Sleep(20 * time.Millisecond) // a file has no signal
	}
	if health := r.Manage("GET", "/health", ""); health.Status != 200 {
		t.Errorf("health: %d %s", health.Status, health.Body)
	}
}

// In mode observe nothing is refused, and what would be is counted.
func TestLimitsObserved(t *testing.T) {
	r := rig.New(t, recording, strings.Replace(limited, "api_key {", "api_key {\nmode observe\nname observed", 1))
	id, token := r.Create(`{"name":"x","scopes":["read"],"limits":["1/1h"]}`)
	nextEvent(t)
	for range 3 {
		if answer := r.Get("/x", "Authorization: Bearer "+token); answer.Status != 200 || answer.Header.Get("RateLimit") != "" {
			t.Errorf("%d %v", answer.Status, answer.Header)
		}
	}
	var names []string
	for range 2 {
		e := nextEvent(t)
		names = append(names, e.name)
		if e.data["mode"] != "observe" || e.data["id"] != id {
			t.Errorf("%+v", e)
		}
	}
	if fmt.Sprint(names) != "[api_key_limit_reached api_key_refused]" {
		t.Errorf("%v", names)
	}
	answer, err := rig.Read(http.Get("http://" + r.Admin + "/metrics"))
	if err != nil || !strings.Contains(string(answer.Body), `caddy_api_keys_decisions_total{reason="quota-exceeded",result="observed",site="observed"} 2`) {
		t.Errorf("%v", err)
	}
}

// The event is told once for each limit, of the key or of the org.
func TestLimitEvents(t *testing.T) {
	rig.AwaitRoom(t, 24*time.Hour)
	r := rig.New(t, recording, limited)
	r.Manage("PUT", "/orgs/events", `{"limits":["2/1h"]}`)
	nextEvent(t)
	var tokens, ids []string
	for range 2 {
		id, token := r.Create(`{"name":"x","org":"events","scopes":["read"],"limits":["1/day"]}`)
		nextEvent(t)
		tokens, ids = append(tokens, token), append(ids, id)
	}
	for range 3 {
		for _, token := range tokens {
			r.Get("/x", "Authorization: Bearer "+token)
		}
	}
	told := make(map[string]int)
	for range 5 { // three limits, and two keys that were refused
		e := nextEvent(t)
		if e.name == "api_key_limit_reached" {
			told[fmt.Sprintf("%v %v", e.data["limit"], e.data["shared"])]++
			if e.data["retry_after"].(int64) < 1 || e.data["org"] != "events" {
				t.Errorf("%+v", e)
			}
		}
	}
	if told["1/day false"] != 2 || told["2/1h true"] != 1 {
		t.Errorf("%v of keys %v", told, ids)
	}
	noEventBefore(t, r)
}

// The lockout counts our 429, and a locked address spends nothing.
func TestLockoutCountsLimits(t *testing.T) {
	r := rig.New(t, "", "lockout {\nname limits\non 429 3 in 1m\nlock 15m\n}"+limited)
	id, token := r.Create(`{"name":"x","scopes":["read"],"limits":["2/1h"]}`)
	var statuses []int
	var reason string
	for range 7 {
		answer := r.Get("/x", "Authorization: Bearer "+token)
		statuses, reason = append(statuses, answer.Status), answer.Reason()
	}
	if fmt.Sprint(statuses) != "[200 200 429 429 429 429 429]" || reason != "abnormal-usage-detected" {
		t.Errorf("%v, %s", statuses, reason)
	}
	if got := limitsOf(t, r, "/keys/"+id)["2/1h key"]; got != 0 {
		t.Errorf("%d left", got)
	}
}

// What an upstream says of limits of its own stays beside ours.
func TestUpstreamsOwnLimits(t *testing.T) {
	r := rig.New(t, "", limited)
	r.Upstream.Respond("HTTP/1.1 200 OK\r\nRateLimit-Policy: \"backend\";q=7;w=60\r\nRateLimit: \"backend\";r=6;t=60\r\nContent-Length: 0\r\n\r\n")
	_, token := r.Create(`{"name":"x","scopes":["read"],"limits":["2/1h"]}`)
	answer := r.Get("/x", "Authorization: Bearer "+token)
	if standing, policy := policies(t, answer, "RateLimit"), policies(t, answer, "RateLimit-Policy"); standing["backend"]["r"] != 6 || standing["1h"]["r"] != 1 || policy["backend"]["q"] != 7 || policy["1h"]["q"] != 2 {
		t.Errorf("%v", answer.Header)
	}
}

// With `errors caddy` an error route has the header fields and the reason.
func TestLimitsWithErrorRoutes(t *testing.T) {
	r := rig.New(t, "", strings.Replace(limited, "api_key {", "api_key {\nerrors caddy", 1)+"\nhandle_errors {\nrespond \"{http.api_key.reason}\"\n}")
	_, token := r.Create(`{"name":"x","scopes":["read"],"limits":["1/1h"]}`)
	r.Get("/x", "Authorization: Bearer "+token)
	answer := r.Get("/x", "Authorization: Bearer "+token)
	if answer.Status != 429 || string(answer.Body) != "quota-exceeded" || answer.Header.Get("RateLimit") == "" || answer.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s %v", answer.Status, answer.Body, answer.Header)
	}
}

// Two sites spend from the same limits, at once and exactly.
func TestLimitsOfTwoSites(t *testing.T) {
	rig.AwaitRoom(t, 24*time.Hour)
	r := rig.New(t, "", limited)
	r.Load("", "handle /a/* {\n"+limited+"\n}\nhandle {\n"+limited+"\n}")
	_, token := r.Create(`{"name":"x","scopes":["read"],"limits":["100/1h","100/day"]}`)
	var accepted atomic.Int64
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			if r.Get([]string{"/a/x", "/b"}[i%2], "Authorization: Bearer "+token).Status == 200 {
				accepted.Add(1)
			}
		})
	}
	wg.Wait()
	if accepted.Load() != 100 {
		t.Errorf("%d accepted", accepted.Load())
	}
}
