// Package rig runs the real server in process, in front of an upstream that
// records every byte it gets, for the tests of the whole.
//
// Caddy is one per process, so a test binary runs one rig at a time; tests that
// use it are not parallel.
package rig

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // the server under test

	_ "github.com/caddy-apikey/caddy-apikey" // its modules
)

// Rig is a running server, its upstream and its admin API.
type Rig struct {
	Site     string // host:port of the guarded site
	Admin    string // host:port of the admin API
	Dir      string // of the store and the log
	Upstream *Upstream

	t     testing.TB
	loads int // configurations that were loaded
}

// New starts a server with one site on a loopback port. site is the inside of
// its Caddyfile block, in front of which the upstream is {$UPSTREAM}, and global
// the inside of the global options, "" for none but the rig's own. The store is
// a file in a directory of the test.
func New(t testing.TB, global, site string) *Rig {
	t.Helper()
	r := prepare(t)
	r.Load(global, site)
	return r
}

// prepare makes what a server needs, and stops it when the test ends.
func prepare(t testing.TB) *Rig {
	t.Helper()
	r := &Rig{t: t, Dir: t.TempDir(), Upstream: newUpstream(t)}
	r.Site, r.Admin = FreeAddr(t), FreeAddr(t)
	t.Setenv("XDG_DATA_HOME", filepath.Join(r.Dir, "data"))
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(r.Dir, "config"))
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	return r
}

// With returns the same rig for a test within the one that started it, whose
// failures are that test's own.
func (r *Rig) With(t testing.TB) *Rig {
	inner := *r
	inner.t = t
	return &inner
}

// Load loads a configuration, as New does, into the running server.
func (r *Rig) Load(global, site string) {
	r.t.Helper()
	if err := r.TryLoad(global, site); err != nil {
		r.t.Fatalf("loading the configuration: %v", err)
	}
}

// TryLoad is Load for configurations that may be refused.
func (r *Rig) TryLoad(global, site string) error {
	r.t.Helper()
	if !strings.Contains(global, "api_keys") {
		global += fmt.Sprintf("\napi_keys {\nstore bolt %s\n}\n", r.StorePath())
	}
	generation := fmt.Sprintf("/generation-%d", generations.Add(1))
	caddyfile := fmt.Sprintf("{\nadmin %s\nauto_https disable_redirects\npersist_config off\nlog default {\noutput file %s\nlevel DEBUG\n}\n%s\n}\nhttp://%s {\nbind 127.0.0.1\nredir %s %s\n%s\n}\n",
		r.Admin, r.LogPath(), global, r.Site, probePath, generation, site)
	if err := r.LoadWhole(strings.ReplaceAll(caddyfile, "{$UPSTREAM}", r.Upstream.Addr)); err != nil {
		return err
	}
	r.awaitGeneration(generation)
	return nil
}

// LoadWhole loads a whole Caddyfile that serves on the rig's addresses, see
// LoadConfig.
func (r *Rig) LoadWhole(caddyfile string) error {
	r.t.Helper()
	config, err := Adapt(caddyfile)
	if err != nil {
		return err
	}
	return r.LoadConfig(config)
}

// LoadConfig loads a whole native configuration that serves on the rig's
// addresses. Caddy stops the servers of the one before in the background: it
// returns once they close what they listen on, and so accept no more.
func (r *Rig) LoadConfig(config []byte) error {
	r.t.Helper()
	r.loads++
	if err := caddy.Load(config, true); err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Minute); caddy.ListenerUsage("tcp", r.Site) > 1 || caddy.ListenerUsage("tcp", r.Admin) > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatal("the configuration before does not stop")
		}
	}
	return nil
}

// probePath is answered by which configuration serves.
const probePath = "/.rig/generation"

var generations atomic.Int64

// awaitGeneration waits until connections are no longer accepted by the server
// of the configuration before, which Caddy stops in the background. Both accept
// in turn, so many answers of the new one in a row say that it is alone.
func (r *Rig) awaitGeneration(generation string) {
	r.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for inRow := 0; inRow < 12; {
		req, err := http.NewRequest("GET", "http://"+r.Site+probePath, nil)
		if err != nil {
			r.t.Fatal(err)
		}
		req.Close = true
		answer, err := do(req)
		if err == nil && answer.Header.Get("Location") == generation {
			inRow++
			continue
		}
		if inRow = 0; time.Now().After(deadline) {
			r.t.Fatalf("the configuration does not serve: %v, status %d", err, answer.Status)
		}
	}
}

// LoadCaddyfile adapts and loads a whole Caddyfile. It does not wait for the
// servers before it.
func LoadCaddyfile(caddyfile string) error {
	config, err := Adapt(caddyfile)
	if err != nil {
		return err
	}
	return caddy.Load(config, true)
}

// Adapt turns a Caddyfile into the native configuration.
func Adapt(caddyfile string) ([]byte, error) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	return config, err
}

// StorePath is the file of the store.
func (r *Rig) StorePath() string { return filepath.Join(r.Dir, "store", "keys.db") }

// LogPath is the file of all logs, at debug level.
func (r *Rig) LogPath() string { return filepath.Join(r.Dir, "caddy.log") }

// Logs returns everything logged so far.
func (r *Rig) Logs() string {
	r.t.Helper()
	return ReadFile(r.t, r.LogPath())
}

// ReadFile returns the text of a file.
func ReadFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// givenAddrs are those that FreeAddr returned. The kernel may well choose one
// again before anybody listens on it.
var givenAddrs sync.Map

// FreeAddr returns a loopback address that nobody listened on a moment ago, and
// each only once in a process.
func FreeAddr(t testing.TB) string {
	t.Helper()
	var lc net.ListenConfig
	for {
		ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := ln.Addr().String()
		ln.Close()
		if _, given := givenAddrs.LoadOrStore(addr, true); !given {
			return addr
		}
	}
}

// AwaitRoom waits where an hour or a day, in UTC, is about to end: what is counted
// by hours or days would be counted in two.
func AwaitRoom(t testing.TB, span time.Duration) {
	t.Helper()
	now := time.Now().UTC()
	if left := now.Truncate(span).Add(span).Sub(now); left < 2*time.Minute {
		t.Logf("waiting for %v until a span of %v is over", left, span)
		time.Sleep(left + time.Second)
	}
}
