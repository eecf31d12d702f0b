package adminapi

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// TestErase: what is known of an owner goes, wherever it stands; what was done
// stays, and can still be verified.
func TestErase(t *testing.T) {
	s := newServer(t)
	id, _ := s.everyAction() // its owners were ops@ and dev@acme.example
	live, token := s.create(`"owner":"dev@acme.example","org":"acme"`)
	other, _ := s.create(`"owner":"somebody.else@example.org"`)
	if len(token) == 0 {
		t.Fatal("no token")
	}
	s.do("PATCH", "keys/"+other, `{"owner":"new@example.org"}`).want(200)
	record := testUse.Load().store
	for _, key := range []string{id, live, other} {
		if _, err := record.AppendCalls(t.Context(), audit.Draft{Time: time.Now(), Payload: fmt.Appendf(nil, `{"action":"call","key":%q}`, key), Details: []byte(`{"address":"192.0.2.7"}`)}); err != nil {
			t.Fatal(err)
		}
		now := time.Now().UTC()
		if _, err := record.Add(t.Context(), usage.Batch{ID: [16]byte([]byte(key)[8:24]), Counters: []usage.Counter{{
			Event: usage.Event{Key: key, Credential: 1, Place: usage.PlaceOf(netip.MustParseAddr("192.0.2.7"))}, Hour: now.Truncate(time.Hour), Requests: 1, First: now, Last: now,
		}}}); err != nil {
			t.Fatal(err)
		}
	}
	everything := func() string {
		text := ""
		for _, path := range []string{"audit?limit=500", "audit?limit=500&trail=calls", "keys?limit=500", "report?key=" + id, "report?key=" + live, "audit?format=csv"} {
			text += s.do("GET", path, "").want(200).body
		}
		return text
	}
	for _, body := range []string{`{}`, `{"owner":"x","org":"acme"}`, `{"key":"` + id + `","owner":"x"}`, `{"owner":""}`} {
		s.do("POST", "erase", body).problem(400, "invalid-field", "key")
	}
	s.do("POST", "erase", `{"owner":"nobody@example.org"}`).problem(404, "not-found", "")
	s.do("POST", "erase", `{"key":"key_00000000000000000000"}`).problem(404, "not-found", "")

	s.do("POST", "erase", `{"owner":"dev@acme.example","dry_run":true}`).want(200).is("true", "dry_run").
		is(fmt.Sprintf("[%q,%q]", id, live), "keys").is(fmt.Sprintf("[%q]", id), "fields_of").is(fmt.Sprintf("[%q]", live), "in_force").is("0", "management_entries")
	if before := len(s.trail("")); before != 20 || !strings.Contains(everything(), "dev@acme.example") {
		t.Errorf("a dry run did something: %d entries", before)
	}
	s.do("POST", "erase", `{"owner":"dev@acme.example"}`, "X-Actor", "privacy desk").want(200).is("11", "management_entries").is("2", "call_entries")
	text := everything()
	for _, gone := range []string{"ops@acme.example", "CRM sync", "customer no 4711"} {
		if strings.Contains(text, gone) {
			t.Errorf("%q is still there", gone)
		}
	}
	if n := strings.Count(text, "dev@acme.example"); n != 2 { // the live key, in the list and its report
		t.Errorf("the owner is named %d times", n)
	}
	if n := strings.Count(s.do("GET", "audit?trail=calls", "").body, "192.0.2.7"); n != 1 {
		t.Errorf("%d calls have their address", n)
	}
	if a := s.do("GET", "report?key="+live, "").want(200); strings.Contains(a.body, "192.0.2.7") || !strings.Contains(a.body, `"requests":1`) {
		t.Errorf("the record of use: %s", a.body)
	}
	s.do("GET", "audit/verify", "").want(200).is("true", "ok").is("11", "management", "erased").is("2", "calls", "erased")
	all := s.trail("")
	if e := all[len(all)-1]; e["action"] != "erase" || e["claimed_by"] != "privacy desk" || fmt.Sprint(e["keys"]) != "["+id+"]" || fmt.Sprint(e["changed"]) != "[allow metadata name owner]" {
		t.Errorf("%v", e)
	}
	for _, e := range all {
		if e["action"] != "erase" && e["key"] == id && (e["erased"] != true || e["actor"] != audit.Loopback) {
			t.Errorf("%v", e)
		}
	}
	s.do("POST", "erase", `{"owner":"dev@acme.example"}`).want(200).is(fmt.Sprintf("[%q]", live), "keys").is("0", "management_entries")
	// Of a key whose owner is somebody else now, only what names the old one.
	s.do("POST", "erase", `{"owner":"somebody.else@example.org"}`).want(200).is(fmt.Sprintf("[%q]", other), "former").is("[]", "keys").is("2", "management_entries")
	if strings.Contains(everything(), "somebody.else") {
		t.Error("the former owner is still there")
	}
	s.do("GET", "keys/"+other, "").want(200).is(`"new@example.org"`, "owner")
	if !strings.Contains(everything(), `"Acme"`) {
		t.Error("the title of the org is gone already")
	}
	s.do("POST", "erase", `{"org":"nobody"}`).problem(404, "not-found", "")
	s.do("POST", "erase", `{"org":"acme"}`).want(200).is("4", "management_entries").is("[]", "keys")
	if strings.Contains(everything(), `"Acme"`) {
		t.Error("the title of the org is still in the trail")
	}
	if all := s.trail("&action=erase"); all[len(all)-1]["org"] != "acme" {
		t.Errorf("%v", all[len(all)-1])
	}
	s.do("POST", "erase", `{"key":"`+other+`"}`).want(200).is(fmt.Sprintf("[%q]", other), "in_force").is("1", "call_entries")
}
