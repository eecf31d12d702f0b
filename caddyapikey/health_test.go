package caddyapikey_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// wantHealth checks status and reasons of the health.
func wantHealth(t *testing.T, r *rig.Rig, status int, reasons ...string) {
	t.Helper()
	answer := r.Manage("GET", "/health", "")
	tree := answer.JSON(t)
	var got []string
	for _, reason := range tree["reasons"].([]any) {
		got = append(got, reason.(map[string]any)["reason"].(string))
	}
	said := map[any]int{"ok": 200, "degraded": 503}[tree["status"]]
	if answer.Status != status || said != status || fmt.Sprint(got) != fmt.Sprint(reasons) {
		t.Errorf("%d %s, want %d %v", answer.Status, answer.Body, status, reasons)
	}
}

func TestHealth(t *testing.T) {
	r := rig.New(t, "", guarded)
	id, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	bearer := "Authorization: Bearer " + token
	wantHealth(t, r, 200)
	path, away := r.StorePath(), r.StorePath()+".away"
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("file removed", func(t *testing.T) {
		move(path, away)
		wantHealth(t, r, 503, "store_unavailable")
		wantAnswer(t, r.Get("/v1/contacts", bearer), 200, "") // from memory
		move(away, path)
		wantHealth(t, r, 200)
	})
	t.Run("file replaced", func(t *testing.T) {
		move(path, away)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		wantHealth(t, r, 503, "store_unavailable")
		if got := r.Manage("POST", "/keys/"+id+"/suspend", ""); got.Status != 503 {
			t.Errorf("a change: %d", got.Status)
		}
		wantHealth(t, r, 503, "store_unavailable", "last_change_failed")
		move(away, path)
		wantHealth(t, r, 503, "last_change_failed")
		if got := r.Manage("POST", "/keys/"+id+"/resume", ""); got.Status != 200 { // changes nothing, so proves nothing
			t.Errorf("a change: %d", got.Status)
		}
		wantHealth(t, r, 503, "last_change_failed")
		r.Create(`{"name":"y"}`)
		wantHealth(t, r, 200)
	})
	t.Run("keys in the query", func(t *testing.T) {
		r.Load("", "api_key {\nfrom query k\nrequire *\n}\nrespond ok")
		wantHealth(t, r, 200)
		notes := r.Manage("GET", "/health", "").JSON(t)["notes"].([]any)
		if len(notes) != 1 || notes[0].(map[string]any)["reason"] != "keys_in_query" {
			t.Errorf("notes %v", notes)
		}
		r.Load("", guarded)
		if notes := r.Manage("GET", "/health", "").JSON(t)["notes"].([]any); len(notes) != 0 {
			t.Errorf("notes %v", notes)
		}
	})
	t.Run("file truncated", func(t *testing.T) {
		if err := os.Truncate(path, 8192); err != nil {
			t.Fatal(err)
		}
		wantHealth(t, r, 503, "store_unavailable")
		wantAnswer(t, r.Get("/v1/contacts", bearer), 200, "")
	})
}

// Damaged records degrade the health; the other keys work.
func TestHealthOfDamagedRecords(t *testing.T) {
	r := rig.New(t, "", guarded)
	id, _ := r.Create(`{"name":"x"}`)
	_, token := r.Create(`{"name":"y","scopes":["contacts:read"]}`)
	damaged := filepath.Join(r.Dir, "damaged", "keys.db")
	copyDamaged(t, r, id, damaged)
	r.Load("api_keys {\nstore bolt "+damaged+"\n}", guarded)
	wantHealth(t, r, 503, "damaged_records")
	wantAnswer(t, r.Get("/v1/contacts", "Authorization: Bearer "+token), 200, "")
	if got := metricOf(t, r, "caddy_api_keys_damaged_records"); got != 1 {
		t.Errorf("%v damaged records", got)
	}
}

// copyDamaged copies the store with one bit of a key's record turned.
func copyDamaged(t *testing.T, r *rig.Rig, id, path string) {
	t.Helper()
	backup := r.Manage("GET", "/backup", "")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, backup.Body, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(func(tx *bbolt.Tx) error {
		keys := tx.Bucket([]byte("keys"))
		value := slices.Clone(keys.Get([]byte(id)))
		value[len(value)-1] ^= 1
		return keys.Put([]byte(id), value)
	}); err != nil {
		t.Fatal(err)
	}
}
