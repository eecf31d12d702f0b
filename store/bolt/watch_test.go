package bolt

import (
	"errors"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// TestRecentIsBounded checks what is kept for watchers, in number and size,
// and that a watcher that is slow keeps what it was given.
func TestRecentIsBounded(t *testing.T) {
	var r recent
	at := func(n int) keyring.Cursor {
		return keyring.Cursor{Revision: uint64(n), Mark: [8]byte{byte(n), byte(n >> 8)}}
	}
	small := map[name]pending{{key: true, id: "key_1"}: {value: make([]byte, 100)}}
	r.start(at(0))
	for n := range maxRecent {
		r.add(at(n+1), small)
	}
	held, _, err := r.since(at(0))
	if err != nil || len(held) != maxRecent {
		t.Fatalf("%d commits, %v", len(held), err)
	}
	for n := range maxRecent {
		r.add(at(maxRecent+n+1), small)
	}
	for i, c := range held {
		if c.cursor != at(i+1) || len(c.records) != 1 {
			t.Fatalf("commit %d became %v with %d records", i+1, c.cursor, len(c.records))
		}
	}
	if _, _, err := r.since(at(maxRecent - 1)); !errors.Is(err, keyring.ErrBehind) {
		t.Errorf("one too old: %v", err)
	}
	if got, _, err := r.since(at(maxRecent)); err != nil || len(got) != maxRecent {
		t.Errorf("the oldest that is kept: %d commits, %v", len(got), err)
	}

	large := map[name]pending{{key: true, id: "key_1"}: {value: make([]byte, maxRecentBytes+1)}}
	r.add(at(2*maxRecent+1), large)
	if got, _, err := r.since(at(2 * maxRecent)); err != nil || len(got) != 1 {
		t.Errorf("a large commit: %d commits, %v", len(got), err)
	}
	r.add(at(2*maxRecent+2), small)
	if len(r.commits) != 1 || r.bytes > maxRecentBytes {
		t.Errorf("%d commits of %d bytes are kept", len(r.commits), r.bytes)
	}
}
