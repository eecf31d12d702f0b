package attack

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// lifecycle is class F: keys that are used while, or after, they are taken away.
var lifecycle = []attack{
	{"F01_revoked_under_load", func(s *scene) {
		s.Load(cleartextH2, strings.Replace(site, "reverse_proxy {$UPSTREAM}", `respond "ok"`, 1))
		h3, h3url := s.overH3()
		h2 := &http.Client{Transport: &http.Transport{Protocols: h2cOnly()}}
		defer h2.CloseIdleConnections()
		for what, c := range map[string]struct {
			client *http.Client
			url    string
		}{"HTTP/1.1": {&http.Client{Transport: new(http.Transport)}, "http://" + s.Site}, "HTTP/2": {h2, "http://" + s.Site}, "HTTP/3": {h3, h3url}} {
			for _, end := range []string{"revoke", "suspend"} {
				k := s.key(`{"name":"busy","scopes":["read"]}`)
				s.underLoad(what+" "+end, c.client, c.url, k, func() { s.managed("POST", "/keys/"+k.id+"/"+end, "") })
			}
		}
	}},
	{"F02_revoked_during_long_requests", longRequests},
	{"F03_rotation", func(s *scene) {
		k := s.key(`{"name":"rotated","scopes":["read"]}`)
		answer := s.Manage("POST", "/keys/"+k.id+"/rotate", `{"overlap":"3s"}`)
		next := caller{k.id, s.secretOf(answer)}
		var view struct {
			Key struct {
				Rotation struct {
					EndsAt time.Time `json:"ends_at"`
				}
			}
		}
		if err := json.Unmarshal(answer.Body, &view); err != nil || view.Key.Rotation.EndsAt.IsZero() {
			s.t.Fatalf("no end of the rotation: %v", err)
		}
		s.diesAt("old token", k, view.Key.Rotation.EndsAt)
		s.accepted("new token", s.get("/public/x", next.bearer()))

		k = s.key(`{"name":"raced","scopes":["read"]}`)
		won := s.atOnce(50, func() rig.Answer { return s.Manage("POST", "/keys/"+k.id+"/rotate", "") }, http.StatusOK, http.StatusConflict)
		if len(won) != 1 {
			s.t.Fatalf("%d of 50 rotations won, want 1", len(won))
		}
		s.live("after 50 rotations", k.id, 2)
		s.accepted("old", s.get("/public/x", k.bearer()))
		s.accepted("new", s.get("/public/x", caller{k.id, s.secretOf(won[0])}.bearer()))
	}},
	{"F04_expiry", func(s *scene) {
		ends := time.Now().Add(3 * time.Second).Truncate(time.Millisecond)
		k := s.key(`{"name":"short","scopes":["read"],"expires_at":"` + ends.In(time.FixedZone("", -11*3600)).Format(time.RFC3339Nano) + `"}`)
		s.diesAt("key", k, ends)
		for _, at := range []string{"0", "-1", "1893456000", `""`, `"0"`, `"never"`, `"10000-01-01T00:00:00Z"`, `"99999-01-01T00:00:00Z"`, `"-0001-01-01T00:00:00Z"`, `"0001-01-01T00:00:00Z"`, `"0000-01-01T00:00:00Z"`, `"1969-12-31T23:59:59Z"`, `"9999-12-31T23:59:59-01:00"`,
			`"2030-02-30T00:00:00Z"`, `"2030-01-01T24:00:00Z"`, `"2030-01-01T23:59:60Z"`, `"2030-01-01"`, `"2030-01-01T00:00:00"`, `"2030-01-01 00:00:00Z"`, `"2030-01-01T00:00:00+24:00"`, `"2030-01-01T00:00:00+0100"`, `"2030-1-1T0:0:0Z"`, `"2030-01-01T1:00:00Z"`, `"2030-01-01T00:00:00.Z"`, `"2030-01-01T00:00:00+01:60"`, `" 2030-01-01T00:00:00Z"`, `"2030-01-01T00:00:00Z\n"`,
			`"2030-01-01T00:00:00,5Z"`, `"２030-01-01T00:00:00Z"`, "1e400", "true", "[]", "{}", `["2030-01-01T00:00:00Z"]`, `"+2030-01-01T00:00:00Z"`} {
			s.unmanaged("create "+at, "POST", "/keys", `{"name":"x","expires_at":`+at+`}`, http.StatusBadRequest)
			s.unmanaged("edit "+at, "PATCH", "/keys/"+s.reader.id, `{"expires_at":`+at+`}`, http.StatusBadRequest)
			s.unmanaged("credential "+at, "POST", "/keys/"+s.reader.id+"/credentials", `{"expires_at":`+at+`}`, http.StatusBadRequest)
		}
		for _, at := range []string{"1970-01-01T00:00:00Z", "1970-01-01T00:00:00.0001Z", "2001-01-01T00:00:00+14:00", "1970-01-01t01:00:00+01:00"} {
			s.unmanaged("create in the past", "POST", "/keys", `{"name":"x","expires_at":"`+at+`"}`, http.StatusBadRequest)
			k := s.key(`{"name":"ended","scopes":["read"]}`)
			if answer := s.Manage("PATCH", "/keys/"+k.id, `{"expires_at":"`+at+`"}`); answer.Status == http.StatusOK {
				s.refused("ended at "+at, s.get("/public/x", k.bearer()), http.StatusUnauthorized)
				s.unmanaged("no new token", "POST", "/keys/"+k.id+"/rotate", "", http.StatusConflict)
				s.load(site)
				s.refused("ended at "+at+", after a reload", s.get("/public/x", k.bearer()), http.StatusUnauthorized)
			}
		}
		last := s.key(`{"name":"last","scopes":["read"],"expires_at":"9999-12-31T23:59:59.9999999Z"}`)
		s.accepted("the last instant", s.get("/public/x", last.bearer()))
	}},
	{"F05_final_states", func(s *scene) {
		k := s.key(`{"name":"once","scopes":["read"]}`)
		s.managed("POST", "/keys/"+k.id+"/suspend", "")
		s.refused("suspended", s.get("/public/x", k.bearer()), http.StatusUnauthorized)
		s.managed("POST", "/keys/"+k.id+"/resume", "")
		s.accepted("resumed", s.get("/public/x", k.bearer()))
		s.managed("POST", "/keys/"+k.id+"/revoke", "")
		end := func(statuses ...int) {
			s.t.Helper()
			for _, r := range [][3]string{{"POST", "/resume", ""}, {"POST", "/suspend", ""}, {"PATCH", "", `{"name":"x"}`}, {"PATCH", "", `{"expires_at":"2090-01-01T00:00:00Z"}`}, {"POST", "/rotate", ""}, {"POST", "/rotate", `{"overlap":"0s"}`}, {"POST", "/credentials", ""}, {"DELETE", "/rotate", ""}} {
				s.unmanaged(r[0]+r[1], r[0], "/keys/"+k.id+r[1], r[2], statuses...)
			}
			s.refused("old token", s.get("/public/x", k.bearer()), http.StatusUnauthorized)
		}
		end(http.StatusConflict)
		again := s.key(`{"name":"once","scopes":["read"]}`)
		if again.id == k.id {
			s.t.Error("a new key of the same name has the old id")
		}
		end(http.StatusConflict)
		s.managed("DELETE", "/keys/"+k.id, "")
		end(http.StatusNotFound)
		s.unmanaged("the old token, imported", "POST", "/import", `{"keys":[{"name":"once","scopes":["read"],"token":"`+k.token+`"}]}`, http.StatusConflict)
		s.accepted("the new key", s.get("/public/x", again.bearer()))
		s.load(site)
		s.refused("old token after a reload", s.get("/public/x", k.bearer()), http.StatusUnauthorized)
	}},
	{"F07_edits_at_the_same_time", func(s *scene) {
		path := "/keys/" + s.writer.id
		tag := s.Manage("GET", path, "").Header.Get("ETag")
		h2 := &http.Client{Transport: &http.Transport{Protocols: h2cOnly()}}
		defer h2.CloseIdleConnections()
		s.Load(cleartextH2, site)
		h1 := &http.Client{Transport: new(http.Transport)}
		for _, client := range []*http.Client{h1, h2} {
			s.accepted("before", s.by(client, "POST", s.writer))
		}
		s.changes("removing a scope", s.admins("PATCH", path, `{"scopes":["read"]}`, "If-Match: "+tag), http.StatusOK)
		for _, client := range []*http.Client{h1, h2} {
			s.refused("the very next request", s.by(client, "POST", s.writer), http.StatusForbidden)
		}
		s.unchanged("putting it back", s.admins("PATCH", path, `{"scopes":["read","write"],"name":"mine"}`, "If-Match: "+tag), http.StatusPreconditionFailed)
		s.Load(cleartextH2, strings.Replace(site, "@read  read", "@read  admin", 1))
		for _, client := range []*http.Client{h1, h2} {
			s.refused("a tightened rule", s.by(client, "GET", s.writer), http.StatusForbidden)
		}
		tag = s.Manage("GET", path, "").Header.Get("ETag")
		won := s.atOnce(50, s.admins("PATCH", path, `{"owner":"mine"}`, "If-Match: "+tag), http.StatusOK, http.StatusPreconditionFailed)
		if len(won) != 1 {
			s.t.Errorf("%d of 50 edits with one tag won, want 1", len(won))
		}
	}},

	{"F21_tags_of_nothing", func(s *scene) {
		path := "/keys/" + s.reader.id
		for _, tag := range []string{`W/"1"`, "1", `"1", "2"`, `"`, `""x`, `*, "1"`, `"1`, `'1'`, `"1"` + "\t,", "", `"*`, "**"} {
			s.unchanged("malformed "+tag, s.admins("PATCH", path, `{"name":"x"}`, "If-Match: "+tag), http.StatusBadRequest)
		}
		for _, tag := range []string{`"0"`, `"01"`, `"+1"`, `"-1"`, `"18446744073709551615"`, `"18446744073709551616"`, `"1.0"`, `"1e0"`, `"0x1"`, `""`, `"*"`, `"１"`, `"2"`} {
			s.unchanged("other "+tag, s.admins("PATCH", path, `{"name":"x"}`, "If-Match: "+tag), http.StatusPreconditionFailed)
			s.unchanged("other "+tag, s.admins("POST", path+"/revoke", "", "If-Match: "+tag), http.StatusPreconditionFailed)
		}
		s.unchanged("two lines", s.admins("PATCH", path, `{"name":"x"}`, `If-Match: "1"`, `If-Match: "2"`), http.StatusBadRequest)
		s.unchanged("any, twice", s.admins("PATCH", path, `{"name":"x"}`, "If-Match: *", "If-Match: *"), http.StatusBadRequest)
	}},
	{"F22_resume_against_revoke", func(s *scene) {
		for range 10 {
			k := s.key(`{"name":"raced","scopes":["read"]}`)
			s.managed("POST", "/keys/"+k.id+"/suspend", "")
			var wg sync.WaitGroup
			var issued sync.Map
			for i, r := range [][2]string{{"/resume", ""}, {"/revoke", ""}, {"/rotate", `{"overlap":"1h"}`}, {"/suspend", ""}, {"/resume", ""}, {"/credentials", ""}, {"/rotate", `{"overlap":"0s"}`}, {"/resume", ""}} {
				wg.Go(func() {
					answer := s.Manage("POST", "/keys/"+k.id+r[0], r[1])
					switch answer.Status {
					case http.StatusOK, http.StatusCreated, http.StatusConflict:
					default:
						s.t.Errorf("%s: status %d", r[0], answer.Status)
					}
					if token := tokenOf(answer); token != "" {
						issued.Store(i, token)
					}
				})
			}
			wg.Wait()
			if !strings.Contains(s.managed("GET", "/keys/"+k.id, ""), `"state":"revoked"`) {
				s.t.Error("a revoked key is not revoked any more")
			}
			issued.Range(func(_, token any) bool {
				s.secrets = append(s.secrets, token.(string))
				s.refused("a token of the race", s.get("/public/x", "Authorization: Bearer "+token.(string)), http.StatusUnauthorized)
				return true
			})
			s.refused("the first token", s.get("/public/x", k.bearer()), http.StatusUnauthorized)
		}
	}},
	{"F23_overlaps", func(s *scene) {
		path := "/keys/" + s.reader.id
		for _, overlap := range []string{`"-1s"`, `"8761h"`, `"366d"`, `"9223372036854775807ns"`, `"9223372036854775808ns"`, `"106751d"`, `"106752d"`, `"999999999d"`, `"1e9s"`, `"18446744073709551616s"`, `"NaN"`, `"1"`, `""`, `"7 d"`, "7", "0", "null", `["7d"]`, `"d"`, `"-0.1d"`, `"213504d"`, `"7d-8d"`} {
			s.unmanaged(overlap, "POST", path+"/rotate", `{"overlap":`+overlap+`}`, http.StatusBadRequest)
		}
		s.unmanaged("a credential that is over", "POST", path+"/rotate", `{"overlap":"0s","expires_at":"2001-01-01T00:00:00Z"}`, http.StatusBadRequest)
		s.accepted("nothing ended", s.get("/public/x", s.reader.bearer()))
	}},
	{"F24_rotation_does_not_lengthen", func(s *scene) {
		ends := time.Now().Add(5 * time.Second).Truncate(time.Millisecond)
		at := `"expires_at":"` + ends.UTC().Format(time.RFC3339Nano) + `"`
		k := s.key(`{"name":"short token","scopes":["read"],"credential":{` + at + `}}`)
		s.secretOf(s.Manage("POST", "/keys/"+k.id+"/rotate", `{"overlap":"365d"}`))
		s.managed("DELETE", "/keys/"+k.id+"/rotate", "")
		s.secretOf(s.Manage("POST", "/keys/"+k.id+"/rotate", `{"overlap":"365d"}`))
		s.diesAt("old token", k, ends)
	}},
	{"F25_cancelled_rotation", func(s *scene) {
		k := s.key(`{"name":"rotated","scopes":["read"]}`)
		next := caller{k.id, s.secretOf(s.Manage("POST", "/keys/"+k.id+"/rotate", ""))}
		won := s.atOnce(20, func() rig.Answer { return s.Manage("DELETE", "/keys/"+k.id+"/rotate", "") }, http.StatusOK, http.StatusConflict)
		if len(won) != 1 {
			s.t.Errorf("%d of 20 cancelled one rotation", len(won))
		}
		s.refused("new token", s.get("/public/x", next.bearer()), http.StatusUnauthorized)
		s.accepted("old token", s.get("/public/x", k.bearer()))
		s.secretOf(s.Manage("POST", "/keys/"+k.id+"/rotate", `{"overlap":"0s"}`))
		s.unmanaged("a leaked token back to life", "DELETE", "/keys/"+k.id+"/rotate", "", http.StatusConflict)
		s.refused("leaked token", s.get("/public/x", k.bearer()), http.StatusUnauthorized)
	}},
	{"F26_too_many_credentials", func(s *scene) {
		k := s.key(`{"name":"many","scopes":["read"]}`)
		won := s.atOnce(40, func() rig.Answer { return s.Manage("POST", "/keys/"+k.id+"/credentials", "") }, http.StatusCreated, http.StatusConflict)
		for _, answer := range won {
			s.secretOf(answer)
		}
		s.live("after 40", k.id, 10)
		for range 40 { // so that ended ones are dropped
			s.secretOf(s.Manage("POST", "/keys/"+k.id+"/rotate", `{"overlap":"0s"}`))
		}
		s.live("after 40 rotations", k.id, 1)
		for _, token := range s.secrets[4 : len(s.secrets)-1] {
			s.refused("an ended token", s.get("/public/x", "Authorization: Bearer "+token), http.StatusUnauthorized)
		}
	}},
	{"F27_suspended_org", func(s *scene) {
		s.managed("PUT", "/orgs/paused", `{}`)
		k := s.key(`{"name":"member","org":"paused","scopes":["read"]}`)
		s.accepted("before", s.get("/public/x", k.bearer()))
		s.managed("POST", "/orgs/paused/suspend", "")
		s.refused("member", s.get("/public/x", k.bearer()), http.StatusForbidden)
		s.managed("POST", "/keys/"+k.id+"/resume", "")
		s.managed("PUT", "/orgs/paused", `{"title":"written again"}`)
		s.managed("PATCH", "/orgs/paused", `{"title":"edited"}`)
		next := caller{k.id, s.secretOf(s.Manage("POST", "/keys/"+k.id+"/rotate", ""))}
		for _, c := range []caller{k, next} {
			s.refused("still suspended", s.get("/public/x", c.bearer()), http.StatusForbidden)
		}
	}},
	{"F28_not_yet", func(s *scene) {
		begins := time.Now().Add(200 * time.Millisecond).Truncate(time.Millisecond)
		k := s.key(`{"name":"later","scopes":["read"],"not_before":"` + begins.UTC().Format(time.RFC3339Nano) + `"}`)
		for {
			before := s.Upstream.Hits()
			answer := s.Get("/public/x", k.bearer())
			if answer.Status == http.StatusOK {
				if time.Now().Before(begins) {
					s.t.Error("let in too early")
				}
				break
			}
			if s.Upstream.Hits() != before || time.Now().After(begins.Add(5*time.Second)) {
				s.t.Fatalf("status %d after the beginning, or a hit without one", answer.Status)
			}
		}
		for _, body := range []string{`{"not_before":"2090-01-01T00:00:00Z","expires_at":"2089-01-01T00:00:00Z"}`, `{"not_before":"2090-01-01T00:00:00Z","expires_at":"2090-01-01T01:00:00+01:00"}`} {
			s.unmanaged(body, "PATCH", "/keys/"+k.id, body, http.StatusBadRequest)
		}
	}},
	{"F29_reloads", func(s *scene) {
		k := s.key(`{"name":"reloaded","scopes":["read"]}`)
		stop, done := make(chan struct{}), make(chan struct{})
		var revoked atomic.Bool
		go func() {
			defer close(done)
			client := &http.Client{Transport: new(http.Transport)}
			for {
				select {
				case <-stop:
					return
				default:
				}
				after := revoked.Load()
				resp, err := client.Do(s.newRequest("GET", k))
				if err != nil {
					continue // the server that this connection had was stopped
				}
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK && after {
					s.t.Error("a revoked key was let in during a reload")
				}
			}
		}()
		s.load(site)
		s.managed("POST", "/keys/"+k.id+"/revoke", "")
		revoked.Store(true)
		s.load(site)
		s.load("@a path /a\n" + site)
		close(stop)
		<-done
	}},
	{"F30_parallel_requests_at_a_zone", parallelAtAZone},
}

