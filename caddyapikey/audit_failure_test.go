package caddyapikey_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/caddyapikey"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// A call that cannot be recorded is not served; everything else goes on, and
// operators are told.
func TestAuditUnavailable(t *testing.T) {
	caddyapikey.ForgetAuditDown()
	r := rig.New(t, recording, exports)
	_, token := r.Create(`{"name":"exporter","scopes":["contacts:*"]}`)
	bearer := "Authorization: Bearer " + token
	if got := r.Get("/v1/export/x", bearer); got.Status != 200 {
		t.Fatal(got.Status)
	}
	for len(recordedEvents) > 0 {
		<-recordedEvents
	}
	if err := os.Truncate(r.StorePath()+".ledger", 0); err != nil {
		t.Fatal(err)
	}
	hits := r.Upstream.Hits()
	for range 3 {
		got := r.Get("/v1/export/x", bearer)
		wantAnswer(t, got, 503, "audit_unavailable")
		if got.Header.Get("Retry-After") != "2" {
			t.Errorf("Retry-After %q", got.Header.Get("Retry-After"))
		}
	}
	if r.Upstream.Hits() != hits {
		t.Error("a call that was not recorded reached the upstream")
	}
	if got := r.Get("/v1/contacts", bearer); got.Status != 200 {
		t.Errorf("another rule: %d", got.Status)
	}
	for e := nextEvent(t); ; e = nextEvent(t) {
		if e.name != "api_key_audit_unavailable" {
			continue // refusals of keys are told, too
		}
		if why, _ := e.data["why"].(string); e.data["site"] != "crm" || !strings.Contains(why, "ledger") {
			t.Errorf("%+v", e.data)
		}
		break
	}
	noEventNamed(t, "api_key_audit_unavailable")
	if got := r.Manage("GET", "/health", ""); got.Status != 503 || !strings.Contains(string(got.Body), `"audit_unavailable"`) {
		t.Errorf("health %d %s", got.Status, got.Body)
	}
	families := scrape(t, r)
	for _, c := range []struct {
		name, label, value string
		least              float64
	}{
		{"caddy_api_keys_audit_calls_total", "result", "unavailable", 3},
		{"caddy_api_keys_audit_calls_total", "result", "recorded", 1},
		{"caddy_api_keys_degraded", "reason", "audit_unavailable", 1},
	} {
		if got := valueOf(families, c.name, c.label, c.value); got < c.least {
			t.Errorf("%s of %s is %v, want %v", c.name, c.value, got, c.least)
		}
	}

	// In mode observe it is only told.
	r.Load(recording, strings.Replace(exports, "name crm", "name crm\nmode observe", 1))
	if got := r.Get("/v1/export/x", bearer); got.Status != 200 {
		t.Errorf("mode observe: %d", got.Status)
	}
}

// noEventNamed checks that no event of a name waits.
func noEventNamed(t *testing.T, name string) {
	t.Helper()
	for len(recordedEvents) > 0 {
		if e := <-recordedEvents; e.name == name {
			t.Errorf("%s was told again", name)
		}
	}
}

// In mode observe calls of keys are recorded, those that would be refused too;
// strangers leave nothing.
func TestAuditObserves(t *testing.T) {
	r := rig.New(t, "", strings.Replace(exports, "name crm", "name crm\nmode observe", 1))
	_, token := r.Create(`{"name":"exporter","scopes":["contacts:*"]}`)
	_, other := r.Create(`{"name":"reader","scopes":["contacts:read"]}`)
	for _, headers := range [][]string{{"Authorization: Bearer " + token}, {"Authorization: Bearer " + other}, {"Authorization: Bearer " + other + "x"}, {}} {
		if got := r.Get("/v1/export/x", headers...); got.Status != 200 {
			t.Errorf("status %d", got.Status)
		}
	}
	var got []string
	for deadline := time.Now().Add(time.Minute); len(got) < 4; time.Sleep(10 * time.Millisecond) {
		got = nil
		for _, e := range callTrail(t, r) {
			got = append(got, strings.TrimSpace(e.Action+" "+e.Decision+" "+e.Reason))
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q", got)
		}
	}
	for _, want := range []string{"call allowed", "call observed insufficient_scope"} {
		if strings.Count(strings.Join(got, "\n")+"\n", want+"\n") != 1 || len(got) != 4 {
			t.Errorf("%q has not one %q", got, want)
		}
	}
}
