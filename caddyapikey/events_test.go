package caddyapikey_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// Every change is told once, after it is in force, with public facts only.
func TestEventsOfChanges(t *testing.T) {
	r := rig.New(t, recording, guarded)
	var secrets []string
	change := func(method, path, body, want string, data map[string]any) map[string]any {
		t.Helper()
		answer := r.Manage(method, path, body)
		if answer.Status >= 300 {
			t.Fatalf("%s %s: %d %s", method, path, answer.Status, answer.Body)
		}
		var tree map[string]any
		_ = json.Unmarshal(answer.Body, &tree)
		if token, ok := tree["token"].(string); ok {
			secrets = append(secrets, token)
		}
		e := nextEvent(t)
		if e.name != want || e.module != "api_keys.events" || e.data["client"] != "127.0.0.1" {
			t.Errorf("%s %s: event %+v, want %s", method, path, e, want)
		}
		for name, value := range data {
			if fmt.Sprint(e.data[name]) != fmt.Sprint(value) {
				t.Errorf("%s: %s is %v, want %v", e.name, name, e.data[name], value)
			}
		}
		return tree
	}
	change("PUT", "/orgs/acme", `{}`, "api_key_org_changed", map[string]any{"org": "acme", "revision": 1})
	change("PATCH", "/orgs/acme", `{"tier":"gold"}`, "api_key_org_changed", map[string]any{"org": "acme", "revision": 2})
	change("POST", "/orgs/acme/suspend", "", "api_key_org_suspended", map[string]any{"org": "acme", "revision": 3})
	change("POST", "/orgs/acme/resume", "", "api_key_org_resumed", map[string]any{"org": "acme", "revision": 4})
	id := change("POST", "/keys", `{"name":"CRM","org":"acme"}`, "api_key_created",
		map[string]any{"name": "CRM", "org": "acme", "revision": 1, "credential": 1})["key"].(map[string]any)["id"].(string)
	key := "/keys/" + id
	change("PATCH", key, `{"tags":["x"]}`, "api_key_changed", map[string]any{"id": id, "revision": 2})
	change("POST", key+"/rotate", "", "api_key_rotated", map[string]any{"id": id, "credential": 2, "revision": 3})
	change("DELETE", key+"/rotate", "", "api_key_rotation_cancelled", map[string]any{"id": id})
	change("POST", key+"/credentials", "", "api_key_credential_added", map[string]any{"id": id, "credential": 3})
	change("DELETE", key+"/credentials/1", "", "api_key_credential_ended", map[string]any{"id": id, "credential": 1})
	change("POST", key+"/suspend", "", "api_key_suspended", map[string]any{"id": id, "revision": 7})
	change("POST", key+"/suspend", "", "api_key_suspended", map[string]any{"id": id, "revision": 7}) // told again
	change("POST", key+"/resume", "", "api_key_resumed", map[string]any{"id": id, "revision": 8})
	change("POST", "/identify", `{"token":"`+secrets[len(secrets)-1]+`","revoke":true}`, "api_key_revoked", map[string]any{"id": id, "credential": 3, "revision": 9})
	change("POST", key+"/revoke", "", "api_key_revoked", map[string]any{"id": id, "revision": 9})
	change("DELETE", key, "", "api_key_deleted", map[string]any{"id": id, "name": "CRM", "org": "acme", "revision": 10})
	change("POST", "/import", `{"keys":[{"name":"a","token":"Jd7Qm2xWk9RtVb4Ns8Yc3Hf6"},{"name":"b","sha256":"`+strings.Repeat("ab", 32)+`"}]}`,
		"api_keys_imported", map[string]any{"count": 2})
	secrets = append(secrets, "Jd7Qm2xWk9RtVb4Ns8Yc3Hf6", strings.Repeat("ab", 32))

	// What changes nothing is not told.
	for _, c := range [][3]string{
		{"GET", "/keys", ""}, {"GET", "/keys/" + id, ""}, {"GET", "/orgs/acme", ""}, {"POST", "/keys", `{"name":""}`}, {"POST", key + "/resume", ""},
		{"POST", "/identify", `{"token":"` + secrets[0] + `"}`}, {"POST", "/import", `{"dry_run":true,"keys":[{"name":"c","sha256":"` + strings.Repeat("cd", 32) + `"}]}`},
	} {
		r.Manage(c[0], c[1], c[2])
	}
	noEventBefore(t, r)
	for _, secret := range secrets {
		if strings.Contains(r.Logs(), secret) { // at debug level Caddy logs the data of events
			t.Errorf("%s is in an event", secret)
		}
	}
}