func h2cOnly() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

func (s *scene) newRequest(method string, k caller) *http.Request {
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.Site+"/public/x", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-API-Key", k.token)
	return req
}

// by sends a request with a key by a client that keeps its connections.
func (s *scene) by(client *http.Client, method string, k caller) func() rig.Answer {
	return func() rig.Answer {
		s.t.Helper()
		for try := 0; ; try++ {
			answer := s.send(client, s.newRequest(method, k))()
			if answer.Status != reset || try == 3 { // a reload closes connections
				return answer
			}
		}
	}
}

// admins sends a management request with headers of its own.
func (s *scene) admins(method, path, body string, headers ...string) func() rig.Answer {
	return func() rig.Answer {
		s.t.Helper()
		req, err := http.NewRequest(method, "http://"+s.Admin+"/api_keys"+path, strings.NewReader(body))
		if err != nil {
			s.t.Fatal(err)
		}
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		for _, line := range headers {
			name, value, _ := strings.Cut(line, ": ")
			req.Header.Add(name, value)
		}
		req.Close = true
		return s.send(http.DefaultClient, req)()
	}
}

func (s *scene) changes(what string, send func() rig.Answer, status int) {
	s.t.Helper()
	if answer := send(); answer.Status != status {
		s.t.Errorf("%s: status %d, want %d: %s", what, answer.Status, status, answer.Body)
	}
}

