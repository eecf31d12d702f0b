package adminapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"
	_ "github.com/caddyserver/caddy/v2/modules/logging"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// server is Caddy's real admin endpoint, in process. Tests that use it are not
// parallel, as there is one Caddy in a process.
type server struct {
	t      testing.TB
	addr   string
	logs   string
	store  *faultyStore
	keys   *keyring.Keyring
	use    *usage.Recorder
	client http.Transport
}

// newServer starts one with an empty store.
func newServer(t testing.TB) *server {
	t.Helper()
	dir := t.TempDir()
	opened, err := bolt.Open(filepath.Join(dir, "store", "keys.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, logs: filepath.Join(dir, "caddy.log"), store: &faultyStore{Store: opened}}
	if s.keys, err = keyring.Open(t.Context(), s.store, keyring.Options{}); err != nil {
		t.Fatal(err)
	}
	testKeyring.Store(s.keys)
	ledger, err := bolt.OpenLedger(filepath.Join(dir, "store", "keys.db.ledger"), bolt.LedgerOptions{Keep: usage.Keep{Usage: 1000 * time.Hour, Calls: 1000 * time.Hour, Last: 100}})
	if err != nil {
		t.Fatal(err)
	}
	s.use = usage.NewRecorder(ledger, usage.Options{})
	testUse.Store(&useRecord{s.use, ledger})
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
		testKeyring.Store(nil)
		testUse.Store(nil)
		_ = s.use.Close(context.Background())
		_ = ledger.Close()
		_ = s.keys.Close()
	})
	s.load("", `"api_keys":{}`)
	return s
}

// load loads a configuration with these admin options and apps. Without options
// the endpoint is on a loopback port that was not used before: Caddy closes the
// old one a moment later, with what waits there.
func (s *server) load(admin, apps string) {
	s.t.Helper()
	if err := s.tryLoad(admin, apps); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) tryLoad(admin, apps string) error {
	s.client.CloseIdleConnections()
	if admin == "" {
		s.addr = freeAddr(s.t)
		admin = `"listen":"` + s.addr + `"`
	}
	return caddy.Load(fmt.Appendf(nil, `{"admin":{%s,"config":{"persist":false}},"logging":{"logs":{"default":{"level":"DEBUG","writer":{"output":"file","filename":%q}}}},"apps":{%s}}`, admin, s.logs, apps), true)
}

// move sends later requests to a new port, and returns it.
func (s *server) move() string {
	s.addr = freeAddr(s.t)
	_, port, _ := net.SplitHostPort(s.addr)
	return port
}

// givenAddrs are those that freeAddr returned: each only once.
var givenAddrs sync.Map

func freeAddr(t testing.TB) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		if _, given := givenAddrs.LoadOrStore(l.Addr().String(), true); !given {
			return l.Addr().String()
		}
	}
}

// reply is an answer that was read to its end.
type reply struct {
	t      testing.TB
	status int
	header http.Header
	body   string
}

// do sends a request. A body is sent as JSON; headers come as name, value.
func (s *server) do(method, path, body string, headers ...string) reply {
	s.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	return s.send(method, path, reader, append([]string{"Content-Type", "application/json"}, headers...)...)
}

func (s *server) send(method, path string, body io.Reader, headers ...string) reply {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.addr+"/api_keys/"+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	return s.read(s.client.RoundTrip(r))
}

func (s *server) read(resp *http.Response, err error) reply {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{s.t, resp.StatusCode, resp.Header, string(text)}
}

// want checks the status, and what every answer has.
func (a reply) want(status int) reply {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		a.t.Errorf("status %d without no-store and nosniff: %v", status, a.header)
	}
	if status >= 400 {
		if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
			a.t.Errorf("status %d with content type %q", status, ct)
		}
		if got := a.at("status"); got != float64(status) {
			a.t.Errorf("problem says status %v, not %d", got, status)
		}
	}
	return a
}

// problem checks status, kind and field of a refusal.
func (a reply) problem(status int, slug, field string) reply {
	a.t.Helper()
	a.want(status)
	if got := a.at("type"); got != problemDocs+slug {
		a.t.Errorf("type %v, want …#%s: %s", got, slug, a.body)
	}
	got, _ := a.tree()["field"].(string)
	if got != field {
		a.t.Errorf("field %q, want %q: %s", got, field, a.body)
	}
	if detail, _ := a.at("detail").(string); detail == "" {
		a.t.Errorf("no detail: %s", a.body)
	}
	return a
}

func (a reply) tree() map[string]any {
	a.t.Helper()
	var tree map[string]any
	if err := json.Unmarshal([]byte(a.body), &tree); err != nil {
		a.t.Fatalf("status %d, no JSON object: %q", a.status, a.body)
	}
	return tree
}

// at returns the value under a path of names and indexes.
func (a reply) at(path ...any) any {
	a.t.Helper()
	var value any = a.tree()
	for _, step := range path {
		switch step := step.(type) {
		case string:
			object, ok := value.(map[string]any)
			if !ok || !has(object, step) {
				a.t.Fatalf("no %v in %s", path, a.body)
			}
			value = object[step]
		case int:
			list, ok := value.([]any)
			if !ok || step >= len(list) {
				a.t.Fatalf("no %v in %s", path, a.body)
			}
			value = list[step]
		}
	}
	return value
}

func has(object map[string]any, name string) bool { _, ok := object[name]; return ok }

func (a reply) text(path ...any) string {
	a.t.Helper()
	text, ok := a.at(path...).(string)
	if !ok {
		a.t.Fatalf("%v is no text in %s", path, a.body)
	}
	return text
}

// is compares the value under a path with one written as JSON.
func (a reply) is(want string, path ...any) reply {
	a.t.Helper()
	got, err := json.Marshal(a.at(path...))
	if err != nil {
		a.t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(want)); err != nil {
		a.t.Fatal(err)
	}
	if string(got) != compact.String() {
		a.t.Errorf("%v is %s, want %s", path, got, want)
	}
	return a
}

// create makes a key and returns its id and token.
func (s *server) create(fields string) (id, token string) {
	s.t.Helper()
	if fields != "" {
		fields = "," + fields
	}
	a := s.do("POST", "keys", `{"name":"test"`+fields+`}`).want(201)
	return a.text("key", "id"), a.text("token")
}

func (s *server) log() string {
	s.t.Helper()
	text, err := os.ReadFile(s.logs)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// reopen goes on with the store in another file.
func (s *server) reopen(path string) {
	s.t.Helper()
	opened, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	_ = s.keys.Close()
	s.store = &faultyStore{Store: opened}
	if s.keys, err = keyring.Open(s.t.Context(), s.store, keyring.Options{}); err != nil {
		s.t.Fatal(err)
	}
	testKeyring.Store(s.keys)
}
