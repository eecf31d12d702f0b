package docs

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// TestAuditLog has the entries of both trails written to a log of their own, as
// audit.md shows.
func TestAuditLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	r := rig.New(t, fmt.Sprintf("log audit {\ninclude http.log.api_keys.audit\noutput file %s\nformat json\n}", path),
		"api_key {\nrequire * contacts:read {\naudit\n}\n}\nreverse_proxy {$UPSTREAM}")
	id, token := r.Create(`{"name":"exporter","scopes":["contacts:read"]}`)
	if got := r.Get("/export", "Authorization: Bearer "+token); got.Status != 200 {
		t.Fatalf("status %d: %s", got.Status, got.Body)
	}
	want := map[string]bool{"key.create": false, "call": false, "call.outcome": false}
	var text string
	missing := func() bool {
		b, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		text = string(b)
		for line := range strings.Lines(text) {
			var entry struct {
				Msg   string
				Hash  string
				Entry struct{ Key string }
			}
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				return true // half a line
			}
			if entry.Entry.Key == id && len(entry.Hash) == 64 {
				want[entry.Msg] = true
			}
		}
		for _, found := range want {
			if !found {
				return true
			}
		}
		return false
	}
	for deadline := time.Now().Add(time.Minute); missing(); time.Sleep(50 * time.Millisecond) { // a log has no signal
		if time.Now().After(deadline) {
			t.Fatalf("the log has %v:\n%s", want, text)
		}
	}
	if strings.Contains(text, token) {
		t.Error("the token is in the log")
	}
}