// underLoad takes a key away while a client uses it all the time, on open
// connections: nothing that is sent after the answer may be let in.
func (s *scene) underLoad(what string, client *http.Client, url string, k caller, end func()) {
	s.t.Helper()
	var over atomic.Bool
	var let, late atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				req, err := http.NewRequest("GET", url+"/public/x", nil)
				if err != nil {
					return
				}
				req.Header.Set("X-API-Key", k.token)
				after := over.Load()
				resp, err := client.Do(req)
				if err != nil {
					s.t.Errorf("%s: %v", what, err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				switch {
				case resp.StatusCode == http.StatusOK && after:
					s.t.Errorf("%s: let in after the answer", what)
					return
				case resp.StatusCode == http.StatusOK:
					let.Add(1)
				case after:
					late.Add(1)
				}
			}
		})
	}
	await := func(n *atomic.Int64) {
		for deadline := time.Now().Add(time.Minute); n.Load() < 100 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
	}
	await(&let)
	end()
	over.Store(true)
	await(&late)
	close(stop)
	wg.Wait()
	if let.Load() < 100 || late.Load() < 100 {
		s.t.Errorf("%s: %d let in before and %d refused after", what, let.Load(), late.Load())
	}
}

// diesAt uses a key until it is refused: nothing that was answered before the
// end may have been refused, nothing that was sent at the end or later let in.
func (s *scene) diesAt(what string, k caller, end time.Time) {
	s.t.Helper()
	let := 0
	for {
		sent, before := time.Now(), s.Upstream.Hits()
		answer := s.Get("/public/x", k.bearer())
		switch {
		case answer.Status == http.StatusOK && !sent.Before(end):
			s.t.Fatalf("%s: let in %s after its end", what, sent.Sub(end))
		case answer.Status == http.StatusOK:
			let++
		case time.Now().Before(end):
			s.t.Fatalf("%s: status %d before its end", what, answer.Status)
		default:
			if answer.Status != http.StatusUnauthorized || s.Upstream.Hits() != before {
				s.t.Errorf("%s: status %d at its end, want 401", what, answer.Status)
			}
			if let == 0 {
				s.t.Errorf("%s: never let in", what)
			}
			s.refused(what+" later", s.get("/public/x", k.bearer()), http.StatusUnauthorized)
			return
		}
	}
}

