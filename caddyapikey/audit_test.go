package caddyapikey_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
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
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
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
	r.Get("/v1/contacts", bearer)                                             // not audited
	r.Get("/health", bearer)                                                  // public
	r.Get("/v1/export/all")                                                   // a stranger
	r.Get("/v1/export/all", bearer+"x")                                       // a stranger, too
	r.Request("POST", "/v1/export/x", "Authorization: Bearer "+readerToken)   // refused
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
	if text, _ := json.Marshal(lines); strings.Contains(string(text), token) || strings.Contains(string(text), readerToken) {
		t.Error("a token is in the trail")
	}
	if got := r.Manage("GET", "/audit/verify", ""); got.JSON(t)["ok"] != true {
		t.Errorf("%s", got.Body)
	}
}

// However a call ends, the trail says how.
func TestOutcomes(t *testing.T) {
	r := rig.New(t, "", strings.Replace(exports, "reverse_proxy {$UPSTREAM}", `
handle /v1/export/stream {
	reverse_proxy {$UPSTREAM} {
		flush_interval -1
	}
}
handle /v1/export/error {
	error "no" 418
}
handle /v1/export/panic {
	api_key_panic
}
handle {
	reverse_proxy {$UPSTREAM}
}`, 1)+"\nhandle_errors {\nrespond \"sorry\" 500\n}")
	_, token := r.Create(`{"name":"exporter","scopes":["contacts:*"]}`)
	bearer := "Authorization: Bearer " + token
	seen := uint64(0)
	for _, c := range []struct {
		name    string
		run     func(t *testing.T)
		status  int
		bytes   int
		aborted bool
	}{
		{"head", func(t *testing.T) { r.Request("HEAD", "/v1/export/x", bearer) }, 200, 0, false},
		{"options", func(t *testing.T) { r.Request("OPTIONS", "/v1/export/x", bearer) }, 200, 8, false},
		{"error", func(t *testing.T) { r.Get("/v1/export/error", bearer) }, 418, 0, false},
		{"panic", func(t *testing.T) {
			_, _ = io.ReadAll(dial(t, r, "GET /v1/export/panic HTTP/1.1\r\nHost: "+r.Site+"\r\n"+bearer+"\r\n\r\n"))
		}, 0, 0, true},
		{"upstream breaks off", func(t *testing.T) {
			r.Upstream.Respond("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nno chunk\r\n")
			defer r.Upstream.Respond("")
			_, _ = io.ReadAll(dial(t, r, "GET /v1/export/x HTTP/1.1\r\nHost: "+r.Site+"\r\n"+bearer+"\r\n\r\n"))
		}, 200, 4, true},
		{"client leaves a stream", func(t *testing.T) {
			r.Upstream.Respond("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100\r\n\r\ndata: 1\n\n")
			defer r.Upstream.Respond("")
			conn := dial(t, r, "GET /v1/export/stream HTTP/1.1\r\nHost: "+r.Site+"\r\n"+bearer+"\r\n\r\n")
			readUntil(t, conn, "data: 1")
			conn.Close()
		}, 200, 9, true},
		{"websocket", func(t *testing.T) {
			r.Upstream.Respond("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			defer r.Upstream.Respond("")
			conn := dial(t, r, "GET /v1/export/x HTTP/1.1\r\nHost: "+r.Site+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+bearer+"\r\n\r\n")
			readUntil(t, conn, "101 Switching")
			conn.Close()
		}, 101, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(t)
			var call, e trailEntry
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
				list := callTrail(t, r)
				if e, call = list[0], list[1]; e.Action == "call.outcome" && e.Seq > seen {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("no outcome: %+v", list)
				}
			}
			if seen = e.Seq; call.Action != "call" || e.Call != call.Seq {
				t.Fatalf("%+v %+v", call, e)
			}
			if e.Status != c.status || e.Bytes != c.bytes || e.Aborted != c.aborted {
				t.Errorf("status %d, %d bytes, aborted %v; want %d, %d, %v", e.Status, e.Bytes, e.Aborted, c.status, c.bytes, c.aborted)
			}
		})
	}
}

// trailEntry is an entry of the trail of calls, as the admin API shows it.
type trailEntry struct {
	Action, Key, Reason, Decision, Path string
	Seq, Call                           uint64
	Status, Bytes                       int
	Aborted, Unknown                    bool
}

// callTrail returns the newest entries, newest first.
func callTrail(t *testing.T, r *rig.Rig) []trailEntry {
	t.Helper()
	var list struct{ Entries []trailEntry }
	got := r.Manage("GET", "/audit?trail=calls", "")
	if err := json.Unmarshal(got.Body, &list); err != nil || got.Status != 200 {
		t.Fatalf("status %d, %v", got.Status, err)
	}
	return list.Entries
}

func dial(t *testing.T, r *rig.Rig, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", r.Site)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func readUntil(t *testing.T, conn net.Conn, mark string) {
	t.Helper()
	var got []byte
	chunk := make([]byte, 1024)
	for !strings.Contains(string(got), mark) {
		n, err := conn.Read(chunk)
		if got = append(got, chunk[:n]...); err != nil {
			t.Fatalf("%v after %q", err, got)
		}
	}
}

func init() { caddy.RegisterModule(panicHandler{}) }

// panicHandler is a handler behind ours that fails.
type panicHandler struct{}

func (panicHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.api_key_panic", New: func() caddy.Module { return new(panicHandler) }}
}

func (*panicHandler) ServeHTTP(http.ResponseWriter, *http.Request, caddyhttp.Handler) error {
	panic(http.ErrAbortHandler)
}

func init() {
	httpcaddyfile.RegisterHandlerDirective("api_key_panic", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return new(panicHandler), nil
	})
	httpcaddyfile.RegisterDirectiveOrder("api_key_panic", httpcaddyfile.Before, "respond")
}

// A process that ended before its calls did leaves them without an outcome. The
// next one says so, once.
func TestUnknownOutcomes(t *testing.T) {
	r := rig.New(t, "", exports)
	id, token := r.Create(`{"name":"exporter","scopes":["contacts:*"]}`)
	r.Get("/v1/export/x", "Authorization: Bearer "+token)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	l, err := bolt.OpenLedger(r.StorePath()+".ledger", bolt.LedgerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // what a process that is killed leaves
		if _, err := l.AppendCalls(t.Context(), audit.Call{Key: id, Decision: audit.Allowed}.Draft(time.Now(), audit.CallDetails{})); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r.Load("", exports)
		want := []string{"call", "call.outcome", "call", "call", "call.outcome 4", "call.outcome 3", "trail.resume"}
		var got []string
		for deadline := time.Now().Add(time.Minute); !slices.Equal(got, want); time.Sleep(10 * time.Millisecond) {
			got = nil
			for _, e := range slices.Backward(callTrail(t, r)) {
				text := e.Action
				if e.Unknown {
					text += fmt.Sprintf(" %d", e.Call)
				}
				got = append(got, text)
			}
			if len(got) > 0 && got[0] == "trail.resume" { // of the first start
				got = got[1:]
			}
			if len(got) > len(want) && got[len(got)-1] == "trail.resume" { // of the second
				got = got[:len(got)-1]
			}
			if time.Now().After(deadline) {
				t.Fatalf("%q", got)
			}
		}
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}
