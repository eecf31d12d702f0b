package adminapi

import (
	"sync"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

func TestRotation(t *testing.T) {
	s := newServer(t)
	id, token := s.create(`"expires_at":"2090-01-01T00:00:00Z"`)
	path := "keys/" + id
	for body, field := range map[string]string{
		`{"overlap":3600}`: "overlap", `{"overlap":"-1s"}`: "overlap", `{"overlap":"soon"}`: "overlap", `{"overlap":""}`: "overlap", `{"overlap":null}`: "overlap",
		`{"overlap":"366d"}`: "overlap", `{"overlap":"99999999999999d"}`: "overlap", `{"overlap":1e400}`: "overlap", `{"expires_at":"2020-01-01T00:00:00Z"}`: "expires_at", `{"Overlap":"1h"}`: "Overlap",
	} {
		s.do("POST", path+"/rotate", body).problem(400, "invalid-field", field)
	}
	a := s.do("POST", path+"/rotate", `{"overlap":"2d"}`).want(200).is(`2`, "key", "rotation", "new").is(`[1]`, "key", "rotation", "old")
	if a.text("token") == token {
		t.Error("the new token is the old one")
	}
	started, _ := time.Parse(time.RFC3339, a.text("key", "rotation", "started_at"))
	ends, _ := time.Parse(time.RFC3339, a.text("key", "rotation", "ends_at"))
	if ends.Sub(started) != 48*time.Hour {
		t.Errorf("overlap from %s to %s", started, ends)
	}
	if got := a.text("key", "credentials", 0, "expires_at"); got != a.text("key", "rotation", "ends_at") {
		t.Errorf("the old credential expires at %s", got)
	}
	s.do("POST", path+"/rotate", "").problem(409, "wrong-state", "")
	s.do("DELETE", path+"/credentials/2", "").problem(409, "wrong-state", "")
	s.do("DELETE", path+"/rotate", "").want(200).is(`null`, "rotation").is(`null`, "credentials", 0, "expires_at")
	s.do("DELETE", path+"/rotate", "").problem(409, "wrong-state", "")

	// Ended early, by ending the old one; then one without overlap.
	s.do("POST", path+"/rotate", "").want(200).is(`3`, "key", "rotation", "new")
	s.do("DELETE", path+"/credentials/1", "").want(200).is(`null`, "rotation")
	s.do("POST", path+"/rotate", `{"overlap":"0s"}`).want(200).is(`null`, "key", "rotation")
	list := s.do("GET", path+"/credentials", "").want(200)
	if n := len(list.at("credentials").([]any)); n != 4 {
		t.Errorf("%d credentials, want 4", n)
	}
	for i := range 3 {
		list.text("credentials", i, "ended_at")
	}
	list.is(`null`, "credentials", 3, "ended_at")
}

func TestAddAndEndCredentials(t *testing.T) {
	s := newServer(t)
	id, _ := s.create("")
	path := "keys/" + id + "/credentials"
	a := s.do("POST", path, `{"kind":"token","expires_at":"2090-01-01T00:00:00Z"}`).want(201).is(`2`, "credential").is(`"2090-01-01T00:00:00.000Z"`, "key", "credentials", 1, "expires_at")
	if !keyring.IsToken(a.text("token"), "ck") {
		t.Errorf("token %q", a.text("token"))
	}
	s.do("POST", path, `{"kind":"shared_secret"}`).problem(400, "invalid-field", "signing")
	s.do("POST", path, `{"kind":"public_key","public_key":"x"}`).problem(400, "invalid-field", "public_key")
	s.do("DELETE", path+"/1", "").want(200)
	s.do("DELETE", path+"/1", "").want(200)
	for range keyring.MaxLiveCredentials - 1 {
		s.do("POST", path, "").want(201)
	}
	s.do("POST", path, "").problem(409, "wrong-state", "")
}

func TestParallelRotations(t *testing.T) {
	s := newServer(t)
	id, _ := s.create("")
	statuses := make(chan int, 50)
	var wg sync.WaitGroup
	for range cap(statuses) {
		wg.Go(func() { statuses <- s.do("POST", "keys/"+id+"/rotate", "").status })
	}
	wg.Wait()
	close(statuses)
	count := map[int]int{}
	for status := range statuses {
		count[status]++
	}
	if count[200] != 1 || count[409] != 49 {
		t.Errorf("statuses %v, want one 200 and 49 of 409", count)
	}
	if n := len(s.do("GET", "keys/"+id, "").at("credentials").([]any)); n != 2 {
		t.Errorf("%d credentials, want 2", n)
	}
}
