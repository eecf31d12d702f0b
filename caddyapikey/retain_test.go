package caddyapikey_test

import (
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// A reload changes how much of the use is kept, one that is refused does not:
// what was thrown away on its word would be gone.
func TestRetentionFollowsTheConfiguration(t *testing.T) {
	r := rig.New(t, "", "respond 204") // for its directories and addresses
	global := func(retain string) string {
		return "api_keys {\nstore bolt " + r.StorePath() + "\n" + retain + "\n}"
	}
	const site = "api_key {\nrequire *\n}\nrespond 204"
	r.Load(global(""), site)
	id, token := r.Create(`{"name":"x"}`)
	kept := func() int {
		t.Helper()
		for range 3 {
			if got := r.Get("/x", "Authorization: Bearer "+token); got.Status != 204 {
				t.Fatalf("status %d", got.Status)
			}
		}
		answer := r.Manage("GET", "/keys/"+id+"/calls", "")
		calls, ok := answer.JSON(t)["calls"].([]any)
		if !ok {
			t.Fatalf("status %d %s", answer.Status, answer.Body)
		}
		return len(calls)
	}
	if got := kept(); got != 3 {
		t.Fatalf("%d calls are kept, want 3", got)
	}
	for range 5 { // apps start in any order
		if err := r.TryLoad(global("retain last_calls 1"), site+"\n}\nhttp://"+r.Upstream.Addr+" {\nbind 127.0.0.1\n"+site); err == nil {
			t.Fatal("the port is not in use")
		}
	}
	if got := kept(); got != 6 {
		t.Errorf("after a rejected reload %d calls are kept, want 6", got)
	}
	r.Load(global("retain last_calls 2"), site)
	if got := kept(); got != 2 {
		t.Errorf("with last_calls 2 %d are kept", got)
	}
	r.Load(global("retain last_calls 4"), site)
	if kept(); kept() != 4 {
		t.Error("with last_calls 4 not as many are kept")
	}
}
