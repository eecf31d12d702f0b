package caddyapikey_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// TestManagementIsLogged: what is done to keys is in the log of the trails, each
// entry once, over a reload, and without the token.
func TestManagementIsLogged(t *testing.T) {
	r := rig.New(t, "", guarded)
	id, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	r.Load("", guarded)
	if got := r.Manage("POST", "/keys/"+id+"/revoke", ""); got.Status != 200 {
		t.Fatal(got.Status)
	}
	var logs string
	for deadline := time.Now().Add(time.Minute); !strings.Contains(logs, `"msg":"key.revoke"`); time.Sleep(20 * time.Millisecond) {
		if logs = r.Logs(); time.Now().After(deadline) {
			t.Fatal("the entry is not in the log")
		}
	}
	for _, action := range []string{"key.create", "key.revoke"} {
		n := 0
		for line := range strings.Lines(logs) {
			if strings.Contains(line, `"logger":"http.log.api_keys.audit"`) && strings.Contains(line, `"trail":"management"`) &&
				strings.Contains(line, `"action":"`+action+`"`) && strings.Contains(line, id) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s is logged %d times", action, n)
		}
	}
	if strings.Contains(logs, token) {
		t.Error("the token is in the log")
	}
}
