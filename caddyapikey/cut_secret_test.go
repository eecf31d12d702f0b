package caddyapikey_test

import (
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// What is kept of a call is cut. A key that stands where the cut is must not
// stay there in part: of all but its last characters the rest can be guessed. Of
// a beginning that is shorter than those here it cannot.
func TestCutTextsOfCallsHoldNoKey(t *testing.T) {
	r := rig.New(t, "", "api_key {\nrequire *\n}\nreverse_proxy {$UPSTREAM}")
	id, token := r.Create(`{"name":"careless"}`)
	bearer := "Authorization: Bearer " + token
	for _, kept := range []int{len(token) - 1, 40, 28} {
		path := "/" + strings.Repeat("p", 256-kept-2) + "/" + token
		agent := strings.Repeat("a", 128-kept-1) + " " + token
		if got := r.Get(path, bearer, "User-Agent: "+agent); got.Status != 200 {
			t.Fatalf("status %d", got.Status)
		}
		if got := r.Get("/x?"+path, bearer); got.Status != 200 {
			t.Fatalf("status %d", got.Status)
		}
	}
	answer := r.Manage("GET", "/keys/"+id+"/calls", "")
	if answer.Status != 200 || !strings.Contains(string(answer.Body), "pppp") || !strings.Contains(string(answer.Body), "aaaa") {
		t.Fatalf("status %d %s", answer.Status, answer.Body)
	}
	if found := strings.Index(string(answer.Body), token[:10]); found >= 0 {
		t.Errorf("a part of the key stays: %.80s", answer.Body[found:])
	}
}