// A refused key is told of once a minute for each reason; a stranger never is.
func TestEventsOfRefusals(t *testing.T) {
	r := rig.New(t, recording, strings.Replace(guarded, "api_key {", "api_key {\nname crm", 1))
	id, token := r.Create(`{"name":"CRM","scopes":["contacts:read"]}`)
	nextEvent(t)
	for range 20 {
		r.Get("/v1/contacts")
		r.Get("/v1/contacts", "Authorization: Bearer "+token+"x")
		r.Get("/v1/contacts", "Authorization: Bearer ck_"+id)
	}
	noEventBefore(t, r)
	for range 5 {
		wantAnswer(t, r.Request("POST", "/v1/contacts", "Authorization: Bearer "+token), 403, "insufficient_scope")
	}
	e := nextEvent(t)
	want := map[string]any{"id": id, "name": "CRM", "org": "", "credential": uint32(1), "reason": "insufficient_scope", "status": 403,
		"mode": "enforce", "site": "crm", "client": "127.0.0.1", "suppressed": uint64(0)}
	if e.name != "api_key_refused" || e.module != "api_keys.events" || !maps.Equal(e.data, want) {
		t.Errorf("event %+v, want %v", e, want)
	}
	noEventBefore(t, r)
	wantAnswer(t, r.Get("/v1/brands/1", "Authorization: Bearer "+token, "Early-Data: 1"), 425, "early_data") // nothing is proven
	wantAnswer(t, r.Request("OPTIONS", "/v1/contacts", "Authorization: Bearer "+token), 403, "no_rule")
	if e := nextEvent(t); e.data["reason"] != "no_rule" {
		t.Errorf("another reason: %+v", e)
	}
	r.Load(recording, strings.Replace(guarded, "api_key {", "api_key {\nmode observe", 1))
	r.Manage("POST", "/keys/"+id+"/revoke", "")
	nextEvent(t)
	if got := r.Get("/v1/contacts", "Authorization: Bearer "+token); got.Status != 200 {
		t.Fatal(got.Status)
	}
	if e := nextEvent(t); e.data["reason"] != "revoked_key" || e.data["mode"] != "observe" || e.data["site"] != "srv0" {
		t.Errorf("observed: %+v", e)
	}
	r.Load(recording, guarded)
	wantAnswer(t, r.Get("/v1/contacts", "Authorization: Bearer "+token), 401, "revoked_key")
	noEventBefore(t, r)
}

// Handlers that panic, fail or abort change no decision and no answer, and the
// events behind go on.
func TestEventHandlersThatFail(t *testing.T) {
	r := rig.New(t, recording, guarded)
	for name, reaction := range map[string]func(context.Context, string) error{
		"panic": func(context.Context, string) error { panic("boom") },
		"abort": func(context.Context, string) error { return caddy.ErrEventAborted },
		"error": func(context.Context, string) error { return errors.New("no") },
	} {
		t.Run(name, func(t *testing.T) {
			react(t, reaction)
			id, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
			nextEvent(t)
			wantAnswer(t, r.Get("/v1/contacts", "Authorization: Bearer "+token), 200, "")
			wantAnswer(t, r.Request("POST", "/v1/contacts", "Authorization: Bearer "+token), 403, "insufficient_scope")
			nextEvent(t)
			if got := r.Manage("POST", "/keys/"+id+"/revoke", ""); got.Status != 200 {
				t.Errorf("revoking: %d %s", got.Status, got.Body)
			}
			nextEvent(t)
			wantAnswer(t, r.Get("/v1/contacts", "Authorization: Bearer "+token), 401, "revoked_key")
			nextEvent(t)
		})
	}
	if !strings.Contains(r.Logs(), "an event handler panicked") {
		t.Error("the panic is not in the log")
	}
}

// A handler that hangs holds up neither requests nor changes nor a reload; what
// does not fit is dropped and counted.
func TestEventHandlerThatHangs(t *testing.T) {
	r := rig.New(t, recording, guarded)
	release, hanging := make(chan struct{}), make(chan struct{}, 10_000)
	react(t, func(_ context.Context, name string) error {
		if strings.HasPrefix(name, "api_key") {
			hanging <- struct{}{}
			<-release
		}
		return nil
	})
	id, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	<-hanging
	dropped := metricOf(t, r, "caddy_api_keys_events_total", "event", "api_key_suspended", "result", "dropped")
	began := time.Now()
	for range 1100 { // more than may wait
		if got := r.Manage("POST", "/keys/"+id+"/suspend", ""); got.Status != 200 {
			t.Fatalf("%d %s", got.Status, got.Body)
		}
	}
	r.Manage("POST", "/keys/"+id+"/resume", "")
	wantAnswer(t, r.Get("/v1/contacts", "Authorization: Bearer "+token), 200, "")
	wantAnswer(t, r.Request("POST", "/v1/contacts", "Authorization: Bearer "+token), 403, "insufficient_scope")
	t.Logf("1,100 changes beside a handler that hangs: %s", time.Since(began))
	if got := metricOf(t, r, "caddy_api_keys_events_total", "event", "api_key_suspended", "result", "dropped"); got <= dropped {
		t.Errorf("nothing was counted as dropped: %v, then %v", dropped, got)
	}
	began = time.Now()
	r.Load(recording, guarded+"\n")
	if took := time.Since(began); took > time.Minute {
		t.Errorf("the reload took %s", took)
	}
	close(release)
	eventReaction.Store(nil)
	marker, _ := r.Create(`{"name":"marker"}`)
	for nextEvent(t).data["id"] != marker {
		// of the earlier configuration
	}
}

// Changes made while configurations come and go are all told.
func TestEventsOverReloads(t *testing.T) {
	r := rig.New(t, recording, guarded)
	const n = 60
	ids := make(chan string, n)
	go func() {
		defer close(ids)
		for i := range n {
			req, _ := http.NewRequest("POST", "http://"+r.Admin+"/api_keys/keys", strings.NewReader(fmt.Sprintf(`{"name":"k%d"}`, i)))
			req.Header.Set("Content-Type", "application/json")
			req.Close = true
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				continue // what connections suffer from a reload is Caddy's part
			}
			var answer struct{ Key struct{ ID string } }
			if json.NewDecoder(resp.Body).Decode(&answer) == nil && resp.StatusCode == 201 {
				ids <- answer.Key.ID
			}
			resp.Body.Close()
		}
	}()
	for i := range 8 {
		r.Load(recording, guarded+strings.Repeat("\n", i))
	}
	var want []string
	for id := range ids {
		want = append(want, id)
	}
	if len(want) < n/2 {
		t.Fatalf("%d of %d keys were created", len(want), n)
	}
	told := make(map[string]bool)
	for slices.ContainsFunc(want, func(id string) bool { return !told[id] }) {
		e := nextEvent(t)
		told[e.data["id"].(string)] = true
	}
}
