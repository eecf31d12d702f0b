package caddyapikey_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// lockByHand locks an address through the admin API.
func lockByHand(t *testing.T, r *rig.Rig, addr, d string) {
	t.Helper()
	if got := r.Manage("POST", "/lockouts", fmt.Sprintf(`{"address":%q,"for":%q,"reason":"test"}`, addr, d)); got.Status != 200 {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
}

// A lockout works without keys, and neither opens nor makes a store.
func TestLockoutWithoutKeys(t *testing.T) {
	r := rig.New(t, proxied, guarded)
	config := fmt.Sprintf("{\nadmin %s\npersist_config off\nlog default {\noutput file %s\n}\n%s\n}\nhttp://%s {\nbind 127.0.0.1\nlockout {\nname %s\non 418 2 in 1h\n}\nerror /bad 418\nrespond fine\n}\n",
		r.Admin, r.LogPath(), proxied, r.Site, lockName(t))
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(r.StorePath())); err != nil {
		t.Fatal(err)
	}
	if err := r.LoadWhole(config); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r.Get("/bad", from("203.0.113.1"))
	}
	wantLocked(t, r.Get("/", from("203.0.113.1")), 15*time.Minute)
	if got := r.Manage("GET", "/lockouts", ""); got.Status != 200 || !strings.Contains(string(got.Body), "203.0.113.1/32") {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	if got := r.Manage("DELETE", "/lockouts/203.0.113.1", ""); got.Status != 204 {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	wantAnswer(t, r.Get("/", from("203.0.113.1")), 200, "")
	if got := r.Manage("GET", "/keys", ""); got.Status != 404 || got.Reason() != "not-configured" {
		t.Errorf("keys: %d %s", got.Status, got.Body)
	}
	for _, dir := range []string{filepath.Dir(r.StorePath()), filepath.Join(r.Dir, "data", "caddy", "api_keys")} {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("there is a store: %v", err)
		}
	}
}

// Validating a configuration reads and writes no file.
func TestLockoutIsValidatedOnly(t *testing.T) {
	name := lockName(t)
	r := rig.New(t, "", guarded)
	config, err := rig.Adapt("http://127.0.0.1:1 {\nlockout {\nname " + name + "\n}\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	parsed := new(caddy.Config)
	if err := caddy.StrictUnmarshalJSON(config, parsed); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(parsed); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(r.Dir, "data", "caddy", "lockouts")); !os.IsNotExist(err) {
		t.Error(err)
	}
}

// Sites with one name share their counts and locks, others do not; within a
// request each name counts once.
func TestLockoutNames(t *testing.T) {
	one, two := lockName(t)+"a", lockName(t)+"b"
	r := rig.New(t, proxied, behindLockout(one, "on refused 4 in 1h"))
	second := rig.FreeAddr(t)
	r.Load(proxied, behindLockout(one, "on refused 4 in 1h")+fmt.Sprintf(`
}
http://%s {
	bind 127.0.0.1
	handle /other {
		lockout {
			name %s
			on refused 2 in 1h
		}
		api_key {
			require *
		}
	}
	handle {
		lockout {
			name %s
			on refused 4 in 1h
		}
		route {
			lockout {
				name %[3]s
				on refused 4 in 1h
			}
			lockout {
				name %[2]s
				on refused 2 in 1h
			}
			api_key {
				require *
			}
		}
	}
`, second, two, one))
	elsewhere := *r
	elsewhere.Site = second
	client := from("203.0.113.1")
	for range 2 {
		wantAnswer(t, elsewhere.Get("/", "X-API-Key: wrong", client), 401, "invalid_key")
	}
	wantAnswer(t, r.Get("/health", client), 200, "")
	wantLocked(t, elsewhere.Get("/other", client), 15*time.Minute) // by the inner one
	for range 2 {
		wantAnswer(t, r.Get("/v1/contacts", "X-API-Key: wrong", client), 401, "invalid_key")
	}
	wantLocked(t, r.Get("/health", client), 15*time.Minute)

	err := r.TryLoad(proxied, behindLockout(one, "on refused 4 in 1h")+"\nhandle /x {\nlockout {\nname "+one+"\non refused 5 in 1h\n}\n}")
	if err == nil || !strings.Contains(err.Error(), "have different options") {
		t.Errorf("two policies of one name: %v", err)
	}
}

