package caddyapikey_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// While the configuration is loaded again and again, under load, every decision
// is right and nothing fails on connections that are kept alive.
func TestReloadUnderLoad(t *testing.T) {
	r := rig.New(t, "", guarded)
	_, good := r.Create(`{"name":"good","scopes":["contacts:read"]}`)
	id, bad := r.Create(`{"name":"bad","scopes":["contacts:read"]}`)
	if got := r.Manage("POST", "/keys/"+id+"/revoke", ""); got.Status != 200 {
		t.Fatal(got.Status)
	}
	var done atomic.Bool
	var wrong, requests atomic.Int64
	var wg sync.WaitGroup
	for _, c := range []struct {
		token string
		want  int
	}{{good, 200}, {bad, 401}, {good + "x", 401}} {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for !done.Load() {
				req, _ := http.NewRequest("GET", "http://"+r.Site+"/v1/contacts", nil)
				req.Header.Set("Authorization", "Bearer "+c.token)
				resp, err := client.Do(req)
				if err != nil {
					continue // what connections suffer is Caddy's part
				}
				resp.Body.Close()
				requests.Add(1)
				if resp.StatusCode != c.want && resp.StatusCode != http.StatusServiceUnavailable {
					wrong.Add(1)
				}
			}
		})
	}
	for i := range 20 {
		r.Load("", guarded+strings.Repeat("\n", i))
		fresh, token := r.Create(`{"name":"fresh","scopes":["contacts:read"]}`)
		if got := r.Get("/v1/contacts", "Authorization: Bearer "+token); got.Status != 200 {
			t.Errorf("a key made after reload %d: status %d", i, got.Status)
		}
		if got := r.Manage("POST", "/keys/"+fresh+"/revoke", ""); got.Status != 200 {
			t.Errorf("revoking after reload %d: status %d", i, got.Status)
		}
		if got := r.Get("/v1/contacts", "Authorization: Bearer "+token); got.Status != 401 {
			t.Errorf("a key revoked after reload %d: status %d", i, got.Status)
		}
	}
	done.Store(true)
	wg.Wait()
	if wrong.Load() > 0 || requests.Load() == 0 {
		t.Errorf("%d wrong decisions in %d requests", wrong.Load(), requests.Load())
	}
}

// A configuration that is refused changes nothing: keys, management and the
// store's handle stay usable.
func TestRejectedReload(t *testing.T) {
	r := rig.New(t, "", guarded)
	_, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	foreign := filepath.Join(r.Dir, "foreign.db")
	if err := os.WriteFile(foreign, []byte("not a store"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ global, site, want string }{
		"bad handler":   {"", guarded + "\nreverse_proxy {\nto http://a http://b/path\n}", ""},
		"foreign store": {"api_keys {\nstore bolt " + foreign + "\n}", guarded, "foreign.db"},
		"bad prefix":    {"api_keys {\ntoken_prefix {env.NOTHING}\n}", guarded, "prefix"},
		"port in use":   {"", guarded + "\n}\nhttp://" + r.Upstream.Addr + " {\nbind 127.0.0.1\n" + guarded, "address already in use"},
	} {
		t.Run(name, func(t *testing.T) {
			for range 5 {
				if err := r.TryLoad(c.global, c.site); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("error %v, want one with %q", err, c.want)
				}
			}
			wantAnswer(t, r.Get("/v1/contacts", "Authorization: Bearer "+token), 200, "")
			_, fresh := r.Create(`{"name":"fresh","scopes":["contacts:read"]}`)
			wantAnswer(t, r.Get("/v1/contacts", "Authorization: Bearer "+fresh), 200, "")
		})
	}
	r.Load("", guarded)
	wantAnswer(t, r.Get("/v1/contacts", "Authorization: Bearer "+token), 200, "")
}

// Validating a configuration beside the running server does not touch its
// store, nor does validating one whose store nobody has opened create it.
func TestValidateTouchesNoStore(t *testing.T) {
	r := rig.New(t, "", guarded)
	_, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	other := filepath.Join(r.Dir, "other", "keys.db")
	for _, path := range []string{r.StorePath(), other} {
		config, err := rig.Adapt("{\napi_keys {\nstore bolt " + path + "\n}\n}\nhttp://127.0.0.1:1 {\napi_key {\nrequire *\n}\n}\n")
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
	}
	if _, err := os.Stat(filepath.Dir(other)); !os.IsNotExist(err) {
		t.Errorf("validating made the store's directory: %v", err)
	}
	wantAnswer(t, r.Get("/v1/contacts", "Authorization: Bearer "+token), 200, "")
	r.Create(`{"name":"the store is still open"}`)
}
