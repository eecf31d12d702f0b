//go:build linux

package faults

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// locking is a site behind a lockout, for clients that a proxy names.
const locking = `lockout {
		on refused 3 in 1h
		lock 10m
	}
	@read method GET HEAD
	api_key {
		require @read contacts:read
	}
	respond "ok"`

// askAs asks the site for a client with a token, "" for none, and returns the
// status and what Retry-After says.
func (s *server) askAs(client, token string) (status int, wait time.Duration) {
	s.t.Helper()
	req, err := http.NewRequest("GET", "http://"+s.site+"/v1/contacts", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", client)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := oneShot.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return resp.StatusCode, time.Duration(seconds) * time.Second
}

// newLockingServer makes an installation with a lockout that is not running yet.
func newLockingServer(t *testing.T) *server {
	s := newServer(t)
	s.writeConfig(strings.Replace(s.caddyfile(locking, ""), "servers {", "servers {\n\t\ttrusted_proxies static 127.0.0.0/8\n\t\ttrusted_proxies_strict", 1))
	return s
}

// TestLockoutKill kills the server after addresses were locked: by hand, at once
// after the answer, and by what they did, as soon as that is saved.
func TestLockoutKill(t *testing.T) {
	const id = "R30"
	s := newLockingServer(t)
	s.start()
	file := filepath.Join(s.dir, "data", "caddy", "lockouts", "default")
	wrong, checks := 0, 0
	rounds := amount(4, 50)
	for round := range rounds {
		byHand, guessing, other := fmt.Sprintf("203.0.113.%d", round+1), fmt.Sprintf("198.51.100.%d", round+1), fmt.Sprintf("192.0.2.%d", round+1)
		before, _ := os.Stat(file)
		for range 3 {
			s.askAs(guessing, "wrong")
		}
		saved := func() bool {
			now, err := os.Stat(file)
			return err == nil && (before == nil || now.ModTime().After(before.ModTime()))
		}
		for deadline := time.Now().Add(patience); !saved(); time.Sleep(5 * time.Millisecond) { // a file has no signal
			if time.Now().After(deadline) {
				t.Fatal("the lock was not saved")
			}
		}
		s.mustManage("POST", "/lockouts", fmt.Sprintf(`{"address":%q,"for":"10m"}`, byHand))
		s.kill()
		s.start()
		for client, want := range map[string]int{byHand: http.StatusTooManyRequests, guessing: http.StatusTooManyRequests, other: http.StatusUnauthorized} {
			checks++
			status, wait := s.askAs(client, "")
			if status != want || want == http.StatusTooManyRequests && (wait > 10*time.Minute || wait < 9*time.Minute) {
				wrong++
				t.Errorf("round %d: %s: status %d for %v", round, client, status, wait)
			}
		}
	}
	must(t, id, "kill -9 after addresses were locked: locks lost, or of another length", "0", wrong == 0, "%d kills, %d checks, %d wrong", rounds, checks, wrong)
}

// TestLockoutClock sets the wall clock of a running server with locked addresses.
func TestLockoutClock(t *testing.T) {
	const id = "R31"
	if !full {
		t.Skip("builds the server and the standard library again, which takes minutes; FAULTS=full does it. lockout/ reads no other clock than the monotonic one")
	}
	usual := binary
	binary = steppedBinary(t)
	defer func() { binary = usual }()
	s := newLockingServer(t)
	step := filepath.Join(s.dir, "step")
	t.Setenv(clockFile, step)
	set := func(by time.Duration) {
		t.Helper()
		if err := os.WriteFile(step+".new", fmt.Append(nil, int(by.Seconds())), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(step+".new", step); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // until it is read again
	}
	set(0)
	s.start()
	for range 3 {
		s.askAs("198.51.100.1", "wrong")
	}
	for range 2 {
		s.askAs("198.51.100.2", "wrong")
	}
	wrong, checks := 0, 0
	for _, by := range []time.Duration{-400 * 24 * time.Hour, -time.Hour, -time.Second, time.Second, time.Hour, 400 * 24 * time.Hour} {
		set(by)
		checks++
		if status, wait := s.askAs("198.51.100.1", ""); status != http.StatusTooManyRequests || wait > 10*time.Minute || wait < 9*time.Minute {
			wrong++
			t.Errorf("set by %v: status %d for %v", by, status, wait)
		}
	}
	checks++
	s.askAs("198.51.100.2", "wrong")
	if status, _ := s.askAs("198.51.100.2", ""); status != http.StatusTooManyRequests {
		wrong++
		t.Errorf("the third guess within the window does not lock: %d", status)
	}
	must(t, id, "wall clock set by ±1 s, ±1 h, ±400 days: locks released or prolonged, counts lost", "0", wrong == 0, "%d checks, %d wrong", checks, wrong)
}