// Caddy's authentication handler with our provider counts, too; a request that
// another provider accepts does not.
func TestLockoutBehindAuthentication(t *testing.T) {
	r := rig.New(t, proxied, behindLockout(lockName(t)))
	config, err := rig.Adapt(fmt.Sprintf("{\nadmin %s\nauto_https disable_redirects\npersist_config off\nlog default {\noutput file %s\n}\napi_keys {\nstore bolt %s\n}\n%s\n}\nhttp://%s {\nbind 127.0.0.1\nlockout {\nname %s\non refused 3 in 1h\n}\nbasic_auth {\nbob $2a$04$Fv.09Irc0q5tZ5KjJdSEV.yBKoAE4/teM/tv1DRnqAjk4k3ZKxvf2\n}\nrespond fine\n}\n",
		r.Admin, r.LogPath(), r.StorePath(), proxied, r.Site, lockName(t)))
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(config), `"providers":{`, `"providers":{"api_key":{"from":[{"in":"header","name":"x-key"}]},`, 1)
	if changed == string(config) || !json.Valid([]byte(changed)) {
		t.Fatalf("the configuration has another shape: %s", config)
	}
	if err := r.LoadConfig([]byte(changed)); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if got := r.Get("/", from("203.0.113.1")); got.Status != 401 { // nothing was sent
			t.Fatal(got.Status)
		}
		if got := r.Get("/", "X-Key: wrong", "Authorization: Basic "+basicBob, from("203.0.113.2")); got.Status != 200 {
			t.Fatal(got.Status)
		}
	}
	for range 3 {
		if got := r.Get("/", "X-Key: wrong", from("203.0.113.3")); got.Status != 401 {
			t.Fatal(got.Status)
		}
	}
	wantLocked(t, r.Get("/", from("203.0.113.3")), 15*time.Minute)
}

const basicBob = "Ym9iOnNlc2FtZQ=="

// The lock is listed, added and released over the admin API, counted in the
// metrics, told to event handlers and in the log.
func TestLockoutIsToldAndManaged(t *testing.T) {
	name := lockName(t)
	r := rig.New(t, proxied+recording, behindLockout(name, "on refused 2 in 1h", "exempt 198.51.100.0/24"))
	for range 2 {
		r.Get("/v1/contacts", "X-API-Key: wrong", from("2001:db8::7"))
	}
	e := nextEvent(t)
	for field, want := range map[string]any{"lockout": name, "prefix": "2001:db8::/64", "on": "refused", "times": 1, "seconds": 900, "reason": "", "client": "2001:db8::7", "suppressed": 0} {
		if fmt.Sprint(e.data[field]) != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v", field, e.data[field], want)
		}
	}
	if e.name != "api_key_lockout" || e.module != "api_keys.events" {
		t.Errorf("%+v", e)
	}
	r.Get("/", from("2001:db8::8"))
	lockByHand(t, r, "203.0.113.7", "1h")
	if e := nextEvent(t); e.name != "api_key_lockout" || e.data["on"] != "manual" || e.data["prefix"] != "203.0.113.7/32" || e.data["client"] != "127.0.0.1" || e.data["reason"] != "test" {
		t.Errorf("%+v", e)
	}
	for metric, want := range map[string][]any{
		"refused_total":  {1.0, "lockout", name},
		"outcomes_total": {2.0, "lockout", name, "on", "refused"},
		"locks_total":    {1.0, "lockout", name, "on", "manual"},
		"locked":         {2.0, "lockout", name},
	} {
		var labels []string
		for _, l := range want[1:] {
			labels = append(labels, l.(string))
		}
		if got := metricOf(t, r, "caddy_api_keys_lockout_"+metric, labels...); got != want[0] {
			t.Errorf("%s is %v, want %v", metric, got, want[0])
		}
	}
	tree := r.Manage("GET", "/lockouts?lockout="+name, "").JSON(t)
	list := tree["lockouts"].([]any)
	if len(list) != 2 {
		t.Fatalf("%v", tree)
	}
	first, second := list[0].(map[string]any), list[1].(map[string]any)
	until, err := time.Parse(time.RFC3339, second["until"].(string))
	if first["prefix"] != "203.0.113.7/32" || first["on"] != "manual" || first["reason"] != "test" || second["address"] != "2001:db8::" || second["on"] != "refused" ||
		err != nil || time.Until(until) > 15*time.Minute || time.Until(until) < 14*time.Minute {
		t.Errorf("%v", list)
	}
	if got := r.Manage("POST", "/lockouts", `{"address":"198.51.100.7","for":"1h"}`); got.Status != 409 {
		t.Errorf("exempt: %d %s", got.Status, got.Body)
	}
	if got := r.Manage("DELETE", "/lockouts/2001:db8::ffff", ""); got.Status != 204 {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	if e := nextEvent(t); e.name != "api_key_lockout_released" || e.data["address"] != "2001:db8::ffff" || e.data["lockout"] != name {
		t.Errorf("%+v", e)
	}
	wantAnswer(t, r.Get("/v1/contacts", "X-API-Key: wrong", from("2001:db8::7")), 401, "invalid_key")
	if got := r.Manage("DELETE", "/lockouts/2001:db8::ffff", ""); got.Status != 404 {
		t.Errorf("released twice: %d", got.Status)
	}
	if !strings.Contains(r.Logs(), `"msg":"address locked"`) || strings.Contains(r.Logs(), "X-API-Key: wrong") {
		t.Error("the log does not tell of the lock")
	}
	noEventBefore(t, r)
}

