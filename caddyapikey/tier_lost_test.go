package caddyapikey_test

import (
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// Keys and orgs whose tier a configuration drops or misspells have no limits of
// it. That is told, and turns no load balancer away.
func TestTierLost(t *testing.T) {
	const site = "api_key {\nrequire *\n}\nrespond 204"
	r := rig.New(t, "", site)
	load := func(tiers string) {
		t.Helper()
		r.Load("api_keys {\nstore bolt "+r.StorePath()+"\n"+tiers+"\n}", site)
	}
	told := func() string {
		t.Helper()
		answer := r.Manage("GET", "/health", "")
		notes := answer.JSON(t)["notes"].([]any)
		if answer.Status != 200 || len(notes) > 1 {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
		degraded := valueOf(scrape(t, r), "caddy_api_keys_degraded", "reason", "tier_undefined")
		if len(notes) != int(degraded) {
			t.Errorf("the metric is %v", degraded)
		}
		if len(notes) == 0 {
			return ""
		}
		note := notes[0].(map[string]any)
		if note["reason"] != "tier_undefined" {
			t.Errorf("%v", note)
		}
		return note["detail"].(string)
	}
	warnings := func() int { return strings.Count(r.Logs(), "have no limits of their tier") }
	const gold, silver = "tier gold {\nlimit 100/1h\n}\n", "tier silver {\nlimit 10/1h\n}\n"

	load("") // tiers are labels
	r.Create(`{"name":"a","tier":"gold"}`)
	id, _ := r.Create(`{"name":"b","tier":"gold"}`)
	if got := r.Manage("PUT", "/orgs/acme", `{"tier":"silver"}`); got.Status/100 != 2 {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	if got := told(); got != "" || warnings() != 0 {
		t.Errorf("labels: %s", got)
	}
	load(gold + silver)
	if got := told(); got != "" || warnings() != 0 {
		t.Errorf("both are defined: %s", got)
	}
	load("tier golden {\nlimit 100/1h\n}\n" + silver) // misspelt
	if got := told(); !strings.Contains(got, "does not define it: gold (keys: 2, orgs: 0). ") || warnings() != 1 {
		t.Errorf("one is misspelt: %s", got)
	}
	r.Manage("POST", "/keys/"+id+"/revoke", "")
	if got := told(); !strings.Contains(got, ": gold (keys: 1, orgs: 0). ") {
		t.Errorf("one key is revoked: %s", got)
	}
	load(gold + silver)
	load("") // both are dropped
	for range 2 {
		if got := told(); !strings.Contains(got, ": gold (keys: 1, orgs: 0), silver (keys: 0, orgs: 1). ") {
			t.Errorf("both are dropped: %s", got)
		}
		load("") // still
	}
	if got := r.Manage("PATCH", "/orgs/acme", `{"tier":"label"}`); got.Status != 200 {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	if got := told(); !strings.Contains(got, ": gold (keys: 1, orgs: 0). ") {
		t.Errorf("the org has another: %s", got)
	}
	load(gold)
	if got := told(); !strings.Contains(got, ": label (keys: 0, orgs: 1). ") {
		t.Errorf("a label beside tiers: %s", got)
	}
}
