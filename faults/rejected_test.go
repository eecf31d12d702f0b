//go:build linux

package faults

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRejectedReloads loads configurations that cannot work, over and over.
func TestRejectedReloads(t *testing.T) {
	const id = "R17"
	s := newServer(t)
	usual := s.caddyfile(guard, "")
	s.writeConfig(usual)
	s.start()
	all := s.expectations()

	foreign := filepath.Join(s.dir, "foreign.db")
	if err := os.WriteFile(foreign, []byte("not a store"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(s.dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	other := newServer(t)
	other.start()

	store := func(path string) string { return strings.Replace(usual, s.store, path, 1) }
	broken := []struct {
		what, config string
		causes       []string
	}{
		{"a foreign file as the store", store(foreign), []string{foreign, "is not a store"}},
		{"a store that others can replace", store(filepath.Join(open, "keys.db")), []string{open, "other users can write to its directory"}},
		{"a store that another process has open", store(other.store), []string{other.store, fmt.Sprintf("(pid %d) has it open", other.cmd.Process.Pid)}},
		{"a max_size that is too small", s.caddyfile(guard, "max_size 1KB"), []string{"Caddyfile:10", "max_size", "1KB"}},
		{"a port in use", usual + "http://" + taken.Addr().String() + " {\nbind 127.0.0.1\nrespond ok\n}\n", []string{taken.Addr().String(), "address already in use"}},
		{"an unknown mode", strings.Replace(usual, "api_key {", "api_key {\nmode maybe", 1), []string{"Caddyfile:19", "mode", "write enforce or observe"}},
		{"an unknown option", strings.Replace(usual, "api_key {", "api_key {\nrequires @read x", 1), []string{"Caddyfile:", "requires"}},
		{"a token prefix that cannot be", strings.Replace(usual, "api_keys {", "api_keys {\ntoken_prefix {env.NOTHING}", 1), []string{"prefix"}},
		{"a master key that is missing", strings.Replace(usual, "api_keys {", "api_keys {\nmaster_key {file./nowhere/key}", 1), []string{"master", "/nowhere/key"}},
		{"a master key that is too short", strings.Replace(usual, "api_keys {", "api_keys {\nmaster_key short", 1), []string{"master"}},
	}
	tr := s.traffic(2*time.Millisecond, all)
	wrong, loads := 0, 0
	began := time.Now()
	for round := range amount(1, 5) {
		for _, c := range broken {
			loads++
			err := s.load(c.config)
			if err == nil {
				t.Fatalf("%s: was accepted", c.what)
			}
			for _, cause := range c.causes {
				if !strings.Contains(err.Error(), cause) {
					wrong++
					t.Errorf("%s: the error does not say %q: %v", c.what, cause, err)
				}
			}
			// Keys are managed and used as before.
			key, token := s.mustCreate(fmt.Sprint(c.what, round))
			s.wantStatus(token, http.StatusOK, c.what+": a new key")
			s.mustManage("POST", "/keys/"+key.ID+"/revoke?force=true", "")
			s.wantStatus(token, http.StatusUnauthorized, c.what+": a revoked key")
		}
	}
	took := time.Since(began)
	ok, summary := tr.halt()
	must(t, id, "reloads to configurations that cannot work", "refused, with the cause", wrong == 0, "%d in %.1f s, %d causes missing", loads, took.Seconds(), wrong)
	must(t, id, "decisions meanwhile", "0 wrong, 0 failed", ok, "%s", summary)
	if err := s.load(usual); err != nil {
		t.Errorf("the usual configuration after that: %v", err)
	}
	s.mustCreate("after that")
	must(t, id, "a right configuration after that", "works", !t.Failed(), "%d configurations refused; the usual one loads, keys can be managed", loads)
}

// fastest runs f until it takes less than the limit, three times at most: what
// hangs, hangs each time; other work on the machine does not.
func fastest(limit time.Duration, f func()) time.Duration {
	best := time.Duration(1 << 62)
	for range 3 {
		began := time.Now()
		f()
		if best = min(best, time.Since(began)); best < limit {
			break
		}
	}
	return best
}

// TestBesideTheServer runs commands beside a server that is in use.
func TestBesideTheServer(t *testing.T) {
	const id = "R18"
	const limit = 2 * time.Second
	s := newServer(t)
	s.writeConfig(s.caddyfile(guard, ""))
	s.start()
	tr := s.traffic(2*time.Millisecond, s.expectations())

	sum := func() string {
		text, err := os.ReadFile(s.store)
		if err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(s.store)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(sha256.Sum256(text), st.ModTime())
	}
	second := newServer(t) // its own ports, the store of the first
	second.store = s.store
	second.writeConfig(second.caddyfile(guard, ""))
	config := s.configPath()
	var slowestAdmin time.Duration
	for _, c := range []struct {
		args []string
		exit int
		says []string
	}{
		{[]string{"validate", "--config", config}, 0, []string{"Valid configuration"}},
		{[]string{"validate", "--config", second.configPath()}, 0, []string{"Valid configuration"}},
		{[]string{"adapt", "--config", config}, 0, nil},
		{[]string{"list-modules"}, 0, []string{"http.handlers.api_key"}},
		{[]string{"version"}, 0, nil},
		{[]string{"run", "--config", second.configPath()}, 1, []string{s.store, fmt.Sprintf("(pid %d) has it open", s.cmd.Process.Pid)}},
		// The last: it drops a connection now and then, see R16.
		{[]string{"reload", "--config", config, "--force"}, 0, nil},
	} {
		if c.args[0] == "reload" {
			ok, summary := tr.halt()
			must(t, id, "decisions meanwhile", "0 wrong, 0 failed", ok, "%s", summary)
		}
		before := sum()
		var out []byte
		exit := 0
		took := fastest(limit, func() {
			cmd := s.command(append([]string{binary}, c.args...)...)
			pipe, err := os.Create(filepath.Join(s.dir, "out"))
			if err != nil {
				t.Fatal(err)
			}
			defer pipe.Close()
			cmd.Stdout, cmd.Stderr = pipe, pipe
			if err := launch(cmd); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() { _ = cmd.Wait(); close(ended) }()
			for running := true; running; {
				began := time.Now()
				if r, err := s.manage(t.Context(), "GET", "/keys?limit=1", ""); err != nil || r.status != http.StatusOK {
					// A reload replaces the admin server in between.
					if c.args[0] != "reload" {
						t.Errorf("management beside %s: %d %v", c.args[0], r.status, err)
					}
				}
				slowestAdmin = max(slowestAdmin, time.Since(began))
				select {
				case <-ended:
					running = false
				case <-time.After(10 * time.Millisecond):
				}
			}
			exit = cmd.ProcessState.ExitCode()
			out, _ = os.ReadFile(pipe.Name())
		})
		ok := exit == c.exit
		for _, text := range c.says {
			ok = ok && strings.Contains(string(out), text)
		}
		if !ok {
			t.Errorf("%v: exit code %d, want %d, and %q in: %s", c.args, exit, c.exit, c.says, tail(string(out)))
		}
		if sum() != before {
			t.Errorf("%v changed the store", c.args)
		}
		what := "caddy " + c.args[0] + " beside the server"
		if c.exit == 1 {
			what = "a second server with the same store: refused, naming the holder"
		} else if c.args[0] == "validate" && c.args[2] != config {
			what = "caddy validate of a second server with the same store"
		}
		within(t, id, what, "2 s", limit, took, "%s", milliseconds(took))
	}
	within(t, id, "slowest management request beside them", "2 s", limit, slowestAdmin, "%s", milliseconds(slowestAdmin))

	// Validating does not make a store either.
	unborn := newServer(t)
	unborn.writeConfig(unborn.caddyfile(guard, ""))
	if out, err := unborn.command(binary, "validate", "--config", unborn.configPath()).CombinedOutput(); err != nil {
		t.Errorf("validate: %v %s", err, out)
	}
	if _, err := os.Stat(filepath.Dir(unborn.store)); !os.IsNotExist(err) {
		t.Errorf("validating made the store's directory: %v", err)
	}
}