// A flood of locks does not become a flood of events.
func TestLockoutEventsAreBounded(t *testing.T) {
	name := lockName(t)
	r := rig.New(t, proxied+recording, behindLockout(name, "on refused 1 in 1h"))
	for i := range 300 {
		r.Get("/v1/contacts", "X-API-Key: wrong", from(fmt.Sprintf("203.0.%d.%d", 100+i/250, i%250+1)))
	}
	r.Create(`{"name":"marker"}`)
	told := 0
	for e := nextEvent(t); e.name != "api_key_created"; e = nextEvent(t) {
		told++
	}
	for drained := false; !drained; { // changes overtake
		select {
		case <-recordedEvents:
			told++
		case <-time.After(200 * time.Millisecond):
			drained = true
		}
	}
	if told > 100 || metricOf(t, r, "caddy_api_keys_lockout_locks_total", "lockout", name, "on", "refused") != 300 {
		t.Errorf("%d events", told)
	}
}

// Answers to a locked address are those of a refusal, over every protocol: short
// for HEAD, at once for a body that stalls; and what passes is not touched.
func TestLockoutAnswers(t *testing.T) {
	site := "header Strict-Transport-Security max-age=1\n" + behindLockout(lockName(t), "on refused 2 in 1h")
	_, port, _ := net.SplitHostPort(rig.FreeAddr(t))
	r := rig.New(t, proxied, site+"\n}\nhttps://localhost:"+port+" {\nbind 127.0.0.1\ntls "+rig.Certificate(t)+"\n"+site)
	h2 := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}} // a certificate of this test run
	defer h2.CloseIdleConnections()
	h3, h3URL := r.HTTP3(t)
	lockByHand(t, r, "203.0.113.1", "1h")
	locked := from("203.0.113.1")
	got := r.Get("/", locked)
	wantLocked(t, got, time.Hour)
	if got.Header.Get("Strict-Transport-Security") == "" {
		t.Error("the headers of the site are missing")
	}
	var problem struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal(got.Body, &problem); err != nil || problem.Status != 429 || problem.Title == "" || problem.Detail == "" || len(got.Header["Www-Authenticate"]) != 0 {
		t.Errorf("%v %+v %v", err, problem, got.Header)
	}
	if head := r.Request("HEAD", "/", locked); head.Status != 429 || len(head.Body) != 0 || head.Header.Get("Content-Length") != fmt.Sprint(len(got.Body)) {
		t.Errorf("HEAD: %d %v", head.Status, head.Header)
	}
	for name, extra := range map[string]string{"stalled": "", "expecting": "Expect: 100-continue\r\n"} {
		answer, closed := r.RawToEnd("POST / HTTP/1.1\r\nHost: " + r.Site + "\r\n" + locked + "\r\n" + extra + "Content-Length: 1000000000\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 429") || !strings.Contains(answer, "Connection: close") || strings.Contains(answer, "100 Continue") || !closed {
			t.Errorf("%s: closed %t: %.200s", name, closed, answer)
		}
	}
	for name, c := range map[string]struct {
		client *http.Client
		url    string
		host   string
	}{"HTTP/2": {h2, "https://localhost:" + port, ""}, "HTTP/3": {h3, h3URL, r.Site}} {
		body, stalled := io.Pipe() // a server that waits for it does not answer
		req, err := http.NewRequest("POST", c.url+"/", body)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = c.host
		req.Header.Set("X-Forwarded-For", "203.0.113.1")
		got, err := rig.Read(c.client.Do(req))
		if stalled.Close(); err != nil || got.Status != 429 {
			t.Errorf("%s: %v %d", name, err, got.Status)
		}
	}
	_, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	r.Upstream.Respond("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nframes")
	upgrade := r.Raw("GET /v1/contacts HTTP/1.1\r\nHost: " + r.Site + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" + from("203.0.113.2") + "\r\nAuthorization: Bearer " + token + "\r\n\r\n")
	if !strings.HasPrefix(upgrade, "HTTP/1.1 101") || !strings.Contains(upgrade, "frames") {
		t.Errorf("%.200s", upgrade)
	}
}
