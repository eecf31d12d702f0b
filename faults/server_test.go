//go:build linux

package faults

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// server is one installation: a directory with a Caddyfile, a store and a log.
// Its process comes and goes.
type server struct {
	t     testing.TB
	dir   string
	site  string // host:port of the guarded site
	bare  string // host:port of a site without keys
	admin string
	store string // the store's file
	*process

	client *http.Client // of this process, for management
}

// newServer makes an installation that is not running yet.
func newServer(t testing.TB) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{
		t: t, dir: dir,
		site: freeAddr(t), bare: freeAddr(t), admin: freeAddr(t),
		store: filepath.Join(dir, "store", "keys.db"),
	}
	t.Cleanup(func() {
		if s.process != nil {
			s.kill()
			if t.Failed() {
				t.Logf("end of the log:\n%s", tail(s.logs()))
			}
		}
	})
	return s
}

const guard = `@read method GET HEAD
	@write method POST PUT
	api_key {
		require @read contacts:read
		require @write contacts:write
	}
	respond "ok"`

// caddyfile is the usual configuration. guard is the inside of the site, and
// options that of the store.
func (s *server) caddyfile(guard, options string) string {
	return fmt.Sprintf(`{
	admin %s
	persist_config off
	auto_https off
	servers {
		protocols h1 h2c
	}
	api_keys {
		store bolt %s {
			%s
		}
	}
}
http://%s {
	bind 127.0.0.1
	%s
}
http://%s {
	bind 127.0.0.1
	respond "ok"
}
`, s.admin, s.store, options, s.site, guard, s.bare)
}

func (s *server) configPath() string { return filepath.Join(s.dir, "Caddyfile") }

func (s *server) writeConfig(text string) {
	s.t.Helper()
	if err := os.WriteFile(s.configPath(), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// command runs the binary with this installation's directories.
func (s *server) command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "XDG_DATA_HOME="+filepath.Join(s.dir, "data"), "XDG_CONFIG_HOME="+filepath.Join(s.dir, "config"))
	cmd.WaitDelay = time.Second
	// Nothing outlives the test, however that ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return cmd
}

// begin starts the process, behind the words of wrapper, and does not wait for
// it to serve.
func (s *server) begin(wrapper ...string) {
	s.t.Helper()
	if _, err := os.Stat(s.configPath()); err != nil {
		s.writeConfig(s.caddyfile(guard, ""))
	}
	cmd := s.command(append(wrapper, binary, "run", "--config", s.configPath(), "--adapter", "caddyfile")...)
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr, cmd.Stdout = log, log
	if err := launch(cmd); err != nil {
		s.t.Fatal(err)
	}
	p := &process{cmd: cmd, exited: make(chan struct{}), log: log.Name()}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
	s.process, s.client = p, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: patience}
}

// start starts the process and waits until it decides about requests. It
// returns how long that took.
func (s *server) start(wrapper ...string) time.Duration {
	s.t.Helper()
	began := time.Now()
	s.begin(wrapper...)
	if !s.ready() {
		s.t.Fatalf("the server did not start:\n%s", tail(s.logs()))
	}
	return time.Since(began)
}

// ready waits until the site decides, and returns false where the process ends
// instead.
func (s *server) ready() bool {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if status, err := s.status(context.Background(), "GET", ""); err == nil && status == http.StatusUnauthorized {
			// Sites serve a moment before the configuration can be managed.
			if r, err := s.manage(context.Background(), "GET", "/keys?limit=1", ""); err == nil && !strings.Contains(string(r.body), "#not-running") {
				return true
			}
		}
		select {
		case <-s.exited:
			return false
		case <-time.After(3 * time.Millisecond): // a starting process has no signal to wait for
		}
	}
	s.t.Fatalf("neither ready nor ended after %v:\n%s", patience, tail(s.logs()))
	return false
}

// oneShot is for requests on a connection of their own.
var oneShot = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

// status asks the guarded site with a token, "" for none.
func (s *server) status(ctx context.Context, method, token string) (int, error) {
	return ask(ctx, oneShot, method, "http://"+s.site+"/v1/contacts", token)
}

func ask(ctx context.Context, client *http.Client, method, url, token string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// wantStatus checks one decision.
func (s *server) wantStatus(token string, want int, what string) {
	s.t.Helper()
	if got, err := s.status(context.Background(), "GET", token); err != nil || got != want {
		s.t.Errorf("%s: status %d, %v; want %d", what, got, err, want)
	}
}

// givenAddrs are those that freeAddr returned: two servers, or two sites of one,
// must not get the same.
var givenAddrs sync.Map

// freeAddr returns a loopback address below the range that the kernel takes
// ports of outgoing connections from, so that it stays free between restarts.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if _, given := givenAddrs.LoadOrStore(addr, true); given {
			continue
		}
		if ln, err := net.Listen("tcp", addr); err == nil {
			ln.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}
