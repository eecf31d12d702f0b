package caddyapikey_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// Every request counts, whatever becomes of it, once however many handlers of
// the name it meets, and over all sites and reloads.
func TestLockoutOnRequests(t *testing.T) {
	name := lockName(t)
	site := fmt.Sprintf("lockout {\nname %s\non request 20 in 1h\nexempt 127.0.0.1\n}\n", name) // the rig itself asks, too
	inner := site + guarded + "\nhandle /twice/* {\n" + site + "respond ok\n}"
	r := rig.New(t, proxied, inner)
	_, token := r.Create(`{"name":"CRM","scopes":["contacts:read"]}`)
	one := from("203.0.113.1")
	for i, send := range []func() rig.Answer{
		func() rig.Answer { return r.Get("/twice/x", one, "Authorization: Bearer "+token) },
		func() rig.Answer { return r.Get("/v1/contacts", one) },
		func() rig.Answer { return r.Get("/health", one) },
		func() rig.Answer { return r.Request("BREW", "/v1/contacts", one) },
	} {
		for range 5 {
			if answer := send(); answer.Status == http.StatusTooManyRequests {
				t.Fatalf("%d: locked too early", i)
			}
		}
		r.Load(proxied, inner+strings.Repeat("\n", i))
	}
	wantLocked(t, r.Get("/health", one), 15*time.Minute)
	wantAnswer(t, r.Get("/health", from("203.0.113.2")), 200, "")
	for range 30 { // an unknown address is nobody's
		wantAnswer(t, r.Get("/health", from("garbage")), 200, "")
	}
	answer := r.Manage("GET", "/lockouts?lockout="+name, "")
	if !strings.Contains(string(answer.Body), `"on":"request"`) {
		t.Errorf("%s", answer.Body)
	}
}

// Of requests that come at once exactly as many pass as are allowed.
func TestLockoutOnRequestsAtOnce(t *testing.T) {
	const limit, at = 100, 400
	r := rig.New(t, proxied, fmt.Sprintf("lockout {\nname %s\non request %d in 1h\nexempt 127.0.0.1\n}\nrespond ok", lockName(t), limit))
	var passed, locked atomic.Int64
	var wg sync.WaitGroup
	for range at {
		wg.Go(func() {
			switch r.Get("/", from("203.0.113.1")).Status {
			case http.StatusOK:
				passed.Add(1)
			case http.StatusTooManyRequests:
				locked.Add(1)
			}
		})
	}
	wg.Wait()
	if passed.Load() != limit || locked.Load() != at-limit {
		t.Errorf("%d passed and %d were refused, want %d and %d", passed.Load(), locked.Load(), limit, at-limit)
	}
}
