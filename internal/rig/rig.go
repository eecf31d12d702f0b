// Package rig runs the real server in process, in front of an upstream that
// records every byte it gets, for the tests of the whole.
//
// Caddy is one per process, so a test binary runs one rig at a time; tests that
// use it are not parallel.
package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
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
	r.loads++
	if !strings.Contains(global, "api_keys") {
		global += fmt.Sprintf("\napi_keys {\nstore bolt %s\n}\n", r.StorePath())
	}
	generation := fmt.Sprintf("/generation-%d", generations.Add(1))
	caddyfile := fmt.Sprintf("{\nadmin %s\nauto_https disable_redirects\npersist_config off\nlog default {\noutput file %s\nlevel DEBUG\n}\n%s\n}\nhttp://%s {\nbind 127.0.0.1\nredir %s %s\n%s\n}\n",
		r.Admin, r.LogPath(), global, r.Site, probePath, generation, site)
	if err := LoadCaddyfile(strings.ReplaceAll(caddyfile, "{$UPSTREAM}", r.Upstream.Addr)); err != nil {
		return err
	}
	r.awaitGeneration(generation)
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
	deadline := time.Now().Add(10 * time.Second)
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

// LoadCaddyfile adapts and loads a whole Caddyfile.
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

// Answer is a response that was read to its end.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON decodes the body into a tree.
func (a Answer) JSON(t testing.TB) map[string]any {
	t.Helper()
	var tree map[string]any
	if err := json.Unmarshal(a.Body, &tree); err != nil {
		t.Fatalf("status %d, no JSON object: %q", a.Status, a.Body)
	}
	return tree
}

// Reason returns the reason of a refusal: the fragment of its problem type.
func (a Answer) Reason() string {
	var p struct{ Type string }
	_ = json.Unmarshal(a.Body, &p)
	_, reason, _ := strings.Cut(p.Type, "#")
	return reason
}

// Manage sends a management request; body is JSON, or "" for none.
func (r *Rig) Manage(method, path, body string) Answer {
	r.t.Helper()
	for try := 0; ; try++ {
		req, err := http.NewRequest(method, "http://"+r.Admin+"/api_keys"+path, strings.NewReader(body))
		if err != nil {
			r.t.Fatal(err)
		}
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		req.Close = true
		answer, err := do(req)
		if err == nil {
			return answer
		}
		// A reload replaces the admin server: the old one closes connections
		// that it has not begun to serve, and the kernel resets those that it
		// has not accepted, so nothing was done.
		if try == 5 || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			r.t.Fatal(err)
		}
	}
}

// Create creates a key and returns its id and token.
func (r *Rig) Create(spec string) (id, token string) {
	r.t.Helper()
	answer := r.Manage("POST", "/keys", spec)
	if answer.Status != http.StatusCreated {
		r.t.Fatalf("creating a key: status %d: %s", answer.Status, answer.Body)
	}
	tree := answer.JSON(r.t)
	return tree["key"].(map[string]any)["id"].(string), tree["token"].(string)
}

// Get requests a path of the site with header lines of the form "Name: value".
func (r *Rig) Get(path string, headers ...string) Answer { return r.Request("GET", path, headers...) }

// Request is Get for any method.
func (r *Rig) Request(method, path string, headers ...string) Answer {
	r.t.Helper()
	req, err := http.NewRequest(method, "http://"+r.Site+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	return r.Do(req)
}

// client follows no redirects, so that tests see what the server answered.
var client = &http.Client{
	Timeout:       30 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Do sends a request and reads the answer. As with Manage, one without a body
// is sent again if a reload had its connection closed.
func (r *Rig) Do(req *http.Request) Answer {
	r.t.Helper()
	for try := 0; ; try++ {
		answer, err := do(req)
		if err == nil {
			return answer
		}
		closed := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF)
		if try == 5 || req.Body != nil || r.loads < 2 || !closed {
			r.t.Fatal(err)
		}
	}
}

func do(req *http.Request) (Answer, error) { return Read(client.Do(req)) }

// Read reads the answer to a request of a test's own client to its end.
func Read(resp *http.Response, err error) (Answer, error) {
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return Answer{resp.StatusCode, resp.Header, body}, err
}

// Raw sends bytes to the site on a connection of its own, as they are, and
// returns what comes back until the server closes or a second passes without a
// byte.
func (r *Rig) Raw(request string) string {
	r.t.Helper()
	for range 3 { // see notServed

		if answer := r.raw(request); answer != "" {
			return answer
		}
	}
	return r.raw(request)
}

func (r *Rig) raw(request string) string {
	r.t.Helper()
	conn, err := net.DialTimeout("tcp", r.Site, 5*time.Second)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		r.t.Fatal(err)
	}
	var answer bytes.Buffer
	chunk := make([]byte, 4096)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		n, err := conn.Read(chunk)
		answer.Write(chunk[:n])
		if err != nil {
			return answer.String()
		}
	}
}

// FreeAddr returns a loopback address that nobody listened on a moment ago.
func FreeAddr(t testing.TB) string {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
