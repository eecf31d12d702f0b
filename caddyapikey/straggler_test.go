package caddyapikey_test

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

func init() {
	caddy.RegisterModule(waiter{})
	httpcaddyfile.RegisterHandlerDirective("test_wait", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return waiter{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("test_wait", httpcaddyfile.Before, "tracing")
}

// waiter keeps a request that asks for it in front of the handler until it is
// let go.
type waiter struct{}

var arrived, letGo = make(chan struct{}), make(chan struct{})

func (waiter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_wait", New: func() caddy.Module { return new(waiter) }}
}

func (waiter) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.Header.Get("X-Wait") != "" {
		arrived <- struct{}{}
		<-letGo
	}
	return next.ServeHTTP(w, r)
}

// Caddy does not wait for the requests of the old configuration when it loads a
// new one. They get the decision of this moment, and none where nobody keeps
// the keys up to date any more.
func TestRequestsOfTheOldConfiguration(t *testing.T) {
	for name, c := range map[string]struct {
		revoke bool
		store  string // of the new configuration, "" for the same
		want   int
	}{
		"same store":                          {want: 200},
		"same store, revoked in the meantime": {revoke: true, want: 401},
		"another store":                       {store: "other.db", want: 503},
	} {
		t.Run(name, func(t *testing.T) {
			r := rig.New(t, "", "test_wait\n"+guarded)
			id, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
			req, err := http.NewRequest("GET", "http://"+r.Site+"/v1/contacts", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			req.Header.Set("X-Wait", "yes")
			status := make(chan int)
			go func() {
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Error(err)
					status <- 0
					return
				}
				resp.Body.Close()
				status <- resp.StatusCode
			}()
			<-arrived
			global := ""
			if c.store != "" {
				global = "api_keys {\nstore bolt " + filepath.Join(r.Dir, c.store) + "\n}"
			}
			r.Load(global, guarded)
			if c.revoke {
				if got := r.Manage("POST", "/keys/"+id+"/revoke", ""); got.Status != 200 {
					t.Errorf("revoking: %d", got.Status)
				}
			}
			letGo <- struct{}{}
			if got := <-status; got != c.want {
				t.Errorf("status %d, want %d", got, c.want)
			}
			if c.store == "" {
				use := r.Manage("GET", "/keys/"+id+"/usage", "").JSON(t)
				if use["requests"] != 1.0 {
					t.Errorf("%v requests in the record of use, want 1", use["requests"])
				}
			}
		})
	}
}
