package docs

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// TestRotationWithProof follows the six steps of usage.md: a new token is made,
// brought to its user and used; the old one is used no more, watched, and ended.
func TestRotationWithProof(t *testing.T) {
	r := rig.New(t, "", "api_key {\nrequire * contacts:read\n}\nreverse_proxy {$UPSTREAM}")
	id, old := r.Create(`{"name":"CRM sync","scopes":["contacts:read"]}`)
	manage := func(method, path, body string, want int) []byte {
		t.Helper()
		got := r.Manage(method, path, body)
		if got.Status != want {
			t.Fatalf("%s %s: %d, want %d: %.300s", method, path, got.Status, want, got.Body)
		}
		return got.Body
	}
	call := func(token string, want int) http.Header {
		t.Helper()
		got := r.Get("/contacts", "Authorization: Bearer "+token)
		if got.Status != want {
			t.Fatalf("status %d, want %d: %.300s", got.Status, want, got.Body)
		}
		return got.Header
	}
	type credential struct {
		N        int
		LastUsed *string `json:"last_used_at"`
		Requests int
		EndedAt  *string `json:"ended_at"`
	}
	credentials := func() []credential {
		t.Helper()
		var key struct{ Credentials []credential }
		if err := json.Unmarshal(manage("GET", "/keys/"+id, "", 200), &key); err != nil {
			t.Fatal(err)
		}
		return key.Credentials
	}
	listed := func(filter string) bool {
		t.Helper()
		return strings.Contains(string(manage("GET", "/keys?"+filter, "", 200)), id)
	}

	if call(old, 200).Get("Deprecation") != "" {
		t.Error("a token is called deprecated before it is")
	}
	// 1. A new one beside it.
	var made struct{ Token string }
	if err := json.Unmarshal(manage("POST", "/keys/"+id+"/rotate", `{"overlap":"168h"}`, 200), &made); err != nil || made.Token == "" {
		t.Fatalf("no token: %v", err)
	}
	// 2. and 3. It is on its way to its user; the old one works and says that it will end.
	if header := call(old, 200); !strings.HasPrefix(header.Get("Deprecation"), "@") || header.Get("Sunset") == "" {
		t.Errorf("the old token's answers say Deprecation %q, Sunset %q", header.Get("Deprecation"), header.Get("Sunset"))
	}
	if !listed("rotation=pending") || !listed("rotation=on_old") {
		t.Error("the rotation is not listed as one whose old token is in use")
	}
	// Who still uses it would be locked out: it is not ended just like that.
	req, err := http.NewRequest("DELETE", "http://"+r.Admin+"/api_keys/keys/"+id+"/credentials/1", nil) // Manage forces it
	if err != nil {
		t.Fatal(err)
	}
	refused, err := rig.Read(http.DefaultClient.Do(req))
	if err != nil || refused.Status != http.StatusConflict {
		t.Errorf("ending the old token: %d, %v; want 409", refused.Status, err)
	}
	for _, text := range []string{"2 times", "127.0.0.1"} {
		if !strings.Contains(string(refused.Body), text) {
			t.Errorf("the refusal does not say %q: %s", text, refused.Body)
		}
	}
	// The new one is used.
	if header := call(made.Token, 200); header.Get("Deprecation") != "" || header.Get("Sunset") != "" {
		t.Error("the new token's answers say that it will end")
	}
	// 4. Watched: the last use is that of the new one.
	if listed("rotation=on_old") {
		t.Error("the key is listed as one that uses its old token")
	}
	found := credentials()
	if len(found) != 2 || found[0].Requests != 2 || found[1].Requests != 1 || found[0].LastUsed == nil || found[1].LastUsed == nil || *found[0].LastUsed > *found[1].LastUsed {
		t.Errorf("credentials %+v", found)
	}
	// 5. Ended, by somebody who knows that it was used a moment ago.
	manage("DELETE", "/keys/"+id+"/credentials/1", "", 200)
	call(old, 401)
	call(made.Token, 200)
	if found := credentials(); found[0].EndedAt == nil || found[1].EndedAt != nil {
		t.Errorf("credentials %+v", found)
	}
	// 6. The next one ends by itself when the old token is idle.
	if got := string(manage("POST", "/keys/"+id+"/rotate", `{"overlap":"90d","end_when_idle":"7d"}`, 200)); !strings.Contains(got, `"end_when_idle"`) {
		t.Errorf("the rotation does not say when it ends: %s", got)
	}
	// All of it is in the trail.
	trail := string(manage("GET", "/audit?key="+id, "", 200))
	for _, action := range []string{"key.create", "key.rotate", "credential.end"} {
		if !strings.Contains(trail, fmt.Sprintf("%q", action)) {
			t.Errorf("the trail has no %s", action)
		}
	}
}
