package signed_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

func TestPage(t *testing.T) {
	page := rig.ReadFile(t, "README.md")
	e := rig.NewExample(t, "Caddyfile")
	e.FollowPage(page)
	// The exports stand in the trail.
	if got := e.Manage("GET", "/audit?trail=calls&action=call", ""); got.Status != 200 || !strings.Contains(string(got.Body), `"path":"/v1/export"`) || !strings.Contains(string(got.Body), `"contact details"`) {
		t.Errorf("status %d %s", got.Status, got.Body)
	}
}

// Webhooks come in signed, with their body, by the transport that clients use;
// a body that was changed on its way does not.
func TestWebhooks(t *testing.T) {
	e := rig.NewExample(t, "Caddyfile", "reverse_proxy localhost:9000", "reverse_proxy {$UPSTREAM}")
	answer := e.Manage("POST", "/keys", `{"name":"shop","scopes":["orders:write"],"credential":{"kind":"shared_secret"}}`)
	var made struct {
		Key    struct{ ID string }
		Secret string
	}
	if err := json.Unmarshal(answer.Body, &made); err != nil || made.Secret == "" {
		t.Fatalf("status %d, %v", answer.Status, err)
	}
	key, err := hmacsig.SecretKey([]byte(made.Secret))
	if err != nil {
		t.Fatal(err)
	}
	message, err := hmacsig.NewSecretSigner(made.Key.ID, []byte(made.Secret))
	if err != nil {
		t.Fatal(err)
	}
	const order = `{"order":17}`
	for name, by := range map[string]hmacsig.Signer{"hawk": &hmacsig.HawkSigner{ID: made.Key.ID, Key: key}, "message": message} {
		t.Run(name, func(t *testing.T) {
			client := &http.Client{Transport: &hmacsig.Transport{Signer: by, Origins: []string{"http://" + e.Site}}}
			resp, err := client.Post("http://"+e.Site+"/v1/webhooks/orders", "application/json", strings.NewReader(order))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 || !strings.HasSuffix(e.Upstream.Last(), order) || strings.Contains(e.Upstream.Last(), "Signature:") {
				t.Errorf("status %d, the upstream got\n%s", resp.StatusCode, e.Upstream.Last())
			}

			changed, err := http.NewRequest("POST", "http://"+e.Site+"/v1/webhooks/orders", strings.NewReader(order))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := by.SignAt(changed, time.Now()); err != nil {
				t.Fatal(err)
			}
			changed.Body = io.NopCloser(strings.NewReader(`{"order":71}`))
			hits := e.Upstream.Hits()
			if answer := e.Do(changed); answer.Reason() != "body_digest" || e.Upstream.Hits() != hits {
				t.Errorf("a changed order: status %d %s", answer.Status, answer.Body)
			}
		})
	}
}
