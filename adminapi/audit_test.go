package adminapi

import (
	"encoding/csv"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// trail returns all entries that query selects, oldest first.
func (s *server) trail(query string) (all []map[string]any) {
	s.t.Helper()
	after := ""
	for {
		a := s.do("GET", "audit?limit=7"+query+after, "").want(200)
		for _, e := range a.at("entries").([]any) {
			all = append(all, e.(map[string]any))
		}
		next, _ := a.at("next").(string)
		if next == "" {
			slices.Reverse(all)
			return all
		}
		after = "&after=" + url.QueryEscape(next)
	}
}

// everyAction does each thing that the trail tells of, and returns what it must
// say, in this order.
func (s *server) everyAction() (id string, want []string) {
	s.t.Helper()
	do := func(action, method, path, body string, status int) reply {
		s.t.Helper()
		a := s.do(method, path, body, "X-Actor", "alice")
		if a.status != status {
			s.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
		}
		if action != "" {
			want = append(want, action)
		}
		return a
	}
	do("org.create", "PUT", "orgs/acme", `{"title":"Acme"}`, 201)
	do("org.edit", "PATCH", "orgs/acme", `{"tier":"gold"}`, 200)
	do("", "PATCH", "orgs/acme", `{"tier":"gold"}`, 200) // nothing changes
	do("org.suspend", "POST", "orgs/acme/suspend", "", 200)
	do("org.resume", "POST", "orgs/acme/resume", "", 200)
	id = do("key.create", "POST", "keys", `{"name":"CRM sync","org":"acme","owner":"ops@acme.example","scopes":["contacts:read"],"metadata":{"crm":"customer no 4711"}}`, 201).text("key", "id")
	key := "keys/" + id
	do("", "POST", "keys", `{"name":""}`, 400)
	do("key.edit", "PATCH", key, `{"scopes":["contacts:read","deals:read"],"owner":"dev@acme.example","allow":["192.0.2.0/24"]}`, 200)
	do("", "PATCH", key, `{"scopes":["deals:read","contacts:read"]}`, 200) // the same set
	do("key.rotate", "POST", key+"/rotate", "", 200)
	do("", "POST", key+"/rotate", "", 409)
	do("rotation.cancel", "DELETE", key+"/rotate", "", 200)
	do("credential.add", "POST", key+"/credentials", "", 201)
	do("credential.end", "DELETE", key+"/credentials/3", "", 200)
	do("", "DELETE", key+"/credentials/9", "", 404)
	do("key.suspend", "POST", key+"/suspend?force=true", "", 200)
	do("key.resume", "POST", key+"/resume", "", 200)
	do("", "DELETE", key, "", 409)
	do("key.revoke", "POST", key+"/revoke", "", 200)
	do("", "POST", key+"/resume", "", 409)
	do("key.delete", "DELETE", key, "", 204)
	do("import", "POST", "import", `{"keys":[{"name":"old","token":"`+legacyToken+`"},{"name":"older","sha256":"`+strings.Repeat("ab", 32)+`"}]}`, 200)
	do("", "POST", "import", `{"dry_run":true,"keys":[{"name":"x","sha256":"`+strings.Repeat("cd", 32)+`"}]}`, 200)
	do("", "POST", "identify", `{"token":"`+legacyToken+`"}`, 200)
	do("identify.revoke", "POST", "identify", `{"token":"`+legacyToken+`","revoke":true}`, 200)
	do("backup", "GET", "backup", "", 200)
	return id, want
}

func TestAuditTellsEveryAction(t *testing.T) {
	s := newServer(t)
	id, want := s.everyAction()
	all := s.trail("")
	var got []string
	for i, e := range all {
		got = append(got, e["action"].(string))
		if e["seq"] != float64(i+1) || e["actor"] != audit.Loopback || e["claimed_by"] != "alice" || e["address"] != "127.0.0.1" ||
			e["erased"] != false || len(e["hash"].(string)) != 64 || len(e["request_id"].(string)) != 13 {
			t.Errorf("%v", e)
		}
		if at, err := time.Parse(keyring.TimeFormat, e["time"].(string)); err != nil || time.Since(at) > time.Minute {
			t.Errorf("time %v, %v", e["time"], err)
		}
		if (e["force"] == true) != (e["action"] == "key.suspend") {
			t.Errorf("force is %v: %v", e["force"], e)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("told %q\nwant %q", got, want)
	}
	if got := s.trail("&key=" + id); len(got) != 10 || got[0]["action"] != "key.create" || got[9]["action"] != "key.delete" {
		t.Errorf("%d entries of the key", len(got))
	}
	said := func(i int, want string) {
		t.Helper()
		if got := fmt.Sprint(all[i]["changes"]); got != want {
			t.Errorf("entry %d says %s\nwant %s", i+1, got, want)
		}
	}
	said(1, "map[tier:map[after:gold before:<nil>]]")
	if text := fmt.Sprint(all[4]["changes"]); !strings.Contains(text, "owner:map[after:ops@acme.example before:<nil>]") || !strings.Contains(text, "state:map[after:active before:<nil>]") ||
		!strings.Contains(text, "kind:token n:1") {
		t.Errorf("created: %s", text)
	}
	said(5, "map[allow:map[after:[192.0.2.0/24] before:<nil>] owner:map[after:dev@acme.example before:ops@acme.example] scopes:map[after:[contacts:read deals:read] before:[contacts:read]]]")
	if fmt.Sprint(all[5]["changed"]) != "[allow owner scopes]" || all[5]["revision"] != 2.0 || all[5]["org"] != "acme" {
		t.Errorf("%v", all[5])
	}
	if all[6]["credential"] != 2.0 || all[8]["credential"] != 3.0 || all[9]["credential"] != 3.0 {
		t.Errorf("credentials: %v, %v, %v", all[6], all[8], all[9])
	}
	said(10, "map[state:map[after:suspended before:active]]")
	if imported := all[14]; imported["count"] != 2.0 || len(imported["keys"].([]any)) != 2 {
		t.Errorf("%v", imported)
	}
}

func TestAuditFilters(t *testing.T) {
	s := newServer(t)
	id, _ := s.everyAction()
	imported := s.trail("&action=import")[0]["keys"].([]any)
	for query, want := range map[string]int{
		"&org=acme": 14, "&org=other": 0, "&action=key.create": 1, "&action=key": 0, "&actor=loopback": 17, "&actor=alice": 0, "&actor=server": 0,
		"&key=" + id + "&action=key.edit": 1, "&since=1h": 17, "&until=1h": 0, "&trail=management": 17, "&trail=calls": 0,
		"&key=" + imported[1].(string): 1, "&key=" + imported[0].(string): 2,
	} {
		if got := s.trail(query); len(got) != want {
			t.Errorf("%s: %d entries, want %d", query, len(got), want)
		}
	}
	for _, query := range []string{"key=x", "trail=other", "since=soon", "format=xml", "after=x", "after=AA", "limit=0", "limit=5&format=csv", "who=x", "org="} {
		s.do("GET", "audit?"+query, "").problem(400, "invalid-query", "")
	}
}

func TestAuditActorHeader(t *testing.T) {
	s := newServer(t)
	for name, claim := range map[string]string{
		"long": strings.Repeat("x", maxClaim+1), "tab": "a\tb", "high": "a\x80b", "direction": "a\u202eb",
	} {
		s.do("POST", "keys", `{"name":"x"}`, "X-Actor", claim).problem(400, "invalid-header", "")
		if len(s.trail("")) != 0 {
			t.Errorf("%s: something was recorded", name)
		}
	}
	s.do("POST", "keys", `{"name":"x"}`, "X-Actor", `<b>"Jörg", ops\`).want(201)
	s.do("POST", "keys", `{"name":"x"}`).want(201)
	all := s.trail("")
	if all[0]["claimed_by"] != `<b>"Jörg", ops\` || all[0]["actor"] != audit.Loopback || has(all[1], "claimed_by") {
		t.Errorf("%v", all)
	}
	a := s.do("GET", "keys", "")
	if id := a.header.Get("X-Request-Id"); len(id) != 13 {
		t.Errorf("request id %q", id)
	}
}

// TestAuditUnavailable: what cannot be recorded is not done.
func TestAuditUnavailable(t *testing.T) {
	s := newServer(t)
	s.create("")
	fault := fmt.Errorf("no disk: %w", os.ErrInvalid)
	s.store.fault.Store(&fault)
	if a := s.do("GET", "backup", ""); a.status != 500 || strings.Contains(a.body, "caddy-apikey\x00") {
		t.Errorf("backup: %d", a.status)
	}
	s.store.fault.Store(nil)
	if got := s.trail(""); len(got) != 1 {
		t.Errorf("%d entries", len(got))
	}
}

func TestAuditCSV(t *testing.T) {
	s := newServer(t)
	s.do("POST", "keys", `{"name":"=1+1","owner":"@SUM(A1)"}`, "X-Actor", "=cmd|'/c calc'!A1").want(201)
	s.everyAction()
	a := s.do("GET", "audit?format=csv", "").want(200)
	rows, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
	if err != nil || len(rows) != 19 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if got := strings.Join(rows[0], " "); got != "seq time action actor claimed_by address request_id key org more erased hash" {
		t.Error(got)
	}
	last := rows[18]
	if last[0] != "1" || last[2] != "key.create" || last[4] != "'=cmd|'/c calc'!A1" || !strings.HasPrefix(last[9], `{"changed":`) || last[10] != "false" {
		t.Errorf("%q", last)
	}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				t.Errorf("a formula: %q", cell)
			}
		}
	}
}

func TestAuditVerify(t *testing.T) {
	s := newServer(t)
	s.everyAction()
	a := s.do("GET", "audit/verify", "").want(200).is("true", "ok").is("17", "management", "count").is("1", "management", "first").
		is("[]", "management", "faults").is("0", "calls", "count")
	newest := s.trail("")[16]
	if a.text("management", "head") != newest["hash"] {
		t.Errorf("head %s, newest %s", a.text("management", "head"), newest["hash"])
	}
	record := testUse.Load().store
	if _, err := record.AppendCalls(t.Context(), audit.Draft{Time: time.Now(), Payload: []byte(`{"action":"call","key":"key_x"}`), Details: []byte(`{"address":"192.0.2.1"}`)}); err != nil {
		t.Fatal(err)
	}
	s.do("GET", "audit/verify", "").want(200).is("true", "ok").is("1", "calls", "count")
	s.do("GET", "audit?trail=calls", "").want(200).is(`"call"`, "entries", 0, "action").is(`"192.0.2.1"`, "entries", 0, "address")
	use := testUse.Load()
	testUse.Store(nil)
	s.do("GET", "audit/verify", "").want(200).is("false", "ok").is("true", "management", "ok").is("false", "calls", "ok")
	testUse.Store(use)
}

// TestReportHistory: a report says who did what to the key, and whether that can
// be relied upon.
func TestReportHistory(t *testing.T) {
	s := newServer(t)
	id, _ := s.everyAction()
	a := s.do("GET", "report?key="+id, "").want(200).is("true", "trail", "ok").is("0", "trail", "faults")
	if got := a.at("management").([]any); len(got) != 10 {
		t.Errorf("%d entries", len(got))
	}
	a.is(`"key.delete"`, "management", 0, "action").is(`"loopback"`, "management", 0, "actor").is(`"key.create"`, "management", 9, "action")
	s.do("GET", "report?org=acme", "").want(200).is(`"org.create"`, "management", 13, "action")
	if got := s.do("GET", "report?address=::ffff:127.0.0.1", "").want(200).at("management").([]any); len(got) != 17 {
		t.Errorf("%d entries from the address", len(got))
	}
	if got := s.do("GET", "report?address=::ffff:192.0.2.1", "").want(200).at("management").([]any); len(got) != 0 {
		t.Errorf("%d entries from another", len(got))
	}
	imported := s.trail("&action=import")[0]["keys"].([]any)[1].(string)
	s.do("GET", "report?key="+imported, "").want(200).is(`"import"`, "management", 0, "action")
}

// TestAuditTampered changes the file while nobody has it open: the API tells
// where, and goes on.
func TestAuditTampered(t *testing.T) {
	s := newServer(t)
	s.everyAction()
	path := filepath.Join(t.TempDir(), "keys.db")
	if err := os.WriteFile(path, []byte(s.do("GET", "backup", "").want(200).body), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("trail"))
		k := []byte{0, 0, 0, 0, 0, 0, 0, 5}
		v := slices.Clone(b.Get(k))
		v[60] ^= 1
		return b.Put(k, v)
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s.reopen(path)
	s.do("GET", "audit/verify", "").want(200).is("false", "ok").is("false", "management", "ok").is("5", "management", "faults", 0, "seq")
	a := s.do("GET", "audit?limit=500", "").want(200).is("true", "damaged")
	s.do("GET", "health", "").want(200).is(`"ok"`, "status").is(`"trail_faulty"`, "notes", 0, "reason")
	if a := s.do("GET", "audit?format=csv", "").want(200); !strings.Contains(a.body, ",damaged entries are left out") {
		t.Errorf("the export does not tell of the damage: %s", a.body)
	}
	if got := a.at("entries").([]any); len(got) != 17 { // of 18
		t.Errorf("%d entries", len(got))
	}
	s.create("")
}
