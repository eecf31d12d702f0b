package caddyapikey_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/caddyapikey"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
)

// Every refused call of a key is counted in the trail, of however many keys they
// are, and it grows by one entry for all that are too many.
func TestRefusedCallsAreCounted(t *testing.T) {
	const room, more = 1024, 6            // kinds with an entry of their own
	t.Cleanup(caddyapikey.ForgetRefusals) // so many fill that table, too
	r := rig.New(t, "", exports)
	var keys []string
	for i := range room + more {
		keys = append(keys, fmt.Sprintf(`{"name":"k%d","token":"imported-token-number-%06d"}`, i, i))
	}
	if got := r.Manage("POST", "/import", `{"keys":[`+strings.Join(keys, ",")+`]}`); got.Status/100 != 2 {
		t.Fatalf("%d %.300s", got.Status, got.Body)
	}
	asked := 0
	for _, times := range []int{1, 2} {
		for i := range room + more {
			for range times {
				wantAnswer(t, r.Get("/v1/export/x", fmt.Sprintf("X-API-Key: imported-token-number-%06d", i)), 403, "insufficient_scope")
				asked++
			}
		}
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	l, err := bolt.OpenLedger(r.StorePath()+".ledger", bolt.LedgerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	entries, counted := 0, 0
	if err := l.Trail(t.Context(), 0, func(e *audit.Entry) bool {
		var p struct {
			Action     string
			Suppressed int
		}
		if err := json.Unmarshal(e.Payload, &p); err != nil {
			t.Error(err)
		}
		entries++
		counted += p.Suppressed
		if p.Action != audit.ActionSuppressed {
			counted++
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if counted != asked || entries >= asked {
		t.Errorf("%d of %d refusals are counted, in %d entries", counted, asked, entries)
	}
}
