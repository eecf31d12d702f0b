package caddyapikey

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	bbolt "go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// stewarded is an app with a steward, and nothing else that runs.
func stewarded(t *testing.T, path string, retain time.Duration) *App {
	t.Helper()
	store, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	kr, err := keyring.Open(t.Context(), store, keyring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := bolt.OpenLedger(path+".ledger", bolt.LedgerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	u := &useRecord{store: ledger, logger: zap.NewNop(), trail: ledger, refused: newRefusedCalls(), purging: newPurgeGuard(time.Now(), ledger.WrittenBefore()), Recorder: usage.NewRecorder(ledger, usage.Options{})}
	a := &App{logger: zap.NewNop(), Retain: &Retain{Audit: caddy.Duration(retain)}, announcer: &announcer{closed: true, logger: zap.NewNop()}}
	a.keyring.Store(kr)
	a.use.Store(u)
	a.steward = a.startSteward()
	t.Cleanup(func() {
		a.endSteward()
		_ = u.Close(context.Background())
		_ = ledger.Close()
		_ = kr.Close()
	})
	return a
}

// actions are those in the trail, with who did them.
func actions(t *testing.T, trail audit.Trail) string {
	t.Helper()
	var all []string
	if err := trail.Trail(t.Context(), 0, func(e *audit.Entry) bool {
		about := e.About()
		all = append(all, about.Action+" by "+about.Actor)
		return true
	}); err != nil {
		t.Error(err)
	}
	return strings.Join(all, ", ")
}

// TestStewardTrail: what the server ends by itself is in the trail as its own
// action, and entries go when they are old enough.
func TestStewardTrail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := stewarded(t, filepath.Join(t.TempDir(), "store", "keys.db"), 30*time.Hour)
		kr := a.Keyring()
		ctx := audit.WithOrigin(t.Context(), audit.Origin{Actor: audit.Socket})
		key, _, err := kr.Create(ctx, keyring.Key{Name: "x"}, keyring.Issue{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := kr.Rotate(ctx, key.ID, keyring.AnyRevision, keyring.RotationPlan{Overlap: 48 * time.Hour, EndWhenIdle: 2 * time.Hour}, keyring.Issue{}); err != nil {
			t.Fatal(err)
		}
		created := "key.create by local socket, key.rotate by local socket"
		time.Sleep(time.Hour)
		if got := actions(t, kr.Trail()); got != created {
			t.Errorf("after an hour: %s", got)
		}
		time.Sleep(2 * time.Hour)
		if got := actions(t, kr.Trail()); got != created+", credential.end by server" {
			t.Errorf("after three hours: %s", got)
		}
		time.Sleep(28*time.Hour + time.Minute)
		if got := actions(t, kr.Trail()); got != "credential.end by server, trail.purge by server" {
			t.Errorf("after a day more: %s", got)
		}
		if r, err := kr.VerifyTrail(t.Context()); err != nil || len(r.Faults) > 0 || r.First != 3 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// TestStewardVerifies: a trail that was changed is told by the health soon after
// a start, and nobody is locked out.
func TestStewardVerifies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store", "keys.db")
		store, err := bolt.Open(path, bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Apply(t.Context(), nil, []audit.Draft{{Time: time.Now(), Payload: []byte(`{"action":"x"}`)}, {Time: time.Now(), Payload: []byte(`{"action":"y"}`)}}); err != nil {
			t.Fatal(err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("trail"))
			_, first := b.Cursor().First()
			return b.Put([]byte{0, 0, 0, 0, 0, 0, 0, 2}, first)
		}); err != nil {
			t.Fatal(err)
		}
		_ = db.Close()
		a := stewarded(t, path, time.Hour)
		time.Sleep(firstVerify + time.Second)
		faults := a.Keyring().Health()
		if len(faults) != 1 || faults[0].Reason != keyring.FaultTrail || !strings.Contains(faults[0].Detail, "first at entry 2: damaged") {
			t.Errorf("%+v", faults)
		}
		if _, _, err := a.Keyring().Create(t.Context(), keyring.Key{Name: "x"}, keyring.Issue{}); err != nil {
			t.Error(err)
		}
	})
}

// TestStewardTellsSuppressed: refusals of keys that are too many are in the trail
// a minute later.
func TestStewardTellsSuppressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := stewarded(t, filepath.Join(t.TempDir(), "store", "keys.db"), 30*time.Hour)
		u := a.use.Load()
		for i := range u.refused.most + 7 {
			u.refused.admit(refusedCall{fmt.Sprint(i), noRule}, time.Now())
		}
		time.Sleep(suppressedCheck + 2*time.Second)
		var payloads []string
		if err := u.trail.Trail(t.Context(), 0, func(e *audit.Entry) bool {
			payloads = append(payloads, string(e.Payload))
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if want := `{"action":"call.suppressed","actor":"server","suppressed":7}`; len(payloads) != 1 || payloads[0] != want {
			t.Errorf("%q, want %s", payloads, want)
		}
	})
}

// TestStewardDistrustsTheClock: a clock that jumps ahead deletes nothing, if
// somebody sets it right within a day.
func TestStewardDistrustsTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := stewarded(t, filepath.Join(t.TempDir(), "store", "keys.db"), 30*time.Hour)
		kr, u := a.Keyring(), a.use.Load()
		if _, _, err := kr.Create(t.Context(), keyring.Key{Name: "x"}, keyring.Issue{}); err != nil {
			t.Fatal(err)
		}
		call := audit.Call{Key: "x", Decision: audit.Refused}.Draft(time.Now(), audit.CallDetails{})
		if _, err := u.trail.AppendCalls(t.Context(), call); err != nil {
			t.Fatal(err)
		}
		purged := func() string {
			return fmt.Sprint(strings.Contains(actions(t, kr.Trail()), "trail.purge"), " ", strings.Contains(actions(t, u.trail), "trail.purge"))
		}
		time.Sleep(28*time.Hour + 30*time.Minute) // between two looks
		u.purging.mu.Lock()                       // the clock of this bubble cannot be set: what it was compared with can
		u.purging.wall = u.purging.wall.Add(-10 * 365 * 24 * time.Hour)
		u.purging.mu.Unlock()
		time.Sleep(24 * time.Hour)
		if got := purged(); got != "false false" {
			t.Errorf("after the jump: purged %s", got)
		}
		time.Sleep(2 * time.Hour)
		if got := purged(); got != "true true" {
			t.Errorf("after a day: purged %s", got)
		}
	})
}
