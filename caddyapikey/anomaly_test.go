package caddyapikey_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// newWatched starts a server that looks for anomalies as the lines say.
func newWatched(t *testing.T, lines string) *rig.Rig {
	t.Helper()
	drainEvents()
	r := rig.New(t, "", "respond 204") // for its directories and addresses
	r.Load(proxied+recording+fmt.Sprintf("api_keys {\nstore bolt %s\nanomaly {\n%s\n}\n}\n", r.StorePath(), lines), guarded)
	return r
}

func drainEvents() {
	for {
		select {
		case <-recordedEvents:
		default:
			return
		}
	}
}

// recordOfUse returns the record of use of the running configuration, with
// everything counted so far in it.
func recordOfUse(t *testing.T) usage.Store {
	t.Helper()
	app, err := caddy.ActiveContext().AppIfConfigured("api_keys")
	if err != nil {
		t.Fatal(err)
	}
	store, err := app.(interface {
		UseRecord(context.Context) (usage.Store, error)
	}).UseRecord(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// nextOf waits for an event of one of the names, and passes over others.
func nextOf(t *testing.T, names ...string) recordedEvent {
	t.Helper()
	for {
		e := nextEvent(t)
		for _, name := range names {
			if e.name == name {
				return e
			}
		}
	}
}

// useFrom uses a key once from each of some addresses.
func useFrom(t *testing.T, r *rig.Rig, token string, from0, to int) {
	t.Helper()
	for i := from0; i <= to; i++ {
		wantAnswer(t, r.Get("/v1/contacts", "Authorization: Bearer "+token, from(fmt.Sprintf("203.0.113.%d", i))), 200, "")
	}
}

const reader = `{"name":"CRM","owner":"ops","scopes":["contacts:read"]}`

// A key that comes from many addresses at once is suspended, and who resumes it
// is not contradicted.
func TestKeyFromManyAddresses(t *testing.T) {
	r := newWatched(t, "addresses 3 in 10m\nsuspend")
	before := suspensions(t, r)
	id, token := r.Create(reader)
	_, calm := r.Create(reader)
	refused, stolen := r.Create(`{"name":"bound","scopes":["contacts:read"],"allow":["203.0.113.1"]}`)
	for i := range 20 { // whoever stole it gets nowhere, also not at its owner
		wantAnswer(t, r.Get("/v1/contacts", "Authorization: Bearer "+stolen, from(fmt.Sprintf("198.51.100.%d", i))), 403, "address_not_allowed")
	}
	useFrom(t, r, calm, 1, 3)
	useFrom(t, r, token, 1, 3)
	recordOfUse(t)
	useFrom(t, r, token, 4, 4)
	e := nextOf(t, "api_key_suspended")
	if e.data["id"] != id || e.data["client"] != "" || e.data["revision"] != uint64(2) || !strings.Contains(fmt.Sprint(e.data["why"]), "anomaly: from more than 3 addresses in 10m") {
		t.Errorf("%+v", e.data)
	}
	e = nextOf(t, "api_key_anomaly")
	if e.data["id"] != id || e.data["kind"] != "addresses" || e.data["count"] != uint64(4) || e.data["limit"] != uint64(3) || e.data["suspended"] != true || e.data["owner"] != "ops" {
		t.Errorf("%+v", e.data)
	}
	wantAnswer(t, r.Get("/v1/contacts", "Authorization: Bearer "+token, from("203.0.113.1")), 401, "suspended_key")
	if !strings.Contains(r.Logs(), `"msg":"a key is used far outside of the usual","key":"`+id) || strings.Contains(r.Logs(), token) {
		t.Error("the log does not tell, or has the token")
	}

	if trail := string(r.Manage("GET", "/audit?key="+id, "").Body); !strings.Contains(trail, `"actor":"server"`) {
		t.Errorf("the trail does not say that the server did it: %s", trail)
	}
	if answer := r.Manage("POST", "/keys/"+id+"/resume", ""); answer.Status != 200 {
		t.Fatalf("%s", answer.Body)
	}
	useFrom(t, r, token, 1, 9)
	other, loud := r.Create(reader)
	useFrom(t, r, loud, 1, 4)
	if e := nextOf(t, "api_key_anomaly"); e.data["id"] != other {
		t.Errorf("%v is suspected again; want %s only", e.data["id"], other)
	}
	for key, want := range map[string]string{id: "active", other: "suspended", refused: "active"} {
		if got := r.Manage("GET", "/keys/"+key, "").JSON(t)["state"]; got != want {
			t.Errorf("%s is %v, want %s", key, got, want)
		}
	}
	if n := suspensions(t, r) - before; n != 2 {
		t.Errorf("%d suspensions are counted, want 2", n)
	}
}

// suspensions returns how many keys this process has suspended.
func suspensions(t *testing.T, r *rig.Rig) (n int) {
	t.Helper()
	_, value, _ := strings.Cut(string(adminPage(t, r, "/metrics").Body), `caddy_api_keys_anomalies_total{kind="addresses",result="suspended"} `)
	if _, err := fmt.Sscan(value, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func adminPage(t *testing.T, r *rig.Rig, path string) rig.Answer {
	t.Helper()
	answer, err := rig.Read(http.Get("http://" + r.Admin + path))
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// A key is told of that is used far more than in its busiest hour, and one that
// has no usual use is not.
func TestKeyFarBusierThanEver(t *testing.T) {
	rig.AwaitRoom(t, time.Hour)
	hour := time.Now().UTC().Truncate(time.Hour)
	r := newWatched(t, "surge 2x over 7d min 10")
	store := recordOfUse(t)
	used := func(id string, ago time.Duration, requests uint64, reason string) {
		t.Helper()
		at := hour.Add(-ago)
		b := usage.Batch{Counters: []usage.Counter{{
			Event: usage.Event{Key: id, Credential: 1, Route: usage.Route{Site: "s", Rules: []string{"read"}, Method: "GET"}, Reason: reason},
			Hour:  at, Requests: requests, First: at, Last: at,
		}}}
		b.ID = [16]byte{byte(requests), byte(ago / time.Hour), byte(len(reason)), id[len(id)-1], id[len(id)-2], id[len(id)-3]}
		if _, err := store.Add(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	steady, token := r.Create(reader)
	used(steady, 3*24*time.Hour, 30, "")
	used(steady, 2*24*time.Hour, 20, "")
	used(steady, 24*time.Hour, 1000, "address_not_allowed") // refusals are no use
	used(steady, 8*24*time.Hour, 1000, "")                  // too long ago
	fresh, young := r.Create(reader)
	used(fresh, 23*time.Hour, 3, "")
	_, unknown := r.Create(reader)
	for range 60 {
		useFrom(t, r, young, 1, 1)
		useFrom(t, r, unknown, 1, 1)
		useFrom(t, r, token, 1, 1)
	}
	recordOfUse(t)
	// Twice the busiest hour is allowed. Another key shows that this was looked at.
	loud, shouting := r.Create(reader)
	used(loud, 3*24*time.Hour, 1, "")
	for range 11 {
		useFrom(t, r, shouting, 1, 1)
	}
	e := nextOf(t, "api_key_anomaly", "api_key_suspended")
	if e.data["id"] != loud || e.data["kind"] != "surge" || e.data["count"] != uint64(11) || e.data["limit"] != uint64(10) || e.data["suspended"] != false {
		t.Fatalf("%+v", e)
	}
	useFrom(t, r, token, 1, 1)
	e = nextOf(t, "api_key_anomaly", "api_key_suspended")
	if e.data["id"] != steady || e.data["count"] != uint64(61) || e.data["limit"] != uint64(60) || !strings.Contains(fmt.Sprint(e.data["why"]), "61 requests in an hour, 30 in the busiest of 168h0m0s before") {
		t.Errorf("%+v", e)
	}
	useFrom(t, r, token, 1, 1) // nothing was suspended
}

// Without the option nothing is looked for, and a reload switches it on and off.
func TestAnomaliesAreOffByDefault(t *testing.T) {
	drainEvents()
	r := rig.New(t, proxied+recording, guarded)
	_, quiet := r.Create(reader)
	useFrom(t, r, quiet, 1, 9)
	recordOfUse(t)
	on := proxied + recording + fmt.Sprintf("api_keys {\nstore bolt %s\nanomaly {\naddresses 3 in 10m\n}\n}\n", r.StorePath())
	r.Load(on, guarded)
	other, loud := r.Create(reader)
	useFrom(t, r, loud, 1, 4)
	if e := nextOf(t, "api_key_anomaly", "api_key_suspended"); e.data["id"] != other || e.data["suspended"] != false {
		t.Errorf("%+v", e)
	}
	useFrom(t, r, loud, 1, 1)
}
