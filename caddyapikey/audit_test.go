package caddyapikey_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// exports is a policy with a rule that audits.
const exports = `
@read   path /v1/*
@export path /v1/export/*
api_key {
	name crm
	public /health
	require @read contacts:read
	require @export contacts:export {
		audit
		data "contact details"
	}
}
reverse_proxy {$UPSTREAM}`

// auditLine is a line of the log of the trails.
type auditLine struct {
	Logger, Msg, Trail, Time, Hash string
	Seq                            uint64
	Entry                          struct {
		Action, Key, Site, Method, Decision, Reason string
		Request                                     string `json:"request_id"`
		Rules, Data                                 []string
		Credential                                  int
		Call                                        uint64
		Status                                      int
		Bytes                                       int
		Aborted                                     bool
		Suppressed                                  int
	}
	Details struct {
		Address, Path string
		UserAgent     string `json:"user_agent"`
	}
}

// auditLines waits until the log has some lines of the trail of calls.
func auditLines(t *testing.T, r *rig.Rig, want int) (lines []auditLine) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		lines = nil
		for line := range strings.Lines(r.Logs()) {
			var l auditLine
			if json.Unmarshal([]byte(line), &l) == nil && l.Logger == "http.log.api_keys.audit" && l.Trail == "calls" {
				lines = append(lines, l)
			}
		}
		if len(lines) >= want {
			return lines
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d lines, want %d: %+v", len(lines), want, lines)
		}
	}
}

func TestAuditedCalls(t *testing.T) {
	r := rig.New(t, "", exports)
	id, token := r.Create(`{"name":"exporter","scopes":["contacts:*"]}`)
	reader, readerToken := r.Create(`{"name":"reader","scopes":["contacts:read"]}`)
	bearer := "Authorization: Bearer " + token

	if got := r.Get("/v1/export/all?since=secret&token="+token, bearer, "User-Agent: crm/1"); got.Status != 200 {
		t.Fatal(got.Status, string(got.Body))
	}
	r.Get("/v1/contacts", bearer)                                            // not audited
	r.Get("/health", bearer)                                                 // public
	r.Get("/v1/export/all")                                                  // a stranger
	r.Get("/v1/export/all", bearer+"x")                                      // a stranger, too
	r.Request("POST", "/v1/export/x", "Authorization: Bearer "+readerToken)  // refused
	r.Request("DELETE", "/v1/export/y", "Authorization: Bearer "+readerToken) // again
	lines := auditLines(t, r, 3)
	if len(lines) != 3 {
		t.Fatalf("%d lines: %+v", len(lines), lines)
	}
	call := lines[0]
	if e := call.Entry; call.Seq != 1 || call.Msg != "call" || e.Key != id || e.Credential != 1 || e.Site != "crm" || e.Method != "GET" || e.Decision != "allowed" ||
		strings.Join(e.Rules, " ") != "read export" || strings.Join(e.Data, " ") != "contact details" || len(e.Request) != 13 || len(call.Hash) != 64 {
		t.Errorf("%+v", call)
	}
	if d := call.Details; d.Address != "127.0.0.1" || d.Path != "/v1/export/all" || d.UserAgent != "crm/1" {
		t.Errorf("%+v", d)
	}
	var outcome, refused *auditLine
	for i := range lines[1:] {
		switch l := &lines[1+i]; l.Entry.Action {
		case "call.outcome":
			outcome = l
		case "call":
			refused = l
		}
	}
	if outcome == nil || outcome.Entry.Call != 1 || outcome.Entry.Key != id || outcome.Entry.Status != 200 || outcome.Entry.Bytes != len("upstream") || outcome.Entry.Aborted {
		t.Errorf("%+v", outcome)
	}
	if refused == nil || refused.Entry.Decision != "refused" || refused.Entry.Reason != "insufficient_scope" || refused.Entry.Key != reader || refused.Entry.Method != "POST" {
		t.Errorf("%+v", refused)
	}
	for _, secret := range []string{token, readerToken} {
		if strings.Contains(r.Logs(), secret) {
			t.Error("a token is in the log")
		}
	}
}
