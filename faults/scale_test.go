//go:build linux

package faults

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
)

// TestManyKeys starts the server with many keys.
func TestManyKeys(t *testing.T) {
	const id = "R23"
	for _, c := range []struct {
		keys   int
		start  time.Duration
		lookup time.Duration
	}{{amount(5000, 100_000), 2 * time.Second, time.Microsecond}, {amount(20_000, 1_000_000), 15 * time.Second, 2 * time.Microsecond}} {
		s := newServer(t)
		s.start()
		empty, err := s.resources()
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.importTokens(c.keys)
		imported := time.Since(began)
		s.kill()
		start := s.start()
		for range 100 {
			s.wantStatus(tokenOf(rand.IntN(c.keys)), http.StatusOK, "a key among many")
			s.wantStatus(tokenOf(1<<40+rand.IntN(c.keys)), http.StatusUnauthorized, "an unknown key")
		}
		loaded, err := s.resources()
		if err != nil {
			t.Fatal(err)
		}
		s.kill()
		lookup := lookupTime(t, s.store, c.keys)
		perKey := float64(loaded.heap-empty.heap) / float64(c.keys)
		what := fmt.Sprintf("%d keys: ", c.keys)
		within(t, id, what+"start, to the first decision", c.start.String(), c.start, start, "%.2f s (importing them took %.1f s)", start.Seconds(), imported.Seconds())
		note(t, id, what+"memory of a key", "400 bytes", perKey <= 400, "%.0f bytes (heap; RSS %s)", perKey, megabytes(loaded.resident))
		note(t, id, what+"verifying a token, SHA-256 and look-up", c.lookup.String(), lookup <= c.lookup, "%d ns", lookup.Nanoseconds())
		if perKey > 1000 && c.keys >= 20_000 {
			t.Errorf("%.0f bytes a key", perKey)
		}
	}
}

// lookupTime measures the keyring on the same file, in this process.
func lookupTime(t *testing.T, path string, keys int) time.Duration {
	t.Helper()
	store, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	kr, err := keyring.Open(t.Context(), store, keyring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer kr.Close()
	tokens := make([]string, 50_000)
	for i := range tokens {
		tokens[i] = tokenOf(rand.IntN(keys))
	}
	best := time.Hour // the fastest pass: other work on the machine only adds
	for range 5 {
		began := time.Now()
		for _, token := range tokens {
			if _, verdict := kr.VerifyToken(token, keyring.DefaultTokenPrefix); verdict != keyring.InForce {
				t.Fatal(verdict)
			}
		}
		best = min(best, time.Since(began)/time.Duration(len(tokens)))
	}
	return best
}
