package caddyapikey_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// behindDeny is the guarded site with one more option.
func behindDeny(options ...string) string {
	return strings.Replace(guarded, "api_key {", "api_key {\n"+strings.Join(options, "\n"), 1)
}

// appDeny is the global option with a line deny.
func appDeny(r *rig.Rig, line string) string {
	return proxied + fmt.Sprintf("api_keys {\nstore bolt %s\n%s\n}\n", r.StorePath(), line)
}

// denyList writes a list as its page tells users to: whole, and at once.
func denyList(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// Denied addresses are refused whatever they send, and nobody else is.
func TestDeny(t *testing.T) {
	r := rig.New(t, proxied, guarded)
	_, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	good := "Authorization: Bearer " + token
	path := filepath.Join(r.Dir, "drop.txt")
	denyList(t, path, "198.51.100.0/24 ; SBL1\n2001:db8::/32\n")
	for name, load := range map[string]func(){
		"handler": func() { r.Load(proxied, behindDeny("deny 203.0.113.0/24", "deny 192.0.2.66 "+path)) },
		"app":     func() { r.Load(appDeny(r, "deny 203.0.113.0/24 192.0.2.66 "+path), guarded) },
		"both":    func() { r.Load(appDeny(r, "deny "+path), behindDeny("deny 203.0.113.0/24 192.0.2.66")) },
		"file by placeholder": func() {
			t.Setenv("DENY_LIST", path)
			r.Load(proxied, behindDeny("deny 203.0.113.0/24 192.0.2.66 {env.DENY_LIST}"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			load()
			r := r.With(t)
			hits := r.Upstream.Hits()
			for _, addr := range []string{"203.0.113.7", "192.0.2.66", "198.51.100.255", "2001:db8:1::1", "::ffff:203.0.113.7", "10.1.2.3, 203.0.113.7"} {
				for _, request := range [][]string{{"GET", "/v1/contacts", good}, {"GET", "/health", "X-A: b"}, {"GET", "/news/1", "X-A: b"}, {"GET", "/v1/../health", "X-A: b"},
					{"OPTIONS", "/v1/contacts", "Origin: https://a.example"}, {"brew", "/health", "X-A: b"}, {"GET", "/v1/contacts", "X-API-Key: wrong"}} {
					answer := r.Request(request[0], request[1], request[2], from(addr))
					wantAnswer(t, answer, 403, "denied_address")
					if answer.Header.Get("Cache-Control") != "no-store" || answer.Header.Get("WWW-Authenticate") != "" {
						t.Errorf("headers %v", answer.Header)
					}
				}
			}
			wantAnswer(t, r.Get("/health", from("garbage")), 403, "unknown_address")
			if got := r.Upstream.Hits() - hits; got != 0 {
				t.Errorf("%d requests reached the upstream", got)
			}
			for _, addr := range []string{"203.0.114.1", "192.0.2.65", "198.51.101.0", "2001:db9::1", "203.0.113.7, 10.1.2.3"} {
				wantAnswer(t, r.Get("/v1/contacts", good, from(addr)), 200, "")
			}
			wantAnswer(t, r.Get("/health"), 200, "") // the proxy itself
		})
	}
	t.Run("none", func(t *testing.T) {
		r.Load(proxied, guarded)
		wantAnswer(t, r.Get("/v1/contacts", good, from("203.0.113.7")), 200, "")
		wantAnswer(t, r.Get("/health", from("garbage")), 200, "")
	})
	t.Run("in the log and the metrics", func(t *testing.T) {
		r.Load(proxied, "log\n"+behindDeny("name denying", "deny 203.0.113.0/24", "deny "+path))
		before := len(r.Logs())
		r.Get("/health", from("203.0.113.7"))
		r.Get("/health", from("198.51.100.7"))
		r.Get("/health", from("garbage"))
		for _, text := range []string{`"deny":"range"`, `"deny":"` + path + `"`, `"api_key_reason":"denied_address"`, `"api_key_reason":"unknown_address"`, `"client":"198.51.100.7"`} {
			if !strings.Contains(r.Logs()[before:], text) {
				t.Errorf("the log has no %s", text)
			}
		}
		families := scrape(t, r)
		if valueOf(families, "caddy_api_keys_decisions_total", "site", "denying", "reason", "denied_address") != 2 || valueOf(families, "caddy_api_keys_decisions_total", "site", "denying", "reason", "unknown_address") != 1 {
			t.Error("they are not counted")
		}
	})
}

// What is denied counts for no lockout, however it is answered.
func TestDenyLocksNobody(t *testing.T) {
	r := rig.New(t, proxied, guarded)
	for _, errors := range []string{"errors problem", "errors caddy"} {
		r.Load(proxied, "lockout {\nname "+lockName(t)+"\non 403 2 in 1h\non refused 2 in 1h\n}\n"+behindDeny(errors, "deny 203.0.113.0/24"))
		for range 10 {
			if got := r.Get("/v1/contacts", "X-API-Key: wrong", from("203.0.113.7")); got.Status != 403 {
				t.Fatalf("%s: status %d", errors, got.Status)
			}
		}
	}
}

// In mode observe everything passes, without identity.
func TestDenyObserved(t *testing.T) {
	r := rig.New(t, proxied, behindDeny("name observing", "mode observe", "deny 203.0.113.0/24"))
	_, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	wantAnswer(t, r.Get("/v1/contacts", "Authorization: Bearer "+token, "X-Key-Id: forged", from("203.0.113.7")), 200, "")
	if got := r.Upstream.Last(); strings.Contains(got, "X-Key-Id") {
		t.Errorf("an identity went upstream\n%s", got)
	}
	if got := metricOf(t, r, "caddy_api_keys_decisions_total", "site", "observing", "result", "observed", "reason", "denied_address"); got != 1 {
		t.Errorf("%v observed", got)
	}
	if !strings.Contains(r.Logs(), `"msg":"would be refused","reason":"denied_address"`) {
		t.Error("it is not logged")
	}
	answer := r.Raw("POST /v1/contacts HTTP/1.1\r\nHost: " + r.Site + "\r\nX-Forwarded-For: 203.0.113.7\r\nTransfer-Encoding: chunked\r\nTrailer: X-Key-Id\r\nConnection: close\r\n\r\n0\r\nX-Key-Id: forged\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 400") {
		t.Errorf("a trailer of ours passes: %.40s", answer)
	}
}

// The authentication provider lets no denied address in either.
func TestDenyOfProvider(t *testing.T) {
	r := rig.New(t, proxied, guarded)
	_, token := r.Create(`{"name":"x"}`)
	config, err := rig.Adapt("{\nadmin " + r.Admin + "\npersist_config off\n" + appDeny(r, "deny 203.0.113.0/24") + "}\nhttp://" + r.Site + " {\nbind 127.0.0.1\nrespond ok\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(config), `"handle":[{"body"`, `"handle":[{"handler":"authentication","providers":{"api_key":{}}},{"body"`, 1)
	if err := r.LoadConfig([]byte(changed)); err != nil {
		t.Fatal(err)
	}
	for addr, status := range map[string]int{"203.0.113.7": 401, "garbage": 401, "203.0.114.7": 200} {
		if got := r.Get("/", "Authorization: Bearer "+token, from(addr)); got.Status != status {
			t.Errorf("%s: status %d, want %d", addr, got.Status, status)
		}
	}
}

// A list that is replaced is in force without a reload, on open connections, too;
// one that is not good leaves the old one in force, which log, health, metrics
// and events tell.
func TestDenyListReplaced(t *testing.T) {
	r := rig.New(t, proxied, guarded)
	path := filepath.Join(r.Dir, "drop.txt")
	denyList(t, path, "203.0.113.7\n")
	r.Load(recording+proxied, behindDeny("deny "+path))
	denied := func(addr string) func() bool {
		return func() bool { return r.Get("/health", from(addr)).Reason() == "denied_address" }
	}
	if !denied("203.0.113.7")() || denied("203.0.113.8")() {
		t.Fatal("the first list is not in force")
	}
	denyList(t, path, "203.0.113.8\n")
	if e := nextEvent(t); !denied("203.0.113.8")() || denied("203.0.113.7")() || e.name != "api_key_deny_list_replaced" || e.data["file"] != path || e.data["entries"] != 1 || e.data["before"] != 1 {
		t.Errorf("event %v", e)
	}
	wantHealth(t, r, 200)

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	e := nextEvent(t)
	if e.name != "api_key_deny_list_failed" || e.data["file"] != path || !strings.Contains(e.data["error"].(string), "no such file") {
		t.Errorf("event %v", e)
	}
	wantHealth(t, r, 503, "deny_list_stale")
	if detail := string(r.Manage("GET", "/health", "").Body); !strings.Contains(detail, path) || !strings.Contains(detail, "with 1 entries") {
		t.Errorf("detail %s", detail)
	}
	denyList(t, path, "203.0.113.9\n<html>\n")
	e = nextEvent(t)
	if e.name != "api_key_deny_list_failed" || !strings.Contains(e.data["error"].(string), "line 2: ") {
		t.Errorf("event %v", e)
	}
	families := scrape(t, r)
	if !denied("203.0.113.8")() || denied("203.0.113.9")() {
		t.Error("the good list is not in force any more")
	}
	for name, want := range map[string]float64{"stale": 1, "entries": 1, "replaced_total": 1, "failures_total": 2} {
		if got := valueOf(families, "caddy_api_keys_deny_list_"+name, "file", path); got != want {
			t.Errorf("%s %v, want %v", name, got, want)
		}
	}
	if valueOf(families, "caddy_api_keys_degraded", "reason", "deny_list_stale") != 1 {
		t.Error("not degraded")
	}
	if n := strings.Count(r.Logs(), "the previous list stays in force"); n != 2 {
		t.Errorf("%d errors in the log", n)
	}
	denyList(t, path, "203.0.113.9\n")
	if e := nextEvent(t); e.name != "api_key_deny_list_replaced" || !denied("203.0.113.9")() {
		t.Errorf("event %v", e)
	}
	wantHealth(t, r, 200)
}

// A configuration with a list that is not good is refused, and the one before
// goes on.
func TestDenyListRefusesConfiguration(t *testing.T) {
	r := rig.New(t, proxied, guarded)
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	denyList(t, good, "203.0.113.7\n")
	r.Load(proxied, behindDeny("deny "+good))
	for name, c := range map[string]struct{ text, want string }{
		"cut off": {"203.0.113.7", "line 1: the file is cut off: this line does not end"},
		"empty":   {"", "it has not a single byte"},
		"notes":   {"# none\n", "the list is empty"},
		"garbage": {"203.0.113.7\n<html>\n", `line 2: "<html>" is not an address`},
		"missing": {"missing", "no such file or directory"},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if c.text != "missing" {
			denyList(t, path, c.text)
		}
		for where, err := range map[string]error{
			"handler": r.TryLoad(proxied, behindDeny("deny "+path)),
			"app":     r.TryLoad(appDeny(r, "deny "+path), guarded),
		} {
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s in the %s: %v, want %s", name, where, err, c.want)
			}
		}
	}
	// At a reload of a list that is shared, too.
	denyList(t, good, "garbage\n")
	if err := r.TryLoad(proxied, behindDeny("deny "+good, "name other")); err == nil || !strings.Contains(err.Error(), "line 1: ") {
		t.Errorf("reload: %v", err)
	}
	wantAnswer(t, r.Get("/health", from("203.0.113.7")), 403, "denied_address")
	wantAnswer(t, r.Get("/health", from("203.0.113.8")), 200, "")
	// A reload takes a list that is good at once.
	denyList(t, good, "203.0.113.8\n")
	r.Load(proxied, behindDeny("deny "+good, "name other"))
	wantAnswer(t, r.Get("/health", from("203.0.113.8")), 403, "denied_address")

	denyList(t, good, "# none any more\n")
	r.Load(proxied, behindDeny("deny "+good+" {\nmay_shrink\n}"))
	wantAnswer(t, r.Get("/health", from("203.0.113.8")), 200, "")
}
