package caddyapikey_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// heldStore is a store whose disk takes a call when the test lets it.
type heldStore struct{ bolt.Bolt }

func init() { caddy.RegisterModule(new(heldStore)) }

func (*heldStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "api_keys.stores.held", New: func() caddy.Module { return new(heldStore) }}
}

func (s *heldStore) OpenLedger(keep usage.Keep) (usage.Store, error) {
	ledger, err := s.Bolt.OpenLedger(keep)
	if err != nil {
		return nil, err
	}
	return &heldLedger{ledger.(*bolt.Ledger)}, nil
}

type heldLedger struct{ *bolt.Ledger }

// writing is told of each call that is to be written, which goes on when it is
// closed.
var writing = make(chan chan struct{})

func (l *heldLedger) AppendCalls(ctx context.Context, drafts ...audit.Draft) (uint64, error) {
	seq, err := l.Ledger.AppendCalls(ctx, drafts...)
	goOn := make(chan struct{})
	writing <- goOn
	<-goOn
	return seq, err
}

// A key that ends while its call waits to be recorded is not let in: who was told
// that it is revoked can rely on it.
func TestRevokedWhileRecorded(t *testing.T) {
	r := rig.New(t, fmt.Sprintf("api_keys {\nstore held %s\n}", filepath.Join(t.TempDir(), "store", "keys.db")), exports)
	for what, c := range map[string]struct {
		do     func(id string)
		status int
		reason string
	}{
		"revoked":   {func(id string) { r.Manage("POST", "/keys/"+id+"/revoke", "") }, 401, "revoked_key"},
		"ended":     {func(id string) { r.Manage("POST", "/keys/"+id+"/rotate", `{"overlap":"0s"}`) }, 401, "ended_credential"},
		"narrow":    {func(id string) { r.Manage("PATCH", "/keys/"+id, `{"scopes":["contacts:read"]}`) }, 403, "insufficient_scope"},
		"elsewhere": {func(id string) { r.Manage("PATCH", "/keys/"+id, `{"allow":["192.0.2.1"]}`) }, 403, "address_not_allowed"},
		"signing": {func(id string) {
			r.Manage("PATCH", "/keys/"+id, `{"signing":"optional"}`)
			r.Manage("POST", "/keys/"+id+"/credentials", `{"kind":"shared_secret"}`)
			r.Manage("PATCH", "/keys/"+id, `{"signing":"required"}`)
		}, 401, "exposed_credential"},
		"renamed": {func(id string) { r.Manage("PATCH", "/keys/"+id, `{"name":"renamed"}`) }, 200, ""},
	} {
		id, token := r.Create(`{"name":"exporter","scopes":["contacts:*"],"limits":["5/day"]}`)
		hits := r.Upstream.Hits()
		answered := make(chan rig.Answer, 1)
		go func() { answered <- r.Get("/v1/export/x", "Authorization: Bearer "+token) }()
		select {
		case goOn := <-writing:
			c.do(id)
			close(goOn)
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: the call is not recorded", what)
		}
		wantAnswer(t, <-answered, c.status, c.reason)
		served, left := r.Upstream.Hits()-hits, float64(4)
		if c.status != 200 {
			left = 5
		}
		if (served == 1) != (c.status == 200) {
			t.Errorf("%s: %d requests reached the upstream", what, served)
		}
		limits := r.Manage("GET", "/keys/"+id+"/limits", "").JSON(t)["limits"].([]any)
		if remaining := limits[0].(map[string]any)["remaining"]; remaining != left {
			t.Errorf("%s: %v remain, want %v", what, remaining, left)
		}
	}
	// The trail has the calls and what became of them.
	outcomes := make(map[float64]int)
	for _, entry := range r.Manage("GET", "/audit?trail=calls&action=call.outcome", "").JSON(t)["entries"].([]any) {
		e := entry.(map[string]any)
		outcomes[e["status"].(float64)]++
		if e["aborted"] != nil {
			t.Errorf("%v", e)
		}
	}
	if outcomes[401] != 3 || outcomes[403] != 2 || outcomes[200] != 1 {
		t.Errorf("outcomes %v", outcomes)
	}
}