// atOnce sends n requests at once, which must all have one of the statuses, and
// returns the answers with the first of them.
func (s *scene) atOnce(n int, send func() rig.Answer, statuses ...int) (won []rig.Answer) {
	s.t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range n {
		wg.Go(func() {
			<-start
			answer := send()
			mu.Lock()
			defer mu.Unlock()
			switch {
			case answer.Status == statuses[0]:
				won = append(won, answer)
			case !slices.Contains(statuses, answer.Status):
				s.t.Errorf("status %d, want one of %v: %s", answer.Status, statuses, answer.Body)
			}
		})
	}
	close(start)
	wg.Wait()
	return won
}

// live checks how many credentials of a key are in force.
func (s *scene) live(what, id string, want int) {
	s.t.Helper()
	var list struct {
		Credentials []struct {
			EndedAt   *time.Time `json:"ended_at"`
			ExpiresAt *time.Time `json:"expires_at"`
		}
	}
	if err := json.Unmarshal([]byte(s.managed("GET", "/keys/"+id+"/credentials", "")), &list); err != nil {
		s.t.Fatal(err)
	}
	live := 0
	for _, c := range list.Credentials {
		if c.EndedAt == nil && (c.ExpiresAt == nil || time.Now().Before(*c.ExpiresAt)) {
			live++
		}
	}
	if live != want {
		s.t.Errorf("%s: %d credentials are in force, want %d", what, live, want)
	}
}

