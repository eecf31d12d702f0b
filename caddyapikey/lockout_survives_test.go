package caddyapikey_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// Locks and counts go on over reloads, also over one that changes the rules and
// one that is rejected, and over a stop and start of the whole server.
func TestLockoutSurvives(t *testing.T) {
	name := lockName(t)
	site := behindLockout(name, "on refused 4 in 1h")
	r := rig.New(t, proxied, site)
	try := func(addr string, n int) {
		t.Helper()
		for range n {
			wantAnswer(t, r.Get("/v1/contacts", "X-API-Key: wrong", from(addr)), 401, "invalid_key")
		}
	}
	wantBoth := func(when string) {
		t.Helper()
		for _, addr := range []string{"203.0.113.1", "203.0.113.2"} {
			if got := r.Get("/health", from(addr)); got.Reason() != "abnormal-usage-detected" {
				t.Errorf("%s: %s is not locked: %d", when, addr, got.Status)
			}
		}
		if got := r.Get("/health", from("203.0.113.9")); got.Status != 200 {
			t.Errorf("%s: another address: %d", when, got.Status)
		}
	}
	try("203.0.113.1", 4)
	lockByHand(t, r, "203.0.113.2", "1h")
	wantBoth("at first")

	try("203.0.113.3", 3)
	r.Load(proxied, site+"\n")
	wantBoth("after a reload")
	try("203.0.113.3", 1)
	wantLocked(t, r.Get("/health", from("203.0.113.3")), 15*time.Minute)

	if err := r.TryLoad(proxied, strings.Replace(site, "on refused 4", "on refused 40000", 1)+"\nreverse_proxy {\nto http://a http://b/path\n}"); err == nil {
		t.Fatal("the reload was not rejected")
	}
	wantBoth("after a rejected reload")
	try("203.0.113.4", 4)
	wantLocked(t, r.Get("/health", from("203.0.113.4")), 15*time.Minute)

	r.Load(proxied, behindLockout(name, "on refused 3 in 2h", "prefix 24 48", "lock 1h"))
	wantBoth("after a change of the rules")

	try("198.51.100.5", 2) // more than half-way
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(r.Dir, "data", "caddy", "lockouts", name))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	r.Load(proxied, behindLockout(name, "on refused 3 in 2h", "prefix 24 48", "lock 1h"))
	wantBoth("after a restart")
	try("198.51.100.6", 1)
	wantLocked(t, r.Get("/health", from("198.51.100.7")), time.Hour)
}

// A damaged file is an error in the log and an empty lockout; the server starts,
// and the file is kept aside.
func TestLockoutWithDamagedFile(t *testing.T) {
	name := lockName(t)
	r := rig.New(t, proxied, guarded)
	file := filepath.Join(r.Dir, "data", "caddy", "lockouts", name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("caddy lockouts 1\nrubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Load(proxied, behindLockout(name, "on refused 2 in 1h"))
	if !strings.Contains(r.Logs(), "locks of before the start are lost") || !strings.Contains(r.Logs(), name+".damaged") {
		t.Error("the log does not say so")
	}
	if _, err := os.Stat(file + ".damaged"); err != nil {
		t.Error(err)
	}
	for range 2 {
		wantAnswer(t, r.Get("/v1/contacts", "X-API-Key: wrong", from("203.0.113.1")), 401, "invalid_key")
	}
	wantLocked(t, r.Get("/health", from("203.0.113.1")), 15*time.Minute)
}

// A directory that cannot be written is an error in the log and a metric; locks
// are in force all the same.
func TestLockoutThatCannotBeSaved(t *testing.T) {
	name := lockName(t)
	r := rig.New(t, proxied, guarded)
	dir := filepath.Join(r.Dir, "data", "caddy")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lockouts"), nil, 0o600); err != nil { // a file where the directory belongs
		t.Fatal(err)
	}
	r.Load(proxied, behindLockout(name, "on refused 2 in 1h"))
	lockByHand(t, r, "203.0.113.1", "1h")
	wantLocked(t, r.Get("/health", from("203.0.113.1")), time.Hour)
	if !strings.Contains(r.Logs(), "locks are not saved") || metricOf(t, r, "caddy_api_keys_lockout_save_errors_total", "lockout", name) == 0 {
		t.Error("nothing tells that locks are not saved")
	}
}

// No lockout has a name whose file is one that another lockout writes, or moves
// aside.
func TestLockoutNamesOfOtherFiles(t *testing.T) {
	name := lockName(t)
	r := rig.New(t, proxied, behindLockout(name))
	for _, end := range []string{".new", ".damaged"} {
		if err := r.TryLoad(proxied, behindLockout(name+end)); err == nil || !strings.Contains(err.Error(), "end in "+end) {
			t.Errorf("%s: %v", end, err)
		}
	}
	r.Load(proxied, behindLockout(name+".newer"))
}