func tokenOf(answer rig.Answer) string {
	var made struct{ Token string }
	_ = json.Unmarshal(answer.Body, &made)
	return made.Token
}

// secretOf returns the token that an answer made, which is a secret from now on.
func (s *scene) secretOf(answer rig.Answer) string {
	s.t.Helper()
	token := tokenOf(answer)
	if token == "" {
		s.t.Fatalf("status %d, no token", answer.Status)
	}
	s.secrets = append(s.secrets, token)
	return token
}

// longRequests is F02: the key is revoked while an upload, a stream of events
// and a switched connection run. What was let in goes on; nothing new is.
func longRequests(s *scene) {
	next := make(chan struct{})
	var hits atomic.Int64
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		switch r.URL.Path {
		case "/public/events":
			w.Header().Set("Content-Type", "text/event-stream")
			for range 2 {
				fmt.Fprint(w, "data: x\n\n")
				w.(http.Flusher).Flush()
				<-next
			}
		case "/public/socket":
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.Copy(conn, conn)
				conn.Close()
			}
		default:
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprintf(w, "%d bytes", n)
		}
	}))
	s.t.Cleanup(upstream.Close)
	s.load(strings.Replace(site, "reverse_proxy {$UPSTREAM}", "reverse_proxy "+upstream.Listener.Addr().String()+" {\nstream_timeout 500ms\nflush_interval -1\n}", 1))

	open := func(head string) (net.Conn, *bufio.Reader) {
		conn, err := net.DialTimeout("tcp", s.Site, time.Minute)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(conn, "%s\r\nHost: %s\r\n%s\r\n", head, s.Site, s.writer.header())
		return conn, bufio.NewReader(conn)
	}
	response := func(r *bufio.Reader, status int) *http.Response {
		s.t.Helper()
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != status {
			s.t.Fatalf("want status %d: %v %v", status, resp, err)
		}
		return resp
	}
	upload, uploaded := open("POST /public/upload HTTP/1.1")
	fmt.Fprint(upload, "Content-Length: 20\r\n\r\n0123456789")
	stream, streamed := open("GET /public/events HTTP/1.1")
	fmt.Fprint(stream, "\r\n")
	events := response(streamed, http.StatusOK)
	socket, switched := open("GET /public/socket HTTP/1.1")
	fmt.Fprint(socket, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	response(switched, http.StatusSwitchingProtocols)
	for deadline := time.Now().Add(time.Minute); hits.Load() < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%d of 3 requests reached the upstream", hits.Load())
		}
	}

	s.managed("POST", "/keys/"+s.writer.id+"/revoke", "")
	s.refused("a new request", s.get("/public/x", s.writer.bearer()), http.StatusUnauthorized)
	fmt.Fprint(upload, "0123456789")
	resp := response(uploaded, http.StatusOK)
	if body, _ := io.ReadAll(resp.Body); string(body) != "20 bytes" {
		s.t.Errorf("the upload that was let in: %s", body)
	}
	fmt.Fprintf(upload, "POST /public/upload HTTP/1.1\r\nHost: %s\r\n%s\r\nContent-Length: 0\r\n\r\n", s.Site, s.writer.header())
	response(uploaded, http.StatusUnauthorized).Body.Close()
	close(next)
	if body, err := io.ReadAll(events.Body); err != nil || strings.Count(string(body), "data: x") != 2 {
		s.t.Errorf("the stream that was let in: %q, %v", body, err)
	}
	if _, err := io.ReadAll(switched); err != nil {
		s.t.Errorf("the switched connection did not end within stream_timeout: %v", err)
	}
	if n := hits.Load(); n != 3 {
		s.t.Errorf("%d requests reached the upstream, want 3", n)
	}
}
